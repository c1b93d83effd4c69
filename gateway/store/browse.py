"""The dashboard's list of traces: any filter, text too, within a time that a person does not notice.

Filters with an index find their rows by it. All others walk the list from its newest trace in steps, and stop
when the time is up: the page then says how far it has looked, and the walk goes on from there when asked to.
So nothing is indexed when an exchange is stored, and every word can be found as soon as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, literal, select, tuple_

from gateway.records import TraceFilter
from gateway.store import logs, traces
from gateway.store.fulltext import Phrase, stands_in, streamed
from gateway.store.scores import IS_COUNTED
from gateway.store.search import Condition, Position, look_up, unindexed
from gateway.store.tables import exchange, exchange_tag, feedback, feedback_target, trace
from gateway.store.trace_rows import TraceRow, rows


class Budget:
    """The time that one search may take: `clock_ms` grows by one in a millisecond."""

    def __init__(self, limit_ms: float, clock_ms: Callable[[], float]) -> None:
        self._clock_ms = clock_ms
        self._began_ms = clock_ms()
        self._limit_ms = limit_ms

    def spent_ms(self) -> float:
        return self._clock_ms() - self._began_ms

    def left_ms(self) -> float:
        return self._limit_ms - self.spent_ms()

    @property
    def is_over(self) -> bool:
        return self.left_ms() <= 0


_FIRST_STEP = 50  # bodies may be large
_LONGEST_STEP = 8_000
_STEP_MS = 30.0


@dataclass(slots=True, frozen=True)
class TraceQuery:
    """A TraceFilter and what only the dashboard filters by. `text` is looked for in requests and answers.

    The `active` times are of any request of a trace, the `feedback` times of any feedback that counts; a
    value that is asked for besides is then that feedback's.
    """

    filter: TraceFilter
    text: str | None = None
    tag: str | None = None
    upstream: str | None = None
    streamed: bool | None = None
    target: str | None = None
    cache_status: str | None = None
    retried: bool | None = None
    active_since_ms: int | None = None
    active_until_ms: int | None = None
    feedback_since_ms: int | None = None
    feedback_until_ms: int | None = None

    @property
    def is_about_times_of_feedback(self) -> bool:
        return self.feedback_since_ms is not None or self.feedback_until_ms is not None


@dataclass(slots=True, frozen=True)
class Found:
    """`looked_at` is how many traces a walk has looked at, None where every one that fits is known.

    `after` is from where on there may be more, None at the end.
    """

    rows: tuple[TraceRow, ...]
    after: str | None
    looked_at: int | None = None
    is_cut: bool = False


def find(
    connection: Connection,
    key_id: str,
    wanted: TraceQuery,
    *,
    limit: int,
    budget: Budget,
    after: str | None = None,
) -> Found:
    """The newest `limit` traces from behind the one with the id `after`, or those found within the budget.

    Raises InvalidField when there is no trace `after`.
    """
    position = None if after is None else traces.position(connection, key_id, after)
    conditions = _conditions(key_id, wanted)
    if not conditions and wanted.text is None:
        return _at_once(connection, key_id, wanted, (), position, limit)
    if (
        wanted.text is None
        and look_up(connection, [each for each in conditions if each.ids is not None]) is not None
    ):
        return _at_once(connection, key_id, wanted, conditions, position, limit)
    return _Walk(connection, key_id, wanted, conditions, budget).run(position, limit)


def _conditions(key_id: str, wanted: TraceQuery) -> list[Condition]:
    plain = replace(wanted.filter, metadata=())
    if wanted.is_about_times_of_feedback:
        plain = replace(plain, min_value=None, max_value=None)
    conditions = traces.conditions(key_id, plain)
    of_trace = select(literal(1)).where(exchange.c.key_id == key_id, exchange.c.trace_id == trace.c.trace_id)
    conditions += [
        # Without what would look at every exchange there is.
        Condition(each.holds)
        for each in traces.conditions(key_id, TraceFilter(metadata=wanted.filter.metadata))
    ]
    if wanted.tag is not None:
        conditions.append(_tagged(key_id, wanted.tag))
    if wanted.upstream is not None:
        conditions.append(
            Condition(of_trace.where(exchange.c.upstream == wanted.upstream).correlate(trace).exists())
        )
    if wanted.streamed is not None:
        conditions.append(
            Condition(of_trace.where(exchange.c.streamed == wanted.streamed).correlate(trace).exists())
        )
    for name in ("target", "cache_status"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(_with(key_id, unindexed(exchange.c[name]) == value, exchange.c[name] == value))
    if wanted.retried is not None:
        found = _with(key_id, unindexed(exchange.c.attempt_count) > 1, logs.RETRIED)
        conditions.append(found if wanted.retried else Condition(~found.holds))
    if wanted.active_since_ms is not None or wanted.active_until_ms is not None:
        conditions.append(_active(key_id, wanted))
    if wanted.is_about_times_of_feedback:
        conditions.append(_given(key_id, wanted))
    return conditions


def _with(key_id: str, holds: ColumnElement[bool], indexed: ColumnElement[bool]) -> Condition:
    """With an exchange that fulfils this. `indexed` says the same in the form that an index serves."""
    of_trace = select(literal(1)).where(exchange.c.key_id == key_id, exchange.c.trace_id == trace.c.trace_id)
    ids = select(exchange.c.trace_id).where(exchange.c.key_id == key_id, indexed)
    return Condition(of_trace.where(holds).correlate(trace).exists(), ids)


def _active(key_id: str, wanted: TraceQuery) -> Condition:
    """With a request that began in this time."""
    since, until = wanted.active_since_ms, wanted.active_until_ms
    ids = select(exchange.c.trace_id).where(
        exchange.c.key_id == key_id, *_within(exchange.c.started_at_ms, since, until)
    )
    # A trace's own times come first: most traces that began later or ended before are passed by them.
    around: list[ColumnElement[bool]] = []
    if until is not None:
        around.append(trace.c.first_at_ms < until)
    if since is not None:
        around.append(trace.c.last_at_ms >= since)
    in_trace = select(literal(1)).where(
        exchange.c.key_id == key_id,
        exchange.c.trace_id == trace.c.trace_id,
        *_within(exchange.c.started_at_ms, since, until),
    )
    return Condition(and_(*around, in_trace.correlate(trace).exists()), ids)


def _given(key_id: str, wanted: TraceQuery) -> Condition:
    """With feedback that was given in this time, of a value if one is asked for."""
    since, until, of_trace = wanted.feedback_since_ms, wanted.feedback_until_ms, wanted.filter
    joined = feedback_target.join(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
    value = []
    if of_trace.min_value is not None or of_trace.max_value is not None:
        value = [
            unindexed(feedback.c.kind) == "score",
            *_within(unindexed(feedback.c.number), of_trace.min_value, of_trace.max_value, closed=True),
        ]
    ids = (
        select(feedback_target.c.trace_id)
        .select_from(joined)
        .where(
            feedback.c.key_id == key_id,
            *_within(feedback.c.created_at_ms, since, until),
            IS_COUNTED,
            *value,
        )
    )
    in_trace = (
        select(literal(1))
        .select_from(joined)
        .where(
            feedback_target.c.key_id == key_id,
            feedback_target.c.trace_id == trace.c.trace_id,
            *_within(unindexed(feedback.c.created_at_ms), since, until),
            IS_COUNTED,
            *value,
        )
    )
    has_any = trace.c.feedback_count > literal(0, literal_execute=True)
    return Condition(and_(has_any, in_trace.correlate(trace).exists()), ids)


def _within(
    column: ColumnElement[Any], low: float | None, high: float | None, *, closed: bool = False
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if low is not None:
        found.append(column >= low)
    if high is not None:
        found.append(column <= high if closed else column < high)
    return found


def _tagged(key_id: str, tag: str) -> Condition:
    ids = (
        select(exchange.c.trace_id)
        .join(exchange_tag, exchange_tag.c.exchange_seq == exchange.c.seq)
        .where(exchange_tag.c.key_id == key_id, exchange_tag.c.tag == tag)
    )
    in_trace = (
        select(literal(1))
        .select_from(exchange)
        .join(exchange_tag, exchange_tag.c.exchange_seq == exchange.c.seq)
        .where(
            exchange.c.key_id == key_id,
            exchange.c.trace_id == trace.c.trace_id,
            exchange_tag.c.key_id == key_id,
            exchange_tag.c.tag == tag,
        )
    )
    return Condition(in_trace.correlate(trace).exists(), ids)


def _at_once(
    connection: Connection,
    key_id: str,
    wanted: TraceQuery,
    conditions: Sequence[Condition],
    position: Position | None,
    limit: int,
) -> Found:
    query = traces.LISTING.page(
        connection,
        select(trace),
        key_id=key_id,
        wanted=wanted.filter,
        conditions=conditions,
        after=position,
        limit=limit,
    )
    found = connection.execute(query).all()
    return Found(
        rows(connection, key_id, found[:limit]), found[limit - 1].trace_id if len(found) > limit else None
    )


class _Walk:
    """From a position back, a step at a time: where the step ends, then what in it fits."""

    def __init__(
        self,
        connection: Connection,
        key_id: str,
        wanted: TraceQuery,
        conditions: Sequence[Condition],
        budget: Budget,
    ) -> None:
        self._connection = connection
        self._key_id = key_id
        self._wanted = wanted
        self._conditions = conditions
        self._budget = budget
        self._phrase = None if wanted.text is None else Phrase(wanted.text)

    def run(self, position: Position | None, limit: int) -> Found:
        found: list[Row[Any]] = []
        looked_at, step = 0, _FIRST_STEP
        while True:
            began_ms = self._budget.spent_ms()
            end = self._end(position, step)
            found += self._fitting(position, end, limit + 1 - len(found))
            if len(found) > limit:
                return Found(
                    rows(self._connection, self._key_id, found[:limit]), found[limit - 1].trace_id, looked_at
                )
            if end is None:
                return Found(rows(self._connection, self._key_id, found), None, looked_at)
            looked_at += step
            position = Position(end.first_at_ms, end.seq)
            if self._budget.is_over:
                shown = rows(self._connection, self._key_id, found)
                return Found(shown, end.trace_id, looked_at, is_cut=True)
            step = self._next(step, self._budget.spent_ms() - began_ms)

    def _next(self, step: int, took_ms: float) -> int:
        """As many traces as will take a moment, by what the last ones took, within four times as many."""
        fit = int(step * min(_STEP_MS, self._budget.left_ms()) / max(took_ms, 0.1))
        return max(_FIRST_STEP, min(fit, 4 * step, _LONGEST_STEP))

    def _fitting(self, start: Position | None, end: Row[Any] | None, limit: int) -> list[Row[Any]]:
        query = self._between(select(trace), start).where(*(each.holds for each in self._conditions))
        if end is not None:
            query = query.where(_place() >= tuple_(literal(end.first_at_ms), literal(end.seq)))
        if self._phrase is None:
            return self._newest(query, limit)
        found = {
            row.seq: row for row in self._newest(query.where(stands_in(self._key_id, self._phrase)), limit)
        }
        answered = streamed(self._connection, self._key_id, query, self._phrase)
        for row in self._newest(query.where(trace.c.trace_id.in_(answered)), limit) if answered else ():
            found[row.seq] = row
        return sorted(found.values(), key=lambda row: (row.first_at_ms, row.seq), reverse=True)[:limit]

    def _newest(self, query: Select[Any], limit: int) -> list[Row[Any]]:
        query = query.order_by(trace.c.first_at_ms.desc(), trace.c.seq.desc()).limit(limit)
        return list(self._connection.execute(query))

    def _end(self, start: Position | None, step: int) -> Row[Any] | None:
        """The last row of the step; None when the list ends within it."""
        columns = select(trace.c.trace_id, trace.c.first_at_ms, trace.c.seq)
        query = self._between(columns, start).order_by(trace.c.first_at_ms.desc(), trace.c.seq.desc())
        return self._connection.execute(query.offset(step - 1).limit(1)).one_or_none()

    def _between(self, query: Select[Any], start: Position | None) -> Select[Any]:
        query = query.where(trace.c.key_id == self._key_id)
        if start is not None:
            query = query.where(_place() < tuple_(literal(start.time_ms), literal(start.seq)))
        if self._wanted.filter.since_ms is not None:
            query = query.where(trace.c.first_at_ms >= self._wanted.filter.since_ms)
        if self._wanted.filter.until_ms is not None:
            query = query.where(trace.c.first_at_ms < self._wanted.filter.until_ms)
        return query


def _place() -> Any:
    return tuple_(trace.c.first_at_ms, trace.c.seq)
