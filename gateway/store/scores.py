"""What feedback counts for in its traces and exchanges: what summaries are made of.

The counts are integers and change in the transaction that changes the feedback, so they are exact for every
sequence of changes. What is derived from them in `trace` is written here and nowhere else. Statements are
made once: making one takes longer than running it, and exchanges wait for the connection meanwhile.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, delete, func, literal, select
from sqlalchemy.dialects.sqlite import Insert, insert

from gateway.records import FeedbackSummary, Pair
from gateway.store.search import any_of, portions
from gateway.store.tables import feedback, feedback_target, trace, trace_score

NO_FEEDBACK = FeedbackSummary.from_pairs(())
IS_COUNTED = and_(feedback.c.retracted_at_ms.is_(None), feedback.c.superseded == 0)
ON_AN_EXCHANGE = feedback_target.c.exchange_id != literal("", literal_execute=True)
"""Written without a parameter, so that partial indexes can serve it."""


def _pair() -> tuple[ColumnElement[float | None], ColumnElement[float | None]]:
    is_score = feedback.c.kind == "score"
    value, weight = case((is_score, feedback.c.number)), case((is_score, feedback.c.weight))
    return value.label("value"), weight.label("weight")


def _upsert_score() -> Insert:
    old, new = trace_score.c, insert(trace_score)
    return new.on_conflict_do_update(
        index_elements=[old.key_id, old.trace_id, old.value, old.weight],
        set_={"count": old.count + new.excluded.count},
    )


def _upsert_trace() -> Insert:
    new = insert(trace)
    return new.on_conflict_do_update(
        index_elements=[trace.c.key_id, trace.c.trace_id],
        set_={
            "feedback_count": trace.c.feedback_count + new.excluded.feedback_count,
            "weighted_mean": new.excluded.weighted_mean,
        },
    )


_COUNTS_FOR = (
    select(feedback_target.c.trace_id, feedback.c.seq, *_pair())
    .join(feedback_target, feedback_target.c.feedback_seq == feedback.c.seq)
    .where(any_of(feedback.c.seq, "seqs"), IS_COUNTED)
    .distinct()
)
_PAIRS = select(trace_score.c.trace_id, trace_score.c.value, trace_score.c.weight, trace_score.c.count).where(
    trace_score.c.key_id == bindparam("key"), any_of(trace_score.c.trace_id, "traces")
)
_FEEDBACK_COUNTS = select(trace.c.trace_id, trace.c.feedback_count).where(
    trace.c.key_id == bindparam("key"), any_of(trace.c.trace_id, "traces"), trace.c.feedback_count > 0
)
_ADD_SCORE = _upsert_score()
_DELETE_SCORES = delete(trace_score).where(
    trace_score.c.key_id == bindparam("key"),
    any_of(trace_score.c.trace_id, "traces"),
    trace_score.c.count <= 0,
)
_ADD_TO_TRACE = _upsert_trace()
_DELETE_TRACES = delete(trace).where(
    trace.c.key_id == bindparam("key"),
    any_of(trace.c.trace_id, "traces"),
    trace.c.exchange_count == 0,
    trace.c.feedback_count == 0,
)


class Score(NamedTuple):
    """What one piece of feedback counts for in a trace: its pair, or none when it is not a score."""

    trace_id: str
    value: int | None
    weight: float | None


def of(connection: Connection, seqs: Iterable[int]) -> Counter[Score]:
    """What the feedback with these `seqs` counts for now: once a trace, however many targets it has there."""
    counted: Counter[Score] = Counter()
    for some in portions(seqs):
        for trace_id, _, value, weight in connection.execute(_COUNTS_FOR, {"seqs": some}):
            counted[Score(trace_id, None if value is None else int(value), weight)] += 1
    return counted


def change(connection: Connection, key_id: str, changes: Mapping[Score, int], now_ms: int) -> None:
    """Add each change to its pair's count and bring the traces' figures up to date.

    A trace that is new begins at `now_ms`; one that is left without exchanges and feedback is deleted.
    """
    changes = {score: count for score, count in changes.items() if count}
    if not changes:
        return
    _count(connection, key_id, {score: count for score, count in changes.items() if score.value is not None})
    counts: Counter[str] = Counter()
    for score, count in changes.items():
        counts[score.trace_id] += count
    _refresh(connection, key_id, counts, now_ms)
    emptied = {score.trace_id for score, count in changes.items() if count < 0}
    for some in portions(emptied):
        connection.execute(_DELETE_TRACES, {"key": key_id, "traces": some})


def summaries(connection: Connection, key_id: str, trace_ids: Collection[str]) -> dict[str, FeedbackSummary]:
    """The summary of each of `trace_ids`, those without feedback too."""
    pairs = _pairs(connection, key_id, trace_ids)
    found: dict[str, FeedbackSummary] = {}
    for some in portions(trace_ids):
        for trace_id, count in connection.execute(_FEEDBACK_COUNTS, {"key": key_id, "traces": some}):
            scored = sum(pair.count for pair in pairs.get(trace_id, ()))
            found[trace_id] = FeedbackSummary.from_pairs(pairs.get(trace_id, ()), others=count - scored)
    return {trace_id: found.get(trace_id, NO_FEEDBACK) for trace_id in trace_ids}


def summaries_of_exchanges(
    connection: Connection, key_id: str, exchanges: Mapping[str, str]
) -> dict[str, FeedbackSummary]:
    """The summary of each exchange in `exchanges`, a mapping from their ids to their traces'.

    Feedback counts for an exchange that was given to it or to its trace as a whole. Most traces have no
    other, and then the trace's summary is the exchange's too.
    """
    of_traces = summaries(connection, key_id, set(exchanges.values()))
    narrow = _with_feedback_on_exchanges(connection, key_id, set(exchanges.values()))
    found = {exchange_id: of_traces[trace_id] for exchange_id, trace_id in exchanges.items()}
    apart = {exchange_id for exchange_id, trace_id in exchanges.items() if trace_id in narrow}
    if not apart:
        return found
    on_trace = _tally(connection, key_id, feedback_target.c.trace_id, narrow, on_the_whole())
    on_exchange = _tally(connection, key_id, feedback_target.c.exchange_id, apart, on_the_exchange_alone())
    return found | {
        exchange_id: _summary(on_trace[exchanges[exchange_id]] + on_exchange[exchange_id])
        for exchange_id in apart
    }


Tally = Counter[tuple[int | None, float | None]]
"""How many pieces of feedback have this value and weight; None and None for what is not a score."""


def _summary(tally: Tally) -> FeedbackSummary:
    pairs = [
        Pair(value, weight, count)
        for (value, weight), count in tally.items()
        if value is not None and weight is not None
    ]
    return FeedbackSummary.from_pairs(pairs, others=tally[None, None])


def _with_feedback_on_exchanges(
    connection: Connection, key_id: str, trace_ids: Collection[str]
) -> Collection[str]:
    """Those of the traces in which some exchange was given feedback of its own."""
    query = select(feedback_target.c.trace_id).where(
        feedback_target.c.key_id == key_id, feedback_target.c.trace_id.in_(trace_ids), ON_AN_EXCHANGE
    )
    return set(connection.execute(query.distinct()).scalars())


def on_the_whole() -> ColumnElement[bool]:
    return feedback_target.c.exchange_id == ""


def on_the_exchange_alone() -> ColumnElement[bool]:
    """Feedback that was given to both an exchange and its trace is counted with the trace's."""
    other = feedback_target.alias()
    on_both = (
        select(literal(1))
        .where(
            other.c.key_id == feedback_target.c.key_id,
            other.c.trace_id == feedback_target.c.trace_id,
            other.c.feedback_seq == feedback_target.c.feedback_seq,
            other.c.exchange_id == "",
        )
        .correlate(feedback_target)
    )
    return and_(ON_AN_EXCHANGE, ~on_both.exists())


def _tally(
    connection: Connection,
    key_id: str,
    owner: ColumnElement[str],
    owners: Collection[str],
    which: ColumnElement[bool],
) -> defaultdict[str, Tally]:
    tallies: defaultdict[str, Tally] = defaultdict(Counter)
    value, weight = _pair()
    query = (
        select(owner, value, weight, func.count())
        .select_from(feedback_target)
        .join(feedback, feedback.c.seq == feedback_target.c.feedback_seq)
        .where(feedback_target.c.key_id == key_id, owner.in_(owners), which, IS_COUNTED)
        .group_by(owner, value, weight)
    )
    for name, number, given_weight, count in connection.execute(query):
        tallies[name][None if number is None else int(number), given_weight] += count
    return tallies


def _pairs(connection: Connection, key_id: str, trace_ids: Iterable[str]) -> dict[str, list[Pair]]:
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for some in portions(trace_ids):
        for trace_id, *pair in connection.execute(_PAIRS, {"key": key_id, "traces": some}):
            pairs[trace_id].append(Pair(*pair))
    return pairs


def _count(connection: Connection, key_id: str, changes: Mapping[Score, int]) -> None:
    if not changes:
        return
    rows = [{"key_id": key_id, **score._asdict(), "count": count} for score, count in changes.items()]
    connection.execute(_ADD_SCORE, rows)
    for some in portions({score.trace_id for score, count in changes.items() if count < 0}):
        connection.execute(_DELETE_SCORES, {"key": key_id, "traces": some})


def _refresh(connection: Connection, key_id: str, counts: Mapping[str, int], now_ms: int) -> None:
    pairs = _pairs(connection, key_id, counts)
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
            "feedback_count": count,
            "weighted_mean": FeedbackSummary.from_pairs(pairs.get(trace_id, ())).weighted_mean,
        }
        for trace_id, count in counts.items()
    ]
    connection.execute(_ADD_TO_TRACE, rows)
