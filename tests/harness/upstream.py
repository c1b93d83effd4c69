"""An upstream whose every byte the test decides, and which remembers every byte it was sent.

It is a plain TCP server in a thread of its own, so that a test can be ordinary code that waits. It knows just
enough HTTP to find where a request ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

MIB = 1024 * 1024

Ending = Literal["close", "half-close", "reset", "silence"]
CLOSE: Final = "close"
HALF_CLOSE: Final = "half-close"
RESET: Final = "reset"
SILENCE: Final = "silence"


@dataclass(frozen=True)
class Again:
    """The same bytes `times` over, each time when the caller has taken most of what was before."""

    data: bytes
    times: int


Step = bytes | Again | float | threading.Event | Ending
"""Bytes are sent in one write, a number is a pause in seconds, an Event is waited for.

CLOSE ends the connection with a FIN, RESET with an RST; SILENCE keeps it open and says nothing more.
HALF_CLOSE sends the FIN and goes on reading.
"""

Stage = Literal["accept", "head", "body"]

OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"fine": true}\n'


@dataclass
class Received:
    """One request as it came over the wire.

    `raw_body` still has its chunk framing if it had any; `body` has not. Of a body over the server's
    `keep_body_bytes` only the beginning is kept; `body_bytes` and `sha256` are always of the whole.
    """

    connection: int
    raw_head: bytes
    raw_body: bytes = b""
    body: bytes = b""
    body_bytes: int = 0
    complete: bool = False
    hung_up: threading.Event = field(default_factory=threading.Event)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def method(self) -> str:
        return self.raw_head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> bytes:
        return self.raw_head.split(b" ", 2)[1]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """In their order and spelling."""
        lines = self.raw_head.split(b"\r\n")[1:]
        return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines if line)]

    def all(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.encode()]

    def header(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    @property
    def sha256(self) -> str:
        return self.digest.hexdigest()


@dataclass
class _Script:
    steps: tuple[Step, ...]
    at: Stage


def chunk(data: bytes) -> bytes:
    """As HTTP/1.1 frames it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class WireUpstream:
    """Serves on 127.0.0.1 from `with` to its end.

    `answers(...)` scripts the next request; requests without a script get OK.
    """

    def __init__(
        self, *, port: int = 0, keep_body_bytes: int = 4 * MIB, tls: ssl.SSLContext | None = None
    ) -> None:
        self.keep_body_bytes = keep_body_bytes
        self.tls = tls
        self.requests: list[Received] = []
        self.connections = 0
        self._port = port
        self._scripts: list[_Script] = []
        self._default = _Script((OK,), "body")
        self._open: set[_Connection] = set()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def port(self) -> int:
        return self._port

    @property
    def base_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}/v1"

    @property
    def open_connections(self) -> int:
        """How many connections callers have open to us, as far as we were told."""
        return len(self._open)

    def answers(self, *steps: Step, at: Stage = "body") -> None:
        """Play `steps` to the next request that has no script yet.

        `at` is when they begin: once the whole request is here (`body`), once its head is (`head`; the body
        stays unread until the script is through), or as soon as the connection is open (`accept`).
        """
        with self._changed:
            self._scripts.append(_Script(steps, at))

    def always_answers(self, *steps: Step) -> None:
        """Play `steps` to every request that has no script of its own."""
        self._default = _Script(steps, "body")

    def request(self, index: int = -1, *, within_s: float = 5.0) -> Received:
        """A request that came in whole; waits for it."""
        deadline = time.monotonic() + within_s
        with self._changed:
            while True:
                whole = [request for request in self.requests if request.complete]
                if len(whole) > (index if index >= 0 else -index - 1):
                    return whole[index]
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"{len(whole)} requests within {within_s} s"
                self._changed.wait(left_s)

    def reset(self) -> None:
        """Forget requests and scripts and close every connection, for the next test."""
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result(5)
        self.forget()

    def forget(self) -> None:
        """Forget requests and scripts."""
        with self._changed:
            self.requests.clear()
            self._scripts.clear()
            self._default = _Script((OK,), "body")
            self.connections = 0

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, ssl=self.tls
        )

    async def _hang_up(self) -> None:
        for connection in list(self._open):
            connection.transport.abort()
        await asyncio.sleep(0.01)  # one round for the other side to read the end

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._hang_up()

    def _opened(self, connection: _Connection) -> None:
        self._open.add(connection)
        with self._changed:
            self.connections += 1

    def _take_script(self, stage: Stage) -> _Script | None:
        """The next script if it begins at `stage`; at `body`, the last chance, the default."""
        with self._changed:
            if self._scripts and self._scripts[0].at == stage:
                return self._scripts.pop(0)
            return self._default if stage == "body" else None

    def _began(self, request: Received) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def _completed(self, request: Received) -> None:
        with self._changed:
            request.complete = True
            self._changed.notify_all()


class _Connection(asyncio.Protocol):
    """Reads requests one after another and plays a script to each. No pipelining: no transport does it."""

    transport: asyncio.Transport

    def __init__(self, upstream: WireUpstream) -> None:
        self.upstream = upstream
        self.number = 0
        self.pending = b""
        self.request: Received | None = None
        self.body: _BodyReader | None = None
        self.playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = self.upstream.connections
        self.upstream._opened(self)
        script = self.upstream._take_script("accept")
        if script is not None:
            transport.pause_reading()
            self._play(script.steps)

    def data_received(self, data: bytes) -> None:
        self.pending += data
        self._read_on()

    def connection_lost(self, error: Exception | None) -> None:
        self.upstream._open.discard(self)
        if self.request is not None:
            self.request.hung_up.set()
        if self.playing is not None:
            self.playing.cancel()

    def _read_on(self) -> None:
        if self.playing is not None:
            return
        if self.body is None and not self._read_head():
            return
        assert self.body is not None
        assert self.request is not None
        self.pending = self.body.feed(self.pending)
        if self.body.at_end:
            self.body = None
            self.upstream._completed(self.request)
            script = self.upstream._take_script("body")
            assert script is not None
            self._play(script.steps)

    def _read_head(self) -> bool:
        head, end, rest = self.pending.partition(b"\r\n\r\n")
        if not end:
            return False
        self.request = Received(self.number, head + end)
        self.body = _BodyReader(self.request, self.upstream.keep_body_bytes)
        self.pending = rest
        self.upstream._began(self.request)
        script = self.upstream._take_script("head")
        if script is None:
            return True
        self.transport.pause_reading()
        self._play(script.steps)
        return False

    def _play(self, steps: Sequence[Step]) -> None:
        self.playing = asyncio.get_running_loop().create_task(self._run(steps))
        self.playing.add_done_callback(self._played)

    def _played(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.transport.is_closing():
            return
        self.playing = None
        self.transport.resume_reading()
        self._read_on()

    async def _run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, bytes):
                self.transport.write(step)
            elif isinstance(step, Again):
                await self._repeat(step)
            elif isinstance(step, (int, float)):
                await asyncio.sleep(step)
            elif isinstance(step, threading.Event):
                await self._happens(step)
            else:
                await self._end(step)

    async def _repeat(self, step: Again) -> None:
        for _ in range(step.times):
            self.transport.write(step.data)
            while self.transport.get_write_buffer_size() > MIB:
                await asyncio.sleep(0.001)

    async def _happens(self, event: threading.Event) -> None:
        while not event.is_set():
            await asyncio.sleep(0.002)

    async def _end(self, ending: Ending) -> None:
        if self.request is None:
            self.transport.resume_reading()  # else the caller's going away would not be noticed
        if ending == SILENCE:
            await asyncio.Event().wait()
        if ending == HALF_CLOSE:
            self.transport.write_eof()
            await asyncio.Event().wait()
        if ending == RESET:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        self.transport.close()


class _BodyReader:
    """Finds the end of a request body: by content-length, by chunks, or at once."""

    def __init__(self, request: Received, keep_bytes: int) -> None:
        self.request = request
        self.keep_bytes = keep_bytes
        self.chunked = "chunked" in (request.header("transfer-encoding") or "")
        self.left = int(request.header("content-length") or 0)
        self.framing = b""
        self.at_end = not self.chunked and self.left == 0

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body; return what does not, or not yet."""
        return self._feed_chunked(data) if self.chunked else self._feed_counted(data)

    def _feed_counted(self, data: bytes) -> bytes:
        mine, rest = data[: self.left], data[self.left :]
        self.left -= len(mine)
        self.at_end = self.left == 0
        self._keep_raw(mine)
        self._keep(mine)
        return rest

    def _feed_chunked(self, data: bytes) -> bytes:
        while data and not self.at_end:
            if self.left:
                data = self._take_chunk_data(data)
                continue
            line, end, rest = data.partition(b"\r\n")
            if not end:
                return data
            self._keep_raw(line + end)
            data = rest
            self._take_chunk_line(line)
        return data

    def _take_chunk_data(self, data: bytes) -> bytes:
        mine = data[: self.left]
        self.left -= len(mine)
        self._keep_raw(mine)
        self._keep(mine)
        return data[len(mine) :]

    def _take_chunk_line(self, line: bytes) -> None:
        """A chunk's size, the empty line after its data, or what follows the last chunk."""
        if self.framing == b"last":
            self.at_end = line == b""
        elif self.framing == b"data" and line == b"":
            self.framing = b""
        else:
            self.left = int(line.partition(b";")[0], 16)
            self.framing = b"data" if self.left else b"last"

    def _keep(self, data: bytes) -> None:
        self.request.body_bytes += len(data)
        self.request.digest.update(data)
        self.request.body += data[: max(0, self.keep_bytes - len(self.request.body))]

    def _keep_raw(self, data: bytes) -> None:
        self.request.raw_body += data[: max(0, self.keep_bytes - len(self.request.raw_body))]
