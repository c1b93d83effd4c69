"""Days, added up from their hours once those have settled. See `gateway.store.hours`.

While a day is stale its rows are not read, so they can be written in portions, each a short transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, Select, Table, delete, func, insert, literal, select

from gateway.store.exchange_hours import latency_of, latency_text
from gateway.store.hour_tables import exchange_hour, feedback_hour
from gateway.store.hours import ALL_DIMENSIONS, DAY, Stale, is_current

PORTION = 1_000
"""Rows, written in about 5 ms."""


@dataclass(slots=True, frozen=True)
class Day:
    """A stale day, and its rows as they are to be."""

    stale: Stale
    rows: Sequence[dict[str, Any]]

    def portions(self) -> Sequence[Sequence[dict[str, Any]]]:
        return [self.rows[start : start + PORTION] for start in range(0, len(self.rows), PORTION)]


class _Latencies:
    """An aggregate that SQLite calls: the counts of all its rows, added up."""

    def __init__(self) -> None:
        self._sum: dict[int, int] = {}

    def step(self, text: str) -> None:
        for bucket, count in latency_of(text).items():
            self._sum[bucket] = self._sum.get(bucket, 0) + count

    def finalize(self) -> str:
        return latency_text(self._sum)


def add_up(connection: Connection, stale: Stale) -> Day:
    """Reads the hours of a day; the marks they had must have been settled before."""
    raw = cast("sqlite3.Connection", connection.connection.dbapi_connection)
    raw.create_aggregate("all_counts", 1, _Latencies)  # type: ignore[arg-type]
    rows = connection.execute(_sums(_table(stale), stale)).mappings()
    return Day(stale, [dict(row) for row in rows])


def clear(connection: Connection, stale: Stale) -> bool:
    """Take away the rows the day had; False when it was marked again meanwhile."""
    if not is_current(connection, stale):
        return False
    table = _table(stale)
    connection.execute(
        delete(table).where(
            table.c.key_id == stale.key_id,
            table.c.dimension.in_(ALL_DIMENSIONS),  # named, so that the key leads to the day
            table.c.width == DAY,
            table.c.hour == stale.hour,
        )
    )
    return True


def write(connection: Connection, stale: Stale, rows: Sequence[dict[str, Any]]) -> bool:
    """Write some rows of the day; False when it was marked again meanwhile."""
    if not is_current(connection, stale):
        return False
    connection.execute(insert(_table(stale)).prefix_with("OR REPLACE"), rows)
    return True


def _table(stale: Stale) -> Table:
    return exchange_hour if stale.what == "exchange day" else feedback_hour


def _sums(table: Table, stale: Stale) -> Select[Any]:
    groups = [column for column in table.primary_key.columns if column.name not in ("width", "hour")]
    sums = [
        func.all_counts(column).label(column.name)
        if column.name == "latency"
        else func.sum(column).label(column.name)
        for column in table.columns
        if not column.primary_key
    ]
    return (
        select(*groups, literal(DAY).label("width"), literal(stale.hour).label("hour"), *sums)
        .where(
            table.c.key_id == stale.key_id,
            table.c.dimension.in_(ALL_DIMENSIONS),
            table.c.width == 1,
            table.c.hour >= stale.hour,
            table.c.hour < stale.hour + DAY,
        )
        .group_by(*groups)
    )
