"""Upstreams for hosts that requests named themselves: made on demand, kept while used, bounded.

They have no key of the gateway's and none of its headers, and connect through the address guard. Whether a
host may be named at all has been decided before (`gateway.routing.hosts`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.config import schema
from gateway.proxy.upstream.base import Transport
from gateway.proxy.upstream.guard import AddressGuard
from gateway.proxy.upstream.pool import NativeTransport

MAX_HOSTS = 64
_MAX_CONNECTIONS = 100
_MAX_IDLE_CONNECTIONS = 10

Made = TypeVar("Made")


class CustomHosts(Generic[Made]):
    """`upstream` by base URL. `build` makes one from its name, settings and transport, as for any other."""

    def __init__(
        self,
        guard: AddressGuard,
        build: Callable[[str, schema.Upstream, Transport], Made],
        *,
        max_hosts: int = MAX_HOSTS,
    ) -> None:
        self._guard = guard
        self._build = build
        self._max_hosts = max_hosts
        self._kept: OrderedDict[str, tuple[Made, NativeTransport]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def upstream(self, base_url: str, label: str) -> Made:
        """The upstream at `base_url`, called `label`. Of too many the one unused for longest goes.

        What has gone still serves the requests that hold it; its connections close as they become idle.
        """
        found = self._kept.get(base_url)
        if found is not None:
            self._kept.move_to_end(base_url)
            return found[0]
        settings = schema.Upstream(
            base_url=base_url,
            max_connections=_MAX_CONNECTIONS,
            max_idle_connections=_MAX_IDLE_CONNECTIONS,
        )
        transport = NativeTransport(label, settings, self._guard)
        made = self._build(label, settings, transport)
        self._kept[base_url] = made, transport
        if len(self._kept) > self._max_hosts:
            _, (_, gone) = self._kept.popitem(last=False)
            task = asyncio.get_running_loop().create_task(gone.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return made

    async def close(self) -> None:
        """Close every idle connection. Answers still being read end on their own."""
        await asyncio.gather(*self._closing)
        while self._kept:
            _, (_, transport) = self._kept.popitem()
            await transport.close()
