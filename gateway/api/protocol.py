"""The server's HTTP protocol: uvicorn's, with limits on a request's head and what the proxy needs besides.

Everything about HTTP itself is uvicorn's and llhttp's; nothing about our endpoints belongs here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.api.cycle import ToTheEnd, WholeCycle
from gateway.api.errors import error_body
from gateway.config import schema
from gateway.errors import ClientError
from gateway.ids import new_id
from gateway.proxy.incoming import JSON_PATHS
from gateway.records import Headers

PLAIN_PATHS = {path.encode("ascii"): path for path in JSON_PATHS}
"""The targets of requests that may be served whole: decoded they are what they were, and have no query."""

_STATUS = {status: line.removesuffix(b"\r\n") for status, line in STATUS_LINE.items()}
_NEVER = float("inf")


class HeadTooLarge(ClientError):
    status = 431
    code = "head_too_large"


class GatewayProtocol(HttpToolsProtocol):
    """Offers itself to the application as `scope["gateway.connection"]`, the request as `"gateway.cycle"`.

    A request to one of PLAIN_PATHS that arrives whole goes to the application's `at_once`, if it has one:
    what uvicorn makes for every request, a scope, an event, a task, is then not made at all.

    uvicorn waits for a request's head without a limit on its time or size; here both have one
    (`server.head_timeout_s`, `server.max_head_bytes`). The time limit also ends a connection
    that keeps sending a body after it was answered.
    """

    # With uvicorn's they would be more than thirty attributes, and those CPython keeps in a slower dict.
    __slots__ = (
        "_at_once", "_body", "_head_bytes", "_idle_timer", "_idle_until", "_in_head", "_limits",
        "_names_connection", "_offers_upgrade", "_path", "_received", "_served", "_unserved", "on_lost",
        "url",
    )  # fmt: skip

    def __init__(self, *args: Any, limits: schema.Server, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_lost: Callable[[], None] | None = None
        self._limits = limits
        self._served: RequestResponseCycle | None = None  # not `cycle`, where more requests came behind it
        self._in_head = True
        self._received = 0
        self._head_bytes = 0  # received while in the head: never less than what the head has
        self._unserved: asyncio.TimerHandle | None = None
        self._idle_until = _NEVER
        self._idle_timer: asyncio.TimerHandle | None = None
        self._at_once: Callable[[WholeCycle], bool] | None = getattr(self.app, "at_once", None)
        self._offers_upgrade = False
        self._path: str | None = None  # of a request that may yet arrive whole
        self._body = b""

    # --- for the application ---

    # What uvicorn's `send` does, in one write where it makes two, without a message and a coroutine, and
    # without searching every field for characters that llhttp has refused already.

    def respond(self, cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> None:
        if cycle.disconnected:
            return
        lines, length = _head(cycle, status, headers)
        if length is None and status not in (204, 304) and cycle.chunked_encoding is not False:
            lines += (b"transfer-encoding: chunked\r\n", _last_chunks(body))
        else:  # without a length only to a client of HTTP/1.0, up to the connection's end
            lines += (b"", body)
        if length is not None and int(length) != len(body):
            raise RuntimeError(f"a body of {len(body)} bytes for a content-length of {length!r}")
        cycle.transport.write(b"\r\n".join(lines))
        _complete(cycle)

    def begin_response(self, cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> None:
        if cycle.disconnected:
            return
        lines, length = _head(cycle, status, headers)
        if length is None and cycle.chunked_encoding is None and status not in (204, 304):
            cycle.chunked_encoding = True
            lines += (b"transfer-encoding: chunked\r\n", _chunk(body))
        else:
            if length is not None and cycle.chunked_encoding is None:
                cycle.chunked_encoding, cycle.expected_content_length = False, int(length)
            cycle.expected_content_length -= len(body)
            lines += (b"", body)
        cycle.transport.write(b"\r\n".join(lines))
        cycle.response_started = True
        cycle.waiting_for_100_continue = False

    def end_response(self, cycle: RequestResponseCycle, body: bytes) -> None:
        if cycle.disconnected:
            return
        if cycle.chunked_encoding:
            body = _last_chunks(body)
        elif cycle.expected_content_length != len(body):
            raise RuntimeError(f"{len(body)} bytes to end with, not {cycle.expected_content_length}")
        cycle.transport.write(body)
        _complete(cycle)

    def run(self, cycle: WholeCycle, app: ASGIApp) -> None:
        cycle.await_events()
        self._start_asgi_task(cycle, app)

    def close(self) -> None:
        if self._served is not None and isinstance(self._served.expected_content_length, ToTheEnd):
            # The connection's end is the body's: only an RST says that this one is not.
            connected = self.transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    # --- asyncio ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        self._idle_until = _NEVER
        self._received = len(data)
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
        if self._path is not None:
            self._serve_in_parts()
        if self.cycle is not None and not self.cycle.response_complete:
            if self._unserved is not None:
                self._disarm()
            return
        # Nobody serves these bytes: a head not yet complete, or a body after its answer.
        if self._unserved is None:
            self._arm()
        if (
            self._in_head
            and self._head_bytes > self._limits.max_head_bytes
            and not self.transport.is_closing()
        ):
            self._refuse(self._too_large())

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as error:
                if not self._offers_upgrade:
                    return  # CONNECT, which is served like any other, and nothing can follow it
                # llhttp takes it for accepted, and what follows for another protocol. It is declined by
                # answering as if it had not been offered (RFC 9110 section 7.8): so that is what llhttp gets.
                data = self._head_without_upgrade() + data[error.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        self._offers_upgrade = False
        parser = self.parser
        lines = [b"%b %b HTTP/%b" % (parser.get_method(), self.url, parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                lines.append(b"connection: " + b", ".join(t for t in tokens if t.lower() != b"upgrade"))
            elif name != b"upgrade":
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)
        served, self._served = self._served, None
        if served is not None and not served.response_complete:
            served.disconnected = True  # uvicorn says so to the last request only
            served.message_event.set()
        if self.on_lost is not None:
            self.on_lost()
        self.cycle = None  # type: ignore[assignment]  # which has this connection: the two would keep each other

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def _arm(self) -> None:
        self._unserved = self.loop.call_later(self._limits.head_timeout_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._unserved is not None:
            self._unserved.cancel()
            self._unserved = None

    # --- keep-alive: one timer a connection, armed late and never moved forward ---

    def _unset_keepalive_if_required(self) -> None:
        self._idle_until = _NEVER

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_until = self.loop.time() + self.timeout_keep_alive
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_at(self._idle_until, self._on_idle)

    def _on_idle(self) -> None:
        self._idle_timer = None
        if self._idle_until == _NEVER:
            return
        if self.loop.time() < self._idle_until:
            self._idle_timer = self.loop.call_at(self._idle_until, self._on_idle)
        else:
            self.timeout_keep_alive_handler()

    # --- llhttp ---

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._names_connection = False
        self._in_head = True
        self._head_bytes = self._received

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, and those are not to become headers (RFC 9110 section 6.5.1)
        name = name.lower()
        if name in (b"connection", b"proxy-connection"):  # llhttp takes the one for the other
            self._names_connection = True
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._head_bytes > self._limits.max_head_bytes and self._is_too_large():
            raise self._too_large()  # through llhttp back to data_received, which refuses
        self._in_head = False
        self._offers_upgrade = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._offers_upgrade:
            return  # and come back without it
        path = PLAIN_PATHS.get(self.url)
        if path is not None and self._at_once is not None and self._may_arrive_whole():
            self._path = path
            self._body = b""
        else:
            self._begin_cycle()

    def _may_arrive_whole(self) -> bool:
        parser, cycle = self.parser, self.cycle
        return (
            (cycle is None or cycle.response_complete)
            and not self.expect_100_continue
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            # Which without a Connection field means HTTP/1.1.
            and not (self._names_connection and parser.get_http_version() != "1.1")
        )

    def on_body(self, body: bytes) -> None:
        if self._path is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        if self._offers_upgrade:
            return
        path, at_once = self._path, self._at_once
        if path is None or at_once is None:
            super().on_message_complete()
            return
        self._path = None
        cycle = self.cycle = self._served = WholeCycle(self, path, self._body)
        self._body = b""
        if not at_once(cycle):
            self._body = bytes(cycle.body)
            self._serve_in_parts()
            super().on_message_complete()

    def _serve_in_parts(self) -> None:
        """Serve the request as uvicorn does: from its head on, its body as it comes."""
        self._path = None
        body, self._body = self._body, b""
        self.cycle = None  # type: ignore[assignment]
        self._begin_cycle()
        if body:
            super().on_body(body)

    def _begin_cycle(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope, which a whole request has no use for
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        self.scope["gateway.connection"] = self  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        if len(self.pipeline) == 1:
            self.flow.resume_reading()  # which it paused, and would not learn that the client is gone
        if self.scope["http_version"] != "1.1":
            # It knows no chunks (RFC 9112 section 6.1), which uvicorn sends to everybody.
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = ToTheEnd()
        self.scope["gateway.cycle"] = self.cycle  # type: ignore[typeddict-unknown-key]

    def send_400_response(self, msg: str) -> None:
        if self._in_head and self._is_too_large():
            self._refuse(self._too_large())
            return
        self._refuse(ClientError(f"{msg} The gateway speaks HTTP/1.1; check what the client sends."))

    def _is_too_large(self) -> bool:
        fields = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.url) + fields > self._limits.max_head_bytes

    def _too_large(self) -> HeadTooLarge:
        return HeadTooLarge(
            f"the request's line and headers have more than {self._limits.max_head_bytes} bytes "
            "(server.max_head_bytes); send less or raise the limit"
        )

    def _refuse(self, error: ClientError) -> None:
        """Answer without an application: there is no request it could be given."""
        body = error_body(error)
        request_id = new_id(time.time_ns()).encode()
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
            b"x-trace-id: %b\r\nx-portkey-trace-id: %b\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINE[error.status], len(body), request_id, request_id, request_id, body)
        )
        self.transport.close()


def _head(cycle: RequestResponseCycle, status: int, headers: Headers) -> tuple[list[bytes], bytes | None]:
    """The lines of a response's head, up to those that say how its body ends; and its content-length."""
    lines = [_STATUS[status], *map(b": ".join, headers)]
    length = None
    for name, value in headers:
        if name == b"content-length":
            length = value
    if not cycle.keep_alive:
        lines.append(b"connection: close")
    return lines, length


def _chunk(body: bytes) -> bytes:
    """Nothing for no bytes: a chunk of none would be the last."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""


def _last_chunks(body: bytes) -> bytes:
    return _chunk(body) + b"0\r\n\r\n"


def _complete(cycle: RequestResponseCycle) -> None:
    """The response's last byte is written."""
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
