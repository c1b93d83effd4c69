"""The proxy: one ASGI request in, one upstream call, the answer out, one exchange to the sink.

Order of a happy request: read head and body, choose the upstream, send, relay what comes back, hand the
exchange to the sink, and only then let the last bytes go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

from starlette.types import Receive, Scope, Send

from gateway.capture.body import BodyBuffer
from gateway.capture.sse import LastEvent, error_event
from gateway.config import schema
from gateway.errors import (
    ClientGone,
    GatewayError,
    InvalidTraceId,
    MethodNotAllowed,
    ShuttingDown,
    SlowClient,
    UpstreamError,
)
from gateway.ids import new_id
from gateway.proxy.downstream import Downstream, check_size
from gateway.proxy.headers import RequestFilter, own_headers, response_headers
from gateway.proxy.incoming import (
    JSON_PATHS,
    NOTHING_ASKED,
    Asked,
    Head,
    form_model,
    read_head,
    read_json,
    select_trace_id,
    upstream_target,
)
from gateway.proxy.recording import Recording, payload
from gateway.proxy.upstream.base import Transport, UpstreamRequest, UpstreamResponse
from gateway.records import Headers, Sink
from gateway.routing.table import RouteTable

logger = logging.getLogger(__name__)

INTERNAL_MESSAGE = "something went wrong inside the gateway; its log has more"
_MIN_CAPTURE_BYTES = 64 * 1024
_EVENT_STREAM = b"text/event-stream"


@dataclass(slots=True, frozen=True)
class Upstream:
    """An upstream, ready to use. `base_path` is its base URL's path, without a slash at the end."""

    name: str
    base_path: bytes
    transport: Transport
    request_headers: RequestFilter
    drains: bool


class Forwarder:
    """ASGI application for everything under /v1 that goes upstream.

    `sink` is awaited before an answer's last byte leaves. `error_body` renders our own errors as JSON.
    """

    def __init__(
        self,
        *,
        upstreams: Mapping[str, Upstream],
        routes: RouteTable,
        sink: Sink,
        error_body: Callable[[GatewayError], bytes],
        server: schema.Server,
        capture: schema.Capture,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.in_flight = 0
        self._idle: asyncio.Event | None = None
        self._upstreams = upstreams
        self._routes = routes
        self._sink = sink
        self._error_body = error_body
        self._server = server
        self._capture_bytes = max(capture.max_body_bytes, _MIN_CAPTURE_BYTES)
        self._clock_ns = clock_ns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        now_ns = self._clock_ns()
        exchange_id = new_id(now_ns)
        recording = Recording(
            exchange_id,
            exchange_id,  # of the trace, too, until the request has said its own
            now_ns // 1_000_000,
            scope["method"],
            scope["path"],
            scope["headers"],
            started_at=perf_counter(),
        )
        holder = scope.get("gateway.key")
        if holder is not None:
            recording.key_id = holder.key_id
        downstream = Downstream(scope, receive, send, self._server)
        downstream.watch()
        self.in_flight += 1
        try:
            await self._serve(scope, recording, downstream)
        except asyncio.CancelledError:
            reason = downstream.take_interruption() or ShuttingDown(
                "the gateway is shutting down; send it again"
            )
            await self._fail(reason, recording, downstream)
        except GatewayError as error:
            await self._fail(error, recording, downstream)
        except Exception:
            logger.exception("request %s: %s %s failed", recording.id, recording.method, recording.path)
            await self._fail(GatewayError(INTERNAL_MESSAGE), recording, downstream)
        finally:
            downstream.unwatch()
            self.in_flight -= 1
            if self._idle is not None and not self.in_flight:
                self._idle.set()

    async def wait_idle(self) -> None:
        """Return when no request is in flight."""
        if self.in_flight:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def _serve(self, scope: Scope, recording: Recording, downstream: Downstream) -> None:
        head = self._read_head(recording)
        read_body = self._json_body if head.is_json else self._other_body
        body, asked = await read_body(head, recording, downstream)
        recording.requested_model, recording.body_user, recording.body_metadata = asked
        upstream = self._upstreams[self._routes.choose(asked.model)]
        recording.upstream = upstream.name
        if upstream.drains:
            downstream.keep_going_without_client()
        request = UpstreamRequest(
            method=recording.method,
            target=upstream_target(upstream.base_path, scope["raw_path"], scope["query_string"]),
            headers=_without_key(upstream.request_headers(recording.request_headers), scope),
            body=body,
            body_bytes=head.body_bytes,
            on_sent=recording.sent,
        )
        response = await upstream.transport.open(request)
        try:
            await self._relay(response, recording, downstream)
        finally:
            await response.close()

    def _read_head(self, recording: Recording) -> Head:
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

    # --- the request's body ---

    async def _other_body(
        self, head: Head, recording: Recording, downstream: Downstream
    ) -> tuple[bytes | AsyncIterator[bytes] | None, Asked]:
        if not head.has_body:
            return None, NOTHING_ASKED
        limit, setting = self._server.max_upload_bytes, "server.max_upload_bytes"
        check_size(head.body_bytes or 0, limit, setting)
        start, more = await downstream.start_of_body(self._server.collect_upload_bytes)
        check_size(len(start), limit, setting)
        asked = Asked(model=form_model(start))
        if not more:
            recording.request = payload(start, self._capture_bytes)
            return start, asked
        recording.request_buffer = buffer = BodyBuffer(self._capture_bytes)
        rest = downstream.rest_of_body(len(start), limit, setting)
        return _recorded(start, rest, buffer), asked

    async def _json_body(
        self, head: Head, recording: Recording, downstream: Downstream
    ) -> tuple[bytes | AsyncIterator[bytes] | None, Asked]:
        limit, setting = self._server.max_json_body_bytes, "server.max_json_body_bytes"
        check_size(head.body_bytes or 0, limit, setting)
        body = downstream.body_that_came() if head.has_body else b""
        if body is None:
            body = await downstream.body(limit, setting)
        recording.request = payload(body, self._capture_bytes)
        if head.is_encoded:
            return body, NOTHING_ASKED
        required = recording.method == "POST" and recording.path in JSON_PATHS
        return body, read_json(body, required=required)

    # --- the answer ---

    async def _relay(self, response: UpstreamResponse, recording: Recording, downstream: Downstream) -> None:
        status = recording.status = response.status
        recording.response_headers = response.headers
        headers = response_headers(response.headers, status, own_headers(recording.trace_id, recording.id))
        if not response.ready:
            await downstream.start(status, headers)
        chunk = await response.read()
        recording.first_byte(perf_counter())
        if response.ended and not downstream.started:
            recording.response = payload(chunk, self._capture_bytes)
            await self._record(recording, downstream)
            await downstream.respond(status, headers, chunk)
            return
        recording.response_buffer = captured = BodyBuffer(self._capture_bytes)
        captured.add(chunk)
        last_event = LastEvent() if _is_event_stream(response.headers) else None

        send_now, cycle = downstream.writes_chunks()

        def take(chunk: bytes) -> bool:
            # A stream's last event waits for the commit, so it is declined and comes back below.
            if downstream.is_stalled or (last_event is not None and last_event.feed(chunk)):
                return False
            captured.add(chunk)
            send_now(cycle, chunk)
            return True

        while not response.ended:
            if not downstream.started:
                await downstream.start(status, headers, body_follows=last_event is None)
            if last_event is not None and last_event.feed(chunk):
                await self._relay_after_last_event(chunk, response, recording, downstream)
                return
            await downstream.send(chunk, more=True)
            chunk = await response.pass_on(take)
            captured.add(chunk)
        await self._record(recording, downstream)
        await downstream.send(chunk, more=False)

    async def _relay_after_last_event(
        self, chunk: bytes, response: UpstreamResponse, recording: Recording, downstream: Downstream
    ) -> None:
        """Clients stop reading at the last event, so the row is committed before it, not at the end.

        What an upstream still sends after it is relayed and not recorded.
        """
        await self._record(recording, downstream)
        while chunk:
            await downstream.send(chunk, more=True)
            try:
                chunk = await response.read()
            except UpstreamError:
                break  # everything that mattered has arrived
        await downstream.send(b"", more=False)

    def _record(self, recording: Recording, downstream: Downstream) -> Awaitable[None]:
        """Hand the exchange over. From here on the client's going away changes nothing any more."""
        downstream.unwatch()
        if downstream.gone and recording.error is None:
            recording.error = ClientGone("the client went away; the answer was read to its end")
        return self._commit(recording)

    def _commit(self, recording: Recording) -> Awaitable[None]:
        recording.finish(perf_counter())
        return self._sink(recording)

    # --- failures ---

    async def _fail(self, error: GatewayError, recording: Recording, downstream: Downstream) -> None:
        """The one place where an exchange ends badly: one row, and what the client can still be told."""
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
            recording.response, recording.response_buffer = payload(body, self._capture_bytes), None
            recording.response_headers = [(b"content-type", b"application/json")]
        await self._commit(recording)
        if downstream.gone:
            return
        await downstream.start(error.status, _error_headers(error, body, recording), body_follows=True)
        await downstream.send(body, more=False)

    async def _break_off(self, error: GatewayError, recording: Recording, downstream: Downstream) -> None:
        notice = b""
        captured, headers = recording.response_buffer, recording.response_headers
        # A text can be added to a stream of events, but not inside a compressed one.
        is_plain_stream = _is_event_stream(headers) and not _is_encoded(headers)
        if captured is not None and isinstance(error, UpstreamError) and is_plain_stream:
            sent = captured.payload()
            notice = error_event(self._error_body(error), (sent.tail or sent.head)[-4:])
        await self._commit(recording)
        if notice and not downstream.gone:
            await downstream.send(notice, more=True)
        await downstream.break_off()


async def _recorded(start: bytes, rest: AsyncIterator[bytes], buffer: BodyBuffer) -> AsyncIterator[bytes]:
    """The body in its pieces, each kept for the record as it passes."""
    buffer.add(start)
    yield start
    async for piece in rest:
        buffer.add(piece)
        yield piece


def _without_key(headers: Headers, scope: Scope) -> Headers:
    """A key of the gateway stays here, where an upstream's own credential has not replaced it already."""
    holder = scope.get("gateway.key")
    if holder is None:
        return headers
    sent = dict(scope["headers"])[holder.header]
    return [field for field in headers if field != (holder.header, sent)]


def _is_event_stream(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"content-type":
            return value.lower().startswith(_EVENT_STREAM)
    return False


def _is_encoded(headers: Headers) -> bool:
    return any(name == b"content-encoding" for name, _ in headers)


def _error_headers(error: GatewayError, body: bytes, recording: Recording) -> Headers:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allow).encode()))
    if error.status == 503:
        headers.append((b"retry-after", b"1"))
    if isinstance(error, SlowClient):
        headers.append((b"connection", b"close"))
    return headers + own_headers(recording.trace_id, recording.id)
