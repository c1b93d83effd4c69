"""What the server's protocol keeps of one request and its response: uvicorn's cycle, and stand-ins in it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from uvicorn._types import HTTPScope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.proxy.headers import KeyHolder

if TYPE_CHECKING:
    from gateway.api.protocol import GatewayProtocol


class ToTheEnd(int):
    """Stands in for the length of a body that ends with its connection: whatever is sent fits, and is all."""

    def __lt__(self, other: int) -> bool:
        return False

    def __sub__(self, other: int) -> ToTheEnd:
        return self

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


class _NobodyWaits(asyncio.Event):
    """Stands in for the event that wakes a cycle's receiver, where there is none."""

    def set(self) -> None:
        pass


class WholeCycle(RequestResponseCycle):
    """The cycle of a POST of JSON that has arrived whole; see `gateway.proxy.downstream.WholeRequest`.

    What most of them never need is not made for each: the defaults are the class's.
    """

    scope = cast("HTTPScope", {"type": "http", "http_version": "1.1", "method": "POST"})
    logger = logging.getLogger("uvicorn.error")
    access_log = False
    default_headers = []  # noqa: RUF012
    message_event: asyncio.Event = _NobodyWaits()
    keep_alive = True
    disconnected = False
    more_body = False
    waiting_for_100_continue = False
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    holder: KeyHolder | None = None

    def __init__(self, connection: GatewayProtocol, path: str, body: bytes) -> None:
        self.connection = connection
        self.transport = connection.transport
        self.flow = connection.flow
        self.path = path
        self.raw_path = connection.url
        self.headers = connection.headers
        self.body = body  # type: ignore[assignment]

    def on_response(self) -> None:
        self.body = b""  # type: ignore[assignment]  # not to be kept until the next request
        self.connection.on_response_complete()

    def await_events(self) -> None:
        """Be a cycle like any other: somebody is going to call `receive`."""
        self.message_event = asyncio.Event()
        if self.disconnected:
            self.message_event.set()
