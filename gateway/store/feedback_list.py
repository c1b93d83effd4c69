"""Lists of feedback: by what they are filtered, newest first by cursor or oldest first by number."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, union_all

from gateway.records import Feedback, FeedbackFilter, Page
from gateway.store.feedback_rows import IS_LIVE, find_row, records, select_rows
from gateway.store.scores import ON_AN_EXCHANGE
from gateway.store.search import (
    SPECIAL_COLUMNS,
    Condition,
    Listing,
    Position,
    carries,
    no_such_cursor,
    unindexed,
)
from gateway.store.tables import feedback, feedback_target

LISTING = Listing(
    key_id=feedback.c.key_id, id=feedback.c.seq, time=feedback.c.created_at_ms, seq=feedback.c.seq
)

_EQUAL = {
    **SPECIAL_COLUMNS,
    **{name: name for name in ("name", "kind", "signal", "source_type", "source_id", "label")},
}
"""Names in a filter and the indexed columns that must equal them."""


def find(
    connection: Connection, key_id: str, wanted: FeedbackFilter, *, limit: int, after: str | None = None
) -> Page[Feedback]:
    """A page of `limit` pieces of feedback, newest first, from behind the one with the id `after`.

    Raises InvalidField when there is no feedback `after`.
    """
    position = None if after is None else _position(connection, key_id, wanted, after)
    return _page(connection, key_id, wanted, conditions(key_id, wanted), limit=limit, after=position)


def of_trace(
    connection: Connection, key_id: str, trace_id: str, *, limit: int, include_retracted: bool = False
) -> Page[Feedback]:
    """The newest feedback on a trace or on any of its exchanges."""
    ids = _targets(key_id).where(feedback_target.c.trace_id == trace_id)
    wanted = FeedbackFilter(include_retracted=include_retracted)
    return _page(connection, key_id, wanted, [Condition(_has_target(ids), ids)], limit=limit)


def of_exchange(
    connection: Connection, key_id: str, exchange_id: str, trace_id: str, *, limit: int
) -> Page[Feedback]:
    """The newest feedback that applies to an exchange: given to it, or to its trace as a whole."""
    ids = _targets(key_id).where(
        feedback_target.c.trace_id == trace_id, feedback_target.c.exchange_id.in_(("", exchange_id))
    )
    return _page(connection, key_id, FeedbackFilter(), [Condition(_has_target(ids), ids)], limit=limit)


def oldest(
    connection: Connection, key_id: str, wanted: FeedbackFilter, *, offset: int, limit: int
) -> tuple[tuple[Feedback, ...], int]:
    """`limit` pieces of feedback, oldest first, from number `offset` on; and how many there are in all.

    Those of the same millisecond come in the order they were stored, so that new ones are always behind.
    """
    query = LISTING.oldest(
        connection,
        select_rows().where(*_live(wanted)),
        key_id=key_id,
        wanted=wanted,
        conditions=conditions(key_id, wanted),
    )
    total = connection.execute(query.with_only_columns(func.count()).order_by(None)).scalar_one()
    rows = connection.execute(query.offset(offset).limit(limit)).all()
    return tuple(records(connection, rows)), total


def _page(
    connection: Connection,
    key_id: str,
    wanted: FeedbackFilter,
    holding: list[Condition],
    *,
    limit: int,
    after: Position | None = None,
) -> Page[Feedback]:
    query = LISTING.page(
        connection,
        select_rows().where(*_live(wanted)),
        key_id=key_id,
        wanted=wanted,
        conditions=holding,
        after=after,
        limit=limit,
    )
    rows = connection.execute(query).all()
    return Page(tuple(records(connection, rows[:limit])), has_more=len(rows) > limit)


def _live(wanted: FeedbackFilter) -> list[ColumnElement[bool]]:
    return [] if wanted.include_retracted else [IS_LIVE]


def _position(connection: Connection, key_id: str, wanted: FeedbackFilter, feedback_id: str) -> Position:
    row = find_row(connection, key_id, feedback_id)
    if row is None or (row.retracted_at_ms is not None and not wanted.include_retracted):
        raise no_such_cursor(feedback_id)
    return Position(row.created_at_ms, row.seq)


def conditions(key_id: str, wanted: FeedbackFilter) -> list[Condition]:
    """What a row of `feedback` must fulfil to be wanted, apart from its times and its being live."""
    found = []
    if wanted.trace_id is not None:
        found.append(_under(key_id, feedback_target.c.trace_id == wanted.trace_id, wanted.trace_id))
    if wanted.request_id is not None:
        whole = feedback_target.c.trace_id == wanted.request_id
        found.append(_under(key_id, whole & (feedback_target.c.exchange_id == ""), wanted.request_id))
    other = feedback.alias()
    for name, column in _EQUAL.items():
        value = getattr(wanted, name)
        if value is not None:
            ids = select(other.c.seq).where(other.c.key_id == key_id, other.c[column] == value)
            found.append(Condition(unindexed(feedback.c[column]) == value, ids))
    if wanted.task_id is not None:
        # Its index has the order of the list, so that a task's feedback is walked and counted there.
        ids = select(other.c.seq).where(other.c.key_id == key_id, other.c.task_id == wanted.task_id)
        found.append(Condition(feedback.c.task_id == wanted.task_id, ids))
    for name, value in wanted.metadata:
        found.append(Condition(carries(feedback.c.metadata, name, value)))
    if wanted.min_value is not None or wanted.max_value is not None:
        found.append(_number(key_id, wanted.min_value, wanted.max_value))
    return found


def _under(key_id: str, as_trace: ColumnElement[bool], id_: str) -> Condition:
    """Given to this id: `as_trace`, or as that of an exchange."""
    traces = _targets(key_id).where(as_trace)
    exchanges = _targets(key_id).where(feedback_target.c.exchange_id == id_, ON_AN_EXCHANGE)
    return Condition(or_(_has_target(traces), _has_target(exchanges)), union_all(traces, exchanges))


def _targets(key_id: str) -> Select[tuple[int]]:
    return select(feedback_target.c.feedback_seq).where(feedback_target.c.key_id == key_id)


def _has_target(targets: Select[Any]) -> ColumnElement[bool]:
    return targets.where(feedback_target.c.feedback_seq == feedback.c.seq).correlate(feedback).exists()


def _number(key_id: str, lowest: float | None, highest: float | None) -> Condition:
    other = feedback.alias()
    ids = select(other.c.seq).where(other.c.key_id == key_id)
    holds: list[ColumnElement[bool]] = []
    if lowest is not None:
        ids = ids.where(other.c.number >= lowest)
        holds.append(unindexed(feedback.c.number) >= lowest)
    if highest is not None:
        ids = ids.where(other.c.number <= highest)
        holds.append(unindexed(feedback.c.number) <= highest)
    return Condition(holds[0] if len(holds) == 1 else holds[0] & holds[1], ids)
