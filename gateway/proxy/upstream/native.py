"""The native transport: HTTP/1.1 over asyncio, parsed by llhttp, in the gateway's own event loop.

One `Connection` serves one request at a time and is its answer while it does. No proxies, no HTTP/2, no
trailers: that is the httpx transport's part. The pool is in `pool.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import cast

import httptools

from gateway.capture.body import MAX_FRAMED
from gateway.errors import UpstreamAborted, UpstreamBroken, UpstreamError
from gateway.proxy.passage import Passage
from gateway.proxy.upstream.base import Limits, Take, UpstreamRequest
from gateway.records import Headers

MAX_HEAD_BYTES = 256 * 1024
_HIGH_WATER_BYTES = 256 * 1024
_NEVER = float("inf")
_SIZE_LINES = {len(line) + size + 2: line for size in range(1, 2048) for line in [b"%x\r\n" % size]}
"""A chunk's first line by the length of the whole chunk, as nearly everybody writes it: no zeros in front,
small letters, no extensions."""
_JSON_EVENTS = {size: line + b"data: {" for size, line in _SIZE_LINES.items() if len(line) > len(b"f\r\n")}
"""How a chunk begins that is an event of JSON."""
_WITHIN_DATA = len(b"7ff\r\n")
"""Whatever the chunk's size, from here on its first line has nothing in it but the event."""


class ConnectionDied(UpstreamBroken):
    """A connection ended before the first byte of an answer; on a reused one that is nobody's fault."""


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection to an upstream: `exchange` a request, then `read` the answer, then `close`.

    `release` is called with the connection when its answer is closed; `reusable` then says whether it may
    carry another request.
    """

    # CPython gives more than thirty attributes a dict. Every byte that arrives would pay for it, since the
    # kernel's work in between has left nothing of it in the cache.
    __slots__ = (
        "_began", "_between_chunks", "_bodiless", "_buffered", "_busy", "_chunks", "_complete", "_deadline",
        "_error", "_head_done", "_interim", "_keep_alive", "_lane", "_limit", "_limits", "_listener", "_loop",
        "_lost", "_name", "_now", "_parser", "_read_paused", "_release", "_room", "_sending", "_sent",
        "_take", "_timer", "_timer_due", "_total_deadline", "_transport", "_unfinished_bytes", "_waiter",
        "_write_paused", "headers", "idle_since", "status",
    )  # fmt: skip

    def __init__(self, name: str, limits: Limits, release: Callable[[Connection], None]) -> None:
        self.status = 0
        self.headers: Headers = []
        self.idle_since = 0.0
        self._name = name
        self._limits = limits
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._listener: Callable[[], None] | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._busy = False
        self._lost = False
        self._began = False  # a byte of the answer has arrived
        self._head_done = False
        self._complete = False
        self._keep_alive = False
        self._interim = False
        self._bodiless = False
        self._sent = True
        self._sending: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._take: Take | None = None  # set only while nothing waits in _chunks
        self._lane: Passage | None = None  # never without _take
        self._between_chunks = False  # the parser has seen a chunk's end and not one byte more
        self._read_paused = False
        self._write_paused = False
        self._unfinished_bytes = 0  # since the last byte of a body
        self._error: UpstreamError | None = None
        self._limit = "first_byte"
        self._deadline = _NEVER
        self._total_deadline = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = _NEVER

    # --- one exchange ---

    async def exchange(
        self, request: UpstreamRequest, head: bytes, limits: Limits, total_deadline: float
    ) -> None:
        """Send `request`, whose head is `head`; return when the answer's head has arrived.

        `total_deadline` is when, by the loop's clock, `limits.end_s` is over. Raises as `answered` does, and
        what the body's iterator raises.
        """
        body = request.body
        if body is None or isinstance(body, bytes):
            self.send(request, head, limits, total_deadline)
        else:
            self._begin(request, limits, total_deadline)
            self._transport.write(head)
            await self._upload(body, chunked=request.body_bytes is None)
            if not self._head_done:
                self._expect_by("first_byte", limits.first_byte_s)
        await self.answered()

    def send(self, request: UpstreamRequest, head: bytes, limits: Limits, total_deadline: float) -> None:
        """Send `request`, whose body is whole."""
        self._begin(request, limits, total_deadline)
        body = request.body
        self._transport.write(head + body if isinstance(body, bytes) else head)
        self._expect_by("first_byte", limits.first_byte_s)

    async def answered(self) -> None:
        """Return when the answer's head has arrived.

        Raises ConnectionDied, UpstreamBroken, UpstreamTimeout.
        """
        while not self._head_done:
            if self._error is not None:
                raise self._error
            await self._event()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` when something happens on this connection, instead of waking who waits for it."""
        self._listener = listener

    def _begin(self, request: UpstreamRequest, limits: Limits, total_deadline: float) -> None:
        self._limits = limits
        self._busy = True
        self._began = self._head_done = self._complete = self._keep_alive = False
        self._bodiless = request.method == "HEAD"
        self._sent = True
        self._unfinished_bytes = 0
        self._total_deadline = total_deadline
        if self._lost:
            self._error = ConnectionDied(f"upstream {self._name}: the connection was closed")
        if request.on_sent is not None:
            request.on_sent()

    async def _upload(self, body: AsyncIterable[bytes], *, chunked: bool) -> None:
        """Send the body, or as much of it as the upstream waits for before it answers.

        The sending is a task of its own: while it waits for the client, an answer must get through.
        """
        self._sent = False
        self._arm()
        sending = self._sending = self._loop.create_task(self._send_body(body, chunked=chunked))
        sending.add_done_callback(lambda _: self._wake())
        while not (sending.done() or self._head_done or self._error is not None):
            await self._event()
        if sending.done():
            sending.result()

    async def _send_body(self, body: AsyncIterable[bytes], *, chunked: bool) -> None:
        async for piece in body:
            if self._head_done or self._error is not None:
                return  # answered early, a 413 say: the rest is of no use, and the connection neither
            if piece:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if self._write_paused and not self._head_done and self._error is None:
                self._expect_by("idle", self._limits.idle_s)
                self._room = self._loop.create_future()
                await self._room
            if not self._head_done:
                self._deadline = _NEVER  # it is the client's turn; how long that may take is its own limit
        if chunked:
            self._transport.write(b"0\r\n\r\n")
        self._sent = True

    @property
    def ready(self) -> bool:
        return bool(self._chunks) or self._complete or self._error is not None

    @property
    def ended(self) -> bool:
        return self._complete and not self._chunks

    async def read(self) -> bytes:
        while not self._chunks:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._event()
        data = self.rest()
        if self._read_paused:
            self._read_paused = False
            self._expect_by("idle", self._limits.idle_s)
            self._transport.resume_reading()
        return data

    async def pass_on(self, take: Take, lane: Passage | None = None) -> bytes:
        if not self.ready:
            self.pass_to(take, lane)
            try:
                while not self.ready:
                    await self._event()
            finally:
                self.pass_to(None, None)
        return await self.read()

    def pass_to(self, take: Take | None, lane: Passage | None) -> None:
        """`pass_on` for who listens, while nothing is `ready`; until something is, or `take` is None."""
        self._take, self._lane = take, lane

    def _offer(self, take: Take) -> None:
        """Let what has arrived go straight on; else wake who waits for it, and offer nothing more."""
        chunks = self._chunks
        if not chunks:
            return
        if self._read_paused or not take(chunks[0] if len(chunks) == 1 else b"".join(chunks)):
            self.pass_to(None, None)
            self._wake()
            return
        self._chunks = []
        self._buffered = 0

    async def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            # Whatever became of an upload that was answered before its end, nobody waits for it any more.
            await asyncio.gather(self._sending, return_exceptions=True)
            self._sending = None
        self.let_go()

    def let_go(self) -> None:
        """`close` for a request whose body was sent as a whole."""
        self._listener = self._take = self._lane = None
        self._busy = False
        self._deadline = self._total_deadline = _NEVER
        self._chunks = []
        self._buffered = 0
        self._release(self)

    @property
    def total_deadline(self) -> float:
        """When, by the loop's clock, the total limit of the exchange at hand is over."""
        return self._total_deadline

    @property
    def is_flowing(self) -> bool:
        """Whether the answer's head has arrived, and nothing stops what comes after it."""
        return self._head_done and self._error is None and not self._read_paused

    @property
    def is_whole(self) -> bool:
        """Whether all of the answer has arrived."""
        return self._complete

    def rest(self) -> bytes:
        """What has arrived of the answer's body and was not read yet."""
        chunks, self._chunks = self._chunks, []
        self._buffered = 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @property
    def reusable(self) -> bool:
        return (
            self._complete and self._keep_alive and self._sent and not self._lost and self._error is None
            and not self._read_paused and not self._transport.is_closing()
        )  # fmt: skip

    @property
    def usable(self) -> bool:
        return not self._lost and not self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    def _event(self) -> asyncio.Future[None]:
        """The next thing that happens on this connection."""
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        if self._listener is not None:
            self._listener()
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        if self._error is None and not self._complete:
            self._error = error
        self._between_chunks = False
        self._transport.abort()
        self._wake()

    # --- limits ---
    # One timer a connection, armed late and never moved forward: a byte that arrives costs an assignment,
    # not a timer. When it fires too early it arms itself again for the rest.

    def _expect_by(self, limit: str, seconds: float) -> None:
        self._limit = limit
        self._deadline = self._now() + seconds
        if self._timer_due > self._deadline:
            self._arm()

    def _arm(self) -> None:
        due = min(self._deadline, self._total_deadline)
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_due = _NEVER
        due = min(self._deadline, self._total_deadline)
        if due == _NEVER or self._lost:
            return
        if self._now() < due:
            self._arm()
            return
        limit = self._limit if self._deadline <= self._total_deadline else "total"
        self._fail(self._limits.passed(limit, self._name))

    # --- asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._take is not None and self._between_chunks:
            size = len(data)
            lane, begins = self._lane, _JSON_EVENTS.get(size)
            if (
                lane is not None
                and begins is not None
                and data.startswith(begins)
                and data.endswith(b"\n\n\r\n")
                and data.find(b"\n", _WITHIN_DATA) == size - 4  # of one line, so nothing else than it seems
                and data.find(b"\r", _WITHIN_DATA) == size - 2
                and lane.events.is_between
                and not lane.flow.write_paused
                and not lane.cycle.disconnected
                and len(lane.framed) < MAX_FRAMED
            ):
                # The limit's timer is running, and need not be looked at. Two names, since CPython is slow to
                # call what is in a slot as if it were a method.
                now, write = self._now, lane.write
                self._deadline = now() + self._limits.idle_s
                lane.framed.append(data)
                write(data)
                return
            if self._pass_whole(data, self._take):
                return
        if not self._expects_data():
            self._transport.abort()  # bytes nobody asked for: whatever they are, they are not the next answer
            return
        self._began = True
        self._unfinished_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(self._broken(f"not HTTP/1.1 ({error})"))
            return
        if self._between_chunks and not data.endswith(b"\n"):
            self._between_chunks = False  # within the next one's size
        if self._complete:
            self._deadline = self._total_deadline = _NEVER
        elif self._unfinished_bytes > MAX_HEAD_BYTES:
            self._fail(self._broken(f"more than {MAX_HEAD_BYTES} bytes of headers, trailers or chunk sizes"))
            return
        elif self._head_done:
            if not self._read_paused:
                self._expect_by("idle", self._limits.idle_s)
            if self._take is not None and self._error is None:
                self._offer(self._take)
                return
        self._wake()

    def _pass_whole(self, data: bytes, take: Take) -> bool:
        """Offer one whole chunk, as a stream's events come; whether `data` is one.

        The parser is spared it, and stands after it where it stood before.
        """
        line = _SIZE_LINES.get(len(data))
        if line is None or not (data.startswith(line) and data.endswith(b"\r\n")):
            return False
        self._deadline = self._now() + self._limits.idle_s
        chunk = data[len(line) : -2]
        if not take(chunk, data):
            self.pass_to(None, None)
            self._chunks.append(chunk)
            self._buffered = len(chunk)
            self._wake()
        return True

    def _expects_data(self) -> bool:
        return self._busy and not self._complete

    def _broken(self, what: str) -> UpstreamError:
        if self._head_done:
            return UpstreamAborted(f"upstream {self._name}: the answer broke off: {what}")
        return UpstreamBroken(f"upstream {self._name}: the answer is {what}")

    def eof_received(self) -> None:
        return None  # close; connection_lost tells what it means

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._busy and not self._complete and self._error is None:
            self._end_by_close(exc)
        self._write_paused = False
        self._make_room()
        self._wake()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _end_by_close(self, exc: Exception | None) -> None:
        if self._head_done and exc is None and self._until_close():
            self._complete = True
        elif self._head_done:
            self._error = UpstreamAborted(
                f"upstream {self._name}: the connection ended in the middle of the answer"
            )
        elif self._began:
            self._error = UpstreamBroken(
                f"upstream {self._name}: the connection ended within the answer's headers"
            )
        else:
            self._error = ConnectionDied(f"upstream {self._name}: the connection ended without an answer")

    def _until_close(self) -> bool:
        """Whether the answer's length is given by the connection's end (RFC 9112 section 6.3, rule 8)."""
        return not any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._make_room()

    # --- llhttp ---

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep_alive = False  # a second answer behind the first: nobody asked, nobody gets it
        else:
            self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # afterwards it would be a trailer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self.status = self._parser.get_status_code()
        if not 100 <= self.status <= 599:
            self._fail(self._broken(f"of status {self.status}, which HTTP does not have"))
            return
        self._interim = self.status < 200
        if self._interim:
            return
        for name, value in self.headers:
            if name == b"transfer-encoding" and value.lower() != b"chunked":
                self._fail(self._broken("in a transfer coding other than chunked"))
                return
        self._head_done = True
        self._keep_alive = self._parser.should_keep_alive()
        if self._bodiless:
            # llhttp cannot know that a HEAD was asked and waits for the body the headers describe.
            self._keep_alive = False
            self._complete = True

    def on_body(self, data: bytes) -> None:
        if self._complete:
            return
        self._unfinished_bytes = 0
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > _HIGH_WATER_BYTES and not self._read_paused:
            self._read_paused = True
            self._deadline = _NEVER  # not the upstream's fault while we do not read
            self._transport.pause_reading()

    def on_chunk_header(self) -> None:
        self._between_chunks = False

    def on_chunk_complete(self) -> None:
        self._between_chunks = True

    def on_message_complete(self) -> None:
        self._between_chunks = False
        if self._interim:
            self._interim = False
        else:
            self._complete = True
