"""GET /v1/traces and /v1/traces/{trace_id}."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api.params import no_parameters, trace_filter
from gateway.api.resource import Resource, json_answer
from gateway.api.services import Services
from gateway.api.shapes import page_shape, trace_detail_shape, trace_shape
from gateway.api.summary import names_shape
from gateway.store import summaries, traces

PATH = "/v1/traces"


def routes(services: Services) -> list[BaseRoute]:
    endpoints = TraceEndpoints(services)
    many, one = Resource({"GET": endpoints.find}), Resource({"GET": endpoints.get})
    return [Route(PATH, many), Route(f"{PATH}/", many), Route(f"{PATH}/{{trace_id:path}}", one)]


class TraceEndpoints:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def find(self, request: Request) -> Response:
        wanted, paging = trace_filter(request.scope["query_string"])
        key_id = self._services.key_id(request.headers)
        page = await self._services.database.read(
            lambda connection: traces.find(connection, key_id, wanted, limit=paging.limit, after=paging.after)
        )
        return json_answer(page_shape(page, trace_shape))

    async def get(self, request: Request) -> Response:
        no_parameters(request.scope["query_string"])
        trace_id = _trace_id(request)
        key_id, limit = self._services.key_id(request.headers), self._services.max_items_shown
        detail, names = await self._services.database.read(
            lambda connection: (
                traces.get(connection, key_id, trace_id, limit=limit),
                summaries.by_name(connection, key_id, trace_id),
            )
        )
        return json_answer({**trace_detail_shape(detail), "feedback_by_name": names_shape(names)})


def _trace_id(request: Request) -> str:
    """The id as the client encoded it.

    A trace id may contain "/" and "%", so only the undecoded path can tell a slash of the id's from a
    trailing one of the path's.
    """
    raw: bytes | None = request.scope.get("raw_path")
    if raw is None or PATH.encode() not in raw:
        decoded: str = request.path_params["trace_id"]
        return decoded.removesuffix("/")
    encoded = raw.partition(PATH.encode() + b"/")[2].partition(b"?")[0]
    return unquote_to_bytes(encoded.removesuffix(b"/")).decode("utf-8", "replace")
