"""Pages kept up to date: server-sent events with the parts of a page that have changed.

A window costs one small query a second, and its page's own when something was stored. What an event does to
the page is in `live.js`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gateway.dashboard import filters, logs, status, trace
from gateway.dashboard.site import Site
from gateway.errors import GatewayError, NotFound, StoreUnavailable
from gateway.jsonio import dumps
from gateway.store.live import version

PAUSE_S = 1.0
BEAT_S = 15.0

Parts = dict[str, str]
"""HTML by the name of the place it belongs to, in the page's order."""

Look = Callable[[], Awaitable[Parts]]


def routes(site: Site) -> list[BaseRoute]:
    pages = LivePages(site)
    return [
        Route("/ui/live/logs", site.page(pages.logs)),
        Route("/ui/live/trace", site.page(pages.trace)),
        Route("/ui/live/status", site.page(pages.status)),
    ]


class TooManyWindows(GatewayError):
    status = 503
    code = "too_many_windows"


class LivePages:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._open = 0

    async def logs(self, request: Request) -> Response:
        chosen = filters.read(request.scope["query_string"], self._site.services.now_ms())

        async def look() -> Parts:
            found = await logs.find(self._site, request, chosen)
            rows = self._site.macros(request, "rows.html")
            return {each.row.summary.trace_id: str(rows.line(each)) for each in logs.lines(found)}

        return self._stream(request, look)

    async def trace(self, request: Request) -> Response:
        async def look() -> Parts:
            return await trace.live_parts(self._site, request)

        return self._stream(request, look)

    async def status(self, request: Request) -> Response:
        async def look() -> Parts:
            return await status.live_parts(self._site, request)

        return self._stream(request, look, always=True)

    def _stream(self, request: Request, look: Look, *, always: bool = False) -> Response:
        if self._open >= self._site.services.max_live:
            raise TooManyWindows(f"{self._open} windows are kept up to date already; close some")
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return StreamingResponse(
            self._events(request, look, always),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    async def _events(self, request: Request, look: Look, always: bool) -> AsyncGenerator[bytes]:
        self._open += 1
        try:
            async with aclosing(self._changes(request, look, always)) as changes:
                async for changed in changes:
                    yield b"retry: 2000\n\n" if changed is None else _event(changed)
        finally:
            self._open -= 1

    async def _changes(self, request: Request, look: Look, always: bool) -> AsyncGenerator[Parts | None]:
        """What is new or has changed, at first everything; None now and then, which shows who has left.

        With `always` it looks every time, for what changes without anything being stored.
        """
        seen: object = None
        shown: Parts = {}
        quiet_s = BEAT_S
        while not _is_stopping(request):
            try:
                current = await self._site.services.database.read(version)
                if always or current != seen:
                    seen, parts = current, await look()
                    changed = {name: html for name, html in parts.items() if shown.get(name) != html}
                    shown = parts
                    if changed:
                        quiet_s = 0.0
                        yield changed
            except (StoreUnavailable, NotFound):
                seen = None  # the store comes back, and so may a trace
            if quiet_s >= BEAT_S:
                quiet_s = 0.0
                yield None
            await asyncio.sleep(PAUSE_S)
            quiet_s += PAUSE_S


def _event(parts: Parts) -> bytes:
    return b"event: parts\ndata: %b\n\n" % dumps([{"id": name, "html": html} for name, html in parts.items()])


def _is_stopping(request: Request) -> bool:
    """Whether the server closes its connections: a window must not hold up its end."""
    cycle = request.scope.get("gateway.cycle")
    return cycle is not None and not cycle.keep_alive
