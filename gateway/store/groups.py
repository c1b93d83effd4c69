"""Which group each piece of feedback belongs to: by what it says itself, or by the exchanges it is about.

The answer is kept in a temporary table while a summary is made of it: every figure needs it again. What leads
there is in temporary tables too, since the database cannot tell how large a part of a query is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    func,
    insert,
    null,
    or_,
    select,
)

from gateway.records import FeedbackFilter
from gateway.records.summary import Grouping
from gateway.store import feedback_list
from gateway.store.scores import IS_COUNTED
from gateway.store.search import SPECIAL_COLUMNS, unindexed
from gateway.store.tables import exchange, feedback, feedback_target

_FIGURES = ("seq", "name", "kind", "number", "label", "weight", "source_type", "source_id")

_temporary = MetaData()

member = Table(
    "summary_member",
    _temporary,
    Column("grp", Text),
    Column("seq", Integer),
    Column("name", Text),
    Column("kind", Text),
    Column("number", Float),
    Column("label", Text),
    Column("weight", Float),
    Column("source_type", Text),
    Column("source_id", Text),
    prefixes=["TEMPORARY"],
)
"""A piece of feedback in a group, with what figures are made of. Once a group; null is the group of none."""

_given = Table(
    "summary_given",
    _temporary,
    Column("seq", Integer, primary_key=True),
    Column("own", Text),
    prefixes=["TEMPORARY"],
)
"""Feedback and the group that it names itself."""

_said = Table(
    "summary_said",
    _temporary,
    Column("trace_id", Text),
    Column("exchange_id", Text),
    Column("said", Text),
    Index("ix_summary_said", "trace_id", "exchange_id"),
    prefixes=["TEMPORARY"],
)
"""What the exchanges of a target say, each word once: much feedback on a long trace is no product of both."""


@contextmanager
def members(
    connection: Connection, key_id: str, wanted: FeedbackFilter, group_by: Grouping | None
) -> Iterator[None]:
    """`member` holds the feedback that counts and is wanted, for as long as the block runs."""
    tables = [member] if _of_exchange(group_by) is None else [member, _given, _said]
    _temporary.create_all(connection, tables, checkfirst=False)
    try:
        _fill(connection, key_id, wanted, group_by)
        yield
    finally:
        _temporary.drop_all(connection, tables, checkfirst=False)


def _fill(connection: Connection, key_id: str, wanted: FeedbackFilter, group_by: Grouping | None) -> None:
    own, of_exchange = _own(group_by), _of_exchange(group_by)
    if of_exchange is None:
        figures = [feedback.c[name] for name in _FIGURES]
        given = _wanted(connection, key_id, wanted, own, *figures)
        connection.execute(insert(member).from_select(["grp", *_FIGURES], given))
        return
    given = _wanted(connection, key_id, wanted, feedback.c.seq, own)
    connection.execute(insert(_given).from_select(["seq", "own"], given))
    said = _of_targets(key_id, of_exchange)
    connection.execute(insert(_said).from_select(["trace_id", "exchange_id", "said"], said))
    connection.execute(insert(member).from_select(["grp", *_FIGURES], _of_both(key_id)))


def _wanted(
    connection: Connection, key_id: str, wanted: FeedbackFilter, *columns: ColumnElement[Any]
) -> Select[Any]:
    filtered = feedback_list.LISTING.oldest(
        connection,
        select(*columns).where(IS_COUNTED),
        key_id=key_id,
        wanted=wanted,
        conditions=feedback_list.conditions(key_id, wanted),
    )
    return filtered.order_by(None)


def _own(group_by: Grouping | None) -> ColumnElement[Any]:
    if group_by == "name":
        return feedback.c.name
    if group_by == "task":
        return feedback.c.task_id
    if group_by == "day":
        return func.strftime("%Y-%m-%d", feedback.c.created_at_ms // 1000, "unixepoch")
    if group_by in SPECIAL_COLUMNS:
        return feedback.c[SPECIAL_COLUMNS[group_by]]
    return null()


def _of_exchange(group_by: Grouping | None) -> ColumnElement[Any] | None:
    """What an exchange says of the group; None where exchanges have no say."""
    if group_by == "model":
        return func.coalesce(exchange.c.answering_model, exchange.c.requested_model)
    if group_by in SPECIAL_COLUMNS:
        return exchange.c[SPECIAL_COLUMNS[group_by]]
    return None


def _of_targets(key_id: str, said: ColumnElement[Any]) -> Select[Any]:
    places = (
        select(feedback_target.c.trace_id, feedback_target.c.exchange_id)
        .select_from(_given.join(feedback_target, _is_target(key_id)))
        .where(_given.c.own.is_(None))
        .distinct()
        .subquery()
    )
    # Outer, so that the database begins with the targets: they are fewer than the exchanges.
    exchanges = places.outerjoin(
        exchange, and_(exchange.c.key_id == key_id, exchange.c.trace_id == places.c.trace_id)
    )
    about = or_(places.c.exchange_id == "", places.c.exchange_id == exchange.c.id)
    return (
        select(places.c.trace_id, places.c.exchange_id, said)
        .select_from(exchanges)
        .where(about, said.is_not(None))
        .distinct()
    )


def _of_both(key_id: str) -> Select[Any]:
    of_target = and_(
        _said.c.trace_id == feedback_target.c.trace_id, _said.c.exchange_id == feedback_target.c.exchange_id
    )
    joined = _given.outerjoin(feedback_target, _is_target(key_id)).outerjoin(_said, of_target)
    group = func.nullif(func.coalesce(_given.c.own, _said.c.said), "").label("grp")
    groups = select(_given.c.seq, group).select_from(joined).distinct().subquery()
    figures = [feedback.c[name] for name in _FIGURES]
    return select(groups.c.grp, *figures).join(groups, groups.c.seq == feedback.c.seq)


def _is_target(key_id: str) -> ColumnElement[bool]:
    # The key stands first in the table's order, and would lead to all of it.
    return and_(feedback_target.c.feedback_seq == _given.c.seq, unindexed(feedback_target.c.key_id) == key_id)
