"""`GET /v1/models` where there are routes: what they offer, with what the upstreams themselves say of it.

Without routes there is one upstream, whose own list passes untouched; then nothing here is used. A model's
own object is its upstream's to give, but for names that only routes know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.errors import error_body
from gateway.errors import GatewayError, UpstreamError
from gateway.jsonio import dumps
from gateway.providers.models import UNLISTED, Entry, alias, listed, merged
from gateway.proxy.headers import own_headers, without_key
from gateway.proxy.recording import begin, head_of, payload
from gateway.records import Headers, Sink
from gateway.routing.table import RouteTable

MISSING = b"x-gateway-models-missing"
"""Names the upstreams that did not say what they have."""

_LIST = "/v1/models"
_JSON = (b"content-type", b"application/json")

Ask = Callable[[str, Headers], Awaitable[list[Entry]]]
"""The models of an upstream, by its name, asked for with the client's headers. Raises UpstreamError."""


class Models:
    """ASGI application for `GET /v1/models` and `GET /v1/models/{id}`. What it does not know, `forward` gets.

    `providers` has the dialect of each upstream, in the order of the configuration. Each answer given here is
    an exchange like those that are forwarded, so that a log shows all requests of a trace; `sink` gets it
    before the answer leaves. At most `max_body_bytes` of it are kept.
    """

    def __init__(
        self,
        routes: RouteTable,
        providers: Mapping[str, str],
        ask: Ask,
        forward: ASGIApp,
        sink: Sink,
        *,
        max_body_bytes: int,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._routes = routes
        self._providers = providers
        self._ask = ask
        self._forward = forward
        self._sink = sink
        self._max_body_bytes = max_body_bytes
        self._clock_ns = clock_ns
        asked = [upstream for plan in routes.plans for upstream in (leaf.upstream for leaf in plan.leaves)]
        self._asked = [
            name for name, provider in providers.items() if name in asked and provider not in UNLISTED
        ]
        self._own = {name: dumps(alias(name)) for name in routes.aliases() if self._is_own(name)}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path: str = scope["path"]
        if path == _LIST:
            return self._answer(scope, send, self._merged)
        own = self._own.get(path[len(_LIST) + 1 :])
        if own is None:
            return self._forward(scope, receive, send)
        return self._answer(scope, send, lambda _: _ready(own))

    def _is_own(self, name: str) -> bool:
        """Whether no upstream would know a model of this name that routes give."""
        return all(self._providers[upstream] in UNLISTED for upstream in self._routes.offered(name))

    async def _merged(self, client_headers: Headers) -> tuple[bytes, Headers]:
        answers = await asyncio.gather(
            *(self._ask(name, client_headers) for name in self._asked), return_exceptions=True
        )
        lists: dict[str, list[Entry]] = {}
        missing = []
        for name, answer in zip(self._asked, answers, strict=True):
            if isinstance(answer, UpstreamError):
                missing.append(name)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                lists[name] = listed(name, self._providers[name], answer, self._leads)
        entries = merged(self._routes.aliases(), lists.values())
        told = [(MISSING, ", ".join(missing).encode("ascii"))] if missing else []
        return dumps({"object": "list", "data": entries}), told

    def _leads(self, model: str, upstream: str) -> bool:
        return upstream in self._routes.offered(model)

    async def _answer(
        self, scope: Scope, send: Send, make: Callable[[Headers], Awaitable[tuple[bytes, Headers]]]
    ) -> None:
        headers, holder = scope["headers"], scope.get("gateway.key")
        recording = begin(scope["method"], scope["path"], headers, holder, self._clock_ns())
        try:
            head_of(recording)
            body, told = await make(without_key(headers, holder))
            recording.status = 200
        except GatewayError as error:
            recording.error, recording.status = error, error.status
            body, told = error_body(error), []
        recording.response = payload(body, self._max_body_bytes)
        recording.response_headers = [_JSON, *told]
        recording.first_byte(perf_counter())
        recording.finish(perf_counter())
        await self._sink(recording)
        headers = [_JSON, (b"content-length", b"%d" % len(body)), *told]
        headers += own_headers(recording.trace_id, recording.id)
        await send({"type": "http.response.start", "status": recording.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _ready(body: bytes) -> tuple[bytes, Headers]:
    return body, []
