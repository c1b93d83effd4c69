"""GET /v1/routing: the strategies that follow feedback, the shares of their targets, and why these."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api.resource import Resource, json_answer
from gateway.api.services import Services
from gateway.api.shapes import time_shape
from gateway.feedback.steering import Standing, Steered


def routes(services: Services) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        services.key_id(request.headers)  # for those with a key; routes are the same for all of them
        return json_answer({"object": "routing", "steered": [_strategy(each) for each in services.steered()]})

    return [Route(path, Resource({"GET": show})) for path in ("/v1/routing", "/v1/routing/")]


def _strategy(steered: Steered) -> dict[str, Any]:
    settings, refreshed_ms = steered.settings, steered.refreshed_at_ms
    return {
        "place": steered.place,
        "name": settings.name,
        "half_life_s": settings.half_life_s,
        "explore": settings.explore,
        "refresh_s": settings.refresh_s,
        "targets": [_target(standing) for standing in steered.standings],
        "refreshed_at": None if refreshed_ms is None else time_shape(refreshed_ms),
        "only_newest": steered.is_cut,
        "failures": steered.failures,
        "last_error": steered.last_error,
    }


def _target(standing: Standing) -> dict[str, Any]:
    found = standing.evidence
    return {
        "target": standing.target,
        "labels": list(standing.labels),
        "weight": standing.weight,
        "share": standing.share,
        "chance_best": standing.chance,
        "reason": standing.reason,
        "count": found.answers,
        "effective_count": found.weight,
        "weighted_mean": found.mean if found.weight else None,
    }
