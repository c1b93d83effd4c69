"""Answers on their way into the cache and out of it, as the relay sees them: `UpstreamResponse` both times.

Neither decides anything; what may be kept and who is given it is in `cache.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from gateway.capture.repeatable import is_event_stream
from gateway.capture.sse import LastEvent
from gateway.errors import UpstreamError
from gateway.proxy.passage import Passage
from gateway.proxy.upstream.base import Take, UpstreamResponse
from gateway.records import Headers, KeptAnswer

_KEPT_HEADERS = frozenset(
    {b"content-type", b"content-encoding", b"content-language", b"openai-model", b"openai-version"}
)
"""What is kept of an answer's head: what describes the body. Cookies, request ids and rate limits are of one
exchange only."""


def kept_headers(headers: Headers) -> Headers:
    return [field for field in headers if field[0] in _KEPT_HEADERS]


class CachedAnswer:
    """A kept answer, there all at once. `age_s` becomes the `age` header (RFC 9111 section 5.1)."""

    status = 200
    ready = True

    def __init__(self, kept: KeptAnswer, *, age_s: int, has_length: bool) -> None:
        self.headers: Headers = [*kept.headers, (b"age", b"%d" % max(age_s, 0))]
        if has_length:
            self.headers.append((b"content-length", b"%d" % len(kept.body)))
        self.ended = False
        self._body = kept.body

    async def read(self) -> bytes:
        body, self._body = self._body, b""
        self.ended = True
        return body

    async def pass_on(self, take: Take, lane: Passage | None = None) -> bytes:  # noqa: ARG002 - what completes an answer is never taken
        return await self.read()

    async def close(self) -> None:
        self.ended = True


Ending = Literal["complete", "broken", "too_large", "left"]
"""How an answer ended: as it should; the upstream broke off; beyond what may be kept; not read further."""


class Keeping:
    """An upstream's answer that is collected while it passes, unchanged and undelayed.

    `on_end` is called once, with what came by: of an answer that is too large, nothing. It does not raise. A
    stream is complete with its last event, which is where clients stop and where the record ends.
    """

    def __init__(
        self, answer: UpstreamResponse, max_bytes: int, on_end: Callable[[Ending, bytes], None]
    ) -> None:
        self._last_event = LastEvent() if is_event_stream(answer.headers) else None
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._room = max_bytes
        self._chunks: list[bytes] = []
        self._on_end: Callable[[Ending, bytes], None] | None = on_end

    @property
    def ready(self) -> bool:
        return self._answer.ready

    @property
    def ended(self) -> bool:
        return self._answer.ended

    async def read(self) -> bytes:
        try:
            chunk = await self._answer.read()
        except UpstreamError:
            self._end("broken")
            raise
        self._came(chunk)
        return chunk

    async def pass_on(self, take: Take, lane: Passage | None = None) -> bytes:  # noqa: ARG002 - it keeps every chunk
        def take_and_keep(chunk: bytes, framed: bytes | None = None) -> bool:
            taken = take(chunk, framed)
            if taken:
                self._add(chunk)
            return taken

        try:
            chunk = await self._answer.pass_on(take_and_keep)
        except UpstreamError:
            self._end("broken")
            raise
        self._came(chunk)
        return chunk

    async def close(self) -> None:
        self._end("left")
        await self._answer.close()

    def _came(self, chunk: bytes) -> None:
        self._add(chunk)
        if self._answer.ended:
            self._end("complete")

    def _add(self, chunk: bytes) -> None:
        if self._on_end is None:
            return
        self._room -= len(chunk)
        self._chunks.append(chunk)
        if self._room < 0:
            self._chunks = []
            self._end("too_large")
        elif self._last_event is not None and self._last_event.feed(chunk):
            self._end("complete")

    def _end(self, how: Ending) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            chunks, self._chunks = self._chunks, []
            on_end(how, chunks[0] if len(chunks) == 1 else b"".join(chunks))
