"""Feedback between records and rows: what goes into its columns, and the record that comes out of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, or_, select

from gateway.capture.metadata import special_keys
from gateway.errors import NotFound
from gateway.jsonio import dumps_text, loads
from gateway.records import Feedback, FeedbackDraft, Kind, Revision, Target
from gateway.store.search import SPECIAL_COLUMNS, any_of, portions
from gateway.store.tables import exchange, feedback, feedback_revision, feedback_target, trace

MAX_LABEL_CHARS = 256
IS_LIVE = feedback.c.retracted_at_ms.is_(None)


def _select_targets() -> Select[Any]:
    target = feedback_target.c
    matched = or_(exchange.c.seq.is_not(None), and_(target.exchange_id == "", trace.c.exchange_count > 0))
    return (
        select(target.feedback_seq, target.trace_id, target.exchange_id, matched.label("matched"))
        .select_from(feedback_target)
        .outerjoin(exchange, and_(exchange.c.id == target.exchange_id, exchange.c.key_id == target.key_id))
        .outerjoin(trace, and_(trace.c.key_id == target.key_id, trace.c.trace_id == target.trace_id))
        .where(any_of(target.feedback_seq, "seqs"))
        .order_by(target.feedback_seq, target.key_id, target.trace_id, target.exchange_id)  # as indexed
    )


_ROWS = select(feedback)
_ROWS_OF_SEQS = _ROWS.where(any_of(feedback.c.seq, "seqs"))
_ROW = _ROWS.where(feedback.c.id == bindparam("which"), feedback.c.key_id == bindparam("key"))
_TARGETS = _select_targets()


def new_row(key_id: str, feedback_id: str, draft: FeedbackDraft, now_ms: int) -> dict[str, Any]:
    return {
        "id": feedback_id,
        "key_id": key_id,
        "name": draft.name,
        "signal": draft.signal,
        **value_columns(draft.kind, draft.value),
        "weight": draft.weight,
        "comment": draft.comment,
        "correction": json_column(draft.correction),
        "source_type": draft.source_type,
        "source_id": draft.source_id,
        "task_id": draft.task_id,
        "task_version": draft.task_version,
        "overrides": draft.overrides,
        "superseded": 0,
        **metadata_columns(draft.metadata),
        "created_at_ms": now_ms if draft.created_at_ms is None else draft.created_at_ms,
    }


def value_columns(kind: Kind, value: Any) -> dict[str, Any]:
    """The value as JSON, and as the number or the label that lists find it by."""
    number: float | None = None
    label: str | None = None
    if kind in ("score", "number"):
        number = float(value)
    elif kind == "boolean":
        number, label = float(value), dumps_text(value)
    elif kind == "text" and len(value) <= MAX_LABEL_CHARS:
        label = value
    return {"kind": kind, "value": json_column(value), "number": number, "label": label}


def metadata_columns(metadata: dict[str, Any] | None) -> dict[str, str | None]:
    special = special_keys(metadata)
    return {
        "metadata": json_column(metadata),
        **{column: getattr(special, name) for name, column in SPECIAL_COLUMNS.items()},
    }


def json_column(value: Any) -> str | None:
    return None if value is None else dumps_text(value)


def select_rows() -> Select[Any]:
    return _ROWS


def records(connection: Connection, rows: Collection[Row[Any]]) -> list[Feedback]:
    """The records of `rows` of `select_rows`, in their order."""
    targets = _targets(connection, [row.seq for row in rows])
    return [
        Feedback(
            id=row.id,
            key_id=row.key_id,
            targets=tuple(targets.get(row.seq, ())),
            name=row.name,
            kind=row.kind,
            signal=row.signal,
            value=_loaded(row.value),
            weight=row.weight,
            comment=row.comment,
            correction=_loaded(row.correction),
            source_type=row.source_type,
            source_id=row.source_id,
            task_id=row.task_id,
            task_version=row.task_version,
            metadata=_loaded(row.metadata),
            overrides=row.overrides,
            superseded=row.superseded > 0,
            created_at_ms=row.created_at_ms,
            updated_at_ms=row.updated_at_ms,
            retracted_at_ms=row.retracted_at_ms,
        )
        for row in rows
    ]


def of_seqs(connection: Connection, seqs: Iterable[int]) -> dict[int, Feedback]:
    found: dict[int, Feedback] = {}
    for some in portions(seqs):
        rows = connection.execute(_ROWS_OF_SEQS, {"seqs": some}).all()
        found.update(zip([row.seq for row in rows], records(connection, rows), strict=True))
    return found


def get(connection: Connection, key_id: str, feedback_id: str) -> Feedback:
    """One piece of feedback. Raises NotFound, also when it was retracted."""
    return records(connection, [live_row(connection, key_id, feedback_id)])[0]


def history(connection: Connection, key_id: str, feedback_id: str) -> tuple[Feedback, tuple[Revision, ...]]:
    """One piece of feedback, retracted or not, and what it was before, oldest first. Raises NotFound."""
    row = find_row(connection, key_id, feedback_id)
    if row is None:
        raise _not_found(feedback_id)
    query = select(feedback_revision).where(feedback_revision.c.feedback_seq == row.seq)
    revisions = tuple(
        Revision(found.number, found.changed_at_ms, found.action, loads(found.fields))
        for found in connection.execute(query.order_by(feedback_revision.c.number))
    )
    return records(connection, [row])[0], revisions


def live_row(connection: Connection, key_id: str, feedback_id: str) -> Row[Any]:
    """Raises NotFound, also when it was retracted."""
    row = find_row(connection, key_id, feedback_id)
    if row is None or row.retracted_at_ms is not None:
        raise _not_found(feedback_id)
    return row


def find_row(connection: Connection, key_id: str, feedback_id: str) -> Row[Any] | None:
    return connection.execute(_ROW, {"key": key_id, "which": feedback_id}).one_or_none()


def _not_found(feedback_id: str) -> NotFound:
    return NotFound(f"there is no feedback {feedback_id!r}; GET /v1/feedback lists what there is")


def _targets(connection: Connection, seqs: Iterable[int]) -> dict[int, list[Target]]:
    """What each piece of feedback is about: traces in order, the whole of one before its exchanges."""
    found: dict[int, list[Target]] = defaultdict(list)
    for some in portions(seqs):
        for row in connection.execute(_TARGETS, {"seqs": some}):
            found[row.feedback_seq].append(Target(row.trace_id, row.exchange_id or None, bool(row.matched)))
    return found


def _loaded(text: str | None) -> Any:
    return None if text is None else loads(text)
