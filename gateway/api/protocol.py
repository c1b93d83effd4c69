"""The server's HTTP protocol: uvicorn's, with limits on a request's head and what the proxy needs besides.

Everything about HTTP itself is uvicorn's and llhttp's; nothing about our endpoints belongs here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.api.errors import error_body
from gateway.config import schema
from gateway.errors import ClientError
from gateway.ids import new_id


class HeadTooLarge(ClientError):
    status = 431
    code = "head_too_large"


class HeldHead:
    """Stands in for a transport from a response's head to the first bytes of its body.

    uvicorn writes the two one after the other, two system calls and two packets; this writes them as one.
    Everything else goes to the transport itself.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if not self._head:
            self._head = data
            return
        self._cycle.transport = self._transport
        self._transport.write(self._head + data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class ToTheEnd(int):
    """Stands in for the length of a body that ends with its connection: whatever is sent fits, and is all."""

    def __lt__(self, other: int) -> bool:
        return False

    def __sub__(self, other: int) -> ToTheEnd:
        return self

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


class ChunkWriter:
    """What uvicorn's `send` does for bytes that are not a body's last, less the message and the coroutine."""

    __slots__ = ("_cycle", "_write")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._write = cycle.transport.write

    def write_chunk(self, data: bytes, framed: bytes | None) -> None:
        if not self._cycle.disconnected:
            write = self._write
            write(framed or b"%x\r\n%b\r\n" % (len(data), data))

    def write_piece(self, data: bytes, framed: bytes | None) -> None:  # noqa: ARG002 - nobody reads chunks here
        if not self._cycle.disconnected:
            self._cycle.expected_content_length -= len(data)
            self._write(data)


class GatewayProtocol(HttpToolsProtocol):
    """Offers itself to the application as `scope["gateway.connection"]`, the request as `"gateway.cycle"`.

    uvicorn waits for a request's head without a limit on its time or size; here both have one
    (`server.head_timeout_s`, `server.max_head_bytes`). The time limit also ends a connection
    that keeps sending a body after it was answered.
    """

    def __init__(self, *args: Any, limits: schema.Server, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_lost: Callable[[], None] | None = None
        self._limits = limits
        self._in_head = True
        self._received = 0
        self._head_bytes = 0  # received while in the head: never less than what the head has
        self._unserved: asyncio.TimerHandle | None = None

    # --- for the application ---

    def respond(
        self, cycle: RequestResponseCycle, status: int, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        # What uvicorn's `send` does for a head and a whole body, in one write, and without searching every
        # field for characters that llhttp has refused already.
        if cycle.disconnected:
            return
        parts = [STATUS_LINE[status], *[b"%b: %b\r\n" % field for field in headers]]
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        length = [value for name, value in headers if name == b"content-length"]
        if length or status in (204, 304):
            parts += (b"\r\n", body)
        elif cycle.chunked_encoding is False:
            parts += (b"\r\n", body)  # to a client of HTTP/1.0, up to the connection's end
        else:
            parts.append(b"transfer-encoding: chunked\r\n\r\n")
            parts.append(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n")
        if length and int(length[0]) != len(body):
            raise RuntimeError(f"a body of {len(body)} bytes for a content-length of {length[0]!r}")
        cycle.transport.write(b"".join(parts))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def hold_head(self, cycle: RequestResponseCycle) -> None:
        cycle.transport = cast("asyncio.Transport", HeldHead(cycle))

    def chunk_writer(self, cycle: RequestResponseCycle) -> Callable[[bytes, bytes | None], None]:
        writer = ChunkWriter(cycle)
        return writer.write_chunk if cycle.chunked_encoding else writer.write_piece

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    # --- asyncio ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        self._received = len(data)
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
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

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def _arm(self) -> None:
        self._unserved = self.loop.call_later(self._limits.head_timeout_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._unserved is not None:
            self._unserved.cancel()
            self._unserved = None

    # --- llhttp ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._received
        self.scope["gateway.connection"] = self  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        if self._head_bytes > self._limits.max_head_bytes and self._is_too_large():
            raise self._too_large()  # through llhttp back to data_received, which refuses
        self._in_head = False
        super().on_headers_complete()
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
