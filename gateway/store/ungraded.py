"""What of a task's exchanges nobody has graded yet, oldest first, without passing what is graded twice.

An exchange is graded once there is feedback for the task, not retracted, on it or on its trace as a whole.
Passing a hundred thousand of them takes most of a second, so the next reader is told how far the last one
came: see Known. Claims are not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, literal, select

from gateway.records import FeedbackTask
from gateway.store.scores import ON_AN_EXCHANGE
from gateway.store.search import unindexed
from gateway.store.selection import oldest_first
from gateway.store.tables import exchange, feedback, feedback_target

MAX_KNOWN = 2_000
_PORTION = 250


class Ungraded(NamedTuple):
    """An exchange, by its number and its id."""

    seq: int
    exchange_id: str


@dataclass(slots=True, frozen=True)
class Known:
    """Every exchange up to the number `passed` that fits the task and may be ungraded; the rest is graded.

    It holds while the task keeps its `version` and nothing more is `retracted`: grades are only ever added,
    and new exchanges come behind.
    """

    version: int = 0
    retracted: int = 0
    passed: int = 0
    ungraded: tuple[Ungraded, ...] = ()


NOTHING_KNOWN = Known()


class Walk:
    """One look at a task's exchanges, on one snapshot. `known` is what the next walk may start from."""

    def __init__(self, connection: Connection, task: FeedbackTask, known: Known) -> None:
        self._connection = connection
        self._task = task
        retracted = _retracted(connection, task)
        is_current = (known.version, known.retracted) == (task.version, retracted)
        self.known = known if is_current else Known(task.version, retracted)

    def behind(self, seq: int) -> Iterator[Ungraded]:
        """The ungraded exchanges behind the number `seq`."""
        checked = 0
        while checked < len(self.known.ungraded):
            some = self.known.ungraded[checked : checked + _PORTION]
            if some[-1].seq > seq:
                some = self._checked(some)
                yield from (one for one in some if one.seq > seq)
            checked += len(some)
        passed = max(seq, self.known.passed)
        while True:
            found = self._next(passed)
            if passed == self.known.passed:
                self._remember(found)
            yield from found
            if len(found) < _PORTION:
                return
            passed = found[-1].seq

    def _checked(self, some: tuple[Ungraded, ...]) -> tuple[Ungraded, ...]:
        """Those of `some` that are ungraded still; the others are not known any more."""
        wanted = [one.seq for one in some]
        query = select(exchange.c.seq).where(exchange.c.seq.in_(wanted), ~graded(self._task))
        still = set(self._connection.execute(query).scalars())
        gone = set(wanted) - still
        left = tuple(one for one in self.known.ungraded if one.seq not in gone)
        self.known = replace(self.known, ungraded=left)
        return tuple(one for one in some if one.seq in still)

    def _next(self, passed: int) -> list[Ungraded]:
        query = oldest_first(
            self._connection,
            self._task.key_id,
            self._task.selector,
            [exchange.c.seq, exchange.c.id],
            after_seq=passed,
        )
        query = query.where(~graded(self._task)).limit(_PORTION)
        return [Ungraded(*row) for row in self._connection.execute(query)]

    def _remember(self, found: Sequence[Ungraded]) -> None:
        known = self.known
        if len(known.ungraded) + len(found) > MAX_KNOWN:
            return
        if len(found) == _PORTION:
            passed = found[-1].seq
        else:
            passed = self._connection.execute(select(func.max(exchange.c.seq))).scalar() or 0
        self.known = replace(known, passed=passed, ungraded=(*known.ungraded, *found))


def graded(task: FeedbackTask) -> ColumnElement[bool]:
    """Whether the row of `exchange` is graded."""
    answers = (
        select(literal(1))
        .select_from(feedback_target)
        .join(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
        .where(
            feedback_target.c.key_id == task.key_id,
            unindexed(feedback.c.task_id) == task.id,
            feedback.c.retracted_at_ms.is_(None),
        )
        .correlate(exchange)
    )
    on_it = answers.where(feedback_target.c.exchange_id == exchange.c.id, ON_AN_EXCHANGE)
    on_the_whole = answers.where(
        feedback_target.c.trace_id == exchange.c.trace_id,
        feedback_target.c.exchange_id == literal("", literal_execute=True),
    )
    return on_it.exists() | on_the_whole.exists()


def _retracted(connection: Connection, task: FeedbackTask) -> int:
    query = select(func.count()).where(
        feedback.c.key_id == task.key_id,
        feedback.c.task_id == task.id,
        feedback.c.retracted_at_ms.is_not(None),
    )
    count: int = connection.execute(query).scalar_one()
    return count
