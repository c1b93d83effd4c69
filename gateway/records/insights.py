"""Figures over time and by group: sums that can be added to each other, and what is derived from them.

An hour is a number of whole hours since the epoch. Everything here can be added up in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import fsum, log2, sqrt
from typing import Literal

HOUR_MS = 3_600_000

Dimension = Literal["model", "prompt", "user", "organisation", "environment", "upstream"]
DIMENSIONS: tuple[Dimension, ...] = ("model", "prompt", "user", "organisation", "environment", "upstream")

FEW = 20
"""Below so many scores a mean says little, and is marked."""

_BUCKETS_PER_DOUBLING = 4


def latency_bucket(latency_ms: float) -> int:
    """Latencies are counted in buckets, each 19 % wide. What is derived from them is placed within a bucket
    by rank, and so mostly right to within a few percent."""
    return int(log2(max(latency_ms, 1.0)) * _BUCKETS_PER_DOUBLING)


def _edge_ms(place: float) -> float:
    return float(2 ** (place / _BUCKETS_PER_DOUBLING))


@dataclass(slots=True)
class RequestFigures:
    """Of some exchanges. `priced` is how many of them have a cost; `latency` counts them by bucket."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    priced: int = 0
    cost_usd: float = 0.0
    latency: dict[int, int] = field(default_factory=dict)

    def add(self, other: RequestFigures) -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.priced += other.priced
        self.cost_usd += other.cost_usd
        for bucket, count in other.latency.items():
            self.latency[bucket] = self.latency.get(bucket, 0) + count

    @property
    def error_share(self) -> float | None:
        return self.errors / self.requests if self.requests else None

    def latency_ms(self, share: float) -> float | None:
        """The latency that `share` (0 to 1) of the exchanges do not exceed; None without any."""
        total = sum(self.latency.values())
        if not total:
            return None
        rank, below = share * total, 0
        for bucket in sorted(self.latency):
            count = self.latency[bucket]
            if below + count >= rank:
                return _edge_ms(bucket + (rank - below) / count)
            below += count
        return _edge_ms(max(self.latency) + 1)


@dataclass(slots=True)
class ScoreFigures:
    """Of one value: how many scores say it, and their weights added up."""

    count: int = 0
    weight: float = 0.0


@dataclass(slots=True)
class FeedbackFigures:
    """Of some feedback: `count` of all kinds, `scores` of those that count in value:weight pairs."""

    count: int = 0
    scores: dict[int, ScoreFigures] = field(default_factory=dict)

    def add(self, other: FeedbackFigures) -> None:
        self.add_others(other.count - other.score_count)
        for value, figures in other.scores.items():
            self.add_scores(value, figures.count, figures.weight)

    def add_scores(self, value: int, count: int, weight: float) -> None:
        self.count += count
        known = self.scores.get(value)
        if known is None:
            self.scores[value] = ScoreFigures(count, weight)
        else:
            known.count += count
            known.weight += weight

    def add_others(self, count: int) -> None:
        """Feedback that is no score."""
        self.count += count

    @property
    def score_count(self) -> int:
        return sum(figures.count for figures in self.scores.values())

    @property
    def is_few(self) -> bool:
        return self.score_count < FEW

    @property
    def weighted_mean(self) -> float | None:
        """Σ(value·weight)/Σ(weight); None where that is 0."""
        weight = fsum(figures.weight for figures in self.scores.values())
        if not weight:
            return None
        return fsum(value * figures.weight for value, figures in self.scores.items()) / weight

    @property
    def spread(self) -> float | None:
        """The weighted standard deviation: how far scores are from their mean."""
        mean = self.weighted_mean
        if mean is None:
            return None
        weight = fsum(figures.weight for figures in self.scores.values())
        squares = fsum((value - mean) ** 2 * figures.weight for value, figures in self.scores.items())
        return sqrt(squares / weight)


@dataclass(slots=True, frozen=True)
class Span:
    """Hours from `first` up to `end`, which is not one of them, in steps of `step` hours."""

    first: int
    end: int
    step: int = 1

    def __iter__(self) -> Iterator[int]:
        """The first hour of each step."""
        return iter(range(self.first, self.end, self.step))

    def start_of(self, hour: int) -> int:
        """The first hour of the step that `hour` is in."""
        return self.first + (hour - self.first) // self.step * self.step


@dataclass(slots=True)
class Figures:
    """Of a time or a group."""

    requests: RequestFigures = field(default_factory=RequestFigures)
    feedback: FeedbackFigures = field(default_factory=FeedbackFigures)

    def add(self, other: Figures) -> None:
        self.requests.add(other.requests)
        self.feedback.add(other.feedback)


@dataclass(slots=True, frozen=True)
class GroupFigures:
    """Of one group; None is the group of what has none."""

    group: str | None
    figures: Figures


@dataclass(slots=True, frozen=True)
class Insights:
    """Figures of a span: of each of its steps, of the groups asked for, and of prompts and models by score.

    `rated` are the groups with scores, without their requests: the best first, those with few scores last.
    `uncounted` is how many exchanges, and `stale_hours` how many hours of feedback, are not or not exactly in
    these figures yet.
    """

    span: Span
    steps: dict[int, Figures]
    groups: tuple[GroupFigures, ...]
    more_groups: bool
    rated: dict[Dimension, tuple[GroupFigures, ...]]
    uncounted: int
    stale_hours: int

    @property
    def total(self) -> Figures:
        return total(self.steps.values())


def total(several: Iterable[Figures]) -> Figures:
    added = Figures()
    for figures in several:
        added.add(figures)
    return added
