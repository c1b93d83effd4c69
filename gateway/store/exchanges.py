"""One batch of exchanges into the database, in one transaction: the statements of the hot path.

Runs on the writing connection's thread, on the driver itself; SQLAlchemy only spells the statements, once.
Reads are in the query modules.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnElement,
    Table,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import Insert, insert

from gateway.records import ExchangeEntry, ExchangeRow
from gateway.store import tables

_DIALECT = sqlite.dialect()


def _compiled(statement: ClauseElement) -> str:
    return str(statement.compile(dialect=_DIALECT))


def _failing(statement: Insert) -> Insert:
    """OR FAIL: whoever meets an error rolls the whole transaction back, so that SQLite need not prepare to
    undo a statement that was half done.
    """
    return statement.prefix_with("OR FAIL")


class _Insert:
    """An INSERT, for one row or for several at a time.

    Python lets go of its lock and takes it again at every step of a statement, while the event loop's thread
    waits for it: a step should be more than a row.
    """

    __slots__ = ("_sizes",)

    def __init__(self, one: Insert) -> None:
        text = _compiled(_failing(one))
        head, values, rest = text.partition(" VALUES ")
        row, end, rest = rest.partition(")")
        width = row.count("?")
        self._sizes = [
            (size * width, head + values + ", ".join([row + end] * size) + rest) for size in (8, 4, 2, 1)
        ]

    def execute(self, cursor: sqlite3.Cursor, values: list[Any]) -> None:
        """Insert rows, whose `values` follow one another."""
        start, end = 0, len(values)
        for size, statement in self._sizes:
            while end - start >= size:
                cursor.execute(statement, values[start : start + size])
                start += size


def _insert(table: Table, columns: Iterable[Column[Any]]) -> Insert:
    return insert(table).values(dict.fromkeys(column.name for column in columns))


def _count_in_traces() -> Insert:
    """Adds each exchange to its trace, which its first one makes."""
    new, trace = tables.exchange.c, tables.trace
    counted = {
        "key_id": new.key_id,
        "trace_id": new.trace_id,
        "first_at_ms": new.started_at_ms,
        "last_at_ms": new.started_at_ms,
        "exchange_count": literal_column("1"),
        "error_count": or_(new.status >= literal_column("400"), new.error_kind.is_not(None)),
        "prompt_tokens": func.coalesce(new.prompt_tokens, _ZERO),
        "completion_tokens": func.coalesce(new.completion_tokens, _ZERO),
        "cost_usd": new.cost_usd,
        "feedback_count": _ZERO,
    }
    made = insert(trace).from_select(list(counted), select(*counted.values()).where(_IS_NEW))
    old, add = trace.c, made.excluded
    return made.on_conflict_do_update(
        index_elements=[old.key_id, old.trace_id],
        set_={
            "first_at_ms": func.min(old.first_at_ms, add.first_at_ms),
            "last_at_ms": func.max(old.last_at_ms, add.last_at_ms),
            "exchange_count": old.exchange_count + add.exchange_count,
            "error_count": old.error_count + add.error_count,
            "prompt_tokens": old.prompt_tokens + add.prompt_tokens,
            "completion_tokens": old.completion_tokens + add.completion_tokens,
            "cost_usd": case(
                (add.cost_usd.is_(None), old.cost_usd),
                else_=func.coalesce(old.cost_usd, literal_column("0.0")) + add.cost_usd,
            ),
        },
    )


def _name_models() -> Insert:
    """Notes every model a trace asked for or was answered by."""
    new, model = tables.exchange.c, tables.trace_model
    asked = select(new.key_id, new.trace_id, new.requested_model).where(
        _IS_NEW, new.requested_model != _EMPTY
    )
    answered = select(new.key_id, new.trace_id, new.answering_model).where(
        _IS_NEW, new.answering_model != _EMPTY, new.answering_model.is_distinct_from(new.requested_model)
    )
    return insert(model).from_select(list(model.columns), asked.union_all(answered)).on_conflict_do_nothing()


_ZERO: ColumnElement[int] = literal_column("0")
_EMPTY: ColumnElement[str] = literal_column("''")
_IS_NEW = tables.exchange.c.seq > bindparam("last")
_COUNT_IN_TRACES = _compiled(_failing(_count_in_traces()))
_NAME_MODELS = _compiled(_failing(_name_models()))
_INSERT_TAG = _Insert(_insert(tables.exchange_tag, tables.exchange_tag.columns))
_FIND_EXCHANGE = _compiled(select(tables.exchange.c.seq).where(tables.exchange.c.id == bindparam("id")))
# The newest row's number, and whether feedback waits for an exchange.
_LOOK = "SELECT coalesce(max(seq), 0), EXISTS (SELECT 1 FROM trace WHERE exchange_count = 0) FROM exchange"

Adopt = Callable[[sqlite3.Connection, Sequence[ExchangeRow]], None]
"""Joins feedback that came before its exchange to it. Called within the transaction, and may commit it."""


def insert_batch(connection: sqlite3.Connection, entries: Sequence[ExchangeEntry], adopt: Adopt) -> None:
    """Store `entries` and count them in their traces. Raises sqlite3.Error; then nothing is stored.

    `adopt` is asked only while there is feedback that waits for an exchange.
    """
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    try:
        # Holding the write lock, the next numbers are ours; asking for each row's would cost a call a row.
        last, feedback_waits = cursor.execute(_LOOK).fetchone()
        rows = [entry.row for entry in entries]
        _insert_present(cursor, tables.exchange, last, rows)
        _insert_present(cursor, tables.exchange_body, last, map(_body, entries))
        cursor.execute(_COUNT_IN_TRACES, (last,))
        cursor.execute(_NAME_MODELS, (last, last))
        _INSERT_TAG.execute(cursor, _tags(last, entries))
        if feedback_waits:
            adopt(connection, rows)
        if connection.in_transaction:
            cursor.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            cursor.execute("ROLLBACK")
        raise


def _body(entry: ExchangeEntry) -> list[Any]:
    return [bytearray(value) if type(value) is bytes else value for value in entry.bodies]


def _insert_present(cursor: sqlite3.Cursor, table: Table, last: int, rows: Iterable[Sequence[Any]]) -> None:
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
def _insert_shape(table: Table, present: bytes) -> _Insert:
    return _Insert(_insert(table, compress(table.columns, b"\1" + present)))


def is_stored(connection: sqlite3.Connection, exchange_id: str) -> bool:
    return connection.execute(_FIND_EXCHANGE, (exchange_id,)).fetchone() is not None


def _tags(last: int, entries: Iterable[ExchangeEntry]) -> list[Any]:
    """Values of _INSERT_TAG."""
    return [
        value
        for seq, entry in enumerate(entries, last + 1)
        for tag in entry.tags
        for value in (entry.row.key_id, tag, seq)
    ]
