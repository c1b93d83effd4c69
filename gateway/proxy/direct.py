"""The short way of most requests: from callback to callback, without a task and without a coroutine.

A request that came whole goes to an upstream that is one plain target, over a connection that is open
already; its answer arrives whole and leaves when its row is committed. Whatever else happens on the way, a
stream, an error, a client that goes away, is not decided here: the call is handed over to a task, and there
is the one place for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Protocol

from gateway.errors import GatewayError
from gateway.proxy.downstream import Downstream, WholeRequest
from gateway.proxy.headers import own_headers, response_headers
from gateway.proxy.recording import Recording, payload
from gateway.proxy.upstream.base import UpstreamRequest
from gateway.proxy.upstream.native import Connection
from gateway.proxy.upstream.pool import NativeTransport
from gateway.proxy.upstreams import Upstream
from gateway.records import Exchange, Headers

_LOOKED_INTO = 429
"""From this status on an answer says something about the upstream or the key."""


class Owner(Protocol):
    """Who started a call, and what becomes of it."""

    record: Callable[[Exchange, Callable[[], None]], None]
    """Hands an exchange to the sink; the function is called once it is committed."""

    def finished(self, call: DirectCall) -> None:
        """Its answer is sent."""
        ...

    def handed_over(self, call: DirectCall, error: Exception | None) -> None:
        """It needs a task from here on, and has failed already where there is an `error`."""
        ...


class DirectCall:
    """One request on its short way. `response` is the connection that carries it."""

    __slots__ = (
        "_capture_bytes", "_owner", "_transport", "body", "recording", "request", "response", "upstream",
        "whole",
    )  # fmt: skip

    def __init__(
        self,
        whole: WholeRequest,
        recording: Recording,
        request: UpstreamRequest,
        upstream: Upstream,
        transport: NativeTransport,
        owner: Owner,
        capture_bytes: int,
    ) -> None:
        self.whole = whole
        self.recording = recording
        self.request = request
        self.upstream = upstream
        self.response: Connection
        self.body = b""
        self._transport = transport
        self._owner = owner
        self._capture_bytes = capture_bytes

    def begin(self, response: Connection) -> None:
        """`response` carries the request from now on."""
        self.response = response
        self.upstream.plain.in_flight += 1
        response.listen(self._event)
        self.whole.connection.on_lost = self._lost

    def _event(self) -> None:
        """Something has arrived, or gone wrong."""
        response = self.response
        if not response.is_whole or response.status >= _LOOKED_INTO:
            self._hand_over()
            return
        recording, status, now = self.recording, response.status, perf_counter()
        recording.status = status
        recording.response_headers = response.headers
        recording.first_byte(now)
        self.body = body = response.rest()
        recording.response = payload(body, self._capture_bytes)
        self.whole.connection.on_lost = self._lost_at_the_end
        self._let_go()
        if self.upstream.plain.is_suspect:
            self.upstream.plain.completed(status)
        recording.finish(now)
        self._owner.record(recording, self._committed)

    def _committed(self) -> None:
        self.whole.connection.on_lost = None
        if self.whole.flow.write_paused:
            self._owner.handed_over(self, None)
            return
        try:
            self.whole.connection.respond(self.whole, self.recording.status, self._headers(), self.body)
        except Exception as error:  # noqa: BLE001 - the sink that calls has others to call
            self._owner.handed_over(self, error)
        else:
            self._owner.finished(self)

    def resume(self) -> Awaitable[Connection]:
        """The answer, when its head has arrived. Raises as `Transport.open` does."""
        return self._transport.resume(self.response, self.request)

    def answer(self, downstream: Downstream) -> Awaitable[None]:
        """Send the answer, whose row is committed, to a client that is slow to take it."""
        return downstream.respond(self.recording.status, self._headers(), self.body)

    def _headers(self) -> Headers:
        recording = self.recording
        own = own_headers(recording.trace_id, recording.id)
        return response_headers(recording.response_headers, recording.status, own)

    def _lost(self) -> None:
        self.whole.disconnected = True  # the server says so of a connection's last request only
        self._hand_over()

    def _lost_at_the_end(self) -> None:
        """The client went away while its answer waits for the commit: the exchange ends by itself."""
        self.whole.disconnected = True

    def _hand_over(self) -> None:
        self.whole.connection.on_lost = None  # until the task looks: a second hand-over would be two tasks
        self.response.listen(None)
        self.upstream.plain.in_flight -= 1
        self._owner.handed_over(self, None)

    def stop(self, error: GatewayError) -> None:
        """End it with `error`, unless all that is missing is its commit."""
        if not self.recording.is_recorded:
            self.whole.connection.on_lost = None
            self._let_go()
            self._owner.handed_over(self, error)

    def _let_go(self) -> None:
        self.upstream.plain.in_flight -= 1
        self.response.let_go()
