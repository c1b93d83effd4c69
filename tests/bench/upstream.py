"""The benchmark's upstream: an asyncio protocol that answers a constant, or streams events on a clock.

Run as `python -m tests.bench.upstream --port N`. Knows no HTTP beyond its own benchmark's requests.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket

import uvloop

from tests.bench.payloads import COMPLETION, DONE, EVENT, EVENT_PAUSE_S

ANSWER = (
    f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(COMPLETION)}\r\n\r\n".encode()
    + COMPLETION
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
MAX_TOKENS = re.compile(rb'"max_tokens": *(\d+)')


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.pending = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.pending += data
        head, end, body = self.pending.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return
        self.pending = b""
        if b'"stream": true' not in body:
            self.transport.write(ANSWER)
            return
        events = MAX_TOKENS.search(body)
        self.transport.write(STREAM_HEAD)
        self.send_event(int(events[1]) if events else 1)

    def send_event(self, left: int) -> None:
        if self.transport.is_closing():
            return
        if left == 0:
            self.transport.write(chunk(DONE) + b"0\r\n\r\n")
            return
        self.transport.write(chunk(EVENT))
        asyncio.get_running_loop().call_later(EVENT_PAUSE_S, self.send_event, left - 1)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
