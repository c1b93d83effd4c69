"""Keep a body as it goes by: whole up to a limit, beyond it the head and the tail. No decoding here."""

from __future__ import annotations

from gateway.records import Payload

MAX_FRAMED = 64


class BodyBuffer:
    """Collects one side's bytes: `add` each chunk, then `payload()`.

    Holds at most `limit` bytes (and one chunk, and what is in `framed`): the first half of them from the
    body's head, the second from its tail. Whoever has chunks as HTTP/1.1 frames them, may append up to
    MAX_FRAMED of them, `<size>CRLF<chunk>CRLF`, to `framed` before the next `add`.
    """

    __slots__ = ("_chunks", "_dropped", "_head", "_limit", "_room", "framed")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head: bytes | None = None  # set once the body has outgrown the limit
        self._chunks: list[bytes] = []
        self._room = limit
        self._dropped = 0
        self.framed: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        if self.framed:
            self._unframe()
        self._chunks.append(chunk)
        self._room -= len(chunk)
        if self._room < 0:
            self._shrink()

    def _unframe(self) -> None:
        chunks = [framed[framed.find(b"\n") + 1 : -2] for framed in self.framed]
        self.framed.clear()
        self.add(b"".join(chunks))

    def _shrink(self) -> None:
        half = self._limit // 2
        joined = b"".join(self._chunks)
        if self._head is None:
            self._head = joined[: self._limit - half]
            joined = joined[self._limit - half :]
        # The tail may grow to twice its share before it is cut, so that each byte is copied once or twice,
        # not once for every chunk that follows.
        tail = joined[-half:] if half else b""
        self._dropped += len(joined) - len(tail)
        self._chunks = [tail]
        self._room = self._limit - len(tail) + half

    def payload(self) -> Payload:
        if self.framed:
            self._unframe()
        joined = b"".join(self._chunks)
        if self._head is None:
            return Payload(joined, b"", len(joined))
        half = self._limit // 2
        size = len(self._head) + self._dropped + len(joined)
        return Payload(self._head, joined[-half:] if half else b"", size)


def cut(payload: Payload, limit: int) -> Payload:
    """The same payload with at most `limit` bytes kept."""
    if len(payload.head) + len(payload.tail) <= limit:
        return payload
    half = limit // 2
    joined = payload.head + payload.tail if payload.is_whole else payload.tail
    return Payload(payload.head[: limit - half], joined[-half:] if half else b"", payload.size)
