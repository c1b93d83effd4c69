"""The value and weight pairs of a trace, counted: what its feedback summary is made of.

The counts are integers and change in the transaction that changes the feedback, so they are exact for every
sequence of changes. What is derived from them in `trace` is written here and nowhere else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from gateway.records import FeedbackSummary, Pair
from gateway.store.tables import trace, trace_score

NO_FEEDBACK = FeedbackSummary.from_pairs(())


class Score(NamedTuple):
    """A pair in a trace."""

    trace_id: str
    value: int
    weight: float


def change(connection: Connection, key_id: str, changes: Mapping[Score, int], now_ms: int) -> None:
    """Add each change to its pair's count and bring the traces' figures up to date.

    A trace that is new begins at `now_ms`; one that is left without exchanges and feedback is deleted.
    """
    _count(connection, key_id, changes)
    trace_ids = {score.trace_id for score in changes}
    _refresh(connection, key_id, trace_ids, now_ms)
    if any(count < 0 for count in changes.values()):
        connection.execute(
            delete(trace).where(
                trace.c.key_id == key_id,
                trace.c.trace_id.in_(trace_ids),
                trace.c.exchange_count == 0,
                trace.c.feedback_count == 0,
            )
        )


def summaries(connection: Connection, key_id: str, trace_ids: Collection[str]) -> dict[str, FeedbackSummary]:
    """The summary of each of `trace_ids`, those without feedback too."""
    pairs: dict[str, list[Pair]] = defaultdict(list)
    query = select(
        trace_score.c.trace_id, trace_score.c.value, trace_score.c.weight, trace_score.c.count
    ).where(trace_score.c.key_id == key_id, trace_score.c.trace_id.in_(trace_ids))
    for trace_id, *pair in connection.execute(query):
        pairs[trace_id].append(Pair(*pair))
    return {
        trace_id: FeedbackSummary.from_pairs(pairs[trace_id]) if trace_id in pairs else NO_FEEDBACK
        for trace_id in trace_ids
    }


def _count(connection: Connection, key_id: str, changes: Mapping[Score, int]) -> None:
    rows = [{"key_id": key_id, **score._asdict(), "count": count} for score, count in changes.items()]
    new = insert(trace_score)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=[
                trace_score.c.key_id,
                trace_score.c.trace_id,
                trace_score.c.value,
                trace_score.c.weight,
            ],
            set_={"count": trace_score.c.count + new.excluded.count},
        ),
        rows,
    )
    emptied = {score.trace_id for score, count in changes.items() if count < 0}
    if emptied:
        connection.execute(
            delete(trace_score).where(
                trace_score.c.key_id == key_id, trace_score.c.trace_id.in_(emptied), trace_score.c.count <= 0
            )
        )


def _refresh(connection: Connection, key_id: str, trace_ids: Collection[str], now_ms: int) -> None:
    rows = [
        {
            "key_id": key_id,
            "trace_id": trace_id,
            "first_at_ms": now_ms,
            "last_at_ms": now_ms,
            "exchange_count": 0,
            "error_count": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "cost_usd": None,
            "feedback_count": summary.count,
            "weighted_mean": summary.weighted_mean,
        }
        for trace_id, summary in summaries(connection, key_id, trace_ids).items()
    ]
    new = insert(trace)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=[trace.c.key_id, trace.c.trace_id],
            set_={"feedback_count": new.excluded.feedback_count, "weighted_mean": new.excluded.weighted_mean},
        ),
        rows,
    )
