"""The facts of one exchange, gathered as it goes and handed over as an `Exchange` when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.capture.body import BodyBuffer
from gateway.errors import GatewayError
from gateway.proxy.incoming import NOTHING_ASKED, Asked
from gateway.records import DEFAULT_KEY_ID, NO_PAYLOAD, Exchange, Headers, Payload


@dataclass(slots=True)
class Recording:
    """One per request. Times are `time.perf_counter()`'s; `started_ns` is since the epoch."""

    id: str
    started_ns: int
    started_at: float
    method: str
    path: str
    request_headers: Headers
    body_limit: int
    trace_id: str
    """The exchange's id until the request has said its own: without one it is a trace by itself."""
    metadata: dict[str, Any] | None = None
    keep_bodies: bool = True
    upstream: str | None = None
    asked: Asked = NOTHING_ASKED
    request: bytes | BodyBuffer = b""
    status: int = 0
    first_byte_at: float | None = None
    response_headers: Headers = field(default_factory=list)
    response: BodyBuffer | None = None
    error: GatewayError | None = None
    is_recorded: bool = False

    def finished(self, at: float) -> Exchange:
        error = self.error
        first_byte = self.first_byte_at
        return Exchange(
            id=self.id,
            key_id=DEFAULT_KEY_ID,
            trace_id=self.trace_id,
            started_at_ms=self.started_ns // 1_000_000,
            latency_ms=(at - self.started_at) * 1000,
            first_byte_ms=None if first_byte is None else (first_byte - self.started_at) * 1000,
            method=self.method,
            path=self.path,
            upstream=self.upstream,
            requested_model=self.asked.model,
            status=self.status,
            error_kind=None if error is None else error.code,
            error_message=None if error is None else error.message,
            keep_bodies=self.keep_bodies,
            body_user=self.asked.user,
            body_metadata=self.asked.metadata,
            metadata=self.metadata,
            request_headers=self.request_headers,
            response_headers=self.response_headers,
            request=self._request_payload(),
            response=self.response.payload() if self.response is not None else NO_PAYLOAD,
        )

    def _request_payload(self) -> Payload:
        if isinstance(self.request, BodyBuffer):
            return self.request.payload()
        if len(self.request) <= self.body_limit:
            return Payload(self.request, b"", len(self.request))
        buffer = BodyBuffer(self.body_limit)
        buffer.add(self.request)
        return buffer.payload()
