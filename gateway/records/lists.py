"""What lists are asked for, and the pages that answer: filters, pages, traces and logs as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.records.exchange import BodyRow, ExchangeRow
from gateway.records.feedback import Feedback, FeedbackSummary, Kind, Signal, SourceType


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
    """Which feedback to list; times are its creation.

    `trace_id` and `request_id` find what was given under that id, whichever of the two it turned out to be.
    `min_value` and `max_value` are of numbers: scores, numbers, and booleans as 1 and 0. `label` is a short
    text, "true" or "false".
    """

    request_id: str | None = None
    name: str | None = None
    kind: Kind | None = None
    signal: Signal | None = None
    source_type: SourceType | None = None
    source_id: str | None = None
    task_id: str | None = None
    label: str | None = None
    min_value: float | None = None
    max_value: float | None = None
    include_retracted: bool = False


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
    target: str | None = None
    """Of those where a plan had several: which one answered."""
    cache_status: str | None = None
    retried: bool | None = None
    """With more than one attempt, or with one at most."""


Item = TypeVar("Item")


@dataclass(slots=True, frozen=True)
class Page(Generic[Item]):
    """Part of a list, newest first. `has_more` is whether older items follow."""

    items: tuple[Item, ...]
    has_more: bool


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
class Log:
    """A stored exchange without its bodies, and what people thought of it.

    Feedback on its trace as a whole applies to it, feedback on the trace's other exchanges does not.
    """

    row: ExchangeRow
    feedback: FeedbackSummary


@dataclass(slots=True, frozen=True)
class LogDetail:
    """A stored exchange, its bodies (None when not kept) and the newest feedback that applies to it."""

    log: Log
    bodies: BodyRow | None
    feedback: Page[Feedback]


@dataclass(slots=True, frozen=True)
class TraceDetail:
    """A trace with its newest exchanges and its newest feedback."""

    summary: TraceSummary
    exchanges: Page[Log]
    feedback: Page[Feedback]
