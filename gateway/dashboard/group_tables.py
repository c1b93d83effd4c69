"""The tables of Insights that compare groups: all figures of each, and the best and worst by score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.dashboard import figures
from gateway.dashboard.figure_tables import NOTHING, TableRow, deviation
from gateway.dashboard.links import Links
from gateway.records.insights import Dimension, GroupFigures, Insights

GROUP_HEAD = (
    "Requests", "Failed", "p50", "p90", "Tokens in", "Tokens out", "Cost", "Feedback", "Scores",
    "Weighted mean",
)  # fmt: skip


def groups(found: Sequence[GroupFigures], dimension: Dimension, links: Links) -> tuple[TableRow, ...]:
    return tuple(_group_row(one, links.group(dimension, one.group), f"no {dimension}") for one in found)


def rated(found: Insights, dimension: Dimension, links: Links) -> tuple[TableRow, ...]:
    """Best first; the last column says whether there are few scores."""
    return tuple(
        TableRow(
            one.group if one.group is not None else f"no {dimension}",
            links.rated(dimension, one.group),
            (feedback.weighted_mean, feedback.spread, feedback.score_count, "few" if feedback.is_few else ""),
            (
                figures.mean(feedback.weighted_mean),
                deviation(feedback.spread),
                figures.number(feedback.score_count),
                "few" if feedback.is_few else "",
            ),
        )
        for one in found.rated[dimension]
        for feedback in (one.figures.feedback,)
    )


def _group_row(one: GroupFigures, href: str | None, nothing: str) -> TableRow:
    requests, feedback = one.figures.requests, one.figures.feedback
    cells = (
        requests.requests,
        requests.errors,
        requests.latency_ms(0.5),
        requests.latency_ms(0.9),
        requests.prompt_tokens,
        requests.completion_tokens,
        requests.cost_usd if requests.priced else None,
        feedback.count,
        feedback.score_count,
        feedback.weighted_mean,
    )
    forms: tuple[Callable[[Any], str], ...] = (
        figures.number, figures.number, figures.duration, figures.duration, figures.compact, figures.compact,
        figures.cost, figures.number, figures.number, figures.mean,
    )  # fmt: skip
    words = tuple(NOTHING if cell is None else form(cell) for cell, form in zip(cells, forms, strict=True))
    return TableRow(one.group if one.group is not None else nothing, href, cells, words)
