"""An exchange on its way from the proxy to the database.

Those made for every request are named tuples, which cost a fifth of a frozen dataclass to make.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

DEFAULT_KEY_ID = "default"
"""Owner of all traces while the gateway has no virtual keys."""

Headers = list[tuple[bytes, bytes]]
"""Header fields as ASGI carries them: lower-case names, in the order they were received."""


class Payload(NamedTuple):
    """One side's body as captured: whole in `head`, or cut to `head` and `tail` when it was longer.

    `size` is the true number of bytes on the wire. `head` and `tail` are still content-encoded.
    """

    head: bytes
    tail: bytes
    size: int

    @property
    def is_whole(self) -> bool:
        return len(self.head) + len(self.tail) == self.size


NO_PAYLOAD = Payload(b"", b"", 0)


class Attempt(NamedTuple):
    """One try at one target.

    Times are milliseconds: `started_ms` since the exchange began, `latency_ms` until the answer's head came
    or the try failed. `status` is None where there was no answer; `error_kind` is the code of what failed.
    `key` says which of the upstream's keys was used, counted from 1; None where there is no choice.
    """

    target: str
    upstream: str
    model: str | None
    status: int | None
    error_kind: str | None
    started_ms: float
    latency_ms: float
    key: int | None = None


@dataclass(slots=True)
class Exchange:
    """One downstream request and its final answer: filled by the proxy until the sink has it.

    Bytes are raw: reading them (usage, finish reason, cost) is `gateway.capture.digest`'s work, off the
    request path. Times are milliseconds; `started_at_ms` since the epoch, the others since the start. Not
    frozen, and the one shape that is not: a second object to copy all of this into cost as much as reading a
    request's head.
    """

    id: str
    trace_id: str
    started_at_ms: int
    method: str
    path: str
    request_headers: Headers
    key_id: str = DEFAULT_KEY_ID
    latency_ms: float = 0.0
    first_byte_ms: float | None = None
    queue_ms: float | None = None
    """Until the upstream was sent the request's first byte: reading the body, waiting for a connection."""
    upstream: str | None = None
    requested_model: str | None = None
    status: int = 0
    error_kind: str | None = None
    error_message: str | None = None
    keep_bodies: bool = True
    body_user: str | None = None
    body_metadata: Any = None
    metadata: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    response_headers: Headers = field(default_factory=list)
    request: Payload = NO_PAYLOAD
    response: Payload = NO_PAYLOAD
    attempts: Sequence[Attempt] = ()
    """In the order they were made; empty where there was one and the exchange itself says all of it."""
    target: str | None = None
    """Which target answered, by its label; only where the plan has several."""
    cache_status: str | None = None
    """`hit`, `miss`, `refresh` or `shared`; None where the cache was not asked."""


Sink = Callable[[Exchange], Awaitable[None]]
"""What a finished exchange is handed to; returns when the row is committed or safely queued."""


class ExchangeRow(NamedTuple):
    """An exchange as it is stored: the columns of `exchange`, in their order, without `seq`.

    `streamed` is 0 or 1: a bool costs Python's sqlite3 more than all other columns of its kind.
    """

    id: str
    key_id: str
    trace_id: str
    started_at_ms: int
    latency_ms: float
    first_byte_ms: float | None
    method: str
    path: str
    upstream: str | None
    requested_model: str | None
    answering_model: str | None
    streamed: int
    status: int
    error_kind: str | None
    error_message: str | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    request_bytes: int
    response_bytes: int
    body_user: str | None
    body_metadata: str | None
    meta_user: str | None
    meta_organisation: str | None
    meta_prompt: str | None
    meta_environment: str | None
    metadata: str | None
    tags: str | None
    queue_ms: float | None
    target: str | None = None
    cache_status: str | None = None
    attempt_count: int | None = None
    """How many attempts were made; None where there was none, or one that the row itself describes."""
    attempts: str | None = None
    """JSON, see `gateway.capture.attempts`."""


class BodyRow(NamedTuple):
    """The columns of `exchange_body`, in their order, without `exchange_seq`.

    Headers are JSON lists of [name, value]. Bodies are decoded (gzip, br, zstd) where that was possible;
    `*_encoding` is the content-encoding that remains. A tail is None when the head is the whole body.
    """

    request_headers: str
    response_headers: str
    request_head: bytes | None
    request_tail: bytes | None
    request_encoding: str | None
    response_head: bytes | None
    response_tail: bytes | None
    response_encoding: str | None


class ExchangeEntry(NamedTuple):
    """Everything one exchange puts into the database. `tags` are those in `row.tags`, which is JSON."""

    row: ExchangeRow
    bodies: BodyRow
    tags: tuple[str, ...] = ()


class SpecialKeys(NamedTuple):
    """The four metadata keys that are columns: `_user`, `_organisation`, `_prompt`, `_environment`."""

    user: str | None
    organisation: str | None
    prompt: str | None
    environment: str | None
