"""Strategies that follow feedback, in words and figures for the status page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.dashboard import figures
from gateway.feedback.steering import Standing, Steered

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


@dataclass(slots=True, frozen=True)
class Line:
    """One target, as its row shows it."""

    target: str
    share: str
    reason: str
    chance: str
    mean: str
    answers: int
    worth: str
    weight: str


@dataclass(slots=True, frozen=True)
class Table:
    """One strategy. `rule` says what its shares follow, `problem` what stands in the way, if anything."""

    place: str
    name: str
    rule: str
    refreshed_at_ms: int | None
    is_cut: bool
    problem: str | None
    lines: tuple[Line, ...]


def tables(steered: Iterable[Steered]) -> list[Table]:
    return [_table(each) for each in steered]


def _table(steered: Steered) -> Table:
    settings = steered.settings
    problem = None
    if steered.last_error is not None:
        problem = (
            f"Feedback could not be looked at, so shares stay as they were: {steered.last_error} "
            f"({steered.failures:,} since the start)"
        )
    return Table(
        place=steered.place,
        name=settings.name,
        rule=f"A score counts half after {_span(settings.half_life_s)}; {_percent(settings.explore)} of the "
        "requests are spread evenly.",
        refreshed_at_ms=steered.refreshed_at_ms,
        is_cut=steered.is_cut,
        problem=problem,
        lines=tuple(_line(standing) for standing in steered.standings),
    )


def _line(standing: Standing) -> Line:
    found = standing.evidence
    return Line(
        target=standing.target,
        share=_percent(standing.share),
        reason=standing.reason,
        chance=_percent(standing.chance),
        mean=figures.mean(found.mean if found.weight else None),
        answers=found.answers,
        worth=f"{found.weight:.1f}",
        weight=f"{standing.weight:g}",
    )


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def _span(seconds: float) -> str:
    """1 hour, 7 days, 1.5 minutes: in the largest unit it is at least one of."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "second"))
    number = f"{seconds / size:.3g}"
    return f"{number} {unit}" + ("" if number == "1" else "s")
