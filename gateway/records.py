"""The shapes that cross package borders: immutable, named with the words of the design.

Those made for every request are named tuples, which cost a fifth of a frozen dataclass to make. The write
half and the read half meet here. No behaviour beyond what a shape says about itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from math import fsum
from typing import Any, Generic, NamedTuple, TypeVar

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


class Exchange(NamedTuple):
    """One downstream request and its final answer, as the proxy hands it to the sink.

    Bytes are raw: reading them (usage, finish reason, cost) is `gateway.capture.digest`'s work, off the
    request path. Times are milliseconds; `started_at_ms` since the epoch, the others since the start.
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
    status: int
    error_kind: str | None
    error_message: str | None
    keep_bodies: bool
    body_user: str | None
    body_metadata: Any
    metadata: dict[str, Any] | None
    request_headers: Headers
    response_headers: Headers
    request: Payload
    response: Payload


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
    """Everything one exchange puts into the database."""

    row: ExchangeRow
    bodies: BodyRow


class SpecialKeys(NamedTuple):
    """The four metadata keys that are columns: `_user`, `_organisation`, `_prompt`, `_environment`."""

    user: str | None
    organisation: str | None
    prompt: str | None
    environment: str | None


@dataclass(slots=True, frozen=True)
class Feedback:
    """A weighted score on a trace. `matched` is whether the trace has an exchange yet."""

    id: str
    key_id: str
    trace_id: str
    value: int
    weight: float
    metadata: dict[str, Any] | None
    created_at_ms: int
    updated_at_ms: int | None
    matched: bool


@dataclass(slots=True, frozen=True, order=True)
class Pair:
    """How many pieces of feedback gave this value with this weight."""

    value: int
    weight: float
    count: int


@dataclass(slots=True, frozen=True)
class FeedbackSummary:
    """What people thought of a trace.

    `weighted_mean` = Σ(value·weight)/Σ(weight), None when Σ(weight) is 0;
    `mean_weighted_value` = Σ(value·weight)/n, None when there is no feedback.
    Everything follows from `pairs`, which are sorted by value, then weight.
    """

    count: int
    pairs: tuple[Pair, ...]
    sum_weight: float
    weighted_mean: float | None
    mean_weighted_value: float | None

    @classmethod
    def from_pairs(cls, pairs: Iterable[Pair]) -> FeedbackSummary:
        ordered = tuple(sorted(pairs))
        count = sum(pair.count for pair in ordered)
        sum_weight = fsum(pair.weight * pair.count for pair in ordered)
        sum_weighted = fsum(pair.value * pair.weight * pair.count for pair in ordered)
        return cls(
            count=count,
            pairs=ordered,
            sum_weight=sum_weight,
            weighted_mean=sum_weighted / sum_weight if sum_weight else None,
            mean_weighted_value=sum_weighted / count if count else None,
        )


@dataclass(slots=True, frozen=True)
class TraceSummary:
    """One row of the list of traces. Times are milliseconds since the epoch."""

    trace_id: str
    first_at_ms: int
    last_at_ms: int
    exchange_count: int
    error_count: int
    models: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    feedback: FeedbackSummary


@dataclass(slots=True, frozen=True)
class FeedbackDraft:
    """Feedback as a client wants it stored: checked, without an id. It counts once in each of `trace_ids`."""

    trace_ids: tuple[str, ...]
    value: int
    weight: float
    metadata: dict[str, Any] | None


@dataclass(slots=True, frozen=True)
class FeedbackChange:
    """What to change of a piece of feedback; None leaves a field as it is."""

    value: int | None = None
    weight: float | None = None
    metadata: dict[str, Any] | None = None


@dataclass(slots=True, frozen=True)
class IdempotencyKey:
    """The `Idempotency-Key` of a create, and what it was sent with: the path and the body's SHA-256 (hex)."""

    key: str
    path: str
    body_sha256: str


@dataclass(slots=True, frozen=True, kw_only=True)
class MetadataFilter:
    """What exchanges and feedback can both be found by. `metadata` pairs compare as text."""

    trace_id: str | None = None
    user: str | None = None
    organisation: str | None = None
    prompt: str | None = None
    environment: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    since_ms: int | None = None
    """Included."""
    until_ms: int | None = None
    """Not included."""


@dataclass(slots=True, frozen=True, kw_only=True)
class FeedbackFilter(MetadataFilter):
    """Which feedback to list; times are its creation."""

    min_value: int | None = None
    max_value: int | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class TraceFilter(MetadataFilter):
    """Which traces to list; times are those of the trace's first exchange or feedback.

    A trace has a user, a piece of metadata, a model or a status if any of its exchanges has it (or, for user
    and metadata, any of its live feedback). `failed` asks for traces with or without a failed exchange.
    """

    min_value: int | None = None
    max_value: int | None = None
    model: str | None = None
    status: int | None = None
    failed: bool | None = None
    has_feedback: bool | None = None
    min_weighted_mean: float | None = None
    max_weighted_mean: float | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class LogFilter(MetadataFilter):
    """Which exchanges to list; times are their start."""

    model: str | None = None
    upstream: str | None = None
    status: int | None = None
    failed: bool | None = None
    error_kind: str | None = None
    streamed: bool | None = None
    has_feedback: bool | None = None


Item = TypeVar("Item")


@dataclass(slots=True, frozen=True)
class Page(Generic[Item]):
    """Part of a list, newest first. `has_more` is whether older items follow."""

    items: tuple[Item, ...]
    has_more: bool


@dataclass(slots=True, frozen=True)
class Log:
    """A stored exchange without its bodies, and what people thought of its trace."""

    row: ExchangeRow
    feedback: FeedbackSummary


@dataclass(slots=True, frozen=True)
class LogDetail:
    """A stored exchange, its bodies (None when not kept) and the newest feedback of its trace."""

    log: Log
    bodies: BodyRow | None
    feedback: Page[Feedback]


@dataclass(slots=True, frozen=True)
class TraceDetail:
    """A trace with its newest exchanges and its newest feedback."""

    summary: TraceSummary
    exchanges: Page[Log]
    feedback: Page[Feedback]
