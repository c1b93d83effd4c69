"""What people thought of the targets that routes choose from: feedback, joined to what answered.

An answer counts for every target it is about: that of the exchange it was given to, or each that answered in
the trace. Scores, numbers and booleans count; what is only written, retracted or superseded does not. Adding
up and forgetting are not done here. The work is bounded by the constants below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from gateway.store.scores import IS_COUNTED
from gateway.store.search import any_of, portions, unindexed
from gateway.store.tables import exchange, feedback, feedback_target, trace

MAX_OPINIONS = 5_000
"""The newest pieces of feedback of a name that are looked at, those that do not count included."""
MAX_PLACES = 20_000
"""Traces and exchanges that these are about, those of the newest first: a tag may select many."""
MAX_EXCHANGES_OF_TRACE = 200
"""What is said of a longer trace as a whole says little of any one target, and is left out."""
MAX_EXCHANGES = 50_000
"""Exchanges that are looked at for what was said of their traces."""

# The index of keys and names, from its newest end: each key's newest, without a look at the rows.
_NEWEST = (
    select(feedback.c.seq)
    .where(feedback.c.key_id == bindparam("key"), feedback.c.name == bindparam("name"))
    .order_by(feedback.c.seq.desc())
    .limit(MAX_OPINIONS)
)
_RATINGS = (
    select(feedback.c.seq, feedback.c.key_id, feedback.c.number, feedback.c.weight, feedback.c.created_at_ms)
    .where(
        any_of(feedback.c.seq, "seqs"),
        unindexed(feedback.c.created_at_ms) >= bindparam("since"),
        unindexed(feedback.c.kind).in_(("score", "number", "boolean")),
        feedback.c.weight > 0,
        IS_COUNTED,
    )
    .order_by(feedback.c.seq.desc())
)
_PLACES = (
    select(feedback_target.c.feedback_seq, feedback_target.c.trace_id, feedback_target.c.exchange_id)
    .where(any_of(feedback_target.c.feedback_seq, "seqs"))
    .order_by(feedback_target.c.feedback_seq.desc())
    .limit(MAX_PLACES)
)
_OF_EXCHANGES = select(exchange.c.key_id, exchange.c.id, exchange.c.target).where(
    any_of(exchange.c.id, "ids"), unindexed(exchange.c.target).is_not(None)
)
_SIZES = select(trace.c.trace_id, trace.c.exchange_count).where(
    trace.c.key_id == bindparam("key"),
    any_of(trace.c.trace_id, "traces"),
    trace.c.exchange_count.between(1, MAX_EXCHANGES_OF_TRACE),
)
_OF_TRACES = (
    select(exchange.c.trace_id, exchange.c.target)
    .where(
        exchange.c.key_id == bindparam("key"),
        any_of(exchange.c.trace_id, "traces"),
        unindexed(exchange.c.target).is_not(None),
    )
    .distinct()
)


class Opinion(NamedTuple):
    """What one piece of feedback says of the `targets` (labels) it is about in one trace."""

    value: float
    weight: float
    created_at_ms: int
    targets: frozenset[str]


class Opinions(NamedTuple):
    """The newest first. `is_cut` is whether there may be more than was looked at."""

    found: list[Opinion]
    is_cut: bool


_Place = tuple[str, str]
"""A key's id and the id of an exchange or a trace of it."""


def opinions(connection: Connection, key_ids: Iterable[str], name: str, since_ms: int) -> Opinions:
    """What was said under `name` since then by the holders of any of these keys, where a target is known."""
    newest: list[int] = []
    for key_id in key_ids:
        newest += connection.execute(_NEWEST, {"key": key_id, "name": name}).scalars()
    seqs = nlargest(MAX_OPINIONS, newest)
    rows = connection.execute(_RATINGS, {"seqs": seqs, "since": since_ms}).all()
    ratings = {row.seq: row for row in rows}
    places = connection.execute(_PLACES, {"seqs": list(ratings)}).all()
    of_exchanges = _of_exchanges(connection, [row.exchange_id for row in places if row.exchange_id])
    whole = [(ratings[row.feedback_seq].key_id, row.trace_id) for row in places if not row.exchange_id]
    of_traces = _of_traces(connection, whole)
    is_about: dict[tuple[int, str], set[str]] = defaultdict(set)
    for seq, trace_id, exchange_id in places:
        key_id = ratings[seq].key_id
        targets = of_exchanges if exchange_id else of_traces
        is_about[seq, trace_id] |= targets.get((key_id, exchange_id or trace_id), frozenset())
    return Opinions(
        [_opinion(ratings[seq], targets) for (seq, _), targets in is_about.items() if targets],
        is_cut=len(seqs) == MAX_OPINIONS or len(places) == MAX_PLACES,
    )


def _opinion(rating: Any, targets: Iterable[str]) -> Opinion:
    return Opinion(rating.number, rating.weight, rating.created_at_ms, frozenset(targets))


def _of_exchanges(connection: Connection, ids: Iterable[str]) -> Mapping[_Place, frozenset[str]]:
    found: dict[_Place, frozenset[str]] = {}
    for some in portions(dict.fromkeys(ids)):
        for key_id, exchange_id, target in connection.execute(_OF_EXCHANGES, {"ids": some}):
            found[key_id, exchange_id] = frozenset((target,))
    return found


def _of_traces(connection: Connection, wanted: Sequence[_Place]) -> Mapping[_Place, set[str]]:
    """The targets that answered in each trace, until enough exchanges have been looked at."""
    found: dict[_Place, set[str]] = defaultdict(set)
    left = MAX_EXCHANGES
    traces: dict[str, list[str]] = defaultdict(list)
    for key_id, trace_id in dict.fromkeys(wanted):
        traces[key_id].append(trace_id)
    for key_id, trace_ids in traces.items():
        for some in portions(trace_ids):
            affordable = []
            sizes = _sizes(connection, key_id, some)
            for trace_id in some:
                if trace_id in sizes and sizes[trace_id] <= left:
                    left -= sizes[trace_id]
                    affordable.append(trace_id)
            for trace_id, target in connection.execute(_OF_TRACES, {"key": key_id, "traces": affordable}):
                found[key_id, trace_id].add(target)
    return found


def _sizes(connection: Connection, key_id: str, trace_ids: Sequence[str]) -> dict[str, int]:
    found = connection.execute(_SIZES, {"key": key_id, "traces": trace_ids})
    return {row.trace_id: row.exchange_count for row in found}
