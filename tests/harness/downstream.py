"""A client that sends exactly the bytes it is told to and shows exactly the bytes it got.

For what no HTTP library lets a test do: odd spelling, half a request, a hang-up in mid-answer.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True)
class Answer:
    """A response as it came over the wire. `body` is without its chunk framing, `chunks` how it was framed.

    `clean` is whether the body ended as its framing says it must.
    """

    status: int
    raw_head: bytes
    headers: list[tuple[str, str]]
    body: bytes
    chunks: list[bytes]
    clean: bool

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """One TCP connection to the gateway. Every wait is limited by `timeout_s`."""

    def __init__(self, port: int, *, timeout_s: float = 15.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def post(self, path: str, body: bytes, *headers: str, method: str = "POST") -> None:
        """Send a request with a counted body; `headers` are whole lines, `content-type` included."""
        lines = [f"{method} {path} HTTP/1.1", "host: gateway.test", f"content-length: {len(body)}", *headers]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def get(self, path: str, *headers: str, method: str = "GET") -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: gateway.test", *headers]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def read_some(self) -> bytes:
        """What has arrived and was not read yet, waiting for a first byte. Empty at the end."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        return self.socket.recv(65536)

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`."""
        while mark not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"connection ended before {mark!r}: {self.buffer!r}")
            self.buffer += data
        end = self.buffer.index(mark) + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def see(self, mark: bytes) -> None:
        """Wait for `mark`, and leave all there is to be read."""
        seen = self.read_until(mark)
        self.buffer = seen + self.buffer

    def read_answer(self, *, method: str = "POST") -> Answer:
        """The next final response, to its end or to the connection's."""
        head = self.read_until(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 1"):
            head = self.read_until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = [
            (name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)
        ]
        fields = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (204, 304):
            body, chunks, clean = b"", [], True
        elif "chunked" in fields.get("transfer-encoding", ""):
            chunks, clean = self._read_chunks()
            body = b"".join(chunks)
        else:
            body, clean = self._read_counted(fields.get("content-length"))
            chunks = [body]
        return Answer(status, head, headers, body, chunks, clean)

    def hang_up(self) -> None:
        """Close with an RST, as a client that was killed does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def ended(self) -> bool:
        """Whether the other side has closed: waits for that or for a byte."""
        try:
            data = self.buffer or self.socket.recv(1)
        except ConnectionError:
            return True
        self.buffer = data
        return not data

    def _read_counted(self, length: str | None) -> tuple[bytes, bool]:
        """A body of `length` bytes, or up to the connection's end, which must then be a FIN."""
        ended_with_fin = True
        while length is None or len(self.buffer) < int(length):
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                ended_with_fin = False
                break
            if not data:
                break
            self.buffer += data
        wanted = len(self.buffer) if length is None else int(length)
        body, self.buffer = self.buffer[:wanted], self.buffer[wanted:]
        return body, len(body) == wanted and (length is not None or ended_with_fin)

    def _read_chunks(self) -> tuple[list[bytes], bool]:
        chunks: list[bytes] = []
        try:
            while True:
                size = int(self.read_until(b"\r\n").partition(b";")[0], 16)
                if size == 0:
                    self.read_until(b"\r\n")
                    return chunks, True
                while len(self.buffer) < size + 2:
                    data = self.socket.recv(65536)
                    if not data:
                        raise EOFError
                    self.buffer += data
                chunks.append(self.buffer[:size])
                self.buffer = self.buffer[size + 2 :]
        except (EOFError, ConnectionError):
            return chunks, False


def until_in_flight(client: RawClient, wanted: int) -> None:
    """Wait until the gateway says that so many requests are in flight."""
    for _ in range(500):
        client.get("/readyz")
        if client.read_answer(method="GET").json()["in_flight"] == wanted:
            return
        time.sleep(0.01)
    raise AssertionError(f"not {wanted} in flight within 5 s")
