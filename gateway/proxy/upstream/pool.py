"""The native transport's pool: keep-alive connections of one upstream, bounded, newest reused first."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Sequence
from urllib.parse import urlsplit

from gateway.config import schema
from gateway.errors import UpstreamBusy, UpstreamUnreachable
from gateway.proxy.upstream.base import Limits, UpstreamRequest, limits_of
from gateway.proxy.upstream.guard import AddressGuard
from gateway.proxy.upstream.native import Connection, ConnectionDied


class NativeTransport:
    """`Transport` over plain and TLS HTTP/1.1. `name` is the upstream's name in messages.

    With a `guard`, connections go to the addresses it gives and nowhere else.
    """

    def __init__(self, name: str, settings: schema.Upstream, guard: AddressGuard | None = None) -> None:
        parts = urlsplit(settings.base_url)
        self._name = name
        self._settings = settings
        self._guard = guard
        self._limits = limits_of(name, settings)
        self._loop = asyncio.get_running_loop()
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = tls_context(settings) if parts.scheme == "https" else None
        self._host_line = b"host: " + _host_header(parts.netloc, parts.scheme)
        self._idle: deque[Connection] = deque()
        self._open = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self, request: UpstreamRequest) -> Connection:
        limits = request.limits or self._limits
        now = self._loop.time()
        total_deadline = now + limits.end_s
        connection = self._take_idle(now)
        if connection is None:
            return await self._open_new(request, limits, total_deadline)
        answering = connection.exchange(request, self._head(request), limits, total_deadline)
        return await self._over_used(connection, answering, request, total_deadline)

    def begin(self, request: UpstreamRequest) -> Connection | None:
        """Send `request`, whose body is whole, over a connection that is open already; None without one.

        Whoever gets the connection listens to it, and closes it or hands it to `resume`.
        """
        now = self._loop.time()
        connection = self._take_idle(now)
        if connection is not None:
            limits = request.limits or self._limits
            connection.send(request, self._head(request), limits, now + limits.end_s)
        return connection

    async def resume(self, connection: Connection, request: UpstreamRequest) -> Connection:
        """As `open`, for a request that `begin` has sent over `connection`."""
        connection.listen(None)
        total_deadline = connection.total_deadline
        return await self._over_used(connection, connection.answered(), request, total_deadline)

    async def _over_used(
        self,
        connection: Connection,
        answering: Awaitable[None],
        request: UpstreamRequest,
        total_deadline: float,
    ) -> Connection:
        """`connection`, which has served before, once `answering` is done; a new one where it was dead."""
        try:
            await answering
        except BaseException as error:
            await connection.close()
            if not (isinstance(error, ConnectionDied) and request.can_be_sent_again):
                raise
        else:
            return connection
        return await self._open_new(request, request.limits or self._limits, total_deadline)

    async def _open_new(self, request: UpstreamRequest, limits: Limits, total_deadline: float) -> Connection:
        connection = await self._new(limits)
        try:
            await connection.exchange(request, self._head(request), limits, total_deadline)
        except BaseException:
            await connection.close()
            raise
        return connection

    def _head(self, request: UpstreamRequest) -> bytes:
        lines = [
            b"%b %b HTTP/1.1\r\n%b" % (request.method.encode(), request.target, self._host_line),
            *map(b": ".join, request.headers),
        ]
        if isinstance(request.body, bytes):
            lines.append(b"content-length: %d\r\n\r\n" % len(request.body))
        elif request.body is None:
            lines.append(b"\r\n")
        elif request.body_bytes is None:
            lines.append(b"transfer-encoding: chunked\r\n\r\n")
        else:
            lines.append(b"content-length: %d\r\n\r\n" % request.body_bytes)
        return b"\r\n".join(lines)

    def _take_idle(self, now: float) -> Connection | None:
        oldest = now - self._settings.keepalive_expiry_s
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since > oldest:
                return connection
            self._drop(connection)
        return None

    async def _new(self, limits: Limits) -> Connection:
        """A connection nobody used before, or, when all are in use, the next one that becomes free."""
        try:
            async with asyncio.timeout(min(limits.connect_s, limits.end_s)):
                if self._open >= self._settings.max_connections:
                    handed = await self._wait_for_free(limits.connect_s)
                    if handed is not None:
                        return handed
                else:
                    self._open += 1
                return await self._connect()
        except TimeoutError as error:
            raise limits.passed(
                "connect" if limits.connect_s <= limits.end_s else "total", self._name
            ) from error

    async def _wait_for_free(self, limit_s: float) -> Connection | None:
        """A connection handed over, or None for the right to open one (already counted)."""
        free: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append(free)
        try:
            async with asyncio.timeout(limit_s * 0.9):
                return await free
        except BaseException as error:
            if free in self._waiting:
                self._waiting.remove(free)
            if free.done() and not free.cancelled():  # handed over in the very moment we stopped waiting
                self._hand_back(free.result())
            if isinstance(error, TimeoutError):
                raise UpstreamBusy(
                    f"upstream {self._name}: all {self._settings.max_connections} connections stayed in use; "
                    f"raise upstreams.{self._name}.max_connections or send fewer requests at once"
                ) from error
            raise

    def _hand_back(self, connection: Connection | None) -> None:
        if connection is None:
            self._lose_one()
        else:
            self._release(connection)

    async def _connect(self) -> Connection:
        try:
            if self._guard is None:
                return await self._connect_to(self._host)
            return await self._connect_to_one_of(await self._guard.addresses(self._host, self._port))
        except ssl.SSLError as error:
            self._lose_one()
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            raise UpstreamUnreachable(
                f"upstream {self._name}: TLS with {self._host} failed: {reason}"
            ) from error
        except OSError as error:
            self._lose_one()
            reason = error.strerror or str(error)
            raise UpstreamUnreachable(
                f"upstream {self._name}: cannot connect to {self._host}:{self._port}: {reason}"
            ) from error
        except BaseException:
            self._lose_one()
            raise

    async def _connect_to_one_of(self, addresses: Sequence[str]) -> Connection:
        """The first that takes the connection. They are addresses, so nothing is resolved again."""
        for address in addresses[:-1]:
            with contextlib.suppress(OSError):
                return await self._connect_to(address)
        return await self._connect_to(addresses[-1])

    async def _connect_to(self, host: str) -> Connection:
        """To `host`, in the name of the base URL's host: the certificate must be that one's."""
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._name, self._limits, self._release),
            host,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
        )
        return connection

    def _release(self, connection: Connection) -> None:
        if not connection.reusable or self._closed:
            self._drop(connection)
            return
        while self._waiting:
            free = self._waiting.popleft()
            if not free.done():
                free.set_result(connection)
                return
        if len(self._idle) >= self._settings.max_idle_connections:
            self._drop(connection)
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweep_later()

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self._lose_one()

    def _lose_one(self) -> None:
        """A connection is gone: its place goes to whoever waits for one."""
        while self._waiting:
            free = self._waiting.popleft()
            if not free.done():
                free.set_result(None)
                return
        self._open -= 1

    def _sweep_later(self) -> None:
        self._sweeper = self._loop.call_later(self._settings.keepalive_expiry_s, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        oldest = self._loop.time() - self._settings.keepalive_expiry_s
        while self._idle and (not self._idle[0].usable or self._idle[0].idle_since <= oldest):
            self._drop(self._idle.popleft())
        if self._idle:
            self._sweep_later()

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        while self._idle:
            self._drop(self._idle.popleft())


def tls_context(settings: schema.Upstream) -> ssl.SSLContext:
    """The TLS settings of an upstream. Raises OSError or ssl.SSLError for an unusable `ca_file`."""
    context = ssl.create_default_context(cafile=settings.ca_file)
    if not settings.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _host_header(netloc: str, scheme: str) -> bytes:
    default = ":443" if scheme == "https" else ":80"
    return netloc.removesuffix(default).encode("idna" if not netloc.isascii() else "ascii")
