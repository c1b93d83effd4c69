"""Tables of traces, exchanges and feedback for people, from the API's JSON. Nothing is fetched here.

Every text passes through `printable`: models and users write some of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.printable import json_text, printable

NOTHING = "-"
TIMES = "\N{MULTIPLICATION SIGN}"
WIDTH_WITHOUT_TERMINAL = 200

Row = Mapping[str, Any]
"""One entry of an API list."""


def console() -> Console:
    """Prints to stdout; as wide as the terminal, or wide enough for `grep` where there is none."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(
        file=sys.stdout, width=WIDTH_WITHOUT_TERMINAL if wide else None, highlight=False, emoji=False
    )


def trace_table(traces: Iterable[Row], title: str | None = None) -> Table:
    """One line a trace, with Feedback Count, value:weight pairs and the weighted mean."""
    table = _table(title, "Trace", "When", ">Requests", ">Errors", "Models", ">Tokens", ">Cost")
    table.add_column("Feedback\nCount", justify="right")
    table.add_column("value:weight")
    table.add_column("Weighted\nmean", justify="right")
    for trace in traces:
        given = trace.get("feedback") or {}
        _add(
            table,
            trace.get("trace_id"),
            when(trace.get("last_at")),
            trace.get("exchange_count"),
            trace.get("error_count"),
            "\n".join(map(str, trace.get("models") or ())) or None,
            tokens(trace.get("tokens")),
            cost(trace.get("cost_usd")),
            given.get("count"),
            pairs(given.get("pairs") or ()),
            decimal(given.get("weighted_mean")),
        )
    return table


def feedback_table(items: Iterable[Row], title: str | None = None) -> Table:
    """One line a piece of feedback; `matched` says whether its trace has a request yet."""
    table = _table(title, "Feedback", "Trace", "When", ">Value", ">Weight", "Metadata", "Matched")
    for item in items:
        _add(
            table,
            item.get("id"),
            item.get("trace_id"),
            when(item.get("updated_at") or item.get("created_at")),
            item.get("value"),
            item.get("weight"),
            json_text(item["metadata"], indent=False) if item.get("metadata") else None,
            {True: "yes", False: "not yet"}.get(item.get("matched")),  # type: ignore[arg-type]
        )
    return table


def facts(pairs_of: Iterable[tuple[str, Any]]) -> Table:
    """One thing in full: a name and its value a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs_of:
        _add(table, name, value)
    return table


def when(time: Any) -> str | None:
    """A time of the API (ISO 8601 text, or seconds since the epoch) as local time to the second."""
    try:
        if isinstance(time, str):
            moment = datetime.fromisoformat(time)
        elif isinstance(time, int | float):
            moment = datetime.fromtimestamp(time, UTC)
        else:
            return None
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(time)


def tokens(count: Any) -> str | None:
    """`120 + 34`: prompt and completion tokens."""
    if not isinstance(count, Mapping) or count.get("prompt") is None:
        return None
    return f"{count['prompt']} + {count.get('completion') or 0}"


def cost(usd: Any) -> str | None:
    """`$0.0123`; more digits where four would show nothing."""
    if not isinstance(usd, int | float):
        return None
    return f"${usd:.4f}" if usd >= 0.01 or usd == 0 else f"${usd:.6f}"


def pairs(given: Iterable[Row]) -> str | None:
    """`5:1.0  -10:0.5`: each value and weight, followed by how often they were given if more than once."""
    return "  ".join(_pair(pair) for pair in given) or None


def decimal(number: Any) -> str | None:
    """A mean, to two digits."""
    return f"{number:.2f}" if isinstance(number, int | float) else None


def _pair(pair: Row) -> str:
    count = pair.get("count", 1)
    shown = f"{pair.get('value')}:{pair.get('weight')}"
    return shown if count == 1 else f"{shown} {TIMES}{count}"


def _table(title: str | None, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    return table


def _add(table: Table, *cells: Any) -> None:
    table.add_row(*(Text(NOTHING if cell is None else _safe(str(cell))) for cell in cells))


def _safe(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))
