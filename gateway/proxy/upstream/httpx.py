"""The httpx transport: for HTTP and SOCKS proxies, HTTP/2, and any httpx transport a user brings.

Uses httpx's transports without its client: no redirects followed, no cookies kept, no headers added, bytes
passed on as they were encoded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import httpx

from gateway.config import schema
from gateway.errors import UpstreamAborted, UpstreamBroken, UpstreamBusy, UpstreamError, UpstreamUnreachable
from gateway.proxy.upstream.base import Take, UpstreamRequest
from gateway.proxy.upstream.native import timed_out
from gateway.proxy.upstream.pool import tls_context
from gateway.records import Headers

_END_LIMIT_S = 1.0


class HttpxTransport:
    """`Transport` over an httpx transport; `make` builds another one than the default."""

    def __init__(
        self,
        name: str,
        settings: schema.Upstream,
        make: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._url = httpx.URL(settings.base_url)
        self._transport = make() if make else _default_transport(settings)

    async def open(self, request: UpstreamRequest) -> HttpxResponse:
        total_deadline = asyncio.get_running_loop().time() + self._settings.total_timeout_s
        attempt = _Attempt(request.on_sent)
        try:
            return await self._send(request, attempt, total_deadline)
        except UpstreamBroken:
            if not (request.can_be_sent_again and attempt.found_a_dead_connection):
                raise
        return await self._send(request, _Attempt(request.on_sent), total_deadline)

    async def _send(
        self, request: UpstreamRequest, attempt: _Attempt, total_deadline: float
    ) -> HttpxResponse:
        settings = self._settings
        timeouts = {
            "connect": settings.connect_timeout_s,
            "pool": settings.connect_timeout_s,
            "write": settings.idle_timeout_s,
            "read": None,  # first byte, idle and total are ours: httpx has one limit for all three
        }
        outgoing = httpx.Request(
            request.method,
            self._url.copy_with(raw_path=request.target),
            headers=[(b"host", self._url.netloc), *_stripped(request.headers), *_length(request)],
            stream=_Body(request.body),
            extensions={"timeout": timeouts, "trace": attempt.trace, **self._verbatim(request)},
        )
        sent = asyncio.get_running_loop().time()
        first_byte_deadline = sent + settings.connect_timeout_s + settings.first_byte_timeout_s
        if request.body is not None and not isinstance(request.body, bytes):
            first_byte_deadline = total_deadline  # the client's own limits govern how long an upload may take
        _ATTEMPT.set(attempt)
        try:
            async with asyncio.timeout_at(min(first_byte_deadline, total_deadline)):
                response = await self._transport.handle_async_request(outgoing)
        except TimeoutError as error:
            limit = "first_byte" if first_byte_deadline < total_deadline else "total"
            raise timed_out(self._name, limit, getattr(settings, f"{limit}_timeout_s")) from error
        except httpx.TransportError as error:
            raise self._translate(error) from error
        response.request = outgoing
        return HttpxResponse(self._name, settings, response, total_deadline)

    def _verbatim(self, request: UpstreamRequest) -> dict[str, bytes]:
        """httpx quotes the target anew; httpcore takes it as it is from this extension.

        Not on the way through a proxy, whose requests have a target of their own, the whole URL.
        """
        return {} if self._settings.proxy else {"target": request.target}

    def _translate(self, error: httpx.TransportError) -> UpstreamError:
        reason = str(error) or type(error).__name__
        match error:
            case httpx.ConnectTimeout():
                return timed_out(self._name, "connect", self._settings.connect_timeout_s)
            case httpx.PoolTimeout():
                return UpstreamBusy(
                    f"upstream {self._name}: all {self._settings.max_connections} connections stayed in use; "
                    f"raise upstreams.{self._name}.max_connections or send fewer requests at once"
                )
            case httpx.WriteTimeout():
                return timed_out(self._name, "idle", self._settings.idle_timeout_s)
            case httpx.ConnectError() | httpx.ProxyError() | httpx.UnsupportedProtocol():
                return UpstreamUnreachable(f"upstream {self._name}: cannot connect: {reason}")
            case _:
                return UpstreamBroken(f"upstream {self._name}: the answer is broken: {reason}")

    async def close(self) -> None:
        await self._transport.aclose()


class HttpxResponse:
    """`UpstreamResponse` over an httpx response whose stream is read raw."""

    def __init__(
        self, name: str, settings: schema.Upstream, response: httpx.Response, total_deadline: float
    ) -> None:
        self.status = response.status_code
        self.headers: Headers = [(key.lower(), value) for key, value in response.headers.raw]
        self._name = name
        self._settings = settings
        self._response = response
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - what an async transport gives
        self._stream = response.stream.__aiter__()
        self._total_deadline = total_deadline
        self._left = _content_length(response)
        self._ended = self._left == 0

    @property
    def ready(self) -> bool:
        return False

    @property
    def ended(self) -> bool:
        return self._ended

    async def read(self) -> bytes:
        idle_deadline = asyncio.get_running_loop().time() + self._settings.idle_timeout_s
        try:
            async with asyncio.timeout_at(min(idle_deadline, self._total_deadline)):
                chunk = await anext(self._stream, b"")
        except TimeoutError as error:
            limit = "idle" if idle_deadline < self._total_deadline else "total"
            raise timed_out(self._name, limit, getattr(self._settings, f"{limit}_timeout_s")) from error
        except httpx.TransportError as error:
            raise UpstreamAborted(f"upstream {self._name}: the answer broke off: {error}") from error
        if self._left is not None:
            self._left -= len(chunk)
        self._ended = not chunk or self._left == 0
        return chunk

    async def pass_on(self, take: Take) -> bytes:
        while True:
            chunk = await self.read()
            if self._ended or not take(chunk):
                return chunk

    async def close(self) -> None:
        if self._ended:
            # httpcore keeps a connection only when it was read to the message's end, not just the body's.
            with contextlib.suppress(httpx.TransportError, TimeoutError):
                async with asyncio.timeout(_END_LIMIT_S):
                    await anext(self._stream, b"")
        await self._response.aclose()


class _Attempt:
    """What happened on the wire, seen through httpcore's trace extension.

    Source: https://www.encode.io/httpcore/extensions/#trace
    """

    def __init__(self, on_sent: Callable[[], None] | None) -> None:
        self._connected = False
        self._on_sent = on_sent
        self.received = False

    @property
    def found_a_dead_connection(self) -> bool:
        """An old connection was used, and not one byte came back on it."""
        return not (self._connected or self.received)

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        if event.startswith(("connection.connect_", "connection.start_tls")):
            self._connected = True
            if event.endswith(".complete"):
                _watch(info["return_value"])
        elif self._on_sent is not None and event.endswith("send_request_headers.started"):
            self._on_sent()


_ATTEMPT: ContextVar[_Attempt] = ContextVar("attempt")


def _watch(stream: Any) -> None:
    """Make a connection tell the attempt it serves when bytes arrive; httpcore itself does not say."""
    read = stream.read

    async def reading(*args: Any, **kwargs: Any) -> bytes:
        data: bytes = await read(*args, **kwargs)
        if data:
            _ATTEMPT.get().received = True
        return data

    stream.read = reading


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes | AsyncIterator[bytes] | None) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            yield self._body
        elif self._body is not None:
            async for piece in self._body:
                yield piece


def _stripped(headers: Headers) -> Headers:
    """h11 refuses the optional white space around a value, which is no part of it (RFC 9110 section 5.5)."""
    return [(name, value.strip(b" \t")) for name, value in headers]


def _length(request: UpstreamRequest) -> Headers:
    if request.body is None:
        return []
    length = len(request.body) if isinstance(request.body, bytes) else request.body_bytes
    if length is None:
        return [(b"transfer-encoding", b"chunked")]
    return [(b"content-length", b"%d" % length)]


def _content_length(response: httpx.Response) -> int | None:
    if response.request.method == "HEAD" or response.status_code in (204, 304):
        return 0
    if "transfer-encoding" in response.headers:
        return None
    value = response.headers.get("content-length", "")
    return int(value) if value.isdigit() else None


def _default_transport(settings: schema.Upstream) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(
        verify=tls_context(settings),
        http2=settings.http2,
        proxy=settings.proxy,
        limits=httpx.Limits(
            max_connections=settings.max_connections,
            max_keepalive_connections=settings.max_idle_connections,
            keepalive_expiry=settings.keepalive_expiry_s,
        ),
    )
