"""Tables of traces, logs and feedback for people, from the API's JSON. Nothing is fetched here.

Every text passes through `printable`: models and users write some of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
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
NARROW = 130
"""Characters in a line below which columns are merged."""

_MIN_WIDTHS = {"When": len("2026-01-31"), "value:weight": len("-10:0.5")}

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
    columns = (
        ("Trace", "Models"), ("When",), (">Requests", ">Errors"), (">Tokens", ">Cost"), (">Feedback\nCount",),
        ("value:weight",), (">Weighted\nmean",),
    )  # fmt: skip
    return grid(title, columns, (_trace_cells(trace, trace.get("feedback") or {}) for trace in traces))


def _trace_cells(trace: Row, given: Row) -> tuple[Any, ...]:
    return (
        trace.get("trace_id"),
        trace.get("models") or None,
        when(trace.get("last_at")),
        trace.get("exchange_count"),
        trace.get("error_count"),
        tokens(trace.get("tokens")),
        cost(trace.get("cost_usd")),
        given.get("count"),
        pairs(given.get("pairs") or ()),
        decimal(given.get("weighted_mean")),
    )


def feedback_table(items: Iterable[Row], title: str | None = None) -> Table:
    """One line a piece of feedback; `matched` says whether its trace has a request yet."""
    columns = (
        ("Feedback", "Trace"), ("When",), ("Name", "Source"), ("Value", "Weight"), ("Said",), ("Metadata",),
        ("Matched",),
    )  # fmt: skip
    return grid(title, columns, map(_feedback_cells, items))


def _feedback_cells(item: Row) -> tuple[Any, ...]:
    metadata = item.get("metadata")
    return (
        item.get("id"),
        item.get("trace_id"),
        when(item.get("updated_at") or item.get("created_at")),
        item.get("name"),
        source(item.get("source")),
        value(item.get("value")),
        item.get("weight"),
        said(item),
        json_text(metadata, indent=False) if metadata else None,
        "yes" if item.get("matched") else "not yet",
    )


def value(given: Any) -> str | None:
    """A value of feedback: text as it is, anything else as JSON."""
    return given if isinstance(given, str) or given is None else json_text(given, indent=False)


def source(given: Any) -> str | None:
    """`HUMAN ann`: what kind of source feedback has, and which."""
    if not isinstance(given, Mapping):
        return None
    return " ".join(str(part) for part in (given.get("type"), given.get("id")) if part) or None


def said(item: Row) -> str | None:
    """What somebody wrote: a comment, or what the answer should have been."""
    correction = value(item.get("correction"))
    words = [item.get("comment"), None if correction is None else f"correct: {correction}"]
    return "; ".join(str(each) for each in words if each) or None


def log_table(logs: Iterable[Row], title: str | None = None) -> Table:
    """One line a recorded request."""
    columns = (
        ("Log", "Trace"), ("When",), ("Path", "Model"), ("Status", "Error"), (">Seconds",),
        (">Tokens", ">Cost"), ("value:weight",),
    )  # fmt: skip
    return grid(title, columns, map(_log_cells, logs))


def _log_cells(log: Row) -> tuple[Any, ...]:
    return (
        log.get("id"),
        log.get("trace_id"),
        when(log.get("started_at")),
        log.get("path"),
        model(log),
        log.get("status"),
        (log.get("error") or {}).get("kind"),
        seconds(log.get("latency_ms")),
        tokens(log.get("usage")),
        cost(log.get("cost_usd")),
        pairs((log.get("feedback") or {}).get("pairs") or ()),
    )


def attempt_table(attempts: Iterable[Row], title: str | None = None) -> Table:
    """One line a try at a target; `Waited` is the pause since the one before, or since the request came."""
    columns = (
        (">Attempt",), ("Target",), ("Upstream", "Model"), (">Key",), ("Status", "Error"),
        (">Waited", ">Seconds"),
    )  # fmt: skip
    rows, end_ms = [], 0.0
    for attempt in attempts:
        started_ms, latency_ms = (attempt.get(name) or 0.0 for name in ("started_ms", "latency_ms"))
        rows.append(
            (
                attempt.get("number"),
                attempt.get("target"),
                attempt.get("upstream"),
                attempt.get("model"),
                attempt.get("key"),
                attempt.get("status"),
                attempt.get("error_kind"),
                seconds(max(started_ms - end_ms, 0.0)),
                seconds(latency_ms),
            )
        )
        end_ms = started_ms + latency_ms
    return grid(title, columns, rows)


def log_line(log: Row) -> str:
    """A recorded request on one line, for a list that grows."""
    parts = (
        when(log.get("started_at")),
        log.get("status"),
        log.get("method"),
        log.get("path"),
        model(log),
        "streamed" if log.get("streamed") else "at once",
        f"{seconds(log.get('latency_ms'))} s",
        f"{tokens(log.get('usage')) or 'no'} tokens",
        (log.get("error") or {}).get("kind"),
        detour(log),
        f"trace={log.get('trace_id')}",
        f"log={log.get('id')}",
    )
    return "  ".join(printable(str(part)) for part in parts if part is not None)


def facts(pairs_of: Iterable[tuple[str, Any]]) -> Table:
    """One thing in full: a name and its value a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs_of:
        table.add_row(Text(_cell(name)), Text(_cell(value)))
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


def tokens(usage: Any) -> str | None:
    """`120 + 34`: prompt and completion tokens, of a trace's `tokens` or a log's `usage`."""
    if not isinstance(usage, Mapping):
        return None
    counts = [usage.get(name, usage.get(f"{name}_tokens")) for name in ("prompt", "completion")]
    return None if counts == [None, None] else f"{counts[0] or 0} + {counts[1] or 0}"


def seconds(milliseconds: Any) -> str | None:
    """A duration in seconds, to the millisecond."""
    return f"{milliseconds / 1000:.3f}" if isinstance(milliseconds, int | float) else None


def model(log: Row) -> str | None:
    """The model that answered, and the one that was asked for where that is another."""
    requested, answering = log.get("requested_model"), log.get("answering_model")
    if requested and answering and requested != answering:
        return f"{answering} (asked for {requested})"
    return answering or requested


def detour(log: Row) -> str | None:
    """How the answer came, where not at once: `cache hit`, `3 attempts, answered by spare`."""
    cache, count = log.get("cache_status"), log.get("attempt_count")
    words = [f"cache {cache}"] if cache else []
    if isinstance(count, int) and count > 1:
        words.append(f"{count} attempts")
    if log.get("target"):
        words.append(f"answered by {log['target']}")
    return ", ".join(words) or None


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


def grid(title: str | None, columns: Sequence[tuple[str, ...]], rows: Iterable[Sequence[Any]]) -> Table:
    """A table of rows with a cell for each heading; those of one tuple share a column
    where space is short.

    A heading with a `>` is of numbers, which are not wrapped.
    """
    groups = columns if console().width < NARROW else [(heading,) for group in columns for heading in group]
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for group in groups:
        name, numbers = "\n".join(group).replace(">", ""), group[0].startswith(">")
        table.add_column(
            name,
            justify="right" if numbers else "left",
            no_wrap=numbers,
            overflow="fold",
            min_width=_MIN_WIDTHS.get(name),
        )
    for row in rows:
        cells = iter(row)
        table.add_row(*(Text("\n".join(_cell(next(cells)) for _ in group)) for group in groups))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    return "\n".join(printable(str(item)) for item in (value if isinstance(value, list) else [value]))
