"""What the native transport hands on while a stream goes by, fed as the event loop feeds it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import UpstreamAborted
from gateway.proxy.upstream.base import Limits, UpstreamRequest
from gateway.proxy.upstream.native import Connection

LIMITS = Limits(5, 5, 5, 5, "upstreams.test")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Wire(asyncio.Transport):
    """Takes what is written and loses it."""

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def abort(self) -> None:
        pass


class Taken:
    """Takes chunks, each with its framing, until it is told to decline."""

    def __init__(self) -> None:
        self.declines = False
        self.chunks: list[tuple[bytes, bytes | None]] = []

    def __call__(self, chunk: bytes, framed: bytes | None = None) -> bool:
        if not self.declines:
            self.chunks.append((chunk, framed))
        return not self.declines


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
async def connection() -> Connection:
    """One whose answer's head and first chunk have been read."""
    opened = Connection("test", LIMITS, lambda _: None)
    opened.connection_made(Wire())
    asking = asyncio.create_task(
        opened.exchange(UpstreamRequest("GET", b"/", [], None), b"", LIMITS, float("inf"))
    )
    await asyncio.sleep(0)
    opened.data_received(HEAD + chunk(b"first"))
    await asking
    assert await opened.read() == b"first"
    return opened


async def passing_on(connection: Connection, taken: Taken) -> asyncio.Task[bytes]:
    passing = asyncio.create_task(connection.pass_on(taken))
    await asyncio.sleep(0)
    return passing


async def test_a_whole_chunk_is_handed_on_with_its_framing(connection: Connection) -> None:
    taken = Taken()
    passing = await passing_on(connection, taken)
    connection.data_received(chunk(b"one"))
    connection.data_received(chunk(b"t") + chunk(b"wo"))
    connection.data_received(chunk(b"three"))
    connection.data_received(LAST_CHUNK)

    assert await passing == b""
    assert taken.chunks == [(b"one", chunk(b"one")), (b"two", None), (b"three", chunk(b"three"))]
    assert connection.reusable


async def test_a_declined_chunk_comes_back_and_what_follows_waits(connection: Connection) -> None:
    taken = Taken()
    passing = await passing_on(connection, taken)
    taken.declines = True
    connection.data_received(chunk(b"one"))
    taken.declines = False
    connection.data_received(chunk(b"two"))

    assert await passing == b"onetwo"
    assert taken.chunks == []
    passing = await passing_on(connection, taken)
    connection.data_received(chunk(b"three"))
    connection.data_received(LAST_CHUNK)
    assert await passing == b""
    assert taken.chunks == [(b"three", chunk(b"three"))]


async def test_no_chunk_is_taken_after_one_that_is_none(connection: Connection) -> None:
    taken = Taken()
    passing = await passing_on(connection, taken)
    connection.data_received(b"zz\r\n")
    connection.data_received(chunk(b"late"))

    with pytest.raises(UpstreamAborted):
        await passing
    assert taken.chunks == []


async def test_a_connection_that_is_not_read_any_more_carries_no_other_request() -> None:
    released: list[Connection] = []
    opened = Connection("test", LIMITS, released.append)
    opened.connection_made(Wire())
    opened.send(UpstreamRequest("GET", b"/", [], None), b"", LIMITS, float("inf"))
    body = b"x" * 300_000
    opened.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    assert opened.is_whole
    assert not opened.reusable  # its reading was paused for what nobody takes
    await opened.read()
    assert opened.reusable
