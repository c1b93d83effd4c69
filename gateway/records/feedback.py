"""Feedback: as it is wanted, as it is stored, and what it adds up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum
from typing import Any


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
