"""How far sources agree: where two or more graded the same thing, under the same name.

A thing is a target of feedback: a trace as a whole, or an exchange. A source is a source type and id; without
an id it is nobody. Of each source the value stored last counts. Of an object every member is graded by
itself; lists and long texts are not compared. Source of alpha: Krippendorff, Computing Krippendorff's
Alpha-Reliability (2011).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Delete,
    Float,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
)

from gateway.records.summary import Agreement
from gateway.store.groups import member
from gateway.store.items import items
from gateway.store.search import unindexed
from gateway.store.tables import feedback_target

Key = tuple[str | None, str, str | None]
"""Group, name, and field of an object's member."""

_vote = Table(
    "summary_vote",
    MetaData(),
    Column("grp", Text),
    Column("name", Text),
    Column("field", Text),
    Column("trace_id", Text),
    Column("exchange_id", Text),
    Column("label", Text),
    Column("number", Float),
    prefixes=["TEMPORARY"],
)
"""What one source says of one thing. It is filled with the things of which two or more say something."""

_KEY = (_vote.c.grp, _vote.c.name, _vote.c.field)
_THING = (*_KEY, _vote.c.trace_id, _vote.c.exchange_id)
_VALUE = (_vote.c.label, _vote.c.number)


class _Sums(NamedTuple):
    """Of all things. `nominal` and `interval` are the disagreement within things, on either scale."""

    things: int
    votes: int
    unanimous: int
    nominal: float
    interval: float
    total: float
    squares: float
    numeric: int


class _Used(NamedTuple):
    """How many different values were given, and the sum of the squares of how often each was."""

    values: int
    same: int


def agreements(connection: Connection, key_id: str) -> dict[Key, Agreement]:
    """By group, name and field, for those of which anything was graded twice. Of what is in `member`."""
    if len(connection.execute(_SOURCES).all()) < 2:
        return {}
    _vote.create(connection, checkfirst=False)
    try:
        names = [column.name for column in _vote.columns]
        connection.execute(insert(_vote).from_select(names, _votes(key_id)))
        connection.execute(_FORGET_SINGLE_VOTES)
        used = {key: _Used(*rest) for key, rest in _keyed(connection, _USED)}
        return {key: _agreement(_Sums(*rest), used[key]) for key, rest in _keyed(connection, _SUMS)}
    finally:
        _vote.drop(connection, checkfirst=False)


def _votes(key_id: str) -> Select[Any]:
    thing = (
        items.c.grp,
        items.c.name,
        items.c.field,
        feedback_target.c.trace_id,
        feedback_target.c.exchange_id,
    )
    is_target = and_(
        feedback_target.c.feedback_seq == items.c.seq, unindexed(feedback_target.c.key_id) == key_id
    )
    # The columns that are not grouped by are those of the row with the highest seq: SQLite's rule for max().
    newest = (
        select(*thing, items.c.label, items.c.number, func.max(items.c.seq))
        .select_from(items.join(feedback_target, is_target))
        .where(
            items.c.single == 1,
            items.c.source_id.is_not(None),
            items.c.label.is_not(None) | items.c.number.is_not(None),
        )
        .group_by(*thing, items.c.source_type, items.c.source_id)
        .subquery()
    )
    return select(*(newest.c[column.name] for column in _vote.columns))


def _forget_single_votes() -> Delete:
    row = literal_column("rowid", Integer)
    single = select(func.min(row)).select_from(_vote).group_by(*_THING).having(func.count() == 1)
    return delete(_vote).where(row.in_(single))


def _sums() -> Select[Any]:
    times = func.count().label("times")
    tally = select(*_THING, *_VALUE, times).group_by(*_THING, *_VALUE).subquery()
    thing = [tally.c[column.name] for column in _THING]
    is_number = and_(tally.c.label.is_(None), tally.c.number.is_not(None))
    graded = (
        select(
            *thing,
            func.sum(tally.c.times).label("votes"),
            func.sum(tally.c.times * tally.c.times).label("same"),
            func.sum(tally.c.times * tally.c.number).label("total"),
            func.sum(tally.c.times * tally.c.number * tally.c.number).label("squares"),
            case((func.count() == 1, 1), else_=0).label("unanimous"),
            func.min(cast(is_number, Integer)).label("numeric"),
        )
        .group_by(*thing)
        .subquery()
    )
    votes, others = graded.c.votes, (graded.c.votes - 1) * 1.0
    key = [graded.c[column.name] for column in _KEY]
    return select(
        *key,
        func.count(),
        func.sum(votes),
        func.sum(graded.c.unanimous),
        func.sum((votes * votes - graded.c.same) / others),
        func.sum(2 * (votes * graded.c.squares - graded.c.total * graded.c.total) / others),
        func.sum(graded.c.total),
        func.sum(graded.c.squares),
        func.min(graded.c.numeric),
    ).group_by(*key)


def _used() -> Select[Any]:
    times = func.count().label("times")
    tally = select(*_KEY, times).group_by(*_KEY, *_VALUE).subquery()
    key = [tally.c[column.name] for column in _KEY]
    return select(*key, func.count(), func.sum(tally.c.times * tally.c.times)).group_by(*key)


_SOURCES = (
    select(member.c.source_type, member.c.source_id)
    .where(member.c.source_id.is_not(None))
    .distinct()
    .limit(2)
)
_FORGET_SINGLE_VOTES = _forget_single_votes()
_SUMS = _sums()
_USED = _used()


def _keyed(connection: Connection, query: Select[Any]) -> Iterable[tuple[Key, Sequence[Any]]]:
    rows: Iterable[Sequence[Any]] = connection.execute(query)
    return (((grp, name, field), rest) for grp, name, field, *rest in rows)


def _agreement(sums: _Sums, used: _Used) -> Agreement:
    """Alpha is 1 less the disagreement within things over that of all votes, whatever they are about."""
    votes = sums.votes
    if sums.numeric:
        observed, expected = sums.interval, 2 * (votes * sums.squares - sums.total**2)
    else:
        observed, expected = sums.nominal, float(votes**2 - used.same)
    observed, expected = observed / votes, expected / (votes * (votes - 1))
    return Agreement(
        things=sums.things,
        votes=votes,
        exact=sums.unanimous / sums.things,
        alpha=1 - observed / expected if used.values > 1 and expected > 0 else None,
        scale="interval" if sums.numeric else "nominal",
    )
