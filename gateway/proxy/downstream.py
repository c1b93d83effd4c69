"""The client's side of one exchange: its body in, the answer out, and the ways it can go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Send

from gateway.config import schema
from gateway.errors import ClientGone, GatewayError, PayloadTooLarge, SlowClient
from gateway.proxy.headers import KeyHolder
from gateway.records import Headers

_MAX_LINGER_S = 5.0


class Connection(Protocol):
    """What the server's protocol offers beyond ASGI, in `scope["gateway.connection"]`.

    `scope["gateway.cycle"]` is uvicorn's state of one request and its response.
    """

    on_lost: Callable[[], None] | None
    """Called when the client closes its connection."""

    def respond(self, cycle: Any, status: int, headers: Headers, body: bytes) -> None:
        """Write a whole response to a client that is not stalled and did not ask with HEAD."""
        ...

    def run(self, cycle: Any, app: ASGIApp) -> None:
        """Let `app` serve the request of `cycle`, in a task that the server waits for when it stops."""
        ...

    def begin_response(self, cycle: Any, status: int, headers: Headers, body: bytes) -> None:
        """Write a response's head and the first bytes of its body, to such a client."""
        ...

    def end_response(self, cycle: Any, body: bytes) -> None:
        """Write the last bytes of a response that was begun, to such a client."""
        ...

    def close(self) -> None:
        """Close after what was written is sent, so that no client takes that for the end of the answer."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Flow(Protocol):
    """uvicorn's account of what a client does not take off us."""

    write_paused: bool


class WholeRequest(Protocol):
    """A POST of JSON that has arrived whole, as the server's protocol hands it over; also its `cycle`."""

    connection: Connection
    flow: Flow
    path: str
    raw_path: bytes
    headers: Headers
    body: bytes
    disconnected: bool
    """Whether the client is gone."""
    holder: KeyHolder | None
    """Whose key of the gateway's it brought, where it has keys."""


class Downstream:
    """One request's client. `watch` makes its going away cancel the task that serves it.

    `cycle` is uvicorn's state of the request and its response on `connection`.
    """

    def __init__(
        self, connection: Connection, cycle: Any, limits: schema.Server, *, is_head: bool = False
    ) -> None:
        self.started: bool = cycle.response_started
        self.gone = False
        self._connection = connection
        self.cycle = cycle
        self.flow: Flow = cycle.flow
        self._receive: Receive = cycle.receive
        self._send: Send = cycle.send
        self._limits = limits
        self._is_head = is_head
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._interruption: GatewayError | None = None
        self._cancel_on_loss = True

    # --- interruptions: the client is gone or too slow, so the task is cancelled with a reason ---

    def watch(self) -> None:
        self._connection.on_lost = self._lost
        if self.cycle.disconnected:
            self._lost()

    def unwatch(self) -> None:
        """From here on the exchange ends by itself, whatever the client does."""
        if self._connection.on_lost == self._lost:  # and not the next request's
            self._connection.on_lost = None

    def keep_going_without_client(self) -> None:
        self._cancel_on_loss = False

    def _lost(self) -> None:
        self.gone = True
        if self._cancel_on_loss:
            self._interrupt(ClientGone("the client closed the connection"))

    def _interrupt(self, reason: GatewayError) -> None:
        if self._interruption is None and self._task is not None:
            self._interruption = reason
            self._task.cancel()

    @property
    def interruption(self) -> GatewayError | None:
        """Why the task is being cancelled, if it was from here."""
        return self._interruption

    def take_interruption(self) -> GatewayError | None:
        """Why the task was cancelled, if it was from here; it is then no longer cancelled."""
        reason, self._interruption = self._interruption, None
        if reason is not None and self._task is not None:
            self._task.uncancel()
        return reason

    async def settle(self) -> None:
        """Let our own cancellation arrive here, where the task has failed already by itself."""
        if self._interruption is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            self.take_interruption()

    # --- the request's body ---

    def body_that_came(self) -> bytes | None:
        """The whole body if it has arrived, as most have with their head; else None, and nothing is taken."""
        cycle = self.cycle
        if cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected:
            return None
        cycle.flow.resume_reading()  # paused by a large body, and then blind for the client's going away
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()  # as `receive` leaves it, so that the next one waits for the client to go
        return body

    async def body(self, limit: int, setting: str) -> bytes:
        """The whole body. Raises PayloadTooLarge, SlowClient (by interruption), ClientGone."""
        piece, more = await self._next()
        if not more:
            check_size(len(piece), limit, setting)
            return piece
        pieces, size = [piece], len(piece)
        while more:
            check_size(size, limit, setting)
            piece, more = await self._next()
            pieces.append(piece)
            size += len(piece)
        check_size(size, limit, setting)
        return b"".join(pieces)

    async def start_of_body(self, at_least: int) -> tuple[bytes, bool]:
        """The body's first bytes, `at_least` so many where it has them, and whether more follow."""
        piece, more = await self._next()
        pieces, size = [piece], len(piece)
        while more and size <= at_least:
            piece, more = await self._next()
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces), more

    async def rest_of_body(self, already: int, limit: int, setting: str) -> AsyncIterator[bytes]:
        size, more = already, True
        while more:
            piece, more = await self._next()
            size += len(piece)
            check_size(size, limit, setting)
            yield piece

    async def _next(self) -> tuple[bytes, bool]:
        if self.cycle.message_event.is_set():  # as for most requests; a timer costs more than looking
            message = await self._receive()
        else:
            slow = self._loop.call_later(self._limits.body_timeout_s, self._too_slow)
            try:
                message = await self._receive()
            finally:
                slow.cancel()
        if message["type"] == "http.disconnect":
            self.gone = True
            raise ClientGone("the client closed the connection before its request was complete")
        return message.get("body", b""), message.get("more_body", False)

    def _too_slow(self) -> None:
        self._interrupt(
            SlowClient(
                f"no further byte of the request body within {self._limits.body_timeout_s:g} s "
                "(server.body_timeout_s); send it faster or raise the limit"
            )
        )

    # --- the answer ---

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer. Raises ClientGone as `send` does."""
        if self.is_stalled or self._is_head:
            await self._start(status, headers)
            await self.send(body, more=False)
            return
        self.started = True
        self._connection.respond(self.cycle, status, headers, body)

    async def begin(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the response's head and the first bytes of its body, if any. Raises as `send` does."""
        if self.is_stalled or self._is_head:
            await self._start(status, headers)
            if body:
                await self.send(body, more=True)
            return
        self.started = True
        self._connection.begin_response(self.cycle, status, headers, body)

    async def end(self, body: bytes) -> None:
        """Send the last bytes of the body. Raises ClientGone as `send` does."""
        if self.is_stalled or self._is_head:
            await self.send(body, more=False)
        else:
            self._connection.end_response(self.cycle, body)

    def close_when_answered(self) -> None:
        """Let the connection carry no other request, and its answer say so."""
        self.cycle.keep_alive = False

    def _start(self, status: int, headers: Headers) -> Awaitable[None]:
        self.started = True
        return self._send({"type": "http.response.start", "status": status, "headers": headers})

    def send(self, body: bytes, *, more: bool) -> Awaitable[None]:
        """Raises ClientGone (by interruption) for a client that does not read within the limit."""
        message = {"type": "http.response.body", "body": body, "more_body": more}
        return self._send_slowly(message) if self.is_stalled else self._send(message)

    @property
    def is_stalled(self) -> bool:
        return self.flow.write_paused

    async def _send_slowly(self, message: Message) -> None:
        stuck = self._loop.call_later(self._limits.write_timeout_s, self._not_reading)
        try:
            await self._send(message)
        finally:
            stuck.cancel()

    def _not_reading(self) -> None:
        self._interrupt(ClientGone("the client stopped reading (server.write_timeout_s)"))
        self._connection.abort()

    async def break_off(self) -> None:
        """End the answer in a way no client can take for its end: close without the last chunk."""
        if self.gone:
            return
        self.unwatch()
        self._connection.close()
        force = self._loop.call_later(_MAX_LINGER_S, self._connection.abort)
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        finally:
            force.cancel()


def check_size(size: int, limit: int, setting: str) -> None:
    """Raises PayloadTooLarge."""
    if size > limit:
        raise PayloadTooLarge(
            f"the request body has more than {limit} bytes ({setting}); send less or raise the limit"
        )
