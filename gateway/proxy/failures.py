"""The one place where an exchange ends badly: one row, and what the client can still be told."""

from __future__ import annotations

from collections.abc import Callable

from gateway.capture.sse import error_event
from gateway.errors import GatewayError, MethodNotAllowed, SlowClient, UpstreamError
from gateway.proxy.downstream import Downstream
from gateway.proxy.headers import is_event_stream, own_headers
from gateway.proxy.keepalive import EVENT_STREAM
from gateway.proxy.recording import Recording, payload
from gateway.proxy.relay import Relay, is_encoded
from gateway.records import NO_PAYLOAD, Headers


class Failures:
    """`end` an exchange that failed. `error_body` renders our own errors as JSON."""

    def __init__(self, relay: Relay, error_body: Callable[[GatewayError], bytes]) -> None:
        self._relay = relay
        self._error_body = error_body

    async def end(self, error: GatewayError, recording: Recording, downstream: Downstream) -> None:
        """Record the exchange, once, and tell the client what it can still be told."""
        downstream.unwatch()
        if recording.is_recorded:  # and only then did the client stop reading, or do we stop
            await downstream.break_off()
            return
        recording.error = error
        if downstream.started:
            await self._break_off(error, recording, downstream)
            return
        recording.status = error.status
        body = self._error_body(error)
        if not downstream.gone:
            recording.response, recording.response_buffer = payload(body, self._relay.capture_bytes), None
            recording.response_headers = [(b"content-type", b"application/json")]
        await self._relay.commit(recording)
        if downstream.gone:
            return
        if isinstance(error, SlowClient):
            downstream.close_when_answered()
        await downstream.respond(error.status, _error_headers(error, body, recording), body)

    async def _break_off(self, error: GatewayError, recording: Recording, downstream: Downstream) -> None:
        notice = b""
        captured, headers = recording.response_buffer, recording.response_headers
        if not recording.status:
            recording.status = error.status  # only comments have been sent: the answer is this error
            headers = EVENT_STREAM
        # A text can be added to a stream of events, but not inside a compressed one.
        is_plain_stream = is_event_stream(headers) and not is_encoded(headers)
        if isinstance(error, UpstreamError) and is_plain_stream:
            sent = captured.payload() if captured is not None else NO_PAYLOAD
            notice = error_event(self._error_body(error), (sent.tail or sent.head)[-4:])
        await self._relay.commit(recording)
        if notice and not downstream.gone:
            await downstream.send(notice, more=True)
        await downstream.break_off()


def _error_headers(error: GatewayError, body: bytes, recording: Recording) -> Headers:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allow).encode()))
    if error.status == 503:
        headers.append((b"retry-after", b"1"))
    return headers + error.headers + own_headers(recording.trace_id, recording.id)
