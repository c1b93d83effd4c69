"""The native feedback endpoints: read, list, history and take back. Creating and changing, which other
vendors do on the same paths, is theirs: see `gateway.api.vendors`."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.params import feedback_filter, no_parameters
from gateway.api.resource import Handler, json_answer
from gateway.api.services import Services
from gateway.api.shapes import feedback_shape, history_shape, page_shape
from gateway.api.vendors import SHARED_PATHS


def handlers(services: Services) -> Mapping[str, Mapping[str, Handler]]:
    """Methods by path."""
    endpoints = FeedbackEndpoints(services)
    paths: dict[str, dict[str, Handler]] = {}
    for path in SHARED_PATHS:
        paths[path] = {"GET": endpoints.find}
        paths[f"{path}/{{id}}"] = {"GET": endpoints.get, "DELETE": endpoints.retract}
        paths[f"{path}/{{id}}/history"] = {"GET": endpoints.history}
    return paths


class FeedbackEndpoints:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._feedback = services.feedback

    async def find(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, paging = feedback_filter(request.scope["query_string"])
        page = await self._feedback.find(key_id, wanted, limit=paging.limit, after=paging.after)
        return json_answer(page_shape(page, feedback_shape))

    async def get(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        no_parameters(request.scope["query_string"])
        return json_answer(feedback_shape(await self._feedback.get(key_id, request.path_params["id"])))

    async def history(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        no_parameters(request.scope["query_string"])
        found, revisions = await self._feedback.history(key_id, request.path_params["id"])
        return json_answer(history_shape(found, revisions))

    async def retract(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        retracted = await self._feedback.retract(key_id, request.path_params["id"])
        return json_answer({"object": "feedback.deleted", "id": retracted.id, "deleted": True})
