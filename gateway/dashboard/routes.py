"""All pages of the dashboard as one ASGI application, made when somebody looks for the first time."""

from __future__ import annotations

import asyncio
from importlib import import_module
from secrets import token_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.dashboard.guard import secured
from gateway.dashboard.services import DashboardServices
from gateway.dashboard.session import SECRET_BYTES
from gateway.dashboard.site import Site
from gateway.errors import NotFound
from gateway.store import secrets

PAGES = ("login", "logs", "live", "trace", "feedback", "raw", "diff", "status", "inbox", "tasks", "insights")
"""Modules of this package with a function `routes(site)`."""


async def dashboard(services: DashboardServices) -> ASGIApp:
    """Raises StoreUnavailable: what signs sessions is kept in the store, for all workers alike."""
    proposed, now_ms = token_bytes(SECRET_BYTES), services.now_ms()
    secret = await services.database.write(
        lambda connection: secrets.shared(connection, "dashboard", proposed, now_ms)
    )
    site = Site(services, secret)
    # Reading templates and compiling them on the loop would hold up requests that are being forwarded.
    app = await asyncio.to_thread(_build, site)
    site.compiling = asyncio.create_task(asyncio.to_thread(site.compile))
    return app


def _build(site: Site) -> ASGIApp:
    found: list[BaseRoute] = [site.static.route()]
    for name in PAGES:
        found += import_module(f"gateway.dashboard.{name}").routes(site)
    unknown = Route("/ui/{path:path}", site.page(_unknown))
    router = Router([*found, unknown], redirect_slashes=False)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await router(scope, receive, secured(send))

    return app


async def _unknown(request: Request) -> Response:
    raise NotFound(f"there is no page {request.scope['path']!r}")
