"""One batch of exchanges into the database, in one transaction: the statements of the hot path.

Runs on the writing connection's thread, on the driver itself; SQLAlchemy has spelled the statements already,
in `sql`. Reads are in the query modules.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

from gateway.records import ExchangeEntry, ExchangeRow
from gateway.store import sql
from gateway.store.transaction import immediate


class _Insert:
    """An INSERT, for one row or for several at a time.

    Python lets go of its lock and takes it again at every step of a statement, while the event loop's thread
    waits for it: a step should be more than a row.
    """

    __slots__ = ("_sizes",)

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        # OR FAIL: whoever meets an error rolls the whole transaction back, so that SQLite need not prepare to
        # undo a statement that was half done.
        head = f"INSERT OR FAIL INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 - our own names
        row = f"({', '.join('?' * len(columns))})"
        self._sizes = [(size * len(columns), head + ", ".join([row] * size)) for size in (8, 4, 2, 1)]

    def execute(self, cursor: sqlite3.Cursor, values: list[Any]) -> None:
        """Insert rows, whose `values` follow one another."""
        start, end = 0, len(values)
        for size, statement in self._sizes:
            while end - start >= size:
                cursor.execute(statement, values[start : start + size])
                start += size


_INSERT_TAG = _Insert("exchange_tag", sql.COLUMNS["exchange_tag"])
# The newest row's number, and whether feedback waits for an exchange.
_LOOK = "SELECT coalesce(max(seq), 0), EXISTS (SELECT 1 FROM trace WHERE exchange_count = 0) FROM exchange"

Adopt = Callable[[sqlite3.Connection, Sequence[ExchangeRow]], None]
"""Joins feedback that came before its exchange to it. Called within the transaction, and may commit it."""


def insert_batch(connection: sqlite3.Connection, entries: Sequence[ExchangeEntry], adopt: Adopt) -> None:
    """Store `entries` and count them in their traces. Raises sqlite3.Error; then nothing is stored.

    `adopt` is asked only while there is feedback that waits for an exchange.
    """
    with immediate(connection):
        cursor = connection.cursor()
        # Holding the write lock, the next numbers are ours; asking for each row's would cost a call a row.
        last, feedback_waits = cursor.execute(_LOOK).fetchone()
        rows = [entry.row for entry in entries]
        _insert_present(cursor, "exchange", last, rows)
        _insert_present(cursor, "exchange_body", last, map(_body, entries))
        cursor.execute(sql.COUNT_IN_TRACES, (last,))
        cursor.execute(sql.NAME_MODELS, (last, last))
        _INSERT_TAG.execute(cursor, _tags(last, entries))
        if feedback_waits:
            adopt(connection, rows)


def _body(entry: ExchangeEntry) -> list[Any]:
    return [bytearray(value) if type(value) is bytes else value for value in entry.bodies]


def _insert_present(cursor: sqlite3.Cursor, table: str, last: int, rows: Iterable[Sequence[Any]]) -> None:
    """Insert `rows` under the numbers after `last`, naming only the columns that have a value.

    Python's sqlite3 asks its adapters about every value that is not exactly an int, float, str or bytearray,
    and that takes longer than storing it. An exchange is half None, and exchanges of one kind
    are so in the same places.
    """
    alike: dict[bytes, list[Any]] = {}
    for seq, row in enumerate(rows, last + 1):
        present = bytes([value is not None for value in row])
        values = alike.setdefault(present, [])
        values.append(seq)
        values += compress(row, present)
    for present, values in alike.items():
        _insert_shape(table, present).execute(cursor, values)


@lru_cache(maxsize=256)
def _insert_shape(table: str, present: bytes) -> _Insert:
    return _Insert(table, tuple(compress(sql.COLUMNS[table], b"\1" + present)))


def is_stored(connection: sqlite3.Connection, exchange_id: str) -> bool:
    return connection.execute(sql.FIND_EXCHANGE, (exchange_id,)).fetchone() is not None


def _tags(last: int, entries: Iterable[ExchangeEntry]) -> list[Any]:
    """Values of _INSERT_TAG."""
    return [
        value
        for seq, entry in enumerate(entries, last + 1)
        for tag in entry.tags
        for value in (entry.row.key_id, tag, seq)
    ]
