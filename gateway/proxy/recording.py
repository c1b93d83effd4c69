"""The facts of one exchange, gathered as it goes: the `Exchange` that the sink gets, and what fills it."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from gateway.capture.body import BodyBuffer
from gateway.errors import GatewayError
from gateway.records import Exchange, Payload


@dataclass(slots=True)
class Recording(Exchange):
    """One per request. `started_at` is `time.perf_counter()`'s.

    A body is set as a whole (`request`, `response`) or collected in a buffer, which then has the last word.
    """

    started_at: float = 0.0
    request_buffer: BodyBuffer | None = None
    response_buffer: BodyBuffer | None = None
    error: GatewayError | None = None
    is_recorded: bool = False

    def sent(self) -> None:
        self.queue_ms = (perf_counter() - self.started_at) * 1000

    def first_byte(self, at: float) -> None:
        self.first_byte_ms = (at - self.started_at) * 1000

    def finish(self, at: float) -> None:
        """Complete the exchange. Nothing is recorded of it afterwards."""
        self.is_recorded = True
        self.latency_ms = (at - self.started_at) * 1000
        if self.error is not None:
            self.error_kind, self.error_message = self.error.code, self.error.message
        if self.request_buffer is not None:
            self.request, self.request_buffer = self.request_buffer.payload(), None
        if self.response_buffer is not None:
            self.response, self.response_buffer = self.response_buffer.payload(), None


def payload(body: bytes, limit: int) -> Payload:
    """A whole body as it is recorded: at most `limit` bytes of it."""
    if len(body) <= limit:
        return Payload(body, b"", len(body))
    buffer = BodyBuffer(limit)
    buffer.add(body)
    return buffer.payload()
