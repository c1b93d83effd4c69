"""How lists find their rows: conditions, and whether to look rows up or to walk the list past them.

A page of a list is wanted newest first. When a condition fits few rows, it is cheapest to look them up and
sort them; when it fits many, to walk the list from its newest row and keep what fits. The database has no
statistics to choose by, so the choice is made here, by counting up to a bound. No table is named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
    tuple_,
)

from gateway.errors import InvalidField
from gateway.jsonio import dumps_text
from gateway.records import Item, MetadataFilter

SPECIAL_COLUMNS = {
    "user": "meta_user",
    "organisation": "meta_organisation",
    "prompt": "meta_prompt",
    "environment": "meta_environment",
}
"""Names in a filter and the columns of `exchange` and `feedback` they look at."""

FEW_ROWS = 2_000
"""Rows that can be looked up and sorted in about 20 ms; with more, walking finds a page as quickly."""

PORTION = 10_000

Ids = Select[Any] | CompoundSelect[Any]


@dataclass(slots=True, frozen=True)
class Condition:
    """What a row must fulfil. `ids`, where they come cheap, are of all rows that do, perhaps of others."""

    holds: ColumnElement[bool]
    ids: Ids | None = None


@dataclass(slots=True, frozen=True)
class Position:
    """A place in a list: the row with this time and `seq`."""

    time_ms: int
    seq: int


@dataclass(slots=True, frozen=True)
class Listing:
    """A list's columns. It is newest first by `time`, then by `seq`; `Condition.ids` selects its `id`."""

    key_id: ColumnElement[str]
    id: ColumnElement[Any]
    time: ColumnElement[int]
    seq: ColumnElement[int]

    def page(
        self,
        connection: Connection,
        query: Select[Any],
        *,
        key_id: str,
        wanted: MetadataFilter,
        conditions: Sequence[Condition],
        after: Position | None,
        limit: int,
    ) -> Select[Any]:
        """`query` for the rows of `key_id` that fulfil all `conditions` and the times of `wanted`.

        It selects one row more than `limit`, so that the caller can tell whether there are more.
        """
        query, time = self._filtered(connection, query, key_id, wanted, conditions)
        if after is not None:
            query = query.where(tuple_(time, self.seq) < tuple_(literal(after.time_ms), literal(after.seq)))
        return query.order_by(time.desc(), self.seq.desc()).limit(limit + 1)

    def oldest(
        self,
        connection: Connection,
        query: Select[Any],
        *,
        key_id: str,
        wanted: MetadataFilter,
        conditions: Sequence[Condition],
    ) -> Select[Any]:
        """`query` for the same rows, oldest first and all of them."""
        query, time = self._filtered(connection, query, key_id, wanted, conditions)
        return query.order_by(time, self.seq)

    def _filtered(
        self,
        connection: Connection,
        query: Select[Any],
        key_id: str,
        wanted: MetadataFilter,
        conditions: Sequence[Condition],
    ) -> tuple[Select[Any], ColumnElement[int]]:
        """`query` with every condition, and the time column in the form to sort by."""
        few = look_up(connection, conditions)
        # Looking rows up, no other index may tempt the database to walk the list instead.
        key = self.key_id if few is None or self.id is not self.seq else unindexed(self.key_id)
        time = self.time if few is None else unindexed(self.time)
        query = query.where(key == key_id, *(condition.holds for condition in conditions))
        if few is not None:
            query = query.where(self.id.in_(few))
        if wanted.since_ms is not None:
            query = query.where(time >= wanted.since_ms)
        if wanted.until_ms is not None:
            query = query.where(time < wanted.until_ms)
        return query, time


def look_up(connection: Connection, conditions: Sequence[Condition]) -> set[Any] | None:
    """Ids among which all rows are that fulfil `conditions`; None when each of them fits many rows."""
    few: set[Any] | None = None
    for condition in conditions:
        ids = None if condition.ids is None else _few_ids(connection, condition.ids)
        if ids is not None:
            few = ids if few is None else few & ids
    return few


def _few_ids(connection: Connection, ids: Ids) -> set[Any] | None:
    found = connection.execute(ids.limit(FEW_ROWS + 1)).scalars().all()
    return None if len(found) > FEW_ROWS else set(found)


def portions(items: Iterable[Item]) -> Iterator[list[Item]]:
    """`items` in lists that a statement's IN can take: SQLite has 32,766 variables a statement."""
    rest = iter(items)
    while portion := list(islice(rest, PORTION)):
        yield portion


def any_of(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether `column` is among the values of the parameter `name`, for statements that are made once."""
    return column.in_(bindparam(name, expanding=True))


def no_such_cursor(after: str) -> InvalidField:
    return InvalidField(
        f"after: {after!r} is not in this list, or not any more; use a page's last_id, or start without it",
        param="after",
    )


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """`column` in a form that no index serves, where an index would lead away from the list's order."""
    return func.coalesce(column, None)


def carries(metadata: ColumnElement[Any], name: str, value: str) -> ColumnElement[bool]:
    """Whether the JSON object in `metadata` has the member `name` whose text is `value`.

    A string's text is itself, a number's, boolean's or null's its JSON. SQLite's dialect of JSON is spoken
    only here.
    """
    member = func.json_each(metadata).table_valued("key", "value", "type", name="member")
    text = case(
        (member.c.type.in_(("true", "false", "null")), member.c.type),
        (member.c.type.in_(("integer", "real")), _number_text(metadata, name, member.c.value)),
        else_=cast(member.c.value, Text),
    )
    found = select(literal(1)).select_from(member).where(member.c.key == name, text == value).exists()
    if dumps_text(value) != f'"{value}"':
        return found
    # A value that JSON does not escape stands in the text as it is. Looking for it costs a tenth of parsing.
    return and_(func.instr(metadata, value) > 0, found)


def _number_text(metadata: ColumnElement[Any], name: str, number: ColumnElement[Any]) -> ColumnElement[Any]:
    converted = cast(number, Text)
    if '"' in name or "\\" in name:
        return converted  # a JSON path cannot spell these; 1e3 then compares as 1000.0
    return func.coalesce(metadata.op("->")(f'$."{name}"'), converted)
