"""Exchanges as people read them: a list without bodies, one with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, func, literal, or_, select

from gateway.errors import NotFound
from gateway.records import BodyRow, ExchangeRow, Log, LogDetail, LogFilter, Page
from gateway.store import feedback_list, scores
from gateway.store.search import (
    FEW_ROWS,
    SPECIAL_COLUMNS,
    Condition,
    Listing,
    Position,
    carries,
    no_such_cursor,
    unindexed,
)
from gateway.store.tables import (
    exchange,
    exchange_body,
    feedback,
    feedback_target,
    trace,
    trace_model,
)

LISTING = Listing(
    key_id=exchange.c.key_id, id=exchange.c.seq, time=exchange.c.started_at_ms, seq=exchange.c.seq
)
FAILED = or_(exchange.c.status >= literal(400, literal_execute=True), exchange.c.error_kind.is_not(None))
"""What `trace.error_count` counts. Written without parameters, so that a partial index can serve it."""

RETRIED = exchange.c.attempt_count > literal(1, literal_execute=True)
"""Likewise without parameters."""

_INDEXED = {**SPECIAL_COLUMNS, "target": "target", "cache_status": "cache_status"}
_COLUMNS = [exchange.c[name] for name in ExchangeRow._fields]


def get(connection: Connection, key_id: str, exchange_id: str, *, feedback_limit: int) -> LogDetail:
    """One exchange with bodies, and the newest `feedback_limit` pieces of feedback that applies to it.

    Raises NotFound.
    """
    found = connection.execute(
        select(exchange.c.seq, *_COLUMNS).where(exchange.c.id == exchange_id, exchange.c.key_id == key_id)
    ).one_or_none()
    if found is None:
        raise NotFound(f"there is no log {exchange_id!r}; GET /v1/logs lists what there is")
    seq, *columns = found
    row = ExchangeRow(*columns)
    bodies = connection.execute(
        select(*(exchange_body.c[name] for name in BodyRow._fields)).where(
            exchange_body.c.exchange_seq == seq
        )
    ).one_or_none()
    return LogDetail(
        log=with_feedback(connection, key_id, [row])[0],
        bodies=None if bodies is None else BodyRow(*bodies),
        feedback=feedback_list.of_exchange(connection, key_id, row.id, row.trace_id, limit=feedback_limit),
    )


def find(
    connection: Connection, key_id: str, wanted: LogFilter, *, limit: int, after: str | None = None
) -> Page[Log]:
    """A page of `limit` exchanges, newest first, from behind the one with the id `after`.

    Raises InvalidField when there is no exchange `after`.
    """
    page = LISTING.page(
        connection,
        select(*_COLUMNS),
        key_id=key_id,
        wanted=wanted,
        conditions=conditions(key_id, wanted),
        after=None if after is None else _position(connection, key_id, after),
        limit=limit,
    )
    found = connection.execute(page).all()
    rows = [ExchangeRow(*row) for row in found[:limit]]
    return Page(tuple(with_feedback(connection, key_id, rows)), has_more=len(found) > limit)


def with_feedback(connection: Connection, key_id: str, rows: Sequence[ExchangeRow]) -> list[Log]:
    summaries = scores.summaries_of_exchanges(connection, key_id, {row.id: row.trace_id for row in rows})
    return [Log(row, summaries[row.id]) for row in rows]


def _position(connection: Connection, key_id: str, exchange_id: str) -> Position:
    query = select(exchange.c.started_at_ms, exchange.c.seq)
    row = connection.execute(
        query.where(exchange.c.id == exchange_id, exchange.c.key_id == key_id)
    ).one_or_none()
    if row is None:
        raise no_such_cursor(exchange_id)
    return Position(*row)


def conditions(key_id: str, wanted: LogFilter) -> list[Condition]:
    """What a row of `exchange` must fulfil to be wanted, apart from its times."""
    found = []
    if wanted.trace_id is not None:
        found.append(Condition(exchange.c.trace_id == wanted.trace_id))
    for name, column in _INDEXED.items():
        value = getattr(wanted, name)
        if value is not None:
            found.append(_indexed(key_id, column, value))
    for name, value in wanted.metadata:
        found.append(Condition(carries(exchange.c.metadata, name, value)))
    for name in ("upstream", "error_kind", "status"):
        value = getattr(wanted, name)
        if value is not None:
            found.append(Condition(exchange.c[name] == value))
    if wanted.model is not None:
        found.append(_model(key_id, wanted.model))
    found += _course(key_id, wanted)
    if wanted.has_feedback is not None:
        found.append(_feedback(key_id, has_feedback=wanted.has_feedback))
    return found


def _course(key_id: str, wanted: LogFilter) -> list[Condition]:
    """What is asked of how exchanges went."""
    found = []
    if wanted.streamed is not None:
        found.append(Condition(exchange.c.streamed == wanted.streamed))
    if wanted.failed or wanted.error_kind is not None or (wanted.status or 0) >= 400:
        found.append(Condition(FAILED))
    elif wanted.failed is False:
        found.append(Condition(~FAILED))
    attempt_count = unindexed(exchange.c.attempt_count)
    if wanted.retried:
        ids = select(exchange.c.seq).where(exchange.c.key_id == key_id, RETRIED)
        found.append(Condition(attempt_count > 1, ids))
    elif wanted.retried is False:
        found.append(Condition(func.coalesce(attempt_count, 1) <= 1))
    return found


def _indexed(key_id: str, column: str, value: str) -> Condition:
    other = exchange.alias()
    ids = select(other.c.seq).where(other.c.key_id == key_id, other.c[column] == value)
    return Condition(unindexed(exchange.c[column]) == value, ids)


def _model(key_id: str, model: str) -> Condition:
    """By way of the traces that met the model, since exchanges have no index for it."""
    other = exchange.alias()
    met = select(trace_model.c.trace_id).where(trace_model.c.key_id == key_id, trace_model.c.model == model)
    ids = select(other.c.seq).where(other.c.key_id == key_id, other.c.trace_id.in_(_few(met)))
    return Condition(or_(exchange.c.requested_model == model, exchange.c.answering_model == model), ids)


def _feedback(key_id: str, *, has_feedback: bool) -> Condition:
    """By way of the traces with feedback; there, whether some was given to the whole or to this exchange."""
    scored = select(trace.c.trace_id).where(
        trace.c.key_id == key_id,
        trace.c.feedback_count > literal(0, literal_execute=True),
    )
    applies = (
        select(literal(1))
        .select_from(feedback_target)
        .join(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
        .where(
            feedback_target.c.key_id == key_id,
            feedback_target.c.trace_id == exchange.c.trace_id,
            feedback_target.c.exchange_id.in_((literal("", literal_execute=True), exchange.c.id)),
            scores.IS_COUNTED,
        )
        .correlate(exchange)
    )
    in_trace = scored.where(trace.c.trace_id == exchange.c.trace_id).correlate(exchange)
    holds = and_(in_trace.exists(), applies.exists())
    if not has_feedback:
        return Condition(~holds)
    other = exchange.alias()
    matched = _few(scored.where(trace.c.exchange_count > 0))
    return Condition(
        holds, select(other.c.seq).where(other.c.key_id == key_id, other.c.trace_id.in_(matched))
    )


def _few(trace_ids: Select[Any]) -> Select[Any]:
    """As many trace ids as show that there are more than a few: each has an exchange at least."""
    return trace_ids.limit(FEW_ROWS + 1)
