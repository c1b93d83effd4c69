"""A table from its oldest row to its newest, in steps of bounded work: what exports are made of.

The order is that of `seq`, in which rows were stored, so that what comes later is always behind what was
seen. A walk ends with the newest row there was when it began.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, func, select

from gateway.records import MetadataFilter
from gateway.store.search import Condition, Listing, look_up, no_such_cursor, unindexed

STEP_ROWS = 5_000
"""Rows that a step passes at most, whether they are wanted or not: some ten milliseconds of work."""


@dataclass(slots=True, frozen=True)
class Walk:
    """Where a walk is: rows up to `last` are passed, it ends with `end`.

    `few` are all that can be wanted, where they are few.
    """

    last: int
    end: int
    few: tuple[int, ...] | None = None

    @property
    def is_over(self) -> bool:
        return self.last >= self.end

    def passed(self, seq: int) -> Walk:
        """The walk having come to the row `seq`."""
        return replace(self, last=seq)


@dataclass(slots=True, frozen=True)
class Path:
    """A table to walk, and what its rows must fulfil."""

    table: Table
    listing: Listing
    key_id: str
    wanted: MetadataFilter
    conditions: Sequence[Condition]

    def start(self, connection: Connection, after: str | None) -> Walk:
        """A walk from behind the row with the id `after`. Raises InvalidField when there is none."""
        end = connection.execute(select(func.coalesce(func.max(self.table.c.seq), 0))).scalar_one()
        few = look_up(connection, self.conditions)
        last = 0 if after is None else self._seq(connection, after)
        return Walk(last, end, None if few is None else tuple(sorted(few)))

    def step(
        self, connection: Connection, query: Select[Any], walk: Walk, *, limit: int
    ) -> tuple[Sequence[Row[Any]], Walk]:
        """The next rows of `query`, at most `limit` and perhaps none, and where that leads.

        `query` selects `seq` among others.
        """
        if walk.few is None:
            stop = min(walk.last + STEP_ROWS, walk.end)
            query = query.where(self.table.c.seq > walk.last, self.table.c.seq <= stop)
        else:
            place = bisect_right(walk.few, walk.last)
            some = walk.few[place : place + limit]
            stop = some[-1] if len(some) == limit else walk.end
            query = query.where(self.table.c.seq.in_(some))
        rows = connection.execute(self._narrowed(query).order_by(self.table.c.seq).limit(limit)).all()
        return rows, walk.passed(rows[-1].seq if len(rows) == limit else stop)

    def _narrowed(self, query: Select[Any]) -> Select[Any]:
        """With every condition, in a form that leads away from no other index than that of `seq`."""
        query = query.where(
            unindexed(self.listing.key_id) == self.key_id, *(condition.holds for condition in self.conditions)
        )
        if self.wanted.since_ms is not None:
            query = query.where(unindexed(self.listing.time) >= self.wanted.since_ms)
        if self.wanted.until_ms is not None:
            query = query.where(unindexed(self.listing.time) < self.wanted.until_ms)
        return query

    def _seq(self, connection: Connection, after: str) -> int:
        query = select(self.table.c.seq).where(
            self.table.c.id == after, unindexed(self.table.c.key_id) == self.key_id
        )
        seq: int | None = connection.execute(query).scalar()
        if seq is None:
            raise no_such_cursor(after)
        return seq
