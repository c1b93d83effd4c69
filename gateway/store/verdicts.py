"""What people thought of answers: how good, and what they should have been. For training examples.

A rating is the weighted mean of all that counts for an exchange: given to it, or to its trace as a whole. A
correction of a trace as a whole is one of the last answer that had begun when it was given, or, where it came
before any, of the first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from gateway.jsonio import loads
from gateway.records import ExchangeRow
from gateway.store.logs import FAILED
from gateway.store.scores import IS_COUNTED, on_the_exchange_alone, on_the_whole
from gateway.store.tables import exchange, feedback, feedback_target

_ANSWERS = ("/completions", "/responses", "/messages")
"""How the paths of requests end that a model answers with words."""


@dataclass(slots=True, frozen=True)
class Verdict:
    """None where nobody rated, and where nobody corrected. The newest correction stands."""

    rating: float | None = None
    correction: Any = None


def verdicts(
    connection: Connection, key_id: str, rows: Mapping[int, ExchangeRow], *, name: str | None
) -> dict[int, Verdict]:
    """By `seq`, for those of the exchanges that were rated or corrected.

    Ratings are scores, or with `name` all numbers and booleans under that name.
    """
    if not rows:
        return {}
    ratings = _ratings(connection, key_id, rows, name)
    corrections = _corrections(connection, key_id, rows)
    return {
        seq: Verdict(ratings.get(seq), corrections.get(seq))
        for seq in rows
        if seq in ratings or seq in corrections
    }


def _ratings(
    connection: Connection, key_id: str, rows: Mapping[int, ExchangeRow], name: str | None
) -> dict[int, float]:
    rates = feedback.c.kind == "score" if name is None else feedback.c.name == name
    traces, ids = {row.trace_id for row in rows.values()}, {row.id for row in rows.values()}
    of_trace = _sums(connection, key_id, feedback_target.c.trace_id, traces, and_(rates, on_the_whole()))
    of_exchange = _sums(
        connection, key_id, feedback_target.c.exchange_id, ids, and_(rates, on_the_exchange_alone())
    )
    ratings = {}
    for seq, row in rows.items():
        weighted, weight = of_trace.get(row.trace_id, (0.0, 0.0))
        more_weighted, more_weight = of_exchange.get(row.id, (0.0, 0.0))
        if weight + more_weight:
            ratings[seq] = (weighted + more_weighted) / (weight + more_weight)
    return ratings


def _sums(
    connection: Connection,
    key_id: str,
    owner: ColumnElement[str],
    owners: Collection[str],
    which: ColumnElement[bool],
) -> dict[str, tuple[float, float]]:
    """Σ(number·weight) and Σ(weight)."""
    query = (
        select(owner, func.sum(feedback.c.number * feedback.c.weight), func.sum(feedback.c.weight))
        .select_from(feedback_target)
        .join(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
        .where(
            feedback_target.c.key_id == key_id,
            owner.in_(owners),
            which,
            feedback.c.number.is_not(None),
            IS_COUNTED,
        )
        .group_by(owner)
    )
    return {found: (weighted, weight) for found, weighted, weight in connection.execute(query)}


def _corrections(connection: Connection, key_id: str, rows: Mapping[int, ExchangeRow]) -> dict[int, Any]:
    of_ids = {row.id: seq for seq, row in rows.items()}
    newest: dict[int, tuple[tuple[int, int], str]] = {}
    alone = _given(key_id, feedback_target.c.exchange_id).where(
        feedback_target.c.exchange_id.in_(list(of_ids)), feedback_target.c.exchange_id != ""
    )
    whole = _given(key_id, _last_answer(key_id)).where(
        feedback_target.c.trace_id.in_({row.trace_id for row in rows.values()}), on_the_whole()
    )
    for query in (alone, whole):
        for exchange_id, created_at_ms, feedback_seq, correction in connection.execute(query):
            seq, age = of_ids.get(exchange_id), (created_at_ms, feedback_seq)
            if seq is not None and (seq not in newest or newest[seq][0] < age):
                newest[seq] = (age, correction)
    return {seq: loads(correction) for seq, (_, correction) in newest.items()}


def _given(key_id: str, exchange_id: ColumnElement[Any]) -> Select[Any]:
    return (
        select(exchange_id, feedback.c.created_at_ms, feedback.c.seq, feedback.c.correction)
        .select_from(feedback_target)
        .join(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
        .where(feedback_target.c.key_id == key_id, feedback.c.correction.is_not(None), IS_COUNTED)
    )


def _last_answer(key_id: str) -> ColumnElement[Any]:
    """The id of the exchange that a correction of its trace is about."""
    answers = (
        select(exchange.c.id)
        .where(
            exchange.c.key_id == key_id,
            exchange.c.trace_id == feedback_target.c.trace_id,
            ~FAILED,
            or_(*(exchange.c.path.endswith(end) for end in _ANSWERS)),
        )
        .correlate(feedback_target, feedback)
        .limit(1)
    )
    begun = answers.where(exchange.c.started_at_ms <= feedback.c.created_at_ms).order_by(
        exchange.c.started_at_ms.desc(), exchange.c.seq.desc()
    )
    first = answers.order_by(exchange.c.started_at_ms, exchange.c.seq)
    return func.coalesce(begun.scalar_subquery(), first.scalar_subquery())
