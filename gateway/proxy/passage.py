"""The chunks of an answer that has begun, on their way to the client and into the record."""

from __future__ import annotations

from typing import Any

from gateway.capture.body import BodyBuffer
from gateway.capture.sse import LastEvent
from gateway.proxy.downstream import Flow


class Passage:
    """Sends chunks on and keeps them: what `take` costs, each token costs.

    `cycle` is uvicorn's state of the request and its response. A client stops reading at the last event of a
    stream (`is_stream`), so that event is declined and waits for the commit.

    As a `lane` it says what may go without being taken: while `events` is between two events, `cycle` and
    `flow` have a client that takes what it is sent, and `framed` has fewer than MAX_FRAMED, a chunk that is
    one event of JSON in one line may go to `write` and to `framed` as it came, framed by HTTP/1.1.
    """

    # Slots and no closure, since the kernel's work between two chunks leaves nothing of this in the cache.
    __slots__ = ("_is_stream", "captured", "cycle", "events", "flow", "framed", "is_over", "write")

    def __init__(self, cycle: Any, captured: BodyBuffer, *, is_stream: bool) -> None:
        self.cycle = cycle
        self.flow: Flow = cycle.flow
        self.write = cycle.transport.write
        self.framed = captured.framed
        self.captured = captured
        self._is_stream = is_stream
        self.events = LastEvent()
        self.is_over = False
        """Whether the last event has come."""

    @property
    def lane(self) -> Passage | None:
        """Itself, where the client is sent chunks."""
        return self if self._is_stream and self.cycle.chunked_encoding else None

    def take(self, chunk: bytes, framed: bytes | None = None) -> bool:
        """See `gateway.proxy.upstream.base.Take`."""
        if self.flow.write_paused or self.cycle.disconnected or self.ends_with(chunk):
            return False
        self.captured.add(chunk)
        write = self.write  # a name, since CPython is slow to call what is in a slot as if it were a method
        if self.cycle.chunked_encoding:
            write(framed or b"%x\r\n%b\r\n" % (len(chunk), chunk))
        else:
            self.cycle.expected_content_length -= len(chunk)
            write(chunk)
        return True

    def ends_with(self, chunk: bytes) -> bool:
        """Whether `chunk`, the next one, completes the last event."""
        if self._is_stream and not self.is_over:
            self.is_over = self.events.feed(chunk)
        return self.is_over
