"""The facts of one exchange, gathered as it goes: the `Exchange` that the sink gets, and what fills it."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from gateway.capture.body import BodyBuffer
from gateway.errors import GatewayError, InvalidTraceId
from gateway.ids import new_id
from gateway.proxy.headers import KeyHolder
from gateway.proxy.incoming import Head, read_head, select_trace_id
from gateway.records import DEFAULT_KEY_ID, Exchange, Headers, Payload


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


def begin(method: str, path: str, headers: Headers, holder: KeyHolder | None, now_ns: int) -> Recording:
    """The recording of a request that came in at `now_ns` since the epoch, from the holder of a key."""
    exchange_id = new_id(now_ns)
    return Recording(
        exchange_id,
        exchange_id,  # of the trace, too, until the request has said its own
        now_ns // 1_000_000,
        method,
        path,
        headers,
        DEFAULT_KEY_ID if holder is None else holder.key_id,
        started_at=perf_counter(),
    )


def head_of(recording: Recording) -> Head:
    """What the request's head asks of us, its part of the recording filled in. Raises as `read_head` does."""
    try:
        head = read_head(recording.method, recording.path, recording.request_headers)
    except GatewayError as error:
        if not isinstance(error, InvalidTraceId):  # a refused request is recorded, too
            recording.trace_id = select_trace_id(dict(recording.request_headers)) or recording.id
        raise
    recording.trace_id = head.trace_id or recording.id
    recording.metadata = head.metadata
    recording.tags = head.tags
    recording.keep_bodies = head.keep_bodies
    return head


def payload(body: bytes, limit: int) -> Payload:
    """A whole body as it is recorded: at most `limit` bytes of it."""
    if len(body) <= limit:
        return Payload(body, b"", len(body))
    buffer = BodyBuffer(limit)
    buffer.add(body)
    return buffer.payload()
