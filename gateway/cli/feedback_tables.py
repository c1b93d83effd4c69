"""Feedback for people: one piece in full, what it was before, and summaries. From the API's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.table import Table

from gateway.cli.printable import json_text
from gateway.cli.tables import TIMES, Row, decimal, facts, grid, source, value, when

SHOWN_VALUES = 5


def feedback_facts(item: Row) -> Table:
    """One piece of feedback: a line for everything it has."""
    task = item.get("task") or {}
    lines: list[tuple[str, Any]] = [
        ("Feedback", item.get("id")),
        ("Trace", item.get("trace_id")),
        *(
            ("Request", target["request_id"])
            for target in item.get("targets") or ()
            if target.get("request_id")
        ),
        ("Name", item.get("name")),
        ("Value", value(item.get("value"))),
        ("Weight", item.get("weight")),
        ("Comment", item.get("comment")),
        ("Correction", value(item.get("correction"))),
        ("Source", source(item.get("source"))),
        ("Task", f"{task.get('id')}, version {task.get('version')}" if task else None),
        ("Overrides", item.get("overrides")),
        ("Given", when(item.get("created_at"))),
        ("Changed", when(item.get("updated_at"))),
        ("Taken back", when(item.get("retracted_at"))),
        ("Trace has requests", "yes" if item.get("matched") else "not yet"),
        *((f"  {key}", text) for key, text in (item.get("metadata") or {}).items()),
    ]
    if item.get("valid") is False:
        lines.append(("Counts", "no, it was overridden"))
    optional = ("Comment", "Correction", "Task", "Overrides", "Taken back")
    return facts((name, text) for name, text in lines if text is not None or name not in optional)


def history_table(revisions: Iterable[Row]) -> Table:
    """One line a change, with what was there before it."""
    columns = ((">Number",), ("When",), ("What",), ("It was",))
    return grid("History", columns, map(_revision_cells, revisions))


def _revision_cells(revision: Row) -> tuple[Any, ...]:
    fields = revision.get("fields")
    return (
        revision.get("number"),
        when(revision.get("changed_at")),
        revision.get("action"),
        json_text(fields, indent=False) if fields else None,
    )


def summary_table(groups: Iterable[Row]) -> Table:
    """One line a group and name, and one for each field of values that are objects."""
    columns = (
        ("Group",), ("Name",), (">Count",), ("Values",), (">Mean",), (">Weighted\nmean",), ("Agreement",),
    )  # fmt: skip
    return grid(None, columns, (cells for group in groups for cells in _group_cells(group)))


def _group_cells(group: Row) -> Iterator[tuple[Any, ...]]:
    names = group.get("names") or ()
    if not names:
        yield (group.get("group"), None, group.get("count"), None, None, None, None)
    for name in names:
        yield (group.get("group"), name.get("name"), name.get("count"), *_figures(name))
        for field, figures in (name.get("fields") or {}).items():
            shown = f"{name.get('name')}.{field}"
            yield (group.get("group"), shown, figures.get("value_count"), *_figures(figures))
    if group.get("other_count"):
        yield (group.get("group"), "other names", group.get("other_count"), None, None, None, None)


def _figures(figures: Row) -> tuple[Any, ...]:
    return (
        _values(figures),
        decimal(figures.get("mean")),
        decimal(figures.get("weighted_mean")),
        _agreement(figures.get("agreement")),
    )


def _values(figures: Row) -> str | None:
    """`5 x3 60%  -10 x2 40%`: the most frequent values."""
    given = figures.get("distribution") or ()
    shown = [
        f"{value(each.get('value'))} {TIMES}{each.get('count')} {100 * (each.get('share') or 0):.0f}%"
        for each in given[:SHOWN_VALUES]
    ]
    others = (figures.get("other_count") or 0) + sum(each.get("count") or 0 for each in given[SHOWN_VALUES:])
    if others:
        shown.append(f"others {TIMES}{others}")
    return "  ".join(shown) or None


def _agreement(agreement: Any) -> str | None:
    if not agreement:
        return None
    alpha = decimal(agreement.get("alpha"))
    exact = f"{100 * (agreement.get('exact') or 0):.0f}% of {agreement.get('n')}"
    return exact if alpha is None else f"{exact}, alpha {alpha}"
