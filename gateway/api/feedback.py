"""The feedback endpoints: Portkey's two calls, and ours to read and to take back.

Bodies are parsed by `gateway.feedback.portkey`; nothing is decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api.feedback_errors import portkey_error
from gateway.api.params import feedback_filter, no_parameters
from gateway.api.resource import Resource, answer, json_answer, read_body
from gateway.api.services import Services
from gateway.api.shapes import feedback_shape, page_shape
from gateway.errors import InvalidHeader, NotFound
from gateway.feedback.portkey import parse_create, parse_update
from gateway.jsonio import dumps
from gateway.records import IdempotencyKey

PATH = "/v1/feedback"
MAX_IDEMPOTENCY_KEY_CHARS = 255

_ID_IN_BODY = "undefined"
"""What Node's SDK has for an id when a published sample misspells the argument's name."""


def routes(services: Services) -> list[BaseRoute]:
    endpoints = FeedbackEndpoints(services)
    many = Resource({"GET": endpoints.find, "POST": endpoints.create}, portkey_error)
    one = Resource(
        {"GET": endpoints.get, "PUT": endpoints.change, "DELETE": endpoints.retract}, portkey_error
    )
    unknown = Resource(
        dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), endpoints.unknown), portkey_error
    )
    return [
        *(Route(f"{path}{slash}", many) for path in (PATH, "/feedback") for slash in ("", "/")),
        *(Route(f"{path}/{{id}}{slash}", one) for path in (PATH, "/feedback") for slash in ("", "/")),
        *(Route(f"{path}/{{rest:path}}", unknown) for path in (PATH, "/feedback")),
    ]


class FeedbackEndpoints:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._feedback = services.feedback

    async def create(self, request: Request) -> Response:
        body = await self._body(request)
        saved = await self._feedback.create(
            self._services.key_id(),
            parse_create(body),
            render=lambda ids: _changed("Feedback successfully saved", ids),
            once=_idempotency_key(request, body),
        )
        return answer(saved)

    async def change(self, request: Request) -> Response:
        change, id_in_body = parse_update(await self._body(request))
        feedback_id = request.path_params["id"]
        if feedback_id == _ID_IN_BODY and id_in_body is not None:
            feedback_id = id_in_body
        changed = await self._feedback.change(self._services.key_id(), feedback_id, change)
        return answer(_changed("Feedback successfully updated", [changed]))

    async def get(self, request: Request) -> Response:
        no_parameters(request.scope["query_string"])
        found = await self._feedback.get(self._services.key_id(), request.path_params["id"])
        return json_answer(feedback_shape(found))

    async def retract(self, request: Request) -> Response:
        retracted = await self._feedback.retract(self._services.key_id(), request.path_params["id"])
        return json_answer({"object": "feedback.deleted", "id": retracted, "deleted": True})

    async def find(self, request: Request) -> Response:
        wanted, paging = feedback_filter(request.scope["query_string"])
        page = await self._feedback.find(
            self._services.key_id(), wanted, limit=paging.limit, after=paging.after
        )
        return json_answer(page_shape(page, feedback_shape))

    async def unknown(self, request: Request) -> Response:
        raise NotFound(f"{request.url.path!r} is not a path of ours; feedback has {PATH} and {PATH}/{{id}}")

    async def _body(self, request: Request) -> bytes:
        return await read_body(
            request,
            max_bytes=self._services.max_body_bytes,
            timeout_s=self._services.body_timeout_s,
        )


def _changed(message: str, ids: Sequence[str]) -> bytes:
    return dumps({"status": "success", "message": message, "feedback_ids": list(ids)})


def _idempotency_key(request: Request, body: bytes) -> IdempotencyKey | None:
    """The request's key, None without one. All spellings of the path are one path. Raises InvalidHeader."""
    key = request.headers.get("idempotency-key", "").strip()
    if not key:
        return None
    if len(key) > MAX_IDEMPOTENCY_KEY_CHARS:
        raise InvalidHeader(
            f"Idempotency-Key: {len(key)} characters, the limit is {MAX_IDEMPOTENCY_KEY_CHARS}; use a UUID",
            param="Idempotency-Key",
        )
    return IdempotencyKey(key=key, path=PATH, body_sha256=hashlib.sha256(body).hexdigest())
