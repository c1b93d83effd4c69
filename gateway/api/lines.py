"""A response that is written line by line for as long as it takes: to a client that reads, and to its end.

Every wait has a limit, nothing is held but the piece being sent, and what breaks off cannot be taken for all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.api.resource import request_id
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)

_MAX_LINGER_S = 5.0


class Connection(Protocol):
    """What the server's protocol offers beyond ASGI, in `scope["gateway.connection"]`."""

    def close(self) -> None:
        """Close after what was written is sent."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class LinesResponse(Response):
    """Answers with `pieces`, without those that are empty. They are closed in any case.

    An error on the way, or a client that reads nothing for `write_timeout_s`, closes the connection without
    the last chunk, which no client takes for the end of the answer.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], *, write_timeout_s: float, headers: Mapping[str, str]
    ) -> None:
        self.status_code = 200
        self.init_headers(headers)
        self._pieces = pieces
        self._write_timeout_s = write_timeout_s

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Without a content-length: nobody knows it yet."""
        self.raw_headers = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await self._write(request, send)
        except (GatewayError, TimeoutError) as error:
            reason = error.message if isinstance(error, GatewayError) else "the client stopped reading"
            logger.warning("request %s: the export broke off: %s", request_id(request), reason)
            await _break_off(scope, receive, error)
        except Exception as error:
            logger.exception("request %s: the export broke off", request_id(request))
            await _break_off(scope, receive, error)
        finally:
            await self._pieces.aclose()

    async def _write(self, request: Request, send: Send) -> None:
        await self._send(
            send, {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async for piece in self._pieces:
            if await request.is_disconnected():
                return
            if piece:
                await self._send(send, {"type": "http.response.body", "body": piece, "more_body": True})
        await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(self._write_timeout_s):
            await send(message)


async def _break_off(scope: Scope, receive: Receive, error: Exception) -> None:
    connection: Connection | None = scope.get("gateway.connection")
    if connection is None:
        raise error
    if isinstance(error, TimeoutError):
        connection.abort()
    else:
        connection.close()
    force = asyncio.get_running_loop().call_later(_MAX_LINGER_S, connection.abort)
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        force.cancel()
