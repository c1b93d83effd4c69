"""The proxy: one ASGI request in, one upstream call, the answer out, one exchange to the sink.

Order of a happy request: read head and body, choose the upstream, send, relay what comes back, hand the
exchange to the sink, and only then let the last bytes go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

from starlette.types import Receive, Scope, Send

from gateway.capture.sse import error_event
from gateway.config import schema
from gateway.errors import (
    GatewayError,
    Overloaded,
    ShuttingDown,
    UpstreamBroken,
    UpstreamError,
)
from gateway.providers.paths import model_in_path
from gateway.proxy.attempts import Ask
from gateway.proxy.direct import DirectCall
from gateway.proxy.downstream import Downstream, WholeRequest
from gateway.proxy.failures import Failures
from gateway.proxy.headers import own_headers, without_key
from gateway.proxy.incoming import Asked, Head
from gateway.proxy.keepalive import (
    comments_until,
    error_text,
    is_stream,
    plain_text_only,
    wants_stream,
)
from gateway.proxy.lookup import CachedAttempts, asks_for_cache
from gateway.proxy.passage import Passage
from gateway.proxy.recording import Recording, begin, head_of, payload
from gateway.proxy.relay import Relay
from gateway.proxy.request_body import Body, BodyReader
from gateway.proxy.upstream.base import UpstreamRequest, UpstreamResponse
from gateway.proxy.upstreams import Upstream
from gateway.records import Exchange, Headers
from gateway.routing.plan import Plan
from gateway.routing.retry import retry_after_s
from gateway.routing.table import RouteTable

logger = logging.getLogger(__name__)

INTERNAL_MESSAGE = "something went wrong inside the gateway; its log has more"

Requested = Callable[[Mapping[bytes, bytes], Callable[[str | None], Plan], str | None], Plan]
"""The plan that a request asks for with its headers; given the plans of models, and its own model."""

Told = Callable[[Plan, Exchange], Headers]
"""What the answer's headers tell of the way it took through its plan."""


class Forwarder:
    """ASGI application for everything under /v1 that goes upstream.

    `routes` gives the plan for a model, `requested` the plan that a request asks for itself; `attempts` tries
    plans that are more than one plain target. `relay` hands the exchange to the sink before an answer's last
    byte leaves, `record_then` hands it over and calls back. `error_body` renders our own errors as JSON.
    """

    def __init__(
        self,
        *,
        routes: RouteTable,
        requested: Requested,
        told: Told,
        status_of: Callable[[GatewayError], int],
        plain: Mapping[Plan, Upstream],
        attempts: CachedAttempts,
        relay: Relay,
        record_then: Callable[[Exchange, Callable[[], None]], None],
        error_body: Callable[[GatewayError], bytes],
        server: schema.Server,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.in_flight = 0
        self.refused = 0
        self._idle: asyncio.Event | None = None
        self._routes = routes
        self._requested = requested
        self._told = told
        self._status_of = status_of
        self._plain = plain
        self._attempts = attempts
        self._relay = relay
        self.record = record_then
        self._calls: set[DirectCall] = set()
        self._error_body = error_body
        self._failures = Failures(relay, error_body)
        self._server = server
        self._bodies = BodyReader(server, relay.capture_bytes)
        self._clock_ns = clock_ns

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        headers, holder = scope["headers"], scope.get("gateway.key")
        recording = begin(scope["method"], scope["path"], headers, holder, self._clock_ns())
        cycle = scope.pop("gateway.cycle")  # which has the scope: left there, the two would keep each other
        is_head = recording.method == "HEAD"
        downstream = Downstream(scope["gateway.connection"], cycle, self._server, is_head=is_head)
        downstream.watch()
        self.in_flight += 1
        await self._guard(self._serve(scope, recording, downstream), recording, downstream)

    def at_once(self, whole: WholeRequest) -> None:
        """Serve a POST of JSON that has arrived whole; without a task, as long as all goes well."""
        recording = begin("POST", whole.path, whole.headers, whole.holder, self._clock_ns())
        self.in_flight += 1
        try:
            self._begin_at_once(whole, recording)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is told and recorded where all are
            self._in_a_task(whole, recording, partial(_fail_with, error))

    async def wait_idle(self) -> None:
        """Return when no request is in flight. Those without a task, which nobody could cancel, end now."""
        for call in list(self._calls):
            call.stop(_shutting_down())
        if self.in_flight:
            self._idle = asyncio.Event()
            await self._idle.wait()

    # --- every request ---

    async def _guard(self, work: Awaitable[None], recording: Recording, downstream: Downstream) -> None:
        """Whatever happens in `work`, the exchange ends in one row, and the client is told what it can be."""
        try:
            await work
        except asyncio.CancelledError:
            await self._failures.end(
                downstream.take_interruption() or _shutting_down(), recording, downstream
            )
        except GatewayError as error:
            await downstream.settle()
            await self._failures.end(error, recording, downstream)
        except Exception:
            await downstream.settle()
            logger.exception("request %s: %s %s failed", recording.id, recording.method, recording.path)
            await self._failures.end(GatewayError(INTERNAL_MESSAGE), recording, downstream)
        finally:
            downstream.unwatch()
            self._left()

    def _left(self) -> None:
        self.in_flight -= 1
        if self._idle is not None and not self.in_flight:
            self._idle.set()

    def _refuse(self, recording: Recording) -> None:
        """Answer at once what would only make everybody wait longer. Raises Overloaded."""
        self.refused += 1
        head_of(recording)
        raise Overloaded(
            f"{self._server.max_in_flight} requests are in flight already (server.max_in_flight); "
            "try again in a moment"
        )

    async def _serve(self, scope: Scope, recording: Recording, downstream: Downstream) -> None:
        if self.in_flight > self._server.max_in_flight:
            self._refuse(recording)
        head = head_of(recording)
        body, asked = await self._bodies.read(head, recording, downstream)
        plan = self._plan(head, asked, recording)
        headers = without_key(scope["headers"], scope.get("gateway.key"))
        upstream = self._plain_upstream(head, plan)
        raw_path, query = scope["raw_path"], scope["query_string"]
        if upstream is None:
            ask = Ask(recording, downstream, head, body, asked.params, raw_path, query, headers)
            await self._serve_by_plan(ask, plan)
            return
        del asked  # not to be kept for as long as a stream takes
        request = _plain_request(upstream, recording, raw_path, query, headers, body, head.body_bytes)
        if upstream.drains:
            downstream.keep_going_without_client()
        await self._serve_plainly(upstream.transport.open(request), upstream, recording, downstream)

    def _plan(self, head: Head, asked: Asked, recording: Recording) -> Plan:
        """The plan for a request whose body asks for that. Raises NoRoute, and what a request's own may."""
        model, recording.body_user, recording.body_metadata, _ = asked
        if model is None:
            model = model_in_path(recording.path)
        recording.requested_model = model
        choose = self._routes.choose
        return choose(model) if head.asking is None else self._requested(head.asking, choose, model)

    def _plain_upstream(self, head: Head, plan: Plan) -> Upstream | None:
        """The upstream of a plan that is one plain target, for a request that asks for nothing else."""
        return None if asks_for_cache(head.asking) else self._plain.get(plan)

    async def _serve_plainly(
        self,
        opening: Awaitable[UpstreamResponse],
        upstream: Upstream,
        recording: Recording,
        downstream: Downstream,
        passage: Passage | None = None,
    ) -> None:
        """`passage` is that of an answer which has begun."""
        state = upstream.plain
        state.in_flight += 1
        try:
            response = await opening
            try:
                if response.status >= 429:
                    after_s = retry_after_s(response.headers, self._clock_ns() / 1e9)
                    state.answered(response.status, perf_counter(), after_s)
                if passage is None:
                    own = own_headers(recording.trace_id, recording.id)
                    await self._relay.answer(response, recording, downstream, own)
                else:
                    await self._relay.go_on(passage, response, recording, downstream)
                if state.is_suspect:
                    state.completed(response.status)
            finally:
                await response.close()
        except UpstreamError as error:
            state.failed(error, perf_counter())
            raise
        finally:
            state.in_flight -= 1

    # --- the short way ---

    def _begin_at_once(self, whole: WholeRequest, recording: Recording) -> None:
        if self.in_flight > self._server.max_in_flight:
            self._refuse(recording)
        head = head_of(recording)
        body = whole.body
        asked = self._bodies.read_whole(head, recording, body)
        plan = self._plan(head, asked, recording)
        headers = without_key(whole.headers, whole.holder)
        upstream = self._plain_upstream(head, plan)
        if upstream is None:

            def by_plan(downstream: Downstream) -> Awaitable[None]:
                ask = Ask(recording, downstream, head, body, asked.params, whole.raw_path, b"", headers)
                return self._serve_by_plan(ask, plan)

            self._in_a_task(whole, recording, by_plan)
            return
        request = _plain_request(upstream, recording, whole.raw_path, b"", headers, body, head.body_bytes)
        transport = upstream.direct
        response = None if transport is None else transport.begin(request)
        if transport is None or response is None:
            self._open_in_a_task(whole, recording, upstream, lambda: upstream.transport.open(request))
            return
        call = DirectCall(whole, recording, request, upstream, transport, self, self._relay)
        self._calls.add(call)
        call.begin(response)

    def finished(self, call: DirectCall) -> None:
        self._calls.discard(call)
        self._left()

    def handed_over(self, call: DirectCall, error: Exception | None) -> None:
        self._calls.discard(call)
        whole, recording, upstream = call.whole, call.recording, call.upstream
        if error is not None:
            self._in_a_task(whole, recording, partial(_fail_with, error))
        elif recording.is_recorded:
            self._in_a_task(whole, recording, call.end)
        else:
            self._open_in_a_task(whole, recording, upstream, call.resume, call.passage)

    def _open_in_a_task(
        self,
        whole: WholeRequest,
        recording: Recording,
        upstream: Upstream,
        opening: Callable[[], Awaitable[UpstreamResponse]],
        passage: Passage | None = None,
    ) -> None:
        def serve(downstream: Downstream) -> Awaitable[None]:
            if upstream.drains:
                downstream.keep_going_without_client()
            return self._serve_plainly(opening(), upstream, recording, downstream, passage)

        self._in_a_task(whole, recording, serve)

    def _in_a_task(
        self, whole: WholeRequest, recording: Recording, serve: Callable[[Downstream], Awaitable[None]]
    ) -> None:
        async def app(*_: Any) -> None:
            downstream = Downstream(whole.connection, whole, self._server)
            work = serve(downstream)
            downstream.watch()
            await self._guard(work, recording, downstream)

        whole.connection.run(whole, app)

    # --- by a plan ---

    async def _serve_by_plan(self, ask: Ask, plan: Plan) -> None:
        recording, downstream = ask.recording, ask.downstream
        own = own_headers(recording.trace_id, recording.id)
        try:
            if plan.sse_keepalive_s is not None and wants_stream(ask.params):
                ask.client_headers = plain_text_only(ask.client_headers)
                opening = self._attempts.open(ask, plan)
                response = await comments_until(opening, plan.sse_keepalive_s, downstream, own)
            else:
                response = await self._attempts.open(ask, plan)
            try:
                if downstream.started and not is_stream(response):
                    await self._end_comments(response, recording, downstream)
                else:
                    own += self._told(plan, recording)
                    await self._relay.answer(response, recording, downstream, own)
                ask.completed(response.status)
            finally:
                await response.close()
        except UpstreamError as error:
            ask.broke_off(error, perf_counter())
            error.headers = self._told(plan, recording)
            if ask.head.asking is not None:
                error.status = self._status_of(error)
            raise
        finally:
            ask.let_go()

    async def _end_comments(
        self, response: UpstreamResponse, recording: Recording, downstream: Downstream
    ) -> None:
        """A client that was promised a stream gets what came instead as an `error` event."""
        recording.status, recording.response_headers = response.status, response.headers
        said = await error_text(response)
        recording.response = payload(said, self._relay.capture_bytes)
        if response.status < 400:
            broken = UpstreamBroken(
                f"upstream {recording.upstream}: the answer is no stream of events, as was asked for; "
                "remove sse_keepalive_s for it"
            )
            recording.error, said = broken, self._error_body(broken)
        await self._relay.record(recording, downstream)
        await downstream.send(error_event(said, b""), more=True)
        await downstream.break_off()


def _plain_request(
    upstream: Upstream,
    recording: Recording,
    raw_path: bytes,
    query: bytes,
    headers: Headers,
    body: Body,
    body_bytes: int | None,
) -> UpstreamRequest:
    recording.upstream = upstream.name
    return UpstreamRequest(
        recording.method,
        upstream.paths(raw_path, query, model=recording.requested_model),
        upstream.headers(recording.path, 0, headers),
        body,
        body_bytes,
        recording.sent,
    )


async def _fail_with(error: Exception, _: Downstream) -> None:
    raise error


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the gateway is shutting down; send it again")
