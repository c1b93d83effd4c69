"""Relaying an answer: its bytes to the client as they come, the exchange to the sink before the last.

Nothing here decides where a request goes or what happens when it fails.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter
from typing import Any

from gateway.capture.body import BodyBuffer
from gateway.errors import ClientGone, UpstreamError
from gateway.proxy.downstream import Downstream
from gateway.proxy.headers import is_event_stream, response_headers
from gateway.proxy.passage import Passage
from gateway.proxy.recording import Recording, payload
from gateway.proxy.upstream.base import UpstreamResponse
from gateway.records import Headers, Sink

_ENCODED_BYTES = 8 * 1024 * 1024


class Relay:
    """`sink` is awaited before an answer's last byte leaves; at most `capture_bytes` of it are kept."""

    def __init__(self, sink: Sink, capture_bytes: int) -> None:
        self._sink = sink
        self.capture_bytes = capture_bytes

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
            recording.response = payload(chunk, self.capture_bytes)
            await self.record(recording, downstream)
            await downstream.respond(status, headers, chunk)
            return
        passage = self.passage(response, recording, downstream.cycle)
        passage.captured.add(chunk)
        if response.ended:
            await self._end(chunk, recording, downstream)
        elif passage.ends_with(chunk):
            if not downstream.started:
                await downstream.begin(status, headers, b"")
            await self.record(recording, downstream)
            await self.end_after_record(chunk, response, downstream)
        else:
            if downstream.started:
                await downstream.send(chunk, more=True)
            else:
                await downstream.begin(status, headers, chunk)
            await self.go_on(passage, response, recording, downstream)

    def passage(self, response: UpstreamResponse, recording: Recording, cycle: Any) -> Passage:
        """For an answer that does not come whole, and its client, whose `cycle` is uvicorn's."""
        room = self.capture_bytes
        if is_encoded(
            response.headers
        ):  # of a compressed body the tail, with its usage, cannot be read alone
            room = max(room, _ENCODED_BYTES)
        recording.response_buffer = captured = BodyBuffer(room)
        return Passage(cycle, captured, is_stream=is_event_stream(response.headers))

    async def go_on(
        self, passage: Passage, response: UpstreamResponse, recording: Recording, downstream: Downstream
    ) -> None:
        """Send the rest of an answer that has begun. Raises as its `read` does."""
        take, lane = passage.take, passage.lane
        while True:
            chunk = await response.pass_on(take, lane)
            passage.captured.add(chunk)
            if response.ended:
                await self._end(chunk, recording, downstream)
                return
            if passage.ends_with(chunk):
                await self.record(recording, downstream)
                await self.end_after_record(chunk, response, downstream)
                return
            await downstream.send(chunk, more=True)

    async def _end(self, chunk: bytes, recording: Recording, downstream: Downstream) -> None:
        await self.record(recording, downstream)
        await downstream.end(chunk)

    async def end_after_record(
        self, chunk: bytes, response: UpstreamResponse, downstream: Downstream
    ) -> None:
        """Send a stream's last event, which is in `chunk`: clients stop reading there, so the row is
        committed before it and not at the end. What an upstream still sends after it is not recorded.
        """
        downstream.watch()  # again: what is still to come may take its time, and nobody may want it
        while not response.ended:
            await downstream.send(chunk, more=True)
            try:
                chunk = await response.read()
            except UpstreamError:
                chunk = b""
                break  # everything that mattered has arrived
        downstream.unwatch()
        await downstream.settle()  # or a client that leaves now cancels what gives the connection back
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


def is_encoded(headers: Headers) -> bool:
    return any(name == b"content-encoding" and value.lower() != b"identity" for name, value in headers)
