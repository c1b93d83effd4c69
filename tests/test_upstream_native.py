"""What the native transport hands on while a stream goes by, fed as the event loop feeds it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.capture.body import MAX_FRAMED, BodyBuffer
from gateway.capture.sse import LastEvent
from gateway.errors import UpstreamAborted
from gateway.proxy.passage import Passage
from gateway.proxy.upstream.base import Limits, UpstreamRequest
from gateway.proxy.upstream.native import Connection
from tests.harness import chunk
from tests.test_sse import split_at

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


async def begun() -> Connection:
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


@pytest.fixture
async def connection() -> Connection:
    return await begun()


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


class Client:
    """uvicorn's state of a response in chunks, and its transport. Stalls or leaves after `takes` writes."""

    def __init__(self, takes: int, *, leaves: bool = False) -> None:
        self.sent: list[bytes] = []
        self.takes = takes
        self.leaves = leaves
        self.flow = SimpleNamespace(write_paused=False)
        self.transport = self
        self.disconnected = False
        self.chunked_encoding = True

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        if len(self.sent) >= self.takes:
            self.disconnected, self.flow.write_paused = self.leaves, not self.leaves


EVENTS = st.sampled_from(
    [
        b'data: {"text":1}\n\n', b"data: {}\n\n", b'data: {"content":"data: [DONE]"}\n\n',
        b'data: {"content":"' + b"x" * 300 + b'"}\n\n', b"data: {" + b"y" * 3000 + b"}\n\n",
        b'data: {"text":1}\n\ndata: {"b":2}\n\n', b'data: {"a":', b"1}\n\n", b"\n", b": hi\n\n",
        b'data: {"text":1}\r\n\r\n', b'data: {"text":1}\n\r\n', b'data: {"text":1}\n\n\n',
        b'data: {"text":1}\rdata: [DONE]\n\n', b"data: [DONE]\n\n", b'event: ping\ndata: {"text":1}\n\n',
        b"data: [DONE]", b'data: {"text":1}\n\ndata: [DONE]\n\n', b'data: {"text":1}\nd', b"ata: [DONE]\n\n",
    ]
)  # fmt: skip


@given(
    events=st.lists(EVENTS, max_size=40),
    cuts=st.none() | st.lists(st.integers(0, 20_000), max_size=8),
    takes=st.integers(1, 200),
    leaves=st.booleans(),
)
@example(events=[b'data: {"text":1}\nd', b"ata: [DONE]\n\n"], cuts=None, takes=9, leaves=False)
@example(events=[b"data: [DONE]", b'data: {"text":1}\n\n'], cuts=None, takes=9, leaves=False)
@example(events=[b'data: {"text":1}\n\n'] * 2, cuts=None, takes=1, leaves=False)
@example(events=[b'data: {"text":1}\n\n'] * 2, cuts=None, takes=1, leaves=True)
async def test_what_goes_by_the_lane_is_what_take_would_take(
    events: list[bytes], cuts: list[int] | None, takes: int, *, leaves: bool
) -> None:
    pieces = [chunk(event) for event in events]
    if cuts is not None:
        pieces = split_at(b"".join(pieces), cuts)
    results = []
    for has_lane in (True, False):
        opened = await begun()
        client, captured = Client(takes, leaves=leaves), BodyBuffer(10_000)
        passage = Passage(client, captured, is_stream=True)
        opened.pass_to(passage.take, passage.lane if has_lane else None)
        for piece in filter(None, pieces):
            opened.data_received(piece)
        results.append((b"".join(client.sent), captured.payload(), passage.is_over, opened.rest()))
    assert results[0] == results[1]
    sent, _, is_over, rest = results[0]
    assert b"".join(events) == unframed(sent) + rest
    if is_over:
        watcher = LastEvent()
        assert not watcher.feed(unframed(sent))


async def test_no_more_is_held_back_from_the_records_limit_than_is_said(connection: Connection) -> None:
    client, captured = Client(10_000), BodyBuffer(1000)
    passage = Passage(client, captured, is_stream=True)
    connection.pass_to(passage.take, passage.lane)
    most = 0
    for _ in range(3 * MAX_FRAMED):
        connection.data_received(chunk(b'data: {"content":"some words"}\n\n'))
        most = max(most, len(captured.framed))
    assert most == MAX_FRAMED
    assert len(client.sent) == 3 * MAX_FRAMED
    assert captured.payload().size == len(unframed(b"".join(client.sent)))


def unframed(data: bytes) -> bytes:
    chunks = []
    while data:
        size, _, data = data.partition(b"\r\n")
        chunks.append(data[: int(size, 16)])
        data = data[int(size, 16) + 2 :]
    return b"".join(chunks)
