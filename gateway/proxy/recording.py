"""The facts of one exchange, gathered as it goes and handed over as an `Exchange` when it ends."""

from __future__ import annotations

from typing import Any

from gateway.capture.body import BodyBuffer
from gateway.errors import GatewayError
from gateway.records import DEFAULT_KEY_ID, NO_PAYLOAD, Exchange, Headers, Payload


class Recording:
    """One per request. Times are `time.perf_counter()`'s; `started_ns` is since the epoch."""

    __slots__ = (
        "asked_metadata", "body_limit", "error", "first_byte_at", "id", "keep_bodies", "metadata", "method", "model", "path",
        "recorded", "request", "request_headers", "response", "response_headers", "started_at", "started_ns", "status", "trace_id",
        "upstream", "user",
    )  # fmt: skip

    def __init__(
        self, *, id: str, trace_id: str, started_ns: int, started_at: float, method: str, path: str, headers: Headers
    ) -> None:  # fmt: skip
        self.id = id
        self.trace_id = trace_id
        self.started_ns = started_ns
        self.started_at = started_at
        self.method = method
        self.path = path
        self.request_headers = headers
        self.request: bytes | BodyBuffer = b""
        self.response: BodyBuffer | None = None
        self.response_headers: Headers = []
        self.status = 0
        self.first_byte_at: float | None = None
        self.upstream: str | None = None
        self.model: str | None = None
        self.user: str | None = None
        self.asked_metadata: Any = None
        self.metadata: dict[str, Any] | None = None
        self.keep_bodies = True
        self.error: GatewayError | None = None
        self.body_limit = 0
        self.recorded = False

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
            requested_model=self.model,
            status=self.status,
            error_kind=None if error is None else error.code,
            error_message=None if error is None else error.message,
            keep_bodies=self.keep_bodies,
            body_user=self.user,
            body_metadata=self.asked_metadata,
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
