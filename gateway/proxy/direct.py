"""The short way of most requests: from callback to callback, without a task and without a coroutine.

A request that came whole goes to an upstream that is one plain target, over a connection that is open
already. Its answer arrives whole and leaves when its row is committed, or it is sent on as it comes and only
its end waits for that. Whatever else happens on the way, an error, a client that goes away or is slow, is not
decided here: the call is handed over to a task, and there is the one place for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Protocol

from gateway.errors import GatewayError
from gateway.proxy.downstream import Downstream, WholeRequest
from gateway.proxy.headers import own_headers, response_headers
from gateway.proxy.passage import Passage
from gateway.proxy.recording import Recording, payload
from gateway.proxy.relay import Relay
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
        "_end", "_is_free", "_owner", "_relay", "_transport", "passage", "recording", "request", "response",
        "upstream", "whole",
    )  # fmt: skip

    def __init__(
        self,
        whole: WholeRequest,
        recording: Recording,
        request: UpstreamRequest,
        upstream: Upstream,
        transport: NativeTransport,
        owner: Owner,
        relay: Relay,
    ) -> None:
        self.whole = whole
        self.recording = recording
        self.request = request
        self.upstream = upstream
        self.response: Connection
        self.passage: Passage | None = None
        """Of an answer that is sent on as it comes; a task is given it once its first byte has been."""
        self._end = b""  # all of the body or the last of it: what waits for the commit
        self._is_free = False  # of the connection, which it let go or handed over
        self._transport = transport
        self._owner = owner
        self._relay = relay

    def begin(self, response: Connection) -> None:
        """`response` carries the request from now on."""
        self.response = response
        self.upstream.plain.in_flight += 1
        response.listen(self._event)
        self.whole.connection.on_lost = self._hand_over

    # --- the answer ---

    def _event(self) -> None:
        """Something has arrived, or gone wrong."""
        response, passage = self.response, self.passage
        try:
            if passage is not None:
                if response.is_whole or passage.is_over:
                    chunk = response.rest()
                    passage.captured.add(chunk)
                    self._record(chunk)
                else:
                    self._hand_over()
            elif not response.is_flowing or response.status >= _LOOKED_INTO:
                self._hand_over()
            elif response.is_whole:
                self._answer_whole()
            elif self.whole.flow.write_paused:
                self._hand_over()
            else:
                self._send_on()
        except Exception as error:  # noqa: BLE001 - not to go to the connection that calls: it is not its fault
            self._fail(error)

    def _answer_whole(self) -> None:
        self._note_head()
        body = self.response.rest()
        self.recording.response = payload(body, self._relay.capture_bytes)
        self._record(body)

    def _send_on(self) -> None:
        """Send what has come of the answer; what comes from now on passes by itself."""
        response, recording = self.response, self.recording
        self._note_head()
        passage = self._relay.passage(response, recording, self.whole)
        self.passage = passage
        chunk = response.rest()
        if not chunk:
            self._send_head(b"")
            response.pass_to(partial(self._take_first, passage), None)
            return
        recording.first_byte(perf_counter())
        passage.captured.add(chunk)
        if passage.ends_with(chunk):
            self._send_head(b"")
            self._record(chunk)
        else:
            self._send_head(chunk)
            response.pass_to(passage.take, passage.lane)

    def _take_first(self, passage: Passage, chunk: bytes, framed: bytes | None = None) -> bool:
        if not passage.take(chunk, framed):
            return False
        self.recording.first_byte(perf_counter())
        self.response.pass_to(passage.take, passage.lane)
        return True

    def _note_head(self) -> None:
        self.recording.status = self.response.status
        self.recording.response_headers = self.response.headers

    def _send_head(self, start: bytes) -> None:
        self.whole.connection.begin_response(self.whole, self.recording.status, self._headers(), start)

    def _headers(self) -> Headers:
        recording = self.recording
        own = own_headers(recording.trace_id, recording.id)
        return response_headers(recording.response_headers, recording.status, own)

    # --- its end ---

    def _record(self, end: bytes) -> None:
        """Hand the exchange over; `end` is sent when it is committed."""
        recording, now = self.recording, perf_counter()
        if recording.first_byte_ms is None:
            recording.first_byte(now)
        if self.upstream.plain.is_suspect:
            self.upstream.plain.completed(recording.status)
        self._end = end
        self.whole.connection.on_lost = None  # from here on the exchange ends by itself
        if self.response.is_whole:
            self._let_go()
        else:  # what still comes after the last event waits
            self.response.listen(None)
        recording.finish(now)
        self._owner.record(recording, self._committed)

    def _committed(self) -> None:
        whole, connection = self.whole, self.whole.connection
        try:
            if not self._is_free and self.response.is_whole:
                self._end += self.response.rest()
                self._let_go()
            if whole.flow.write_paused or not self._is_free:
                self._owner.handed_over(self, None)
                return
            if self.passage is None:
                connection.respond(whole, self.recording.status, self._headers(), self._end)
            else:
                connection.end_response(whole, self._end)
        except Exception as error:  # noqa: BLE001 - the sink that calls has others to call
            self._owner.handed_over(self, error)
        else:
            self._owner.finished(self)

    # --- what a task does ---

    def resume(self) -> Awaitable[Connection]:
        """The answer, when its head has arrived. Raises as `Transport.open` does."""
        return self._transport.resume(self.response, self.request)

    async def end(self, downstream: Downstream) -> None:
        """Send what waited for the commit, to a client that is slow or an answer that goes on."""
        if self.passage is None:
            await downstream.respond(self.recording.status, self._headers(), self._end)
        elif self._is_free:
            await downstream.end(self._end)
        else:
            try:
                await self._relay.end_after_record(self._end, self.response, downstream)
            finally:
                self._let_go()

    def _hand_over(self) -> None:
        self.whole.connection.on_lost = None  # until the task looks: a second hand-over would be two tasks
        self.response.listen(None)
        self.response.pass_to(None, None)
        self.upstream.plain.in_flight -= 1
        self._is_free = True
        if self.recording.first_byte_ms is None:
            self.passage = None
        self._owner.handed_over(self, None)

    def stop(self, error: GatewayError) -> None:
        """End it with `error`, unless all that is missing is its commit."""
        if not self.recording.is_recorded:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.whole.connection.on_lost = None
        if not self._is_free:
            self._let_go()
        self._owner.handed_over(self, error)

    def _let_go(self) -> None:
        self._is_free = True
        self.upstream.plain.in_flight -= 1
        self.response.let_go()
