"""The attempts of an exchange as a trace's page shows them: a table, and a bar of what took how long.

Plain data for the templates; what an attempt is, and how it is stored, is in `gateway.capture.attempts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.capture.attempts import Made
from gateway.records import Attempt, ExchangeRow

Kind = Literal["queue", "failed", "pause", "wait", "flow"]
"""What passed: until the first attempt, an attempt that was not the last, the pause before the next, the last
one's way to its answer, and the answer itself."""


@dataclass(slots=True, frozen=True)
class Bar:
    """A part of a timing bar, in thousandths of its width."""

    kind: Kind
    start: int
    width: int


@dataclass(slots=True, frozen=True)
class Try:
    """An attempt in the table. `left_out` is how many before it were not kept, `bars` are what it took of the
    exchange, `is_answer` is whether the client was given its answer."""

    number: int
    attempt: Attempt
    waited_ms: float
    is_answer: bool
    left_out: int
    bars: tuple[Bar, ...]


def tries(row: ExchangeRow, made: Sequence[Made]) -> tuple[Try, ...]:
    last = made[-1].number if made else 0
    span_ms = max([row.latency_ms, *(_end_ms(each.attempt) for each in made)])
    found, end_ms, before = [], 0.0, 0
    for number, attempt in made:
        kind: Kind = "wait" if number == last else "failed"
        bars = _Bars(span_ms)
        bars.skip(end_ms)
        bars.add("pause" if before else "queue", attempt.started_ms)
        bars.add(kind, _end_ms(attempt))
        if number == last:
            bars.add("flow", row.latency_ms)
        found.append(
            Try(
                number=number,
                attempt=attempt,
                waited_ms=max(attempt.started_ms - end_ms, 0.0),
                is_answer=number == last and attempt.status is not None,
                left_out=number - before - 1,
                bars=bars.drawn,
            )
        )
        end_ms, before = _end_ms(attempt), number
    return tuple(found)


def timing(row: ExchangeRow, made: Sequence[Made], longest_ms: float) -> tuple[Bar, ...]:
    """The whole exchange as one bar; `longest_ms` is its full width."""
    bars = _Bars(longest_ms)
    if len(made) > 1:
        for number, attempt in made:
            bars.add("pause" if number > 1 else "queue", min(attempt.started_ms, row.latency_ms))
            is_last = number == made[-1].number
            bars.add("wait" if is_last else "failed", min(_end_ms(attempt), row.latency_ms))
    else:
        answered_ms = row.latency_ms if row.first_byte_ms is None else min(row.first_byte_ms, row.latency_ms)
        bars.add("queue", min(row.queue_ms or 0.0, answered_ms))
        bars.add("wait", answered_ms)
    bars.add("flow", row.latency_ms)
    return bars.drawn


def _end_ms(attempt: Attempt) -> float:
    return attempt.started_ms + attempt.latency_ms


class _Bars:
    """Parts put one behind another, each up to a time; what would take no room is not drawn."""

    def __init__(self, span_ms: float) -> None:
        self._span_ms = span_ms or 1.0
        self._at = 0
        self._bars: list[Bar] = []

    @property
    def drawn(self) -> tuple[Bar, ...]:
        return tuple(self._bars)

    def skip(self, until_ms: float) -> None:
        self._at = max(self._at, self._place(until_ms))

    def add(self, kind: Kind, until_ms: float) -> None:
        end = self._place(until_ms)
        if end > self._at:
            self._bars.append(Bar(kind, self._at, end - self._at))
            self._at = end

    def _place(self, ms: float) -> int:
        return round(1000 * max(0.0, min(ms / self._span_ms, 1.0)))
