"""What Insights shows: each chart with the table behind it, of the same numbers, for pages and CSV alike.

Decides which numbers and where they lead; drawing is in `charts`, adding up in `gateway.store.insights`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from gateway.dashboard import charts, figures, period
from gateway.dashboard.charts import Column, Series
from gateway.dashboard.links import Links
from gateway.records import MAX_SCORE, MIN_SCORE
from gateway.records.insights import Figures, Insights

NOTHING = "\u2013"
"""In a cell without a number."""
PERCENTILES = (0.5, 0.9, 0.99)

Cell = float | str | None


@dataclass(slots=True, frozen=True)
class Key:
    """An entry of a legend: a style of the chart and what it means."""

    style: str
    words: str


@dataclass(slots=True, frozen=True)
class TableRow:
    """`cells` are for programs, `words` the same for people."""

    label: str
    href: str | None
    cells: tuple[Cell, ...]
    words: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Figure:
    """A chart, its table, and one sentence that says what there is to see. `name` is its name in URLs."""

    name: str
    title: str
    summary: str
    drawing: Markup
    head: tuple[str, ...]
    rows: tuple[TableRow, ...]
    legend: tuple[Key, ...] = ()
    is_empty: bool = False


def over_time(found: Insights, links: Links) -> list[Figure]:
    steps = _Steps(found, links)
    return [
        steps.feedback_count(),
        steps.weighted_mean(),
        _scores(found, links),
        steps.requests(),
        steps.errors(),
        steps.latency(),
        steps.tokens(),
        steps.cost(),
    ]


@dataclass(slots=True, frozen=True)
class _Steps:
    found: Insights
    links: Links

    def feedback_count(self) -> Figure:
        values = [step.feedback.count for step in self._steps()]
        columns = self._columns(self._given, [f"{figures.number(value)} given" for value in values])
        total = sum(values)
        return Figure(
            "feedback",
            "Feedback",
            f"{figures.number(total)} given" if total else "Nobody gave feedback in this time",
            charts.bars(columns, [Series("s1", values)], form=figures.compact, whole=True),
            ("Time (UTC)", "Feedback", "Scores"),
            self._rows(
                columns,
                [(step.feedback.count, step.feedback.score_count) for step in self._steps()],
                (figures.number, figures.number),
            ),
            is_empty=not total,
        )

    def weighted_mean(self) -> Figure:
        feedback = [step.feedback for step in self._steps()]
        means = [one.weighted_mean for one in feedback]
        spreads = [one.spread for one in feedback]
        low, high = _edges(means, spreads)
        words = [
            f"mean {figures.mean(mean)}, spread {deviation(spread)}, {_scores_words(one.score_count)}"
            for mean, spread, one in zip(means, spreads, feedback, strict=True)
        ]
        columns = self._columns(self._given, words)
        total = self.found.total.feedback
        return Figure(
            "mean",
            "Weighted mean and its spread",
            f"{figures.mean(total.weighted_mean)} over all, spread {deviation(total.spread)}"
            if total.weighted_mean is not None
            else "No score with a weight in this time",
            charts.lines(
                columns,
                [Series("s1", means)],
                form=figures.mean,
                band=(low, high),
                low=MIN_SCORE,
                high=MAX_SCORE,
            ),
            ("Time (UTC)", "Weighted mean", "Spread (standard deviation)", "Scores"),
            self._rows(
                columns,
                [(one.weighted_mean, one.spread, one.score_count) for one in feedback],
                (figures.mean, deviation, figures.number),
            ),
            legend=(Key("s1", "weighted mean"), Key("s-soft", "spread: one standard deviation up and down")),
            is_empty=total.weighted_mean is None,
        )

    def requests(self) -> Figure:
        steps = [step.requests for step in self._steps()]
        columns = self._columns(
            self._at,
            [
                f"{figures.number(one.requests)} requests, {figures.number(one.errors)} failed"
                for one in steps
            ],
        )
        total = self.found.total.requests
        stacked = [
            Series("s1", [one.requests - one.errors for one in steps]),
            Series("s-bad", [one.errors for one in steps]),
        ]
        return Figure(
            "requests",
            "Requests",
            f"{figures.number(total.requests)} in all" if total.requests else "No request in this time",
            charts.bars(columns, stacked, form=figures.compact, whole=True),
            ("Time (UTC)", "Requests", "Failed"),
            self._rows(
                columns, [(one.requests, one.errors) for one in steps], (figures.number, figures.number)
            ),
            legend=(Key("s1", "answered"), Key("s-bad", "failed")),
            is_empty=not total.requests,
        )

    def errors(self) -> Figure:
        steps = [step.requests for step in self._steps()]
        shares = [one.error_share for one in steps]
        columns = self._columns(
            lambda hour: self.links.step(hour, status="error"),
            [
                f"{_percent(share)} of {figures.number(one.requests)} failed"
                for share, one in zip(shares, steps, strict=True)
            ],
        )
        total = self.found.total.requests
        return Figure(
            "errors",
            "Errors",
            f"{_percent(total.error_share)} of all requests failed" if total.errors else "No request failed",
            charts.bars(columns, [Series("s-bad", shares)], form=_percent),
            ("Time (UTC)", "Failed", "Share"),
            self._rows(columns, [(one.errors, one.error_share) for one in steps], (figures.number, _percent)),
            is_empty=not total.errors,
        )

    def latency(self) -> Figure:
        steps = [step.requests for step in self._steps()]
        by_share = [[one.latency_ms(share) for one in steps] for share in PERCENTILES]
        at_each = list(zip(*by_share, strict=True))
        columns = self._columns(self._at, [_latency_words(three) for three in at_each])
        total = self.found.total.requests
        return Figure(
            "latency",
            "Latency",
            _latency_words([total.latency_ms(share) for share in PERCENTILES])
            if total.requests
            else "No request in this time",
            charts.lines(
                columns,
                [Series(style, values) for style, values in zip(("s1", "s2", "s3"), by_share, strict=True)],
                form=_short_duration,
            ),
            ("Time (UTC)", "p50", "p90", "p99"),
            self._rows(columns, at_each, (figures.duration,) * 3),
            legend=(Key("s1", "p50"), Key("s2", "p90"), Key("s3", "p99")),
            is_empty=not total.requests,
        )

    def tokens(self) -> Figure:
        steps = [step.requests for step in self._steps()]
        both = [(one.prompt_tokens, one.completion_tokens) for one in steps]
        columns = self._columns(
            self._at,
            [f"{figures.number(said)} in, {figures.number(answered)} out" for said, answered in both],
        )
        total = self.found.total.requests
        return Figure(
            "tokens",
            "Tokens",
            f"{figures.number(total.prompt_tokens)} in, {figures.number(total.completion_tokens)} out",
            charts.bars(
                columns,
                [Series("s1", [said for said, _ in both]), Series("s2", [answered for _, answered in both])],
                form=figures.compact,
                whole=True,
            ),
            ("Time (UTC)", "Prompt tokens", "Completion tokens"),
            self._rows(columns, both, (figures.number, figures.number)),
            legend=(Key("s1", "prompt"), Key("s2", "completion")),
            is_empty=not (total.prompt_tokens or total.completion_tokens),
        )

    def cost(self) -> Figure:
        steps = [step.requests for step in self._steps()]
        columns = self._columns(self._at, [figures.cost(one.cost_usd) for one in steps])
        total = self.found.total.requests
        unknown = total.requests - total.priced
        summary = f"{figures.cost(total.cost_usd)} in all"
        if unknown:
            of_all = f"{figures.number(unknown)} of {figures.number(total.requests)}"
            summary += f"; {of_all} requests have no known price"
        return Figure(
            "cost",
            "Cost",
            summary if total.priced else "No request with a known price in this time",
            charts.bars(columns, [Series("s1", [one.cost_usd for one in steps])], form=_short_cost),
            ("Time (UTC)", "Cost (USD)", "Requests with a price"),
            self._rows(
                columns, [(one.cost_usd, one.priced) for one in steps], (figures.cost, figures.number)
            ),
            is_empty=not total.priced,
        )

    def _steps(self) -> Sequence[Figures]:
        return list(self.found.steps.values())

    def _at(self, hour: int) -> str:
        return self.links.step(hour)

    def _given(self, hour: int) -> str:
        return self.links.given(hour)

    def _columns(self, href: Callable[[int], str], words: Sequence[str]) -> list[Column]:
        step = self.links.span.step
        return [
            Column(period.label(hour, step), f"{period.label(hour, step)}: {said}", href(hour))
            for hour, said in zip(self.found.steps, words, strict=True)
        ]

    def _rows(
        self,
        columns: Sequence[Column],
        values: Sequence[tuple[Any, ...]],
        forms: Sequence[Callable[[Any], str]],
    ) -> tuple[TableRow, ...]:
        return tuple(
            TableRow(
                column.label,
                column.href,
                cells,
                tuple(
                    NOTHING if cell is None else form(cell) for cell, form in zip(cells, forms, strict=True)
                ),
            )
            for column, cells in zip(columns, values, strict=True)
        )


def _scores(found: Insights, links: Links) -> Figure:
    scores = found.total.feedback.scores
    values = range(MIN_SCORE, MAX_SCORE + 1)
    counts = {value: scores[value].count if value in scores else 0 for value in values}
    weights = {value: scores[value].weight if value in scores else 0.0 for value in values}
    columns = [
        Column(
            figures.mean(value), f"{figures.mean(value)}: {_scores_words(counts[value])}", links.score(value)
        )
        for value in values
    ]
    signs = (("s-bad", range(MIN_SCORE, 0)), ("s-even", range(1)), ("s2", range(1, MAX_SCORE + 1)))
    series = [
        Series(style, [counts[value] if value in of_sign else 0 for value in values])
        for style, of_sign in signs
    ]
    total = found.total.feedback.score_count
    return Figure(
        "scores",
        "Scores",
        f"{_scores_words(total)}, from {figures.mean(MIN_SCORE)} to {figures.mean(MAX_SCORE)}"
        if total
        else "No score in this time",
        charts.bars(columns, series, form=figures.compact, whole=True),
        ("Score", "Given", "Weights added up"),
        tuple(
            TableRow(
                figures.mean(value),
                links.score(value),
                (counts[value], weights[value]),
                (figures.number(counts[value]), f"{weights[value]:.4g}"),
            )
            for value in values
        ),
        legend=(Key("s-bad", "below zero"), Key("s2", "above zero")),
        is_empty=not total,
    )


def _edges(
    means: Sequence[float | None], spreads: Sequence[float | None]
) -> tuple[list[float | None], list[float | None]]:
    both = list(zip(means, spreads, strict=True))
    return (
        [None if mean is None or spread is None else mean - spread for mean, spread in both],
        [None if mean is None or spread is None else mean + spread for mean, spread in both],
    )


def _latency_words(three: Sequence[float | None]) -> str:
    names = ("p50", "p90", "p99")
    return ", ".join(f"{name} {figures.duration(value)}" for name, value in zip(names, three, strict=True))


def _scores_words(count: int) -> str:
    return f"{figures.number(count)} score{'' if count == 1 else 's'}"


def _percent(share: float | None) -> str:
    if share is None:
        return NOTHING
    return f"{share * 100:.0f} %" if share == 0 or share >= 0.1 else f"{share * 100:.2g} %"


def deviation(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _short_duration(milliseconds: float) -> str:
    """For an axis: 0, 250 ms, 5 s, 15 min, 2 h."""
    for unit, size in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds >= size:
            return f"{milliseconds / size:.3g} {unit}"
    return f"{milliseconds:.3g} ms" if milliseconds else "0"


def _short_cost(usd: float) -> str:
    """For an axis."""
    return f"${usd:.3g}" if usd < 1000 else f"${figures.compact(usd)}"
