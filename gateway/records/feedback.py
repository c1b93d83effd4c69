"""Feedback: as it is wanted, as it is stored, and what it adds up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from math import fsum
from typing import Any, Final, Literal

DEFAULT_NAME = "feedback"
DEFAULT_WEIGHT = 1.0
MIN_SCORE, MAX_SCORE = -10, 10

Kind = Literal["score", "boolean", "number", "text", "list", "object", "none"]
"""What a value is. `score` is an integer from -10 to 10 that counts in value:weight pairs; `none` is feedback
that holds only a comment, a correction or a judge's error."""
KINDS: tuple[Kind, ...] = ("score", "boolean", "number", "text", "list", "object", "none")

Signal = Literal["explicit", "implicit", "free_form"]
"""How feedback came about: somebody rated (thumbs, stars, -10 to 10), somebody did something (copied, saved,
dismissed, regenerated), somebody wrote (a comment, a correction)."""
SIGNALS: tuple[Signal, ...] = ("explicit", "implicit", "free_form")

SourceType = Literal["HUMAN", "LLM_JUDGE", "CODE", "API"]
SOURCE_TYPES: tuple[SourceType, ...] = ("HUMAN", "LLM_JUDGE", "CODE", "API")


class Unset(Enum):
    """The type of UNSET, which says "leave it as it is" where None means "nothing"."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


def kind_of(value: Any) -> Kind:
    """The kind of a JSON value that does not say it is a score."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "object"


@dataclass(slots=True, frozen=True)
class TargetId:
    """An id that feedback is given to, and what it is looked up as first.

    One that is neither a trace's nor an exchange's yet is kept as a trace id, and joined to the exchange of
    that id should it come. `exchange_id` narrows a trace to one exchange of it where that exists.
    """

    id: str
    first: Literal["trace", "exchange"] = "trace"
    exchange_id: str | None = None


@dataclass(slots=True, frozen=True)
class Selector:
    """Which exchanges something is about: those with every tag and every pair of metadata.

    `metadata` compares as text. With `ids_too` an entry of `tags` also fits an exchange of that id or
    trace id.
    """

    tags: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    ids_too: bool = False


@dataclass(slots=True, frozen=True)
class SelectedTargets:
    """Every exchange that fits `selector` when the feedback is stored: at most `limit`, and at least one
    unless `allow_unmatched`."""

    selector: Selector
    limit: int = 100
    allow_unmatched: bool = False


@dataclass(slots=True, frozen=True, kw_only=True)
class FeedbackDraft:
    """Feedback as a client wants it stored: checked, without an id. However many targets, it is one answer.

    `created_at_ms` is for clients that say when it was given; None is now. `task_id` is checked, and the name
    and version taken from the task, by the service.
    """

    targets: tuple[TargetId, ...] | SelectedTargets
    name: str = DEFAULT_NAME
    kind: Kind = "score"
    signal: Signal = "explicit"
    value: Any = None
    weight: float = DEFAULT_WEIGHT
    comment: str | None = None
    correction: Any = None
    source_type: SourceType = "API"
    source_id: str | None = None
    task_id: str | None = None
    task_version: int | None = None
    metadata: dict[str, Any] | None = None
    overrides: str | None = None
    created_at_ms: int | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Retraction:
    """Take back every live piece of feedback on a target under a name: with `value` or `source_id` only
    those. The value of feedback without one is its correction, or its comment."""

    target: TargetId
    name: str
    value: Any = UNSET
    source_id: str | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class FeedbackChange:
    """What to change of a piece of feedback; UNSET leaves a field as it is.

    `kind` goes with `value`. `merge_metadata` adds to the stored metadata key by key instead of replacing it.
    """

    name: str | Unset = UNSET
    kind: Kind | Unset = UNSET
    signal: Signal | Unset = UNSET
    value: Any = UNSET
    weight: float | Unset = UNSET
    comment: str | Unset | None = UNSET
    correction: Any = UNSET
    source_id: str | Unset | None = UNSET
    metadata: dict[str, Any] | Unset | None = UNSET
    merge_metadata: bool = False


@dataclass(slots=True, frozen=True)
class Target:
    """What a piece of feedback is about: a trace, or one exchange of it. `matched` is whether that exists."""

    trace_id: str
    exchange_id: str | None
    matched: bool


@dataclass(slots=True, frozen=True, kw_only=True)
class Feedback:
    """A piece of feedback as it is stored. Times are milliseconds since the epoch.

    It counts in summaries while it is neither retracted nor superseded; `superseded` is whether a live piece
    of feedback overrides it.
    """

    id: str
    key_id: str
    targets: tuple[Target, ...]
    name: str
    kind: Kind
    signal: Signal
    value: Any
    weight: float
    comment: str | None
    correction: Any
    source_type: SourceType
    source_id: str | None
    task_id: str | None
    task_version: int | None
    metadata: dict[str, Any] | None
    overrides: str | None
    superseded: bool
    created_at_ms: int
    updated_at_ms: int | None
    retracted_at_ms: int | None

    @property
    def trace_id(self) -> str | None:
        """The trace of the first target; None when a selector matched nothing."""
        return self.targets[0].trace_id if self.targets else None

    @property
    def matched(self) -> bool:
        return any(target.matched for target in self.targets)


@dataclass(slots=True, frozen=True)
class Revision:
    """What a piece of feedback was before a change: `number` counts from 1, `fields` are what changed."""

    number: int
    changed_at_ms: int
    action: Literal["changed", "retracted"]
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class FeedbackTask:
    """A form: what values of its feedback must look like, and which exchanges it is about.

    A new `schema`, instruction or selector is a new `version`; answers keep the version they were given for.
    """

    id: str
    key_id: str
    name: str
    version: int
    schema: Any
    instruction: str
    selector: Selector
    created_at_ms: int
    updated_at_ms: int | None
    archived_at_ms: int | None


@dataclass(slots=True, frozen=True, order=True)
class Pair:
    """How many pieces of feedback gave this value with this weight."""

    value: int
    weight: float
    count: int


@dataclass(slots=True, frozen=True)
class FeedbackSummary:
    """What people thought of a trace.

    `count` is of all its feedback, `score_count` of that in `pairs`, which are sorted by value, then weight.
    `weighted_mean` = Σ(value·weight)/Σ(weight), None when Σ(weight) is 0;
    `mean_weighted_value` = Σ(value·weight)/score_count, None when that is 0.
    """

    count: int
    score_count: int
    pairs: tuple[Pair, ...]
    sum_weight: float
    weighted_mean: float | None
    mean_weighted_value: float | None

    @classmethod
    def from_pairs(cls, pairs: Iterable[Pair], *, others: int = 0) -> FeedbackSummary:
        """`others` is how much feedback there is besides: of other kinds than score."""
        ordered = tuple(sorted(pairs))
        score_count = sum(pair.count for pair in ordered)
        sum_weight = fsum(pair.weight * pair.count for pair in ordered)
        sum_weighted = fsum(pair.value * pair.weight * pair.count for pair in ordered)
        return cls(
            count=score_count + others,
            score_count=score_count,
            pairs=ordered,
            sum_weight=sum_weight,
            weighted_mean=sum_weighted / sum_weight if sum_weight else None,
            mean_weighted_value=sum_weighted / score_count if score_count else None,
        )


@dataclass(slots=True, frozen=True)
class IdempotencyKey:
    """The `Idempotency-Key` of a create, and what it was sent with: the path and the body's SHA-256 (hex)."""

    key: str
    path: str
    body_sha256: str
