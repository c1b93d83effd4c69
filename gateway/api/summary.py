"""GET /v1/feedback/summary: what people thought, overall or by group."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.params import summary_filter
from gateway.api.resource import Handler, json_answer
from gateway.api.services import Services
from gateway.api.vendors import SHARED_PATHS
from gateway.errors import StoreUnavailable
from gateway.records.summary import Agreement, Distribution, Grouping, GroupSummary, NameSummary, Summary
from gateway.store import summaries

_WAIT_S = 30.0


def handlers(services: Services) -> Mapping[str, Mapping[str, Handler]]:
    """Methods by path. They stand before those of `/{id}`."""
    endpoint = SummaryEndpoint(services)
    return {f"{path}/summary": {"GET": endpoint.get} for path in SHARED_PATHS}


class SummaryEndpoint:
    """Makes one summary at a time: each may take a reader of the store for seconds, and there are two."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._turn = asyncio.Lock()

    async def get(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, group_by, paging = summary_filter(request.scope["query_string"])
        await self._take_turn()
        try:
            found = await self._services.database.read(
                lambda connection: summaries.summary(
                    connection, key_id, wanted, group_by=group_by, limit=paging.limit, after=paging.after
                )
            )
        finally:
            self._turn.release()
        return json_answer(summary_shape(found, group_by))

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._turn.acquire()
        except TimeoutError as error:
            raise StoreUnavailable(
                f"other summaries took more than {_WAIT_S:g} s; try again in a moment"
            ) from error


def summary_shape(summary: Summary, group_by: Grouping | None) -> dict[str, Any]:
    groups = [_group_shape(group) for group in summary.groups]
    return {
        "object": "feedback.summary",
        "group_by": group_by,
        "data": groups,
        "first_id": groups[0]["group"] if groups else None,
        "last_id": groups[-1]["group"] if groups else None,
        "has_more": summary.has_more,
    }


def names_shape(names: Iterable[NameSummary]) -> list[dict[str, Any]]:
    return [_name_shape(name) for name in names]


def _group_shape(group: GroupSummary) -> dict[str, Any]:
    return {
        "group": group.group,
        "count": group.count,
        "names": names_shape(group.names),
        "other_count": group.other,
    }


def _name_shape(name: NameSummary) -> dict[str, Any]:
    return {
        "name": name.name,
        "count": name.count,
        "kinds": dict(name.kinds),
        **_distribution_shape(name.distribution),
        "weighted_mean": name.weighted_mean,
        "mean_weighted_value": name.mean_weighted_value,
        "fields": {field: _distribution_shape(values) for field, values in name.fields.items()},
    }


def _distribution_shape(values: Distribution) -> dict[str, Any]:
    return {
        "value_count": values.total,
        "distribution": [
            {"value": each.value, "count": each.count, "share": each.count / values.total}
            for each in values.values
        ],
        "other_count": values.other,
        "mean": values.mean,
        "min": values.min,
        "max": values.max,
        "agreement": None if values.agreement is None else _agreement_shape(values.agreement),
    }


def _agreement_shape(agreement: Agreement) -> dict[str, Any]:
    return {
        "n": agreement.things,
        "votes": agreement.votes,
        "exact": agreement.exact,
        "alpha": agreement.alpha,
        "scale": agreement.scale,
    }
