"""The composition root: builds the store, the upstreams, the services and the routes; owns start and stop.

Everything else is handed what it uses. Nothing here decides anything about a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import time
from collections.abc import Awaitable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.supervisors import Multiprocess

from gateway.api import health
from gateway.api.errors import error_body
from gateway.api.front import Front
from gateway.api.protocol import GatewayProtocol
from gateway.api.routes import router
from gateway.api.services import Services
from gateway.auth.keys import KeyRing, hash_of
from gateway.capture.digest import Digest
from gateway.capture.pricing import Prices
from gateway.compat.registry import vendors
from gateway.config import schema
from gateway.config.load import ConfigSource
from gateway.dashboard import lazy
from gateway.dashboard.services import DashboardServices
from gateway.errors import ConfigError, GatewayError, StoreUnavailable
from gateway.feedback.service import FeedbackService
from gateway.feedback.services import FeedbackServices
from gateway.feedback.tasks import TaskService
from gateway.ids import new_id
from gateway.observability.logging import configure
from gateway.providers.credentials import CLIENT_CREDENTIALS, credential_header
from gateway.proxy.forward import Forwarder, Upstream
from gateway.proxy.headers import RequestFilter
from gateway.proxy.upstream.base import Transport
from gateway.proxy.upstream.pool import NativeTransport
from gateway.routing.table import RouteTable
from gateway.store.roller import Roller
from gateway.store.sqlite import SqliteDatabase
from gateway.store.writer import ExchangeWriter

logger = logging.getLogger(__name__)

_SETTLE_LIMIT_S = 2.0
_GC_ALLOCATIONS = 20_000  # Python's 2,000 or less is a few requests in flight; they free themselves
_PROBE_LIMIT_S = 3.0
_DRAIN_LIMIT_S = 10.0


class Gateway:
    """One process's gateway, open from `open` to `close`."""

    def __init__(self, settings: schema.Settings, database: SqliteDatabase) -> None:
        self._settings = settings
        self._database = database
        self._transports = {name: transport(name, upstream) for name, upstream in settings.upstreams.items()}
        urls = {name: upstream.base_url for name, upstream in settings.upstreams.items()}
        self._writer = ExchangeWriter(
            database.writer,
            Digest(settings.capture, Prices(), urls),
            settings.store,
            wait=settings.capture.commit == "sync",
        )
        self._forwarder = Forwarder(
            upstreams={
                name: upstream_of(name, settings.upstreams[name], self._transports[name])
                for name in settings.upstreams
            },
            routes=RouteTable(settings.routes, settings.upstreams),
            sink=self._writer.record,
            error_body=error_body,
            server=settings.server,
            capture=settings.capture,
        )
        self._keys = key_ring(settings.keys)
        self._roller = Roller(database)
        self.app = Front(self._forwarder, self._own_endpoints(), self._keys)

    @classmethod
    async def open(cls, settings: schema.Settings) -> Gateway:
        """Raises StoreUnavailable."""
        gateway = cls(settings, await SqliteDatabase.open(settings.store))
        gateway._roller.start()
        # What was loaded so far stays: without this every full collection would walk it all again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_ALLOCATIONS, 20, 20)
        return gateway

    def _own_endpoints(self) -> ASGIApp:
        ttl_s = self._settings.store.idempotency_ttl_s
        tasks = TaskService(self._database, now_ms=_now_ms, make_id=_make_id, idempotency_ttl_s=ttl_s)
        feedback = FeedbackService(
            self._database,
            now_ms=_now_ms,
            make_id=_make_id,
            idempotency_ttl_s=ttl_s,
            validate=tasks.validated,
        )
        services = Services(
            self._database,
            feedback,
            tasks,
            body_timeout_s=self._settings.server.body_timeout_s,
            write_timeout_s=self._settings.server.write_timeout_s,
            keys=self._keys,
        )
        served = vendors(FeedbackServices(feedback, tasks))
        pages = DashboardServices(
            self._database,
            feedback,
            tasks,
            report=self._report,
            settings=self._settings,
            now_ms=_now_ms,
            count_now=self._roller.wake,
            keys=self._keys,
        )
        return router(services, served, [*health.routes(self._report), *lazy.routes(pages)])

    async def _report(self) -> tuple[bool, dict[str, Any]]:
        """What /readyz says: whether a row can be written now, and what could not be recorded so far."""
        try:
            async with asyncio.timeout(_PROBE_LIMIT_S):
                await self._database.probe()
            writable = not self._writer.failing
        except (StoreUnavailable, TimeoutError):
            writable = False
        stats = self._writer.stats
        store = {
            "url": self._settings.store.url,
            "writable": writable,
            "queued_rows": self._writer.queued_rows,
            "queued_bytes": self._writer.queued_bytes,
            "stored": stats.stored,
            "stored_without_bodies": stats.reduced,
            "not_recorded": stats.dropped,
            "answered_before_commit": stats.late,
            "failed_writes": stats.failures,
            "last_error": stats.last_error,
        }
        upstreams = {
            name: {
                "base_url": upstream.base_url,
                "provider": upstream.provider,
                "transport": upstream.transport,
            }
            for name, upstream in self._settings.upstreams.items()
        }
        return writable, {"store": store, "upstreams": upstreams, "in_flight": self._forwarder.in_flight}

    async def close(self) -> None:
        """Wait for what was cancelled to settle, commit what is queued, close every connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_LIMIT_S):
                await self._forwarder.wait_idle()
        await self._roller.close()
        await self._writer.close(_DRAIN_LIMIT_S)
        for upstream in self._transports.values():
            await upstream.close()
        await self._database.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _make_id() -> str:
    return new_id(time.time_ns())


def transport(name: str, settings: schema.Upstream) -> Transport:
    if settings.transport == "httpx":
        from gateway.proxy.upstream.httpx import HttpxTransport  # noqa: PLC0415 - memory only for who uses it

        return HttpxTransport(name, settings)
    return NativeTransport(name, settings)


def upstream_of(name: str, settings: schema.Upstream, via: Transport) -> Upstream:
    added = [(header.encode(), value.encode()) for header, value in settings.headers.items()]
    removed: frozenset[bytes] = frozenset()
    if settings.api_key is not None:
        added.append(credential_header(settings.provider, settings.api_key.get_secret_value()))
        removed = CLIENT_CREDENTIALS
    return Upstream(
        name=name,
        base_path=urlsplit(settings.base_url).path.rstrip("/").encode("ascii"),
        transport=via,
        request_headers=RequestFilter(
            added=added, removed=removed, forwarded=[header.encode() for header in settings.forward_headers]
        ),
        drains=settings.on_disconnect == "drain",
    )


def key_ring(keys: Mapping[str, schema.Key]) -> KeyRing | None:
    if not keys:
        return None
    return KeyRing({key.digest(hash_of): name for name, key in keys.items()})


class Application:
    """The ASGI application of a worker process: opens the gateway at start-up, closes it at shutdown."""

    def __init__(self, settings: schema.Settings) -> None:
        self._settings = settings
        self._gateway: Gateway | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Not a coroutine itself, like the front door behind it: a layer that only passes on is one less to
        # wake for every step of every request.
        if self._gateway is not None and scope["type"] == "http":
            return self._gateway.app(scope, receive, send)
        return self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._gateway = await Gateway.open(self._settings)
        except GatewayError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._gateway.close()
        await send({"type": "lifespan.shutdown.complete"})


def worker() -> Application:
    """Factory for worker processes, which learn their configuration from the environment."""
    settings = ConfigSource.from_env(os.environ).load(os.environ)
    configure(settings.server.log_level)
    return Application(settings)


class Server(uvicorn.Server):
    """uvicorn's server, saying that it serves, and leaving with 0 after a signal asked it to stop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            logger.info("gateway: serving %s (stop with Ctrl+C)", _url(listening))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()  # raised again, they would become the exit status


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _listen(server: schema.Server) -> socket.socket:
    """A socket bound to the configured address. Raises ConfigError."""
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found)  # IPv4 before IPv6 where a name has both
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            [f"server.port: cannot listen on {server.host}:{server.port}: {reason}; try another --port"]
        ) from error
    listening.set_inheritable(True)
    return listening


def serve(source: ConfigSource) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError for settings that turn out unusable."""
    settings = source.load(os.environ)
    configure(settings.server.log_level)
    listening = _listen(settings.server)
    try:
        if settings.server.workers == 1:
            uvloop.run(_serve_alone(settings, listening))
            return
        uvloop.run(_try_store(settings))
    except StoreUnavailable as error:
        raise ConfigError([error.message]) from error
    os.environ.update(source.to_env())
    _serve_with_workers(settings, listening)


async def _serve_alone(settings: schema.Settings, listening: socket.socket) -> None:
    gateway = await Gateway.open(settings)
    try:
        await Server(_uvicorn_config(gateway.app, settings.server, lifespan="off")).serve([listening])
    finally:
        await gateway.close()


def _serve_with_workers(settings: schema.Settings, listening: socket.socket) -> None:
    config = _uvicorn_config("gateway.app:worker", settings.server, factory=True, lifespan="on")
    workers = settings.server.workers
    logger.info("gateway: serving %s with %d workers (stop with Ctrl+C)", _url(listening), workers)
    Multiprocess(config, sockets=[listening]).run()


async def _try_store(settings: schema.Settings) -> None:
    """Open the store before anything listens: a bad path stops the start, workers find it migrated."""
    database = await SqliteDatabase.open(settings.store)
    await database.close()


def _uvicorn_config(app: Any, server: schema.Server, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=server.host,
        port=server.port,
        workers=server.workers,
        http=partial(GatewayProtocol, limits=server),  # type: ignore[arg-type]
        loop="uvloop",
        ws="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=server.keep_alive_s,  # type: ignore[arg-type]
        timeout_graceful_shutdown=server.shutdown_grace_s,  # type: ignore[arg-type]
        **more,
    )
