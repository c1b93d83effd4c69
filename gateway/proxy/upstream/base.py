"""The seam between the proxy and the network: `open(request)` gives an answer to read and to close.

Both implementations, `native` and `httpx`, pass the same tests at the wire. Errors are of our own tree only.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from typing import NamedTuple, Protocol

from gateway.config import schema
from gateway.errors import UpstreamTimeout
from gateway.proxy.passage import Passage
from gateway.records import Headers


class Limits(NamedTuple):
    """The time limits of one attempt, in seconds.

    `deadline_s` is what is left of the whole request's limit. `where` is the part of the configuration that
    has the limits, for messages, e.g. `upstreams.openai`.
    """

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float
    where: str
    deadline_s: float = float("inf")

    @property
    def end_s(self) -> float:
        """How long everything may take together."""
        return min(self.total_s, self.deadline_s)

    def passed(self, limit: str, name: str) -> UpstreamTimeout:
        """The error for upstream `name` passing `limit`: connect, first_byte, idle, or total."""
        if limit == "total" and self.deadline_s < self.total_s:
            return UpstreamTimeout(
                f"upstream {name}: no end of the answer before the request's deadline (deadline_s of its "
                "plan, or the limit that the request itself set)",
                limit="deadline",
            )
        what = {
            "connect": "no connection",
            "first_byte": "no answer",
            "idle": "no further byte of the answer",
            "total": "no end of the answer",
        }[limit]
        seconds: float = getattr(self, f"{limit}_s")
        return UpstreamTimeout(
            f"upstream {name}: {what} within {seconds:g} s ({self.where}.{limit}_timeout_s)", limit=limit
        )


def limits_of(name: str, settings: schema.Upstream) -> Limits:
    """What the settings of the upstream `name` say."""
    return Limits(
        settings.connect_timeout_s,
        settings.first_byte_timeout_s,
        settings.idle_timeout_s,
        settings.total_timeout_s,
        where=f"upstreams.{name}",
    )


class UpstreamRequest(NamedTuple):
    """What goes upstream. `target` is the path and query as they stand on the request line.

    `headers` are without host, content-length and transfer-encoding: the transport writes those. A `body` of
    bytes can be sent again, an iterable only once; `body_bytes` is its length where known, None sends it
    chunked. A body of None sends neither body nor length. `on_sent` is called when the first byte goes out:
    what was before that, a request spent waiting. `limits` are the upstream's own unless given.
    """

    method: str
    target: bytes
    headers: Headers
    body: bytes | AsyncIterable[bytes] | None
    body_bytes: int | None = None
    on_sent: Callable[[], None] | None = None
    limits: Limits | None = None

    @property
    def can_be_sent_again(self) -> bool:
        return self.body is None or isinstance(self.body, bytes)


class Take(Protocol):
    """Takes a chunk and returns True, or declines it and returns False. Does not raise and does not wait.

    `framed` is the chunk with its size line and its line end, where it came as one whole chunk of HTTP/1.1:
    whoever sends chunks, too, need not frame it again.
    """

    def __call__(self, chunk: bytes, framed: bytes | None = None, /) -> bool: ...


class UpstreamResponse(Protocol):
    """An answer whose head has arrived. Whoever opened it closes it, exactly once."""

    status: int
    headers: Headers
    """Lower-case names, in the order received, hop-by-hop ones included."""

    @property
    def ready(self) -> bool:
        """Whether `read` would return at once."""
        ...

    @property
    def ended(self) -> bool:
        """Whether everything has been read. May turn true only with the empty read."""
        ...

    async def read(self) -> bytes:
        """The bytes that came since the last read, content-encoded as sent; empty at the end.

        Raises UpstreamAborted, or UpstreamTimeout for the idle and the total limit, once what arrived before
        has been read.
        """
        ...

    async def pass_on(self, take: Take, lane: Passage | None = None) -> bytes:
        """Hand what arrives to `take` as it arrives; return what it declines, or what the answer ends with.

        Saves a stream's chunks the way through the event loop to a waiting task. The bytes that complete an
        answer are never handed to `take`. With a `lane`, what it says may pass goes there instead. Raises as
        `read` does.
        """
        ...

    async def close(self) -> None:
        """Give the connection back, or drop it where the answer was not read to its end."""
        ...


class Transport(Protocol):
    """One upstream's connections."""

    async def open(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send `request` and wait for the head of the answer.

        Raises UpstreamUnreachable, UpstreamBroken, UpstreamBusy, UpstreamTimeout, and whatever the body's
        iterator raises. A reused connection that turns out dead before the first byte of an answer is
        replaced once, if the body can be sent again.
        """
        ...

    async def close(self) -> None:
        """Close idle connections. Answers still being read end on their own."""
        ...
