"""Exchanges, counted by hour: each once, in order of their numbers, in steps. See `gateway.store.hours`.

A step is two transactions: the slow part, counting, reads; only adding the sums up waits for the write lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Connection, Select, and_, func, literal, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert

from gateway.jsonio import dumps_text, loads
from gateway.records.insights import HOUR_MS, RequestFigures, latency_bucket
from gateway.store.hour_tables import exchange_hour, exchange_hour_progress
from gateway.store.hours import ALL_DIMENSIONS, NO_GROUP, SAID, day_of, hour_of_feedback, mark
from gateway.store.logs import FAILED
from gateway.store.search import unindexed
from gateway.store.tables import exchange, feedback, feedback_target, trace

_PROGRESS_ID = 1


Place = tuple[str, str, int, str]
"""Of a row of `exchange_hour`: key, dimension, hour and group."""

Counted = dict[Place, RequestFigures]


@dataclass(slots=True, frozen=True)
class Step:
    """The exchanges behind the number `after`, up to `last`: what they add, and the hours of feedback that
    they are about, by key."""

    after: int
    last: int
    counted: Counted
    feedback_hours: frozenset[tuple[str, int]]


def progress(connection: Connection) -> tuple[int, int]:
    """The number of the last exchange that is counted, and of the last there is."""
    counted = connection.execute(select(exchange_hour_progress.c.counted_seq)).scalar()
    return counted or 0, connection.execute(select(func.max(exchange.c.seq))).scalar() or 0


def next_step(connection: Connection, limit: int) -> Step | None:
    """The next `limit` exchanges, counted; None when all are."""
    after, newest = progress(connection)
    if after >= newest:
        return None
    last = min(after + limit, newest)
    counted = count(connection, after, last)
    hours = connection.execute(_hours_about(after, last)).all()
    return Step(after, last, counted, frozenset((row[0], row[1]) for row in hours))


def add(connection: Connection, step: Step) -> bool:
    """Add a step to the table; whether it was the next one still."""
    new = insert(exchange_hour_progress).values(id=_PROGRESS_ID, counted_seq=step.last)
    moved = connection.execute(
        new.on_conflict_do_update(
            index_elements=[exchange_hour_progress.c.id],
            set_={"counted_seq": step.last},
            where=exchange_hour_progress.c.counted_seq == step.after,
        )
    )
    if moved.rowcount == 0:
        return False
    _upsert(connection, step.counted)
    mark(connection, "feedback", step.feedback_hours)
    days = ((key_id, day_of(hour)) for key_id, _, hour, _ in step.counted)
    mark(connection, "exchange day", days)
    return True


def count(connection: Connection, after: int, last: int, key_id: str | None = None) -> Counted:
    """What the exchanges behind the number `after` up to `last` add: all, or those of one key."""
    query = select(
        exchange.c.key_id,
        exchange.c.started_at_ms // HOUR_MS,
        exchange.c.latency_ms,
        FAILED,
        exchange.c.prompt_tokens,
        exchange.c.completion_tokens,
        exchange.c.cost_usd,
        *SAID,
    ).where(exchange.c.seq > after, exchange.c.seq <= last)
    if key_id is not None:
        query = query.where(unindexed(exchange.c.key_id) == key_id)
    return _sums(connection.execute(query))


def _sums(rows: Iterable[Any]) -> Counted:
    alike: dict[tuple[Any, ...], RequestFigures] = {}
    for key_id, hour, latency_ms, failed, prompt_tokens, completion_tokens, cost_usd, *groups in rows:
        same = (key_id, hour, *groups)
        sums = alike.get(same)
        if sums is None:
            sums = alike[same] = RequestFigures()
        sums.requests += 1
        sums.errors += failed
        sums.prompt_tokens += prompt_tokens or 0
        sums.completion_tokens += completion_tokens or 0
        if cost_usd is not None:
            sums.priced += 1
            sums.cost_usd += cost_usd
        bucket = latency_bucket(latency_ms)
        sums.latency[bucket] = sums.latency.get(bucket, 0) + 1
    counted: Counted = {}
    for (key_id, hour, *groups), sums in alike.items():
        for dimension, group in zip(ALL_DIMENSIONS, (NO_GROUP, *groups), strict=True):
            counted.setdefault((key_id, dimension, hour, group or NO_GROUP), RequestFigures()).add(sums)
    return counted


def hours_about(connection: Connection, after: int, last: int, key_id: str) -> set[int]:
    """The hours of feedback about the traces of some exchanges: its groups are what those say."""
    rows = connection.execute(_hours_about(after, last).where(feedback.c.key_id == key_id))
    return {row[1] for row in rows}


def _hours_about(after: int, last: int) -> Select[Any]:
    traces = (
        select(exchange.c.key_id, exchange.c.trace_id)
        .where(exchange.c.seq > after, exchange.c.seq <= last)
        .distinct()
        .subquery()
    )
    of_trace = and_(trace.c.key_id == traces.c.key_id, trace.c.trace_id == traces.c.trace_id)
    of_target = and_(
        feedback_target.c.key_id == trace.c.key_id, feedback_target.c.trace_id == trace.c.trace_id
    )
    # Outer, so that the database begins with the traces: they are fewer than the feedback.
    joined = (
        traces.outerjoin(trace, of_trace)
        .outerjoin(feedback_target, of_target)
        .outerjoin(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
    )
    has_feedback = and_(
        trace.c.feedback_count > literal(0, literal_execute=True), feedback.c.seq.is_not(None)
    )
    return hour_of_feedback().select_from(joined).where(has_feedback)


def latency_text(latency: Mapping[int, int]) -> str:
    """The first bucket, then the counts from it on: read in a third of the time that an object takes."""
    if not latency:
        return "[]"
    first = min(latency)
    return dumps_text([first, *(latency.get(bucket, 0) for bucket in range(first, max(latency) + 1))])


def latency_of(text: str) -> dict[int, int]:
    first, *counts = loads(text) or (0,)
    return {bucket: count for bucket, count in enumerate(counts, first) if count}


def _merged(old: str, more: str) -> str:
    """SQLite calls it for each row that is there already."""
    latency = latency_of(old)
    for bucket, count in latency_of(more).items():
        latency[bucket] = latency.get(bucket, 0) + count
    return latency_text(latency)


def _upsert(connection: Connection, counted: Mapping[Place, RequestFigures]) -> None:
    # On the driver itself: there are thousands of rows, and naming their values takes longer than storing.
    raw = cast("sqlite3.Connection", connection.connection.dbapi_connection)
    raw.create_function("add_counts", 2, _merged, deterministic=True)
    raw.executemany(
        _upsert_statement(),
        [
            (
                key_id, dimension, 1, hour, group, one.requests, one.errors, one.prompt_tokens,
                one.completion_tokens, one.priced, one.cost_usd, latency_text(one.latency),
            )
            for (key_id, dimension, hour, group), one in counted.items()
        ],
    )  # fmt: skip


@lru_cache(maxsize=1)
def _upsert_statement() -> str:
    """With a place for every column of `exchange_hour`, in their order."""
    table = exchange_hour
    new = insert(table).values(dict.fromkeys(table.columns.keys()))
    sums = [column.name for column in table.columns if not column.primary_key and column.name != "latency"]
    statement = new.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={
            **{name: table.c[name] + new.excluded[name] for name in sums},
            "latency": func.add_counts(table.c.latency, new.excluded.latency),
        },
    )
    return str(statement.compile(dialect=sqlite.dialect()))
