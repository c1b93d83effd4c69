"""Relaying an answer: its bytes to the client as they come, the exchange to the sink before the last.

Nothing here decides where a request goes or what happens when it fails.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter

from gateway.capture.body import BodyBuffer
from gateway.capture.sse import LastEvent
from gateway.errors import ClientGone, UpstreamError
from gateway.proxy.downstream import Downstream
from gateway.proxy.headers import response_headers
from gateway.proxy.recording import Recording, payload
from gateway.proxy.upstream.base import Take, UpstreamResponse
from gateway.records import Headers, Sink

_EVENT_STREAM = b"text/event-stream"


class Relay:
    """`sink` is awaited before an answer's last byte leaves; at most `capture_bytes` of it are kept."""

    def __init__(self, sink: Sink, capture_bytes: int) -> None:
        self._sink = sink
        self._capture_bytes = capture_bytes

    async def answer(
        self, response: UpstreamResponse, recording: Recording, downstream: Downstream, own: Headers
    ) -> None:
        """Send `response` on, followed by our `own` header fields. Raises as its `read` does."""
        status = recording.status = response.status
        recording.response_headers = response.headers
        headers = response_headers(response.headers, status, own)
        if not response.ready and not downstream.started:
            await downstream.begin(status, headers, b"")
        chunk = await response.read()
        recording.first_byte(perf_counter())
        if response.ended and not downstream.started:
            recording.response = payload(chunk, self._capture_bytes)
            await self.record(recording, downstream)
            await downstream.respond(status, headers, chunk)
            return
        recording.response_buffer = captured = BodyBuffer(self._capture_bytes)
        captured.add(chunk)
        last_event = LastEvent() if is_event_stream(response.headers) else None
        take: Take | None = None
        while not response.ended:
            if last_event is not None and last_event.feed(chunk):
                if not downstream.started:
                    await downstream.begin(status, headers, b"")
                await self._after_last_event(chunk, response, recording, downstream)
                return
            if downstream.started:
                await downstream.send(chunk, more=True)
            else:
                await downstream.begin(status, headers, chunk)
            take = take or _Passage(downstream, captured, last_event).take
            chunk = await response.pass_on(take)
            captured.add(chunk)
        await self.record(recording, downstream)
        await downstream.end(chunk)

    async def _after_last_event(
        self, chunk: bytes, response: UpstreamResponse, recording: Recording, downstream: Downstream
    ) -> None:
        """Clients stop reading at the last event, so the row is committed before it, not at the end.

        What an upstream still sends after it is relayed and not recorded.
        """
        await self.record(recording, downstream)
        while not response.ended:
            await downstream.send(chunk, more=True)
            try:
                chunk = await response.read()
            except UpstreamError:
                chunk = b""
                break  # everything that mattered has arrived
        await downstream.end(chunk)

    def record(self, recording: Recording, downstream: Downstream) -> Awaitable[None]:
        """Hand the exchange over. From here on the client's going away changes nothing any more."""
        downstream.unwatch()
        if downstream.gone and recording.error is None:
            recording.error = ClientGone("the client went away; the answer was read to its end")
        return self.commit(recording)

    def commit(self, recording: Recording) -> Awaitable[None]:
        recording.finish(perf_counter())
        return self._sink(recording)


class _Passage:
    """Sends a started answer's chunks on: what `take` costs, each token costs.

    Slots and no closure, since the kernel's work between two chunks leaves nothing of this in the cache.
    """

    __slots__ = ("_captured", "_cycle", "_flow", "_last_event", "_write")

    def __init__(self, downstream: Downstream, captured: BodyBuffer, last_event: LastEvent | None) -> None:
        self._cycle = downstream.cycle
        self._flow = downstream.flow
        self._captured = captured
        self._last_event = last_event
        self._write = self._cycle.transport.write

    def take(self, chunk: bytes, framed: bytes | None = None) -> bool:
        # A stream's last event waits for the commit, so it is declined and comes back to `answer`.
        if (
            self._flow.write_paused
            or self._cycle.disconnected
            or (self._last_event is not None and self._last_event.feed(chunk))
        ):
            return False
        self._captured.add(chunk)
        write = self._write  # a name, since CPython is slow to call what is in a slot as if it were a method
        if self._cycle.chunked_encoding:
            write(framed or b"%x\r\n%b\r\n" % (len(chunk), chunk))
        else:
            self._cycle.expected_content_length -= len(chunk)
            write(chunk)
        return True


def is_event_stream(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"content-type":
            return value.lower().startswith(_EVENT_STREAM)
    return False


def is_encoded(headers: Headers) -> bool:
    return any(name == b"content-encoding" and value.lower() != b"identity" for name, value in headers)
