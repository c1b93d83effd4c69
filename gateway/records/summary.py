"""What people thought, in figures: of all feedback, of a trace, or of each group of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Grouping = Literal["model", "prompt", "user", "organisation", "environment", "name", "task", "day"]
GROUPINGS: tuple[Grouping, ...] = (
    "model", "prompt", "user", "organisation", "environment", "name", "task", "day",
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class ValueCount:
    """How often a value was given: a number, a boolean or a text."""

    value: Any
    count: int


@dataclass(slots=True, frozen=True)
class Agreement:
    """How far sources agree where at least two of them graded the same thing under the same name.

    `things` is how many were graded so, by `votes` in all: of each source its newest. `exact` is the share of
    things that got the same value from all. `alpha` is Krippendorff's: 1 for perfect agreement, 0 for what
    chance gives, below 0 for less; None where all votes are the same value. `scale` is how far apart it takes
    two values to be: `interval`, the square of their difference, where all votes are numbers, else `nominal`.
    """

    things: int
    votes: int
    exact: float
    alpha: float | None
    scale: Literal["interval", "nominal"]


@dataclass(slots=True, frozen=True)
class Distribution:
    """Which values were given, the most frequent first, and how many times others were.

    `total` counts all; a list counts under each of its entries. The mean is of the numbers among them.
    """

    total: int
    values: tuple[ValueCount, ...]
    other: int
    mean: float | None
    min: float | None
    max: float | None
    agreement: Agreement | None


@dataclass(slots=True, frozen=True)
class NameSummary:
    """Feedback of one name. `fields` are the members of values that are objects.

    The weighted figures are of scores alone, as in FeedbackSummary.
    """

    name: str
    count: int
    kinds: Mapping[str, int]
    distribution: Distribution
    weighted_mean: float | None
    mean_weighted_value: float | None
    fields: Mapping[str, Distribution]


@dataclass(slots=True, frozen=True)
class GroupSummary:
    """Feedback of one group; None is the group of what has none. `other` counts what is not in `names`."""

    group: str | None
    count: int
    names: tuple[NameSummary, ...]
    other: int


@dataclass(slots=True, frozen=True)
class Summary:
    """The groups asked for, and whether there are more."""

    groups: tuple[GroupSummary, ...]
    has_more: bool
