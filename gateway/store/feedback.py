"""Feedback changes: give, change, retract, and adopt what was given too early.

Every function is part of one transaction's work. Whatever it does, what the feedback counted for is taken
out of the traces' figures before and put back after, so that they stay exact. Retracted feedback stays in the
table; reading is next door, in `feedback_rows` and `feedback_list`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    insert,
    null,
    or_,
    select,
    update,
)

from gateway.errors import ClientError, NotFound
from gateway.jsonio import dumps_text
from gateway.records import UNSET, Feedback, FeedbackChange, FeedbackDraft, Kind, Retraction, kind_of
from gateway.store import feedback_hours, feedback_rows, scores, targets
from gateway.store.feedback_rows import IS_LIVE, json_column, metadata_columns, value_columns
from gateway.store.search import any_of, portions
from gateway.store.tables import feedback, feedback_revision

_INSERT = insert(feedback).returning(feedback.c.id, feedback.c.seq)
_UPDATE = update(feedback).where(feedback.c.seq == bindparam("which"))
_RETRACT = update(feedback).where(any_of(feedback.c.seq, "seqs")).values(retracted_at_ms=bindparam("at_ms"))
_SUPERSEDE = _UPDATE.values(superseded=feedback.c.superseded + bindparam("more"))
_REVISION = select(func.coalesce(func.max(feedback_revision.c.number), 0) + 1).where(
    feedback_revision.c.feedback_seq == bindparam("which")
)

Check = Callable[[Feedback], None]
"""Looks at what is stored before it changes; what it raises undoes the change."""

Act = tuple[str, FeedbackDraft] | Retraction
"""A draft with its new id, or a retraction."""


def apply(connection: Connection, key_id: str, acts: Sequence[Act], now_ms: int) -> list[Feedback | None]:
    """Do all of `acts` in their order; a result for each, None for a retraction that found nothing.

    Raises InvalidField and NotFound, with the act's place as `item`.
    """
    results: list[Feedback | None] = []
    for _, group in groupby(acts, lambda act: isinstance(act, Retraction)):
        alike = list(group)
        drafts = [act for act in alike if not isinstance(act, Retraction)]
        if drafts:
            results += _create(connection, key_id, drafts, now_ms, first_item=len(results))
        retractions = [act for act in alike if isinstance(act, Retraction)]
        results += [_take_back(connection, key_id, wanted, now_ms) for wanted in retractions]
    return results


def change(
    connection: Connection,
    key_id: str,
    feedback_id: str,
    wanted: FeedbackChange,
    now_ms: int,
    *,
    check: Check | None = None,
    task_version: int | None = None,
) -> Feedback:
    """Change a piece of feedback, move its counts and keep what it was. Raises NotFound."""
    row = feedback_rows.live_row(connection, key_id, feedback_id)
    [stored] = feedback_rows.records(connection, [row])
    if check is not None:
        check(stored)
    old = _changed(stored, wanted)
    columns = _columns(stored, wanted, old) | {"updated_at_ms": now_ms}
    if task_version is not None:
        columns["task_version"] = task_version
    with _counted(connection, key_id, [row.seq], now_ms):
        connection.execute(_UPDATE, {"which": row.seq, **columns})
    if old:
        _keep_revision(connection, row.seq, "changed", old, now_ms)
    return feedback_rows.get(connection, key_id, feedback_id)


def retract(
    connection: Connection, key_id: str, feedback_id: str, now_ms: int, *, check: Check | None = None
) -> Feedback:
    """Take a piece of feedback out of every count and list. Raises NotFound, also the second time."""
    row = feedback_rows.live_row(connection, key_id, feedback_id)
    if check is not None:
        check(feedback_rows.records(connection, [row])[0])
    _retract(connection, key_id, [row.seq], now_ms)
    return feedback_rows.of_seqs(connection, [row.seq])[row.seq]


def adopt(connection: Connection, key_id: str, exchanges: Iterable[tuple[str, str]]) -> None:
    """Join feedback to the exchanges it was given to before they were stored.

    `exchanges` are the ids of exchanges with their traces', all stored and counted already.
    """
    traces = dict(exchanges)
    waiting = targets.orphans(connection, key_id, traces)
    if not waiting:
        return
    seqs = sorted({seq for ids in waiting.values() for seq in ids})
    with _counted(connection, key_id, seqs, now_ms=0):  # no trace begins here
        targets.move(connection, key_id, waiting, traces)


def _create(
    connection: Connection,
    key_id: str,
    drafts: Sequence[tuple[str, FeedbackDraft]],
    now_ms: int,
    *,
    first_item: int,
) -> list[Feedback | None]:
    finder = targets.Finder(connection, key_id, (draft for _, draft in drafts))
    places = {}
    overridden: Counter[int] = Counter()
    for item, (feedback_id, draft) in enumerate(drafts, first_item):
        with _about(item):
            places[feedback_id] = finder.places(draft)
            if draft.overrides is not None:
                overridden[_overridden(connection, key_id, draft.overrides)] += 1

    rows = [feedback_rows.new_row(key_id, feedback_id, draft, now_ms) for feedback_id, draft in drafts]
    inserted = connection.execute(_INSERT, rows)
    seqs = {row.id: row.seq for row in inserted}
    with _counted(connection, key_id, overridden, now_ms, new=seqs.values()):
        targets.store(connection, key_id, {seqs[feedback_id]: found for feedback_id, found in places.items()})
        _supersede(connection, overridden)
    stored = feedback_rows.of_seqs(connection, seqs.values())
    return [stored[seqs[feedback_id]] for feedback_id, _ in drafts]


def _overridden(connection: Connection, key_id: str, feedback_id: str) -> int:
    try:
        seq: int = feedback_rows.live_row(connection, key_id, feedback_id).seq
    except NotFound as error:
        raise NotFound(
            f"overrides: there is no feedback {feedback_id!r} to override", param="overrides"
        ) from error
    return seq


def _take_back(connection: Connection, key_id: str, wanted: Retraction, now_ms: int) -> Feedback | None:
    """Retract all that fits; the newest of it."""
    given = targets.given_under(key_id, wanted.target.id)
    query = feedback_rows.select_rows().where(
        feedback.c.seq.in_(given), feedback.c.name == wanted.name, IS_LIVE
    )
    if wanted.source_id is not None:
        query = query.where(feedback.c.source_id == wanted.source_id)
    if wanted.value is not UNSET:
        query = query.where(_says(wanted.value))
    rows = connection.execute(query.order_by(feedback.c.created_at_ms, feedback.c.seq)).all()
    if not rows:
        return None
    _retract(connection, key_id, [row.seq for row in rows], now_ms)
    newest = rows[-1].seq
    return feedback_rows.of_seqs(connection, [newest])[newest]


def _says(value: Any) -> ColumnElement[bool]:
    """Whether feedback says this: as its value, or where it has none as its correction or its comment."""
    said = dumps_text(value)
    comment = value if isinstance(value, str) else null()
    words = and_(feedback.c.correction.is_(None), feedback.c.comment == comment)
    return or_(
        feedback.c.value == said,
        and_(feedback.c.value.is_(None), or_(feedback.c.correction == said, words)),
    )


def _retract(connection: Connection, key_id: str, seqs: Sequence[int], now_ms: int) -> None:
    overridden = _overridden_by(connection, key_id, seqs)
    with _counted(connection, key_id, {*seqs, *overridden}, now_ms):
        for some in portions(seqs):
            connection.execute(_RETRACT, {"seqs": some, "at_ms": now_ms})
        _supersede(connection, Counter({seq: -count for seq, count in overridden.items()}))
    if overridden:
        # While it counted for nothing there was no trace to say that it waits for an exchange.
        adopt(connection, key_id, targets.exchanges_named(connection, key_id, overridden))
    for seq in seqs:
        _keep_revision(connection, seq, "retracted", {}, now_ms)


def _overridden_by(connection: Connection, key_id: str, seqs: Sequence[int]) -> Counter[int]:
    """The `seq` of what these pieces of feedback override, and how many of them do."""
    other = feedback.alias()
    overridden: Counter[int] = Counter()
    for some in portions(seqs):
        query = (
            select(other.c.seq)
            .join(feedback, feedback.c.overrides == other.c.id)
            .where(feedback.c.seq.in_(some), other.c.key_id == key_id)
        )
        overridden.update(connection.execute(query).scalars())
    return overridden


def _supersede(connection: Connection, changes: Mapping[int, int]) -> None:
    if changes:
        connection.execute(_SUPERSEDE, [{"which": seq, "more": count} for seq, count in changes.items()])


@contextmanager
def _counted(
    connection: Connection, key_id: str, seqs: Collection[int], now_ms: int, *, new: Collection[int] = ()
) -> Iterator[None]:
    """Whatever the block does to the feedback `seqs`: their traces' figures follow, their hours are stale.

    `new` feedback has no target before the block, and so counts for nothing.
    """
    before = scores.of(connection, seqs)
    yield
    seqs = {*seqs, *new}
    changes = scores.of(connection, seqs)
    changes.subtract(before)
    scores.change(connection, key_id, changes, now_ms)
    feedback_hours.mark_stale(connection, key_id, seqs)


@contextmanager
def _about(item: int) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        error.item = item
        raise


def _changed(stored: Feedback, wanted: FeedbackChange) -> dict[str, Any]:
    """The old values of the fields that `wanted` changes."""
    new = {
        name: value
        for name in ("name", "signal", "value", "weight", "comment", "correction", "source_id")
        if (value := getattr(wanted, name)) is not UNSET
    }
    if wanted.value is not UNSET:
        new["kind"] = new_kind(stored.kind, wanted)
    if wanted.metadata is not UNSET:
        new["metadata"] = _metadata(stored, wanted)
    old = {name: getattr(stored, name) for name in new}
    return {name: old[name] for name in new if dumps_text(old[name]) != dumps_text(new[name])}


def new_kind(stored: Kind, wanted: FeedbackChange) -> Kind:
    """The kind of a changed value: as `wanted` says, else a number stays what kind of number it was."""
    if wanted.kind is not UNSET:
        return wanted.kind
    found = kind_of(wanted.value)
    return stored if found == "number" and stored in ("score", "number") else found


def _metadata(stored: Feedback, wanted: FeedbackChange) -> dict[str, Any] | None:
    if wanted.merge_metadata and isinstance(wanted.metadata, dict):
        return {**(stored.metadata or {}), **wanted.metadata}
    return None if wanted.metadata is UNSET else wanted.metadata


def _columns(stored: Feedback, wanted: FeedbackChange, changed: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: getattr(wanted, name)
        for name in ("name", "signal", "weight", "comment", "source_id")
        if name in changed
    }
    if "kind" in changed or "value" in changed:
        columns |= value_columns(new_kind(stored.kind, wanted), wanted.value)
    if "correction" in changed:
        columns["correction"] = json_column(wanted.correction)
    if "metadata" in changed:
        columns |= metadata_columns(_metadata(stored, wanted))
    return columns


def _keep_revision(connection: Connection, seq: int, action: str, old: dict[str, Any], now_ms: int) -> None:
    revision = {
        "feedback_seq": seq,
        "number": connection.execute(_REVISION, {"which": seq}).scalar_one(),
        "changed_at_ms": now_ms,
        "action": action,
        "fields": dumps_text(old),
    }
    connection.execute(insert(feedback_revision), revision)
