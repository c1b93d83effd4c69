"""The real gateway, as `python -m gateway` runs it, with one more path, `/watch`: what the process holds.

For what cannot be seen from outside: tasks, and which sockets are idle on purpose. Measures only.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gateway.app
import gateway.serving
from gateway.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Receive, Scope, Send

    from gateway.api.front import Front
    from gateway.proxy.downstream import WholeRequest

OF_ONE_REQUEST = ("Recording", "Downstream", "DirectCall", "Connection", "HttpxResponse")
"""Classes whose objects must not outlive their request, or their connection."""


class Watch:
    """ASGI application before the gateway's own."""

    def __init__(self, app: Front, opened: gateway.app.Gateway) -> None:
        self._front = app
        self._opened = opened

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["path"] == "/watch":
            return self._tell(scope["query_string"] == b"objects", send)
        return self._front(scope, receive, send)

    def at_once(self, whole: WholeRequest) -> bool:
        return self._front.at_once(whole)

    async def _tell(self, with_objects: bool, send: Send) -> None:
        held: dict[str, Any] = {
            "tasks": running_tasks(),
            "in_flight": self._opened._forwarder.in_flight,
            "sockets": open_sockets(),
            "failures": [
                target.failures
                for health in self._opened._upstream_health().values()
                for target in health.targets
            ],
            "upstreams": {name: connections(its.transport) for name, its in self._opened._upstreams.items()},
        }
        if with_objects:
            held["objects"] = objects()
        body = json.dumps(held).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def running_tasks() -> dict[str, int]:
    """How many tasks of each coroutine, without the one that asks."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return Counter(getattr(task.get_coro(), "__qualname__", "?") for task in others)


def open_sockets() -> int:
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += str(descriptor.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue  # the directory's own, closed by now
    return count


def connections(transport: Any) -> dict[str, int]:
    """Of one upstream: connections in use, connections kept for the next request, requests that wait."""
    if hasattr(transport, "_idle"):
        idle = sum(connection.usable for connection in transport._idle)
        waiting = len(transport._waiting)
        return {"in_use": transport._open - len(transport._idle), "idle": idle, "waiting": waiting}
    pool = transport._transport._pool
    kept = [connection for connection in pool.connections if not connection.is_closed()]
    idle = sum(connection.is_idle() for connection in kept)
    return {"in_use": len(kept) - idle, "idle": idle, "waiting": len(pool._requests)}


def objects() -> dict[str, int]:
    gc.collect()
    found = Counter(type(thing).__name__ for thing in gc.get_objects() if _is_ours(type(thing)))
    return {name: found[name] for name in OF_ONE_REQUEST}


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("gateway.proxy.")


def watch(opened: type[gateway.app.Gateway]) -> None:
    """Put `/watch` before every gateway that is made from now on."""
    make = opened.__init__

    def made(self: gateway.app.Gateway, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self.app = Watch(self.app, self)  # type: ignore[assignment]

    opened.__init__ = made  # type: ignore[method-assign]


if __name__ == "__main__":
    watch(gateway.app.Gateway)
    main()
