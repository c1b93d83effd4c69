"""Is it up, can it work, and what is it: /healthz, /readyz and /, where a browser is led to the dashboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import __version__
from gateway.api.resource import Resource
from gateway.api.shapes import time_shape
from gateway.jsonio import dumps
from gateway.records import TargetHealth, UpstreamHealth

Report = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]
"""Whether the gateway can do its work, and the details as JSON."""

_WHAT = "An OpenAI-compatible gateway that remembers what people thought of every answer."


def routes(
    report: Report, upstream_health: Callable[[], Mapping[str, UpstreamHealth]] = dict
) -> list[BaseRoute]:
    async def healthz(_: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_: Request) -> Response:
        ready, details = await report()
        for name, health in upstream_health().items():
            details["upstreams"][name] |= upstream_health_shape(health)
        status = "ready" if ready else "not_ready"
        return _json({"status": status, **details}, 200 if ready else 503)

    async def index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/ui/", 307)
        return _json(
            {
                "name": "feedback-gateway",
                "version": __version__,
                "description": _WHAT,
                "base_url": "/v1",
                "feedback": "/v1/feedback",
                "traces": "/v1/traces",
                "logs": "/v1/logs",
                "openapi": "/openapi.json",
                "ready": "/readyz",
            }
        )

    return [
        Route("/healthz", Resource({"GET": healthz})),
        Route("/readyz", Resource({"GET": readyz})),
        Route("/", Resource({"GET": index})),
    ]


def upstream_health_shape(health: UpstreamHealth) -> dict[str, Any]:
    """What /readyz says of one upstream, beside its settings."""
    return {
        "in_flight": health.in_flight,
        "retries_left": health.retries_left,
        "keys": health.keys,
        "keys_resting": health.keys_resting,
        "targets": [_target_shape(target) for target in health.targets],
    }


def _target_shape(target: TargetHealth) -> dict[str, Any]:
    until_ms = target.rests_until_ms
    return {
        "target": target.target,
        "state": target.state,
        "failures": target.failures,
        "rests_until": None if until_ms is None else time_shape(until_ms),
        "last_error": target.last_error,
        "in_flight": target.in_flight,
    }


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(dumps(body), status, media_type="application/json")
