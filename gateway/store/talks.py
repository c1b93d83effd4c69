"""A trace's exchanges with their bodies, oldest first: what a conversation is read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, literal, select, tuple_

from gateway.errors import InvalidField, NotFound
from gateway.records import BodyRow, ExchangeRow, Feedback, Log, Page, Revision, TraceSummary
from gateway.store import feedback_list, feedback_rows, logs, traces
from gateway.store.tables import exchange, exchange_body, trace

_COLUMNS = [exchange.c[name] for name in ExchangeRow._fields]
_BODY = [exchange_body.c[name] for name in BodyRow._fields]
_PARTS = ("request_head", "request_tail", "response_head", "response_tail")


@dataclass(slots=True, frozen=True)
class Told:
    """An exchange and its bodies; None where they were not kept, or left out because there were too many."""

    log: Log
    bodies: BodyRow | None
    left_out: bool = False


@dataclass(slots=True, frozen=True)
class TraceTalk:
    """A trace with some of its exchanges, oldest first, and its feedback, newest first.

    `history` has the revisions of each piece of feedback that was changed, by its id.
    """

    summary: TraceSummary
    told: tuple[Told, ...]
    has_more: bool
    feedback: Page[Feedback]
    history: dict[str, tuple[Revision, ...]]


def get(
    connection: Connection,
    key_id: str,
    trace_id: str,
    *,
    limit: int,
    max_body_bytes: int,
    feedback_limit: int,
    after: str | None = None,
) -> TraceTalk:
    """`limit` exchanges from behind the one with the id `after`; together their bodies have `max_body_bytes`.

    Raises NotFound, and InvalidField when the trace has no exchange `after`.
    """
    row = connection.execute(
        select(trace).where(trace.c.key_id == key_id, trace.c.trace_id == trace_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no trace {trace_id!r}")
    found = _exchanges(connection, key_id, trace_id, after, limit + 1)
    shown = logs.with_feedback(connection, key_id, [ExchangeRow._make(each[1:]) for each in found[:limit]])
    bodies = _bodies(connection, [each.seq for each in found[:limit]], max_body_bytes)
    given, history = feedback_of(connection, key_id, trace_id, limit=feedback_limit)
    return TraceTalk(
        summary=traces.summaries(connection, key_id, [row])[0],
        told=tuple(Told(log, *kept) for log, kept in zip(shown, bodies, strict=True)),
        has_more=len(found) > limit,
        feedback=given,
        history=history,
    )


def one(connection: Connection, key_id: str, exchange_id: str) -> tuple[ExchangeRow, BodyRow | None]:
    """An exchange and its bodies. Raises NotFound."""
    row = connection.execute(
        select(exchange.c.seq, *_COLUMNS).where(exchange.c.id == exchange_id, exchange.c.key_id == key_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no exchange {exchange_id!r}")
    return ExchangeRow._make(row[1:]), _body(connection, row.seq)


def feedback_of(
    connection: Connection, key_id: str, trace_id: str, *, limit: int
) -> tuple[Page[Feedback], dict[str, tuple[Revision, ...]]]:
    """A trace's feedback, what was retracted too, and the history of what was changed."""
    page = feedback_list.of_trace(connection, key_id, trace_id, limit=limit, include_retracted=True)
    changed = [each.id for each in page.items if each.updated_at_ms or each.retracted_at_ms]
    history = {each: feedback_rows.history(connection, key_id, each)[1] for each in changed[:50]}
    return page, history


def _exchanges(
    connection: Connection, key_id: str, trace_id: str, after: str | None, limit: int
) -> Sequence[Row[Any]]:
    query = select(exchange.c.seq, *_COLUMNS).where(
        exchange.c.key_id == key_id, exchange.c.trace_id == trace_id
    )
    if after is not None:
        place = connection.execute(
            select(exchange.c.started_at_ms, exchange.c.seq).where(
                exchange.c.key_id == key_id, exchange.c.trace_id == trace_id, exchange.c.id == after
            )
        ).one_or_none()
        if place is None:
            raise InvalidField(f"after: this trace has no exchange {after!r}", param="after")
        query = query.where(
            tuple_(exchange.c.started_at_ms, exchange.c.seq)
            > tuple_(literal(place.started_at_ms), literal(place.seq))
        )
    query = query.order_by(exchange.c.started_at_ms, exchange.c.seq)
    return connection.execute(query.limit(limit)).all()


def _bodies(connection: Connection, seqs: Sequence[int], max_bytes: int) -> list[tuple[BodyRow | None, bool]]:
    sizes = sum(func.coalesce(func.length(exchange_body.c[name]), 0) for name in _PARTS)
    query = select(exchange_body.c.exchange_seq, sizes.label("bytes"))  # type: ignore[union-attr]
    known = {
        row.exchange_seq: row.bytes
        for row in connection.execute(query.where(exchange_body.c.exchange_seq.in_(seqs)))
    }
    found: list[tuple[BodyRow | None, bool]] = []
    left = max_bytes
    for seq in seqs:
        left -= known.get(seq, 0)
        found.append((_body(connection, seq), False) if left >= 0 else (None, seq in known))
    return found


def _body(connection: Connection, seq: int) -> BodyRow | None:
    row = connection.execute(select(*_BODY).where(exchange_body.c.exchange_seq == seq)).one_or_none()
    return None if row is None else BodyRow(*row)
