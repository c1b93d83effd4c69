"""An ASGI application that is made when it is first asked for, or loaded before that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class Later:
    """Passes on what `make` raises, and tries again the next time."""

    def __init__(self, make: Callable[[], Awaitable[ASGIApp]]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app if self._app is not None else await self.load()
        await app(scope, receive, send)

    async def load(self) -> ASGIApp:
        async with self._making:
            if self._app is None:
                self._app = await self._make()
            return self._app
