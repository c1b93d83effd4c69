"""Feedback, counted by the hour it was given in: a stale hour is made anew. See `gateway.store.hours`.

A piece of feedback belongs to the group that it names itself, or else to those that the exchanges it is about
say, as in `gateway.store.groups`; once to each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, or_, select

from gateway.records.insights import DIMENSIONS, HOUR_MS, Dimension, FeedbackFigures
from gateway.store.hour_tables import feedback_hour
from gateway.store.hours import (
    ALL_DIMENSIONS,
    EVERYTHING,
    NO_GROUP,
    NOT_A_SCORE,
    SAID,
    Stale,
    day_of,
    hour_of_feedback,
    mark,
    mark_feedback,
    settle,
)
from gateway.store.scores import IS_COUNTED
from gateway.store.search import SPECIAL_COLUMNS, portions, unindexed
from gateway.store.tables import exchange, feedback, feedback_target, trace

_OWN: tuple[Dimension, ...] = tuple(name for name in DIMENSIONS if name in SPECIAL_COLUMNS)
"""What feedback can name itself."""

Counted = dict[tuple[str, str], FeedbackFigures]
"""Of an hour, by dimension and group."""

_Target = tuple[str, str]
_Said = dict[_Target, tuple[frozenset[str], ...]]
"""What the exchanges of a target say, for each of DIMENSIONS."""


def mark_stale(connection: Connection, key_id: str, seqs: Iterable[int]) -> None:
    """What the feedback with these `seqs` counts for has changed."""
    for some in portions(seqs):
        # By their numbers: with many of them, the owner's index would tempt the database to read it all.
        is_own = unindexed(feedback.c.key_id) == key_id
        given_in = hour_of_feedback().where(feedback.c.seq.in_(some), is_own)
        mark_feedback(connection, given_in)


def cost(connection: Connection, key_id: str, hour: int, limit: int) -> int:
    """How many rows counting an hour looks at: its feedback, and the exchanges of what that is about.

    Up to somewhat more than `limit`.
    """
    of_hour = select(feedback.c.seq).where(*_given_in(key_id, hour)).limit(limit + 1)
    seqs = of_hour.subquery()
    targets = (
        select(feedback_target.c.trace_id)
        .select_from(seqs.join(feedback_target, feedback_target.c.feedback_seq == seqs.c.seq))
        .distinct()
        .subquery()
    )
    of_trace = and_(trace.c.key_id == key_id, trace.c.trace_id == targets.c.trace_id)
    exchanges = select(func.coalesce(func.sum(trace.c.exchange_count), 0)).select_from(
        targets.outerjoin(trace, of_trace)
    )
    given = connection.execute(select(func.count()).select_from(seqs)).scalar_one()
    return int(given) + int(connection.execute(exchanges).scalar_one())


def count(connection: Connection, key_id: str, hour: int) -> Counted:
    """The figures of an hour, from its rows."""
    is_score = feedback.c.kind == "score"
    value, weight = case((is_score, feedback.c.number)), feedback.c.weight
    own = [feedback.c[SPECIAL_COLUMNS[name]] for name in _OWN]
    wanted = (*_given_in(key_id, hour), IS_COUNTED)
    rows = connection.execute(select(feedback.c.seq, value, weight, *own).where(*wanted)).all()
    targets = _targets(connection, wanted)
    said = _said(connection, key_id, wanted)
    counted: Counted = {}
    for seq, number, given_weight, *names in rows:
        named = dict(zip(_OWN, names, strict=True))
        about = [said[target] for target in targets.get(seq, ()) if target in said]
        _add(counted, (EVERYTHING, NO_GROUP), number, given_weight)
        for index, dimension in enumerate(DIMENSIONS):
            for group in _groups(named.get(dimension), [words[index] for words in about]):
                _add(counted, (dimension, group), number, given_weight)
    return counted


def replace(connection: Connection, wanted: Stale, counted: Counted) -> bool:
    """Put the figures of an hour in place of the old ones, unless it was marked again since."""
    if not settle(connection, wanted):
        return False
    mark(connection, "feedback day", [(wanted.key_id, day_of(wanted.hour))])
    connection.execute(
        delete(feedback_hour).where(
            feedback_hour.c.key_id == wanted.key_id,
            feedback_hour.c.dimension.in_(ALL_DIMENSIONS),  # named, so that the key leads to the hour
            feedback_hour.c.width == 1,
            feedback_hour.c.hour == wanted.hour,
        )
    )
    rows = [
        {
            "key_id": wanted.key_id,
            "dimension": dimension,
            "width": 1,
            "hour": wanted.hour,
            "grp": group,
            "value": value,
            "count": number,
            "weight": weight,
        }
        for (dimension, group), figures in counted.items()
        for value, number, weight in _values(figures)
    ]
    if rows:
        connection.execute(insert(feedback_hour), rows)
    return True


def _values(figures: FeedbackFigures) -> Iterable[tuple[int, int, float]]:
    for value, of_value in figures.scores.items():
        yield value, of_value.count, of_value.weight
    others = figures.count - figures.score_count
    if others:
        yield NOT_A_SCORE, others, 0.0


def _given_in(key_id: str, hour: int) -> tuple[ColumnElement[bool], ...]:
    return (
        feedback.c.key_id == key_id,
        feedback.c.created_at_ms >= hour * HOUR_MS,
        feedback.c.created_at_ms < (hour + 1) * HOUR_MS,
    )


def _targets(connection: Connection, wanted: Collection[ColumnElement[bool]]) -> dict[int, list[_Target]]:
    # Outer, so that the database begins with the feedback of the hour.
    of_feedback = feedback.outerjoin(feedback_target, feedback_target.c.feedback_seq == feedback.c.seq)
    query = (
        select(feedback.c.seq, feedback_target.c.trace_id, feedback_target.c.exchange_id)
        .select_from(of_feedback)
        .where(*wanted, feedback_target.c.trace_id.is_not(None))
    )
    found: dict[int, list[_Target]] = defaultdict(list)
    for seq, trace_id, exchange_id in connection.execute(query):
        found[seq].append((trace_id, exchange_id))
    return found


def _said(connection: Connection, key_id: str, wanted: Collection[ColumnElement[bool]]) -> _Said:
    """Of each target, the words its exchanges use; each word once, however many exchanges there are."""
    target = feedback_target.c
    of_feedback = feedback.outerjoin(feedback_target, target.feedback_seq == feedback.c.seq)
    places = select(target.trace_id, target.exchange_id).select_from(of_feedback).where(*wanted)
    place = places.where(target.trace_id.is_not(None)).distinct().subquery()
    of_trace = and_(exchange.c.key_id == key_id, exchange.c.trace_id == place.c.trace_id)
    query = (
        select(place.c.trace_id, place.c.exchange_id, *SAID)
        .select_from(place.outerjoin(exchange, of_trace))
        .where(or_(place.c.exchange_id == "", place.c.exchange_id == exchange.c.id))
        .distinct()
    )
    found: dict[_Target, tuple[set[str], ...]] = {}
    for trace_id, exchange_id, *said in connection.execute(query):
        known = found.setdefault((trace_id, exchange_id), tuple(set() for _ in DIMENSIONS))
        _note(known, said)
    return {target: tuple(map(frozenset, words)) for target, words in found.items()}


def _note(found: tuple[set[str], ...], said: Iterable[str | None]) -> None:
    for words, word in zip(found, said, strict=True):
        if word is not None:
            words.add(word)


def _groups(own: str | None, said: Iterable[frozenset[str]]) -> frozenset[str]:
    if own is not None:
        return frozenset((own,))
    return frozenset().union(*said) or frozenset((NO_GROUP,))


def _add(counted: Counted, place: tuple[str, str], number: Any, weight: Any) -> None:
    figures = counted.get(place)
    if figures is None:
        figures = counted[place] = FeedbackFigures()
    if number is None:
        figures.add_others(1)
    else:
        figures.add_scores(int(number), 1, weight)
