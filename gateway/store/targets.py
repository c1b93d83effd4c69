"""What feedback is given to: from the ids and selectors of a draft to the traces and exchanges they mean.

An id may be a trace's or an exchange's, and may be here before either. Nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import CompoundSelect, Connection, and_, bindparam, delete, select, union_all
from sqlalchemy.dialects.sqlite import insert

from gateway.errors import InvalidField
from gateway.records import FeedbackDraft, SelectedTargets, Selector, TargetId
from gateway.store.scores import ON_AN_EXCHANGE
from gateway.store.search import any_of, portions, unindexed
from gateway.store.selection import matching
from gateway.store.tables import exchange, feedback_target, trace

_INSERT = insert(feedback_target).on_conflict_do_nothing()
_ON_TRACES = and_(
    feedback_target.c.key_id == bindparam("key"),
    any_of(feedback_target.c.trace_id, "traces"),
    feedback_target.c.exchange_id == "",
)
_WAITING = select(feedback_target.c.trace_id, feedback_target.c.feedback_seq).where(_ON_TRACES)
_FORGET = delete(feedback_target).where(_ON_TRACES)
_WITH_EXCHANGES = select(trace.c.trace_id).where(
    trace.c.key_id == bindparam("key"), any_of(trace.c.trace_id, "traces"), trace.c.exchange_count > 0
)
# An exchange is found by its id: with many of them, its owner's index would tempt the database.
_IS_OWN_EXCHANGE = unindexed(exchange.c.key_id) == bindparam("key")
_TRACES_OF = select(exchange.c.id, exchange.c.trace_id).where(_IS_OWN_EXCHANGE, any_of(exchange.c.id, "ids"))
_NAMED = (
    select(exchange.c.id, exchange.c.trace_id)
    .join(feedback_target, feedback_target.c.trace_id == exchange.c.id)
    .where(any_of(feedback_target.c.feedback_seq, "seqs"), _IS_OWN_EXCHANGE)
)


class Place(NamedTuple):
    """A row of `feedback_target`: an exchange, or with an empty `exchange_id` a trace as a whole."""

    trace_id: str
    exchange_id: str = ""


class Finder:
    """Finds the places of drafts, having looked up all their ids at once."""

    def __init__(self, connection: Connection, key_id: str, drafts: Iterable[FeedbackDraft]) -> None:
        self._connection = connection
        self._key_id = key_id
        ids = {
            known
            for draft in drafts
            for target in _ids(draft)
            for known in (target.id, target.exchange_id)
            if known is not None
        }
        self._traces = _with_exchanges(connection, key_id, ids)
        self._exchanges = _traces_of_exchanges(connection, key_id, ids)

    def places(self, draft: FeedbackDraft) -> list[Place]:
        """Where `draft` belongs, each place once."""
        return list(dict.fromkeys(self._place(target) for target in _ids(draft)))

    def _place(self, target: TargetId) -> Place:
        place = self._place_of_id(target)
        if target.exchange_id is not None and self._exchanges.get(target.exchange_id) == place.trace_id:
            return Place(place.trace_id, target.exchange_id)
        return place

    def _place_of_id(self, target: TargetId) -> Place:
        trace_id = self._exchanges.get(target.id)
        if trace_id is None or (target.first == "trace" and target.id in self._traces):
            return Place(target.id)
        return Place(trace_id, target.id)


def select_targets(connection: Connection, key_id: str, wanted: SelectedTargets) -> tuple[TargetId, ...]:
    """The exchanges that fit. Raises InvalidField when there are none or too many.

    Some metadata can only be found by reading every row, so this is for a reading connection: it must hold
    up nobody who writes.
    """
    found = matching(connection, key_id, wanted.selector, wanted.limit + 1)
    if len(found) > wanted.limit:
        raise InvalidField(
            f"more than {wanted.limit} exchanges match {_words(wanted.selector)}; "
            "narrow the selector or raise the limit",
            param="selector",
        )
    if not found and not wanted.allow_unmatched:
        raise InvalidField(
            f"no exchange matches {_words(wanted.selector)}; check it, or allow feedback without a match",
            param="selector",
        )
    return tuple(TargetId(exchange_id, first="exchange") for exchange_id, _ in found)


def _ids(draft: FeedbackDraft) -> tuple[TargetId, ...]:
    if isinstance(draft.targets, SelectedTargets):
        raise TypeError("a selector is resolved by select_targets before feedback is stored")
    return draft.targets


def given_under(key_id: str, target_id: str) -> CompoundSelect[tuple[int]]:
    """The `seq` of feedback on the trace or the exchange of this id: feedback is found under the id it was
    given to, whichever of the two that turned out to be. Two selects, so that each has its index."""
    seqs = select(feedback_target.c.feedback_seq).where(feedback_target.c.key_id == key_id)
    return union_all(
        seqs.where(feedback_target.c.trace_id == target_id, feedback_target.c.exchange_id == ""),
        seqs.where(feedback_target.c.exchange_id == target_id, ON_AN_EXCHANGE),
    )


def store(connection: Connection, key_id: str, places: Mapping[int, Sequence[Place]]) -> None:
    """Write the places of each piece of feedback, by its `seq`."""
    rows = [
        {"feedback_seq": seq, "key_id": key_id, **place._asdict()}
        for seq, found in places.items()
        for place in found
    ]
    if rows:
        connection.execute(_INSERT, rows)


def orphans(connection: Connection, key_id: str, exchanges: Mapping[str, str]) -> dict[str, list[int]]:
    """The feedback that waits for some of `exchanges`, a mapping from their ids to their traces': by the id
    it was given to, the `seq` of each piece.

    It was stored under a trace id because nothing had that id yet. Where by now a trace has it, it stays.
    """
    found: dict[str, list[int]] = {}
    for some in portions(
        exchange_id for exchange_id, trace_id in exchanges.items() if exchange_id != trace_id
    ):
        for given_to, seq in connection.execute(_WAITING, {"key": key_id, "traces": some}):
            found.setdefault(given_to, []).append(seq)
    taken = _with_exchanges(connection, key_id, found)
    return {given_to: seqs for given_to, seqs in found.items() if given_to not in taken}


def exchanges_named(connection: Connection, key_id: str, seqs: Iterable[int]) -> list[tuple[str, str]]:
    """The exchanges, with their traces, whose ids some of this feedback was given to as a trace's."""
    found: list[tuple[str, str]] = []
    for some in portions(seqs):
        named = connection.execute(_NAMED, {"key": key_id, "seqs": some})
        found += [(row.id, row.trace_id) for row in named]
    return found


def move(
    connection: Connection, key_id: str, waiting: Mapping[str, Sequence[int]], exchanges: Mapping[str, str]
) -> None:
    """Give `waiting` feedback (from `orphans`) the exchanges it was meant for."""
    places: dict[int, list[Place]] = {}
    for given_to, seqs in waiting.items():
        for seq in seqs:
            places.setdefault(seq, []).append(Place(exchanges[given_to], given_to))
    store(connection, key_id, places)
    for some in portions(waiting):
        connection.execute(_FORGET, {"key": key_id, "traces": some})


def _with_exchanges(connection: Connection, key_id: str, ids: Iterable[str]) -> set[str]:
    """Those of `ids` that are traces with an exchange."""
    found: set[str] = set()
    for some in portions(ids):
        found.update(connection.execute(_WITH_EXCHANGES, {"key": key_id, "traces": some}).scalars())
    return found


def _traces_of_exchanges(connection: Connection, key_id: str, ids: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in portions(ids):
        rows = connection.execute(_TRACES_OF, {"key": key_id, "ids": some})
        found.update((row.id, row.trace_id) for row in rows)
    return found


def _words(selector: Selector) -> str:
    tags = [f"tag {tag!r}" for tag in selector.tags]
    metadata = [f"metadata {name!r} {value!r}" for name, value in selector.metadata]
    return " and ".join([*tags, *metadata]) or "the selector"
