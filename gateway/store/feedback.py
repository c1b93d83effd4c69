"""Feedback rows: create, change, retract, get and list.

Every function is one transaction's work. Retracted feedback stays in the table and is seen by nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, func, insert, select, update

from gateway.capture.metadata import special_keys
from gateway.errors import NotFound
from gateway.jsonio import dumps_text, loads
from gateway.records import Feedback, FeedbackChange, FeedbackDraft, FeedbackFilter, Page
from gateway.store import scores
from gateway.store.scores import Score
from gateway.store.search import (
    SPECIAL_COLUMNS,
    Condition,
    Listing,
    Position,
    carries,
    no_such_cursor,
    unindexed,
)
from gateway.store.tables import feedback, feedback_target, trace

LISTING = Listing(
    key_id=feedback.c.key_id, id=feedback.c.seq, time=feedback.c.created_at_ms, seq=feedback.c.seq
)
IS_LIVE = feedback.c.retracted_at_ms.is_(None)


def create(
    connection: Connection, key_id: str, drafts: Sequence[tuple[str, FeedbackDraft]], now_ms: int
) -> None:
    """Store each draft under the id beside it, and count it in its traces."""
    rows = [_new_row(key_id, feedback_id, draft, now_ms) for feedback_id, draft in drafts]
    inserted = connection.execute(insert(feedback).returning(feedback.c.id, feedback.c.seq), rows)
    seqs = {row.id: row.seq for row in inserted}
    connection.execute(
        insert(feedback_target),
        [
            {"feedback_seq": seqs[feedback_id], "key_id": key_id, "trace_id": trace_id}
            for feedback_id, draft in drafts
            for trace_id in draft.trace_ids
        ],
    )
    counts = Counter(
        Score(trace_id, draft.value, draft.weight) for _, draft in drafts for trace_id in draft.trace_ids
    )
    scores.change(connection, key_id, counts, now_ms)


def change(
    connection: Connection, key_id: str, feedback_id: str, wanted: FeedbackChange, now_ms: int
) -> None:
    """Change a piece of feedback and move its counts. Raises NotFound."""
    row = _live_row(connection, key_id, feedback_id)
    value = row.value if wanted.value is None else wanted.value
    weight = row.weight if wanted.weight is None else wanted.weight
    new: dict[str, Any] = {"value": value, "weight": weight, "updated_at_ms": now_ms}
    if wanted.metadata is not None:
        new |= _metadata_columns(wanted.metadata)
    connection.execute(update(feedback).where(feedback.c.seq == row.seq).values(new))
    if (value, weight) != (row.value, row.weight):
        counts: Counter[Score] = Counter()
        for trace_id in _trace_ids(connection, row.seq):
            counts[Score(trace_id, row.value, row.weight)] -= 1
            counts[Score(trace_id, value, weight)] += 1
        scores.change(connection, key_id, counts, now_ms)


def retract(connection: Connection, key_id: str, feedback_id: str, now_ms: int) -> None:
    """Take a piece of feedback out of every count and list. Raises NotFound, also the second time."""
    row = _live_row(connection, key_id, feedback_id)
    connection.execute(update(feedback).where(feedback.c.seq == row.seq).values(retracted_at_ms=now_ms))
    counts = {Score(trace_id, row.value, row.weight): -1 for trace_id in _trace_ids(connection, row.seq)}
    scores.change(connection, key_id, counts, now_ms)


def get(connection: Connection, key_id: str, feedback_id: str) -> Feedback:
    """One piece of feedback. Raises NotFound."""
    return _records(connection, [_live_row(connection, key_id, feedback_id)])[0]


def find(
    connection: Connection, key_id: str, wanted: FeedbackFilter, *, limit: int, after: str | None = None
) -> Page[Feedback]:
    """A page of `limit` pieces of feedback, newest first, from behind the one with the id `after`.

    Raises InvalidField when there is no feedback `after`.
    """
    page = LISTING.page(
        connection,
        _select().where(IS_LIVE),
        key_id=key_id,
        wanted=wanted,
        conditions=_conditions(key_id, wanted),
        after=None if after is None else _position(connection, key_id, after),
        limit=limit,
    )
    rows = connection.execute(page).all()
    return Page(tuple(_records(connection, rows[:limit])), has_more=len(rows) > limit)


def _select() -> Select[Any]:
    columns = feedback.c
    return select(
        columns.seq,
        columns.id,
        columns.key_id,
        columns.value,
        columns.weight,
        columns.metadata,
        columns.created_at_ms,
        columns.updated_at_ms,
    )


def _live_row(connection: Connection, key_id: str, feedback_id: str) -> Row[Any]:
    row = _find_live(connection, key_id, feedback_id)
    if row is None:
        raise NotFound(f"there is no feedback {feedback_id!r}; GET /v1/feedback lists what there is")
    return row


def _find_live(connection: Connection, key_id: str, feedback_id: str) -> Row[Any] | None:
    query = _select().where(feedback.c.id == feedback_id, feedback.c.key_id == key_id, IS_LIVE)
    return connection.execute(query).one_or_none()


def _position(connection: Connection, key_id: str, feedback_id: str) -> Position:
    row = _find_live(connection, key_id, feedback_id)
    if row is None:
        raise no_such_cursor(feedback_id)
    return Position(row.created_at_ms, row.seq)


def _trace_ids(connection: Connection, seq: int) -> Sequence[str]:
    query = select(feedback_target.c.trace_id).where(feedback_target.c.feedback_seq == seq)
    return connection.execute(query).scalars().all()


def _new_row(key_id: str, feedback_id: str, draft: FeedbackDraft, now_ms: int) -> dict[str, Any]:
    return {
        "id": feedback_id,
        "key_id": key_id,
        "value": draft.value,
        "weight": draft.weight,
        "created_at_ms": now_ms,
        **_metadata_columns(draft.metadata),
    }


def _metadata_columns(metadata: dict[str, Any] | None) -> dict[str, str | None]:
    special = special_keys(metadata)
    return {
        "metadata": None if metadata is None else dumps_text(metadata),
        **{column: getattr(special, name) for name, column in SPECIAL_COLUMNS.items()},
    }


def _conditions(key_id: str, wanted: FeedbackFilter) -> list[Condition]:
    conditions = []
    if wanted.trace_id is not None:
        ids = select(feedback_target.c.feedback_seq).where(
            feedback_target.c.key_id == key_id, feedback_target.c.trace_id == wanted.trace_id
        )
        holds = ids.where(feedback_target.c.feedback_seq == feedback.c.seq).correlate(feedback).exists()
        conditions.append(Condition(holds, ids))
    other = feedback.alias()
    for name, column in SPECIAL_COLUMNS.items():
        value = getattr(wanted, name)
        if value is not None:
            ids = select(other.c.seq).where(other.c.key_id == key_id, other.c[column] == value)
            conditions.append(Condition(unindexed(feedback.c[column]) == value, ids))
    for name, value in wanted.metadata:
        conditions.append(Condition(carries(feedback.c.metadata, name, value)))
    if wanted.min_value is not None:
        conditions.append(Condition(feedback.c.value >= wanted.min_value))
    if wanted.max_value is not None:
        conditions.append(Condition(feedback.c.value <= wanted.max_value))
    return conditions


class _Target(NamedTuple):
    trace_id: str
    matched: bool


def _records(connection: Connection, rows: Collection[Row[Any]]) -> list[Feedback]:
    targets = _targets(connection, [row.seq for row in rows])
    return [
        Feedback(
            id=row.id,
            key_id=row.key_id,
            trace_id=targets[row.seq].trace_id,
            value=row.value,
            weight=row.weight,
            metadata=None if row.metadata is None else loads(row.metadata),
            created_at_ms=row.created_at_ms,
            updated_at_ms=row.updated_at_ms,
            matched=targets[row.seq].matched,
        )
        for row in rows
    ]


def _targets(connection: Connection, seqs: Collection[int]) -> dict[int, _Target]:
    """The trace of each piece of feedback. One with several shows the first and is matched if any is."""
    query = (
        select(
            feedback_target.c.feedback_seq,
            func.min(feedback_target.c.trace_id).label("trace_id"),
            func.max(func.coalesce(trace.c.exchange_count, 0)).label("exchange_count"),
        )
        .outerjoin(
            trace,
            and_(trace.c.key_id == feedback_target.c.key_id, trace.c.trace_id == feedback_target.c.trace_id),
        )
        .where(feedback_target.c.feedback_seq.in_(seqs))
        .group_by(feedback_target.c.feedback_seq)
    )
    return {
        row.feedback_seq: _Target(row.trace_id, row.exchange_count > 0) for row in connection.execute(query)
    }
