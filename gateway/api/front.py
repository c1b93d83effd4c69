"""The front door: every request comes in here and leaves with its ids.

Decides between the proxy and our own endpoints by path alone, so that a forwarded request costs one look at
a string. The endpoints themselves are in their own modules.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol
from urllib.parse import unquote

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.resource import openai_error
from gateway.auth.keys import KeyRing
from gateway.errors import GatewayError, InvalidKey, InvalidTraceId
from gateway.ids import new_id
from gateway.proxy.downstream import WholeRequest
from gateway.proxy.forward import INTERNAL_MESSAGE
from gateway.proxy.headers import own_headers
from gateway.proxy.incoming import select_trace_id

logger = logging.getLogger(__name__)

OWN_NOUNS = frozenset({"feedback", "feedback-tasks", "annotations", "traces", "logs", "export", "routing"})
"""First path segments under /v1 that are ours; everything else under /v1 goes upstream."""

_MODELS = re.compile(r"/v1/models(?:/|$)")
_DOUBLED = re.compile(rb"/{2,}")
_DOUBLED_AT_THE_START = re.compile(rb"^/+(?:v1/+)?")


class Forward(Protocol):
    """An ASGI application that also takes a whole request as it is, without a task of its own."""

    def __call__(self, scope: Scope, receive: Receive, send: Send, /) -> Awaitable[None]: ...

    def at_once(self, whole: WholeRequest) -> None: ...


class Front:
    """ASGI application over two others: `forward` for the upstreams' paths, `own` for ours.

    With `keys`, what is forwarded needs one; `own` asks for it by itself, in the shape of each vendor.
    `models` answers `GET /v1/models` and below instead of `forward`; `prefixes` are forwarded besides /v1.
    """

    def __init__(
        self,
        forward: Forward,
        own: ASGIApp,
        keys: KeyRing | None = None,
        *,
        models: ASGIApp | None = None,
        prefixes: Iterable[str] = (),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._forward = forward
        self._models = models
        self._prefixes = tuple(f"{prefix}/" for prefix in prefixes)
        self._keys = keys
        self._own = own
        self._clock_ns = clock_ns

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path: str = scope["path"]
        if path.startswith(("//", "/v1//")):
            scope = _joined(scope, _DOUBLED_AT_THE_START)
            path = scope["path"]
        if (
            path[4:].partition("/")[0] not in OWN_NOUNS
            if path.startswith("/v1/")
            else path.startswith(self._prefixes)
        ):
            if self._keys is not None:
                try:
                    scope["gateway.key"] = self._keys.holder_of_forwarded(scope["headers"])
                except InvalidKey as error:
                    # Not recorded: there is nobody it would belong to.
                    return self._serve(openai_error(error, Request(scope)), scope, receive, send)
            if self._models is not None and scope["method"] == "GET" and _MODELS.match(path):
                return self._models(scope, receive, send)
            return self._forward(scope, receive, send)
        return self._serve(self._own, _joined(scope, _DOUBLED) if "//" in path else scope, receive, send)

    def at_once(self, whole: WholeRequest) -> bool:
        """Serve a POST that goes upstream and has arrived whole. False: it is for `__call__`, after all."""
        if self._keys is not None:
            try:
                whole.holder = self._keys.holder_of_forwarded(whole.headers)
            except InvalidKey:
                return False
        self._forward.at_once(whole)
        return True

    async def _serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_id(self._clock_ns())
        started = False
        ids = own_headers(request_id, request_id)

        async def send_with_ids(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *ids]
            await send(message)

        scope.setdefault("state", {})["request_id"] = request_id
        # Nothing is recorded here: one that cannot be a trace id is no reason to refuse a probe, say.
        with contextlib.suppress(InvalidTraceId):
            ids = own_headers(select_trace_id(dict(scope["headers"])) or request_id, request_id)
        try:
            await app(scope, receive, send_with_ids)
        except GatewayError as error:
            await openai_error(error, Request(scope))(scope, receive, send_with_ids)
        except Exception:
            logger.exception("request %s: %s %s failed", request_id, scope["method"], scope["path"])
            if started:
                raise
            internal = openai_error(GatewayError(INTERNAL_MESSAGE), Request(scope))
            await internal(scope, receive, send_with_ids)


def _joined(scope: Scope, pattern: re.Pattern[bytes]) -> Scope:
    """The scope of the path that was meant: some SDKs join the base URL and the path as plain text.

    What lies behind `/v1/` on its way to an upstream is not ours to tidy.
    """
    raw_path = pattern.sub(_one_slash, scope["raw_path"])
    return {**scope, "raw_path": raw_path, "path": unquote(raw_path.decode("ascii"))}


def _one_slash(doubled: re.Match[bytes]) -> bytes:
    return b"/v1/" if b"v1" in doubled[0] else b"/"
