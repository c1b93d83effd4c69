"""The dashboard's place in a gateway that nobody may look at: it costs memory from the first look on."""

from __future__ import annotations

import asyncio

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.dashboard.services import DashboardServices


class LazyDashboard:
    """ASGI application. Passes on what it raises when it cannot be made, and tries again the next time."""

    def __init__(self, services: DashboardServices) -> None:
        self._services = services
        self._app: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            async with self._making:
                if self._app is None:
                    from gateway.dashboard.routes import dashboard  # noqa: PLC0415 - templates take memory

                    self._app = await dashboard(self._services)
        await self._app(scope, receive, send)


def routes(services: DashboardServices) -> list[BaseRoute]:
    lazy = LazyDashboard(services)
    return [Route("/ui", lazy), Route("/ui/{path:path}", lazy)]
