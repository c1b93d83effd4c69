"""Traces: the list, and one with its exchanges and feedback."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, literal, or_, select, union_all

from gateway.errors import NotFound
from gateway.records import LogFilter, Page, TraceDetail, TraceFilter, TraceSummary
from gateway.store import feedback_list, logs, scores
from gateway.store.feedback_rows import IS_LIVE
from gateway.store.search import (
    SPECIAL_COLUMNS,
    Condition,
    Listing,
    Position,
    carries,
    no_such_cursor,
    unindexed,
)
from gateway.store.tables import exchange, feedback, feedback_target, trace, trace_model, trace_score

LISTING = Listing(key_id=trace.c.key_id, id=trace.c.trace_id, time=trace.c.first_at_ms, seq=trace.c.seq)

# Written without parameters, so that partial indexes can serve them.
HAS_FEEDBACK = trace.c.feedback_count > literal(0, literal_execute=True)
HAS_ERRORS = trace.c.error_count > literal(0, literal_execute=True)

_FIRST_FAILED_STATUS = 400


def get(connection: Connection, key_id: str, trace_id: str, *, limit: int) -> TraceDetail:
    """A trace with its newest `limit` exchanges and `limit` pieces of feedback. Raises NotFound."""
    query = select(trace).where(trace.c.key_id == key_id, trace.c.trace_id == trace_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"there is no trace {trace_id!r}; GET /v1/traces lists what there is")
    return TraceDetail(
        summary=summaries(connection, key_id, [row])[0],
        exchanges=logs.find(connection, key_id, LogFilter(trace_id=trace_id), limit=limit),
        feedback=feedback_list.of_trace(connection, key_id, trace_id, limit=limit),
    )


def find(
    connection: Connection, key_id: str, wanted: TraceFilter, *, limit: int, after: str | None = None
) -> Page[TraceSummary]:
    """A page of `limit` traces, newest first, from behind the one with the trace id `after`.

    Raises InvalidField when there is no trace `after`.
    """
    page = LISTING.page(
        connection,
        select(trace),
        key_id=key_id,
        wanted=wanted,
        conditions=conditions(key_id, wanted),
        after=None if after is None else position(connection, key_id, after),
        limit=limit,
    )
    rows = connection.execute(page).all()
    return Page(tuple(summaries(connection, key_id, rows[:limit])), has_more=len(rows) > limit)


def position(connection: Connection, key_id: str, trace_id: str) -> Position:
    query = select(trace.c.first_at_ms, trace.c.seq)
    row = connection.execute(
        query.where(trace.c.key_id == key_id, trace.c.trace_id == trace_id)
    ).one_or_none()
    if row is None:
        raise no_such_cursor(trace_id)
    return Position(*row)


def summaries(connection: Connection, key_id: str, rows: Sequence[Row[Any]]) -> list[TraceSummary]:
    """`rows` of `trace`, in their order."""
    trace_ids = [row.trace_id for row in rows]
    models = _models(connection, key_id, trace_ids)
    scored = scores.summaries(connection, key_id, trace_ids)
    return [
        TraceSummary(
            trace_id=row.trace_id,
            first_at_ms=row.first_at_ms,
            last_at_ms=row.last_at_ms,
            exchange_count=row.exchange_count,
            error_count=row.error_count,
            models=tuple(models.get(row.trace_id, ())),
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            cost_usd=row.cost_usd,
            feedback=scored[row.trace_id],
        )
        for row in rows
    ]


def _models(connection: Connection, key_id: str, trace_ids: Collection[str]) -> dict[str, list[str]]:
    models: dict[str, list[str]] = defaultdict(list)
    query = select(trace_model.c.trace_id, trace_model.c.model).where(
        trace_model.c.key_id == key_id, trace_model.c.trace_id.in_(trace_ids)
    )
    for trace_id, model in connection.execute(query):
        models[trace_id].append(model)
    return {trace_id: sorted(names) for trace_id, names in models.items()}


def conditions(key_id: str, wanted: TraceFilter) -> list[Condition]:
    """What a row of `trace` must fulfil to be wanted, apart from its times."""
    conditions = []
    if wanted.trace_id is not None:
        conditions.append(Condition(trace.c.trace_id == wanted.trace_id))
    for name, column in SPECIAL_COLUMNS.items():
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(_special(key_id, column, value))
    conditions.extend(_metadata(key_id, name, value) for name, value in wanted.metadata)
    if wanted.model is not None:
        conditions.append(_model(key_id, wanted.model))
    if wanted.status is not None:
        conditions.append(_status(key_id, wanted.status))
    if wanted.failed is not None:
        conditions.append(Condition(HAS_ERRORS if wanted.failed else _is_ok()))
    if wanted.has_feedback is not None:
        conditions.append(Condition(HAS_FEEDBACK if wanted.has_feedback else ~HAS_FEEDBACK))
    if wanted.min_value is not None or wanted.max_value is not None:
        conditions.append(_value(key_id, wanted.min_value, wanted.max_value))
    if wanted.min_weighted_mean is not None or wanted.max_weighted_mean is not None:
        conditions.append(_weighted_mean(key_id, wanted.min_weighted_mean, wanted.max_weighted_mean))
    return conditions


def _is_ok() -> ColumnElement[bool]:
    return and_(trace.c.error_count == 0, trace.c.exchange_count > 0)


def _special(key_id: str, column: str, value: str) -> Condition:
    exchanges = select(exchange.c.trace_id).where(exchange.c.key_id == key_id, exchange.c[column] == value)
    scored = _scored(key_id).where(feedback.c.key_id == key_id, feedback.c[column] == value)
    return Condition(_any_row(exchanges, scored), union_all(exchanges, scored))


def _metadata(key_id: str, name: str, value: str) -> Condition:
    in_exchange = select(exchange.c.trace_id).where(carries(exchange.c.metadata, name, value))
    scored = _scored(key_id).where(carries(feedback.c.metadata, name, value))
    return Condition(
        _any_row(in_exchange.where(exchange.c.key_id == key_id), scored),
        # Without an index on metadata, reading the table from end to end is the quickest.
        union_all(in_exchange.where(unindexed(exchange.c.key_id) == key_id), scored),
    )


def _scored(key_id: str) -> Select[tuple[str]]:
    """The trace ids of live feedback."""
    return (
        select(feedback_target.c.trace_id)
        .join(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
        .where(feedback_target.c.key_id == key_id, IS_LIVE)
    )


def _any_row(exchanges: Select[tuple[str]], scored: Select[tuple[str]]) -> ColumnElement[bool]:
    """Whether the trace is among those of `exchanges` or of `scored`."""
    return or_(
        exchanges.where(exchange.c.trace_id == trace.c.trace_id).correlate(trace).exists(),
        and_(
            HAS_FEEDBACK,
            scored.where(feedback_target.c.trace_id == trace.c.trace_id).correlate(trace).exists(),
        ),
    )


def _model(key_id: str, model: str) -> Condition:
    ids = select(trace_model.c.trace_id).where(trace_model.c.key_id == key_id, trace_model.c.model == model)
    return Condition(ids.where(trace_model.c.trace_id == trace.c.trace_id).correlate(trace).exists(), ids)


def _status(key_id: str, status: int) -> Condition:
    ids = select(exchange.c.trace_id).where(exchange.c.key_id == key_id, exchange.c.status == status)
    holds = ids.where(exchange.c.trace_id == trace.c.trace_id).correlate(trace).exists()
    if status < _FIRST_FAILED_STATUS:
        return Condition(holds)
    failed = exchange.c.status >= literal(_FIRST_FAILED_STATUS, literal_execute=True)
    return Condition(and_(HAS_ERRORS, holds), ids.where(failed))


def _value(key_id: str, min_value: int | None, max_value: int | None) -> Condition:
    ids = select(trace_score.c.trace_id).where(trace_score.c.key_id == key_id)
    if min_value is not None:
        ids = ids.where(trace_score.c.value >= min_value)
    if max_value is not None:
        ids = ids.where(trace_score.c.value <= max_value)
    holds = ids.where(trace_score.c.trace_id == trace.c.trace_id).correlate(trace).exists()
    return Condition(and_(HAS_FEEDBACK, holds), ids)


def _weighted_mean(key_id: str, lowest: float | None, highest: float | None) -> Condition:
    other = trace.alias()
    ids = select(other.c.trace_id).where(other.c.key_id == key_id)
    holds: ColumnElement[bool] = HAS_FEEDBACK
    if lowest is not None:
        ids = ids.where(other.c.weighted_mean >= lowest)
        holds = and_(holds, unindexed(trace.c.weighted_mean) >= lowest)
    if highest is not None:
        ids = ids.where(other.c.weighted_mean <= highest)
        holds = and_(holds, unindexed(trace.c.weighted_mean) <= highest)
    return Condition(holds, ids)
