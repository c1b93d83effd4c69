"""GET /v1/logs and /v1/logs/{id}: exchanges, without and with their bodies."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api.params import log_filter, no_parameters
from gateway.api.resource import Resource, json_answer
from gateway.api.services import Services
from gateway.api.shapes import log_detail_shape, log_shape, page_shape
from gateway.store import logs

PATH = "/v1/logs"


def routes(services: Services) -> list[BaseRoute]:
    endpoints = LogEndpoints(services)
    many, one = Resource({"GET": endpoints.find}), Resource({"GET": endpoints.get})
    return [Route(PATH, many), Route(f"{PATH}/", many), Route(f"{PATH}/{{id:path}}", one)]


class LogEndpoints:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def find(self, request: Request) -> Response:
        wanted, paging = log_filter(request.scope["query_string"])
        key_id = self._services.key_id(request.headers)
        page = await self._services.database.read(
            lambda connection: logs.find(connection, key_id, wanted, limit=paging.limit, after=paging.after)
        )
        return json_answer(page_shape(page, log_shape))

    async def get(self, request: Request) -> Response:
        no_parameters(request.scope["query_string"])
        exchange_id = request.path_params["id"].removesuffix("/")
        key_id, limit = self._services.key_id(request.headers), self._services.max_items_shown
        detail = await self._services.database.read(
            lambda connection: logs.get(connection, key_id, exchange_id, feedback_limit=limit)
        )
        return json_answer(log_detail_shape(detail))
