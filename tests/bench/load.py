"""Load: wrk where it is installed, else clients of our own; and one client at a time for latencies."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from tests.bench import cpu
from tests.bench.payloads import chat_request, http_post
from tests.bench.servers import on

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.process import Process

WRK = shutil.which("wrk")

WRK_SCRIPT = """
wrk.method = "POST"
wrk.body = [[{body}]]
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-bench"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {{"answered": %d, "failed": %d, "seconds": %.6f}}\\n', summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout, summary.duration / 1e6))
end
"""


@dataclass(frozen=True)
class Work:
    """What a load achieved, and the CPU the server's process tree spent on it."""

    answered: int
    failed: int
    seconds: float
    cpu_s: float

    @property
    def cpu_us_each(self) -> float:
        return self.cpu_s / max(1, self.answered) * 1e6

    @property
    def per_s(self) -> float:
        return self.answered / self.seconds


def measured(server: Process, load: Callable[[], tuple[int, int, float]]) -> Work:
    """Run `load` (answered, failed, seconds) and charge the server for it and for what it does just after."""
    before_s = cpu.cpu_s(server.pid)
    answered, failed, seconds = load()
    time.sleep(0.3)
    return Work(answered, failed, seconds, cpu.cpu_s(server.pid) - before_s)


def requests(server: Process, *, connections: int, seconds: float, core: str) -> Work:
    """Chat completions, not streamed, as fast as `connections` clients get answers."""
    if WRK is None:
        return measured(server, lambda: uvloop.run(_clients(server.port, connections, seconds, stream=False)))
    return measured(server, lambda: _wrk(server, connections, seconds, core))


def streams(server: Process, *, connections: int, seconds: float) -> Work:
    """Streamed completions, one after another on each connection."""
    return measured(server, lambda: uvloop.run(_clients(server.port, connections, seconds, stream=True)))


def _wrk(server: Process, connections: int, seconds: float, core: str) -> tuple[int, int, float]:
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as place:
        script = Path(place) / "post.lua"
        script.write_text(WRK_SCRIPT.format(body=chat_request(stream=False).decode()))
        command = [*on(core), str(WRK), "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script)]
        target = f"{server.url}/v1/chat/completions"
        output = subprocess.run([*command, target], capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (.*)", output)
    assert found, output
    result = json.loads(found[1])
    return result["answered"], result["failed"], result["seconds"]


@dataclass
class _Tally:
    answered: int = 0
    failed: int = 0
    stopping: bool = False
    idle: set[asyncio.Future[None]] = field(default_factory=set)


class _Client(asyncio.Protocol):
    """Sends the same request again and again, each after the whole answer to the one before."""

    transport: asyncio.Transport

    def __init__(self, request: bytes, tally: _Tally) -> None:
        self.request = request
        self.tally = tally
        self.answer = b""
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if not is_whole(self.answer):
            return
        ok = self.answer.startswith(b"HTTP/1.1 200")
        self.tally.answered += ok
        self.tally.failed += not ok
        self.answer = b""
        if self.tally.stopping:
            self.transport.close()
        else:
            self.transport.write(self.request)

    def connection_lost(self, error: Exception | None) -> None:
        self.tally.failed += bool(self.answer) or not self.tally.stopping
        self.finished.set_result(None)


CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def is_whole(answer: bytes) -> bool:
    """Whether an answer of this benchmark's upstreams has arrived to its end."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = CONTENT_LENGTH.search(head)
    return len(body) >= int(length[1]) if length else answer.endswith(b"0\r\n\r\n")


async def _clients(port: int, connections: int, seconds: float, *, stream: bool) -> tuple[int, int, float]:
    loop = asyncio.get_running_loop()
    request, tally = http_post(chat_request(stream=stream), port), _Tally()
    started = loop.time()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(request, tally), "127.0.0.1", port)
        clients.append(client.finished)
    await asyncio.sleep(seconds)
    tally.stopping = True
    await asyncio.wait(clients, timeout=30)
    return tally.answered, tally.failed, loop.time() - started


class OneAtATime:
    """A blocking client on one kept connection, for latencies."""

    def __init__(self, server: Process, body: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = http_post(body, server.port)

    def call_ms(self) -> tuple[float, float]:
        """Milliseconds to the first byte of the body, and to the last."""
        started = time.perf_counter()
        self.socket.sendall(self.request)
        answer, first_ms = b"", None
        while not is_whole(answer):
            data = self.socket.recv(65536)
            assert data, "the server closed the connection"
            answer += data
            if first_ms is None and not answer.endswith(b"\r\n\r\n"):
                first_ms = (time.perf_counter() - started) * 1e3
        last_ms = (time.perf_counter() - started) * 1e3
        return last_ms if first_ms is None else first_ms, last_ms


@dataclass(frozen=True)
class Added:
    """Medians in milliseconds of the same call made directly and through the gateway, taken in turns."""

    direct_ms: float
    through_ms: float

    @property
    def added_ms(self) -> float:
        return self.through_ms - self.direct_ms


def added(direct: Process, through: Process, body: bytes, *, rounds: int, which: int) -> Added:
    """`which`: 0 compares first bytes, 1 last bytes."""
    near, far = OneAtATime(direct, body), OneAtATime(through, body)
    for client in (near, far):
        client.call_ms()
    pairs = [(near.call_ms()[which], far.call_ms()[which]) for _ in range(rounds)]
    return Added(statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs))
