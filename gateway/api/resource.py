"""One path of our own API: its methods, HEAD for GET, a JSON 405 for the others, errors in its shape.

Reading a request's body, with a limit on size and on waiting, is here too. What a path does is elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.api.errors import error_body, error_headers
from gateway.errors import (
    ClientGone,
    GatewayError,
    MethodNotAllowed,
    PayloadTooLarge,
    SlowClient,
    UnsupportedEncoding,
)
from gateway.jsonio import JSON, dumps

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
RenderError = Callable[[GatewayError, Request], Response]

_NO_REQUEST_ID = "none"


def answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


def json_answer(content: JSON) -> Response:
    return answer(dumps(content))


def request_id(request: Request) -> str:
    """The id that the front gave this request."""
    return str(request.scope.get("state", {}).get("request_id") or _NO_REQUEST_ID)


def openai_error(error: GatewayError, request: Request) -> Response:
    return answer(error_body(error), error.status, error_headers(error, request_id(request)))


class Resource:
    """An ASGI endpoint for a route without methods of its own: `handlers` maps methods to functions."""

    def __init__(self, handlers: Mapping[str, Handler], render_error: RenderError = openai_error) -> None:
        self._handlers = dict(handlers)
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]
        self._render_error = render_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        await response(scope, receive, _without_body(send) if request.method == "HEAD" else send)

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._handler(request.method)(request)
        except GatewayError as error:
            return self._render_error(error, request)
        except Exception:
            # The outermost of a request: SDKs need even this in their vendor's shape.
            logger.exception("request %s: %s failed", request_id(request), request.method)
            return self._render_error(GatewayError("Something went wrong"), request)

    def _handler(self, method: str) -> Handler:
        if method in self._handlers:
            return self._handlers[method]
        allow = tuple(sorted(self._handlers))
        raise MethodNotAllowed(
            f"{method} is not a method of this path; use {' or '.join(allow)}", allow=allow
        )


async def read_body(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body.

    Raises UnsupportedEncoding, PayloadTooLarge, SlowClient after `timeout_s` without a byte, ClientGone.
    """
    _check_encoding(request.headers.get("content-encoding", ""))
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) < 20:
        _check_size(int(declared), max_bytes)
    received = bytearray()
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                chunk = await anext(stream, b"")
        except TimeoutError as error:
            raise SlowClient(f"no more of the body came for {timeout_s:g} s; send it faster") from error
        except ClientDisconnect as error:
            raise ClientGone("the client went away before its body had come") from error
        if not chunk:
            return bytes(received)
        received += chunk
        _check_size(len(received), max_bytes)


def _check_encoding(encoding: str) -> None:
    if encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding(f"content-encoding {encoding!r}: send the body uncompressed")


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PayloadTooLarge(
            f"the body has {size} bytes or more, the limit is {max_bytes}; split it over several requests"
        )


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
