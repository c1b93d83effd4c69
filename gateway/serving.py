"""Serving: a gateway on a socket, in one process or in several worker processes.

What a gateway is made of is `gateway.app`'s business; here are the socket, uvicorn and the signals.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send
from uvicorn.supervisors import Multiprocess

from gateway.api.protocol import GatewayProtocol
from gateway.app import Gateway
from gateway.config import schema
from gateway.config.load import ConfigSource
from gateway.errors import ConfigError, GatewayError, StoreUnavailable
from gateway.observability.logging import configure
from gateway.proxy.downstream import WholeRequest
from gateway.store.sqlite import SqliteDatabase

logger = logging.getLogger(__name__)

_NOT_OUR_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


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

    def at_once(self, whole: WholeRequest) -> bool:
        return self._gateway is not None and self._gateway.app.at_once(whole)

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
    except (OSError, ValueError) as error:  # ValueError: what is not even a name
        raise _bad_host(server.host, f"no such host ({_reason(error)})") from error
    family, _, _, _, address = min(found)  # IPv4 before IPv6 where a name has both
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        if error.errno in _NOT_OUR_ADDRESS:
            raise _bad_host(server.host, "not an address of this machine") from error
        place = f"{server.host}:{server.port}"
        raise ConfigError(
            [f"server.port: cannot listen on {place}: {_reason(error)}; try another --port"]
        ) from error
    listening.set_inheritable(True)
    return listening


def _bad_host(host: str, problem: str) -> ConfigError:
    remedy = "try --host 127.0.0.1 for this machine alone, 0.0.0.0 for all who reach it"
    return ConfigError([f'server.host: "{host}": {problem}; {remedy}'])


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


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
    config = _uvicorn_config("gateway.serving:worker", settings.server, factory=True, lifespan="on")
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
