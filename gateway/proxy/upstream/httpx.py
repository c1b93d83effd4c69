"""The httpx transport: for HTTP and SOCKS proxies, HTTP/2, and any httpx transport a user brings.

Uses httpx's transports without its client: no redirects followed, no cookies kept, no headers added, bytes
passed on as they were encoded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any

import httpx

from gateway.config import schema
from gateway.errors import UpstreamAborted, UpstreamBroken, UpstreamBusy, UpstreamError, UpstreamUnreachable
from gateway.proxy.passage import Passage
from gateway.proxy.upstream.base import Limits, Take, UpstreamRequest, limits_of
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
        self._limits = limits_of(name, settings)
        self._url = httpx.URL(settings.base_url)
        self._transport = make() if make else _default_transport(settings)

    async def open(self, request: UpstreamRequest) -> HttpxResponse:
        limits = request.limits or self._limits
        total_deadline = asyncio.get_running_loop().time() + limits.end_s
        attempt = _Attempt(request.on_sent)
        try:
            return await self._send(request, attempt, limits, total_deadline)
        except UpstreamBroken:
            if not (request.can_be_sent_again and attempt.found_a_dead_connection):
                raise
        return await self._send(request, _Attempt(request.on_sent), limits, total_deadline)

    async def _send(
        self, request: UpstreamRequest, attempt: _Attempt, limits: Limits, total_deadline: float
    ) -> HttpxResponse:
        timeouts = {
            "connect": limits.connect_s,
            "pool": limits.connect_s,
            "write": limits.idle_s,
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
        first_byte_deadline = sent + limits.connect_s + limits.first_byte_s
        if request.body is not None and not isinstance(request.body, bytes):
            first_byte_deadline = total_deadline  # the client's own limits govern how long an upload may take
        _ATTEMPT.set(attempt)
        try:
            async with asyncio.timeout_at(min(first_byte_deadline, total_deadline)):
                response = await self._hand_over(outgoing)
        except TimeoutError as error:
            limit = "first_byte" if first_byte_deadline < total_deadline else "total"
            raise limits.passed(limit, self._name) from error
        except httpx.TransportError as error:
            raise self._translate(error, limits) from error
        response.request = outgoing
        if response.status_code > 599:
            await response.aclose()
            raise UpstreamBroken(
                f"upstream {self._name}: the answer is of status {response.status_code}, which HTTP does not "
                "have"
            )
        return HttpxResponse(self._name, limits, response, total_deadline)

    async def _hand_over(self, outgoing: httpx.Request) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(outgoing)
        except (AttributeError, OSError) as error:
            # anyio asks the socket of a new connection for its address; one that was reset in that moment
            # has no socket any more, or no address.
            await self._reclaim()
            raise httpx.ConnectError(f"the connection ended as soon as it was made ({error})") from error
        except BaseException:
            await self._reclaim()
            raise

    async def _reclaim(self) -> None:
        """Free the places in httpcore's pool that are taken by connections without a request.

        A request that is cancelled before its new connection is made leaves that behind for good, until no
        place is left: https://github.com/encode/httpcore/issues/1093
        """
        pool: Any = getattr(self._transport, "_pool", None)
        if not isinstance(self._transport, httpx.AsyncHTTPTransport) or pool is None:
            return
        held = [request.connection for request in pool._requests]
        lost = [it for it in pool._connections if not (it in held or it.is_idle() or it.is_closed())]
        pool._connections = [it for it in pool._connections if it not in lost]
        if lost:
            await pool._close_connections([*lost, *pool._assign_requests_to_connections()])

    def _verbatim(self, request: UpstreamRequest) -> dict[str, bytes]:
        """httpx quotes the target anew; httpcore takes it as it is from this extension.

        Not on the way through a proxy, whose requests have a target of their own, the whole URL.
        """
        return {} if self._settings.proxy else {"target": request.target}

    def _translate(self, error: httpx.TransportError, limits: Limits) -> UpstreamError:
        reason = _reason(error)
        match error:
            case httpx.ConnectTimeout():
                return limits.passed("connect", self._name)
            case httpx.PoolTimeout():
                return UpstreamBusy(
                    f"upstream {self._name}: all {self._settings.max_connections} connections stayed in use; "
                    f"raise upstreams.{self._name}.max_connections or send fewer requests at once"
                )
            case httpx.WriteTimeout():
                return limits.passed("idle", self._name)
            case httpx.ConnectError() | httpx.ProxyError() | httpx.UnsupportedProtocol():
                return UpstreamUnreachable(f"upstream {self._name}: cannot connect: {reason}")
            case _:
                return UpstreamBroken(f"upstream {self._name}: the answer is broken: {reason}")

    async def close(self) -> None:
        await self._transport.aclose()


def _reason(error: httpx.TransportError) -> str:
    """Without the bytes that h11 repeats where it cannot read them: an upstream may put our key there."""
    return str(error).partition(": bytearray(")[0] or type(error).__name__


class HttpxResponse:
    """`UpstreamResponse` over an httpx response whose stream is read raw."""

    def __init__(self, name: str, limits: Limits, response: httpx.Response, total_deadline: float) -> None:
        self.status = response.status_code
        self.headers: Headers = [(key.lower(), value) for key, value in response.headers.raw]
        self._name = name
        self._limits = limits
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
        idle_deadline = asyncio.get_running_loop().time() + self._limits.idle_s
        try:
            async with asyncio.timeout_at(min(idle_deadline, self._total_deadline)):
                chunk = await anext(self._stream, b"")
        except TimeoutError as error:
            limit = "idle" if idle_deadline < self._total_deadline else "total"
            raise self._limits.passed(limit, self._name) from error
        except httpx.TransportError as error:
            raise UpstreamAborted(f"upstream {self._name}: the answer broke off: {_reason(error)}") from error
        if self._left is not None:
            self._left -= len(chunk)
        self._ended = not chunk or self._left == 0
        return chunk

    async def pass_on(self, take: Take, lane: Passage | None = None) -> bytes:  # noqa: ARG002 - httpx unframes
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
        attempt = _ATTEMPT.get(None)  # the answer's body may be read by another task than opened it
        if data and attempt is not None:
            attempt.received = True
        return data

    stream.read = reading


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes | AsyncIterable[bytes] | None) -> None:
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
