"""What exports read: portions of feedback and of exchanges, oldest first, each of bounded size.

How a portion becomes lines of a file is in `gateway.exports`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from sqlalchemy import Connection, and_, func, or_, select

from gateway.records import BodyRow, ExchangeRow, Feedback, FeedbackFilter, Item, Log, LogFilter
from gateway.store import feedback_list, feedback_rows, logs
from gateway.store.feedback_rows import IS_LIVE
from gateway.store.scores import IS_COUNTED
from gateway.store.search import Condition
from gateway.store.tables import exchange, exchange_body, feedback, feedback_target
from gateway.store.walk import Path, Walk

PORTION_ROWS = 500
PORTION_BYTES = 2 * 1024 * 1024
"""Bodies that a portion holds; one exchange may have more by itself."""
PORTION_FEEDBACK = 2_000
MAX_FEEDBACK = 1_000
"""Pieces of feedback that an exchange is exported with."""

_COLUMNS = [exchange.c.seq, *(exchange.c[name] for name in ExchangeRow._fields)]
_BODIES = [exchange_body.c.exchange_seq, *(exchange_body.c[name] for name in BodyRow._fields)]


@dataclass(slots=True, frozen=True)
class Portion(Generic[Item]):
    """Some items, perhaps none, and where the walk is now."""

    items: tuple[Item, ...]
    walk: Walk


@dataclass(slots=True, frozen=True)
class Kept:
    """A stored exchange and its bodies, None when there are none."""

    seq: int
    row: ExchangeRow
    bodies: BodyRow | None


@dataclass(slots=True, frozen=True)
class Rated:
    """An exchange with all that people said of it that counts: given to it, or to its trace as a whole."""

    kept: Kept
    log: Log
    feedback: tuple[Feedback, ...]
    has_more: bool


Read = Callable[[Connection, Walk, int], Portion[Item]]
"""Reads the portion that comes next in a walk. Of so many items more at most are wanted."""


def feedback_path(key_id: str, wanted: FeedbackFilter) -> Path:
    conditions = feedback_list.conditions(key_id, wanted)
    if not wanted.include_retracted:
        conditions.append(Condition(IS_LIVE))
    return Path(feedback, feedback_list.LISTING, key_id, wanted, conditions)


def exchange_path(key_id: str, wanted: LogFilter) -> Path:
    conditions = logs.conditions(key_id, wanted)
    if wanted.trace_id is not None:
        other = exchange.alias()
        ids = select(other.c.seq).where(other.c.key_id == key_id, other.c.trace_id == wanted.trace_id)
        conditions.append(Condition(exchange.c.trace_id == wanted.trace_id, ids))
    return Path(exchange, logs.LISTING, key_id, wanted, conditions)


def feedback_portion(connection: Connection, path: Path, walk: Walk, *, limit: int) -> Portion[Feedback]:
    """At most `limit` pieces of feedback. Superseded ones are among them, as in the list."""
    rows, walk = path.step(connection, feedback_rows.select_rows(), walk, limit=min(limit, PORTION_ROWS))
    return Portion(tuple(feedback_rows.records(connection, rows)), walk)


def exchange_portion(connection: Connection, path: Path, walk: Walk, *, limit: int) -> Portion[Rated]:
    """At most `limit` exchanges."""
    rows, walk = exchange_rows(connection, path, walk, limit=limit)
    if not rows:
        return Portion((), walk)
    found = dict(zip(rows, logs.with_feedback(connection, path.key_id, list(rows.values())), strict=True))
    seqs = fitting(connection, _few_enough(found))
    given = _feedback_of(connection, path.key_id, {seq: found[seq] for seq in seqs})
    items = tuple(
        Rated(
            kept=kept,
            log=found[kept.seq],
            feedback=given[kept.seq],
            has_more=found[kept.seq].feedback.count > MAX_FEEDBACK,
        )
        for kept in with_bodies(connection, {seq: rows[seq] for seq in seqs})
    )
    return Portion(items, walk if len(seqs) == len(rows) else walk.passed(seqs[-1]))


def exchange_rows(
    connection: Connection, path: Path, walk: Walk, *, limit: int
) -> tuple[dict[int, ExchangeRow], Walk]:
    """The next exchanges by their `seq`, without bodies."""
    rows, walk = path.step(connection, select(*_COLUMNS), walk, limit=min(limit, PORTION_ROWS))
    return {row.seq: _exchange(row) for row in rows}, walk


def fitting(connection: Connection, seqs: Sequence[int]) -> list[int]:
    """As many of `seqs`, from the first, as have bodies that fit into a portion: one at least."""
    size = func.coalesce(func.length(exchange_body.c.request_head), 0) + func.coalesce(
        func.length(exchange_body.c.response_head), 0
    )
    query = select(exchange_body.c.exchange_seq, size.label("size")).where(
        exchange_body.c.exchange_seq.in_(seqs)
    )
    sizes = {row.exchange_seq: int(row.size) for row in connection.execute(query)}
    return _prefix(seqs, {seq: sizes.get(seq, 0) for seq in seqs}, PORTION_BYTES)


def with_bodies(connection: Connection, rows: Mapping[int, ExchangeRow]) -> list[Kept]:
    """Call it with what is `fitting`."""
    query = select(*_BODIES).where(exchange_body.c.exchange_seq.in_(list(rows)))
    bodies = {row.exchange_seq: BodyRow(*row[1:]) for row in connection.execute(query)}
    return [Kept(seq, row, bodies.get(seq)) for seq, row in rows.items()]


def some_of(connection: Connection, seqs: Sequence[int]) -> dict[int, Kept]:
    """As many of the exchanges `seqs`, from the first, as fit into a portion: one at least."""
    fits = fitting(connection, seqs)
    rows = connection.execute(select(*_COLUMNS).where(exchange.c.seq.in_(fits)))
    return {kept.seq: kept for kept in with_bodies(connection, {row.seq: _exchange(row) for row in rows})}


def _exchange(row: Any) -> ExchangeRow:
    """Of a row of _COLUMNS."""
    return ExchangeRow(*row[1:])


def _few_enough(found: Mapping[int, Log]) -> list[int]:
    counts = {seq: min(log.feedback.count, MAX_FEEDBACK) for seq, log in found.items()}
    return _prefix(list(found), counts, PORTION_FEEDBACK)


def _prefix(seqs: Sequence[int], sizes: Mapping[int, int], limit: int) -> list[int]:
    taken: list[int] = []
    total = 0
    for seq in seqs:
        total += sizes[seq]
        if taken and total > limit:
            break
        taken.append(seq)
    return taken


def _feedback_of(
    connection: Connection, key_id: str, found: Mapping[int, Log]
) -> dict[int, tuple[Feedback, ...]]:
    """The feedback of each exchange, oldest first, at most MAX_FEEDBACK."""
    graded = [seq for seq, log in found.items() if log.feedback.count]
    light = [seq for seq in graded if found[seq].feedback.count <= MAX_FEEDBACK]
    given: defaultdict[int, list[int]] = defaultdict(list)
    for some in ([light] if light else []) + [[seq] for seq in graded if seq not in set(light)]:
        for exchange_seq, feedback_seq in connection.execute(_pairs(key_id, some)):
            given[exchange_seq].append(feedback_seq)
    records = feedback_rows.of_seqs(connection, {seq for seqs in given.values() for seq in seqs})
    return {seq: tuple(records[each] for each in given[seq]) for seq in found}


def _pairs(key_id: str, exchange_seqs: Sequence[int]) -> Any:
    """Exchanges and the feedback that counts for them. Of one exchange, at most MAX_FEEDBACK pairs."""
    applies = and_(
        feedback_target.c.key_id == key_id,
        feedback_target.c.trace_id == exchange.c.trace_id,
        or_(feedback_target.c.exchange_id == "", feedback_target.c.exchange_id == exchange.c.id),
    )
    query = (
        select(exchange.c.seq, feedback.c.seq)
        .select_from(exchange.join(feedback_target, applies))
        .join(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
        .where(exchange.c.seq.in_(exchange_seqs), IS_COUNTED)
        .distinct()
        .order_by(exchange.c.seq, feedback.c.seq)
    )
    return query.limit(MAX_FEEDBACK) if len(exchange_seqs) == 1 else query
