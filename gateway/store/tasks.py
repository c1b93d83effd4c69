"""Feedback tasks: create, revise, archive, get and list. Every function is one transaction's work.

A version is written once and never changed, so an answer can always be read beside the form it was given to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from gateway.errors import InvalidField, NotFound
from gateway.jsonio import dumps_text, loads
from gateway.records import FeedbackTask, Page, Selector
from gateway.records.feedback import Unset
from gateway.records.tasks import TaskChange, TaskDraft
from gateway.store.search import no_such_cursor
from gateway.store.tables import feedback_task, feedback_task_version

IS_OPEN = feedback_task.c.archived_at_ms.is_(None)


def create(connection: Connection, key_id: str, task_id: str, draft: TaskDraft, now_ms: int) -> FeedbackTask:
    """Store `draft` as version 1."""
    connection.execute(
        insert(feedback_task).values(
            id=task_id, key_id=key_id, name=draft.name, version=1, created_at_ms=now_ms, archived_at_ms=None
        )
    )
    _insert_version(connection, task_id, 1, draft, now_ms)
    return get(connection, key_id, task_id)


def revise(
    connection: Connection, key_id: str, task_id: str, change: TaskChange, now_ms: int
) -> FeedbackTask:
    """Change a task: its name in place, anything else as a new version. A change to what is there is none.

    Raises NotFound, and InvalidField when the task is archived.
    """
    task = get(connection, key_id, task_id)
    check_open(task)
    name = task.name if isinstance(change.name, Unset) else change.name
    draft = TaskDraft(
        name=name,
        schema=task.schema if isinstance(change.schema, Unset) else change.schema,
        instruction=task.instruction if isinstance(change.instruction, Unset) else change.instruction,
        selector=task.selector if isinstance(change.selector, Unset) else change.selector,
    )
    version = task.version
    if _form(draft) != _form(task):
        version += 1
        _insert_version(connection, task_id, version, draft, now_ms)
    connection.execute(
        update(feedback_task).where(feedback_task.c.id == task_id).values(name=name, version=version)
    )
    return get(connection, key_id, task_id)


def archive(connection: Connection, key_id: str, task_id: str, now_ms: int) -> FeedbackTask:
    """Close a task to new feedback; archiving it again changes nothing. Raises NotFound."""
    connection.execute(
        update(feedback_task)
        .where(feedback_task.c.key_id == key_id, feedback_task.c.id == task_id, IS_OPEN)
        .values(archived_at_ms=now_ms)
    )
    return get(connection, key_id, task_id)


def get(connection: Connection, key_id: str, task_id: str, version: int | None = None) -> FeedbackTask:
    """A task as it is, or as it was in `version`. Raises NotFound."""
    wanted = feedback_task.c.version if version is None else literal(version)
    row = connection.execute(
        _select(wanted).where(feedback_task.c.key_id == key_id, feedback_task.c.id == task_id)
    ).one_or_none()
    if row is not None:
        return _record(row)
    if version is not None:
        newest = get(connection, key_id, task_id).version
        raise NotFound(
            f"version: feedback task {task_id!r} has no version {version}; the newest is {newest}",
            param="version",
        )
    raise NotFound(
        f"there is no feedback task {task_id!r}; GET /v1/feedback-tasks lists what there is", param="task_id"
    )


def find(
    connection: Connection,
    key_id: str,
    *,
    limit: int,
    after: str | None = None,
    include_archived: bool = False,
) -> Page[FeedbackTask]:
    """A page of `limit` tasks, newest first, from behind the one with the id `after`.

    Raises InvalidField when there is no task `after`.
    """
    query = _listed(key_id, include_archived=include_archived)
    if after is not None:
        query = query.where(_order() < tuple_(*_position(connection, key_id, after)))
    query = query.order_by(feedback_task.c.created_at_ms.desc(), feedback_task.c.seq.desc())
    rows = connection.execute(query.limit(limit + 1)).all()
    return Page(_records(rows[:limit]), has_more=len(rows) > limit)


def oldest(
    connection: Connection, key_id: str, *, offset: int, limit: int, include_archived: bool = False
) -> tuple[tuple[FeedbackTask, ...], int]:
    """`limit` tasks, oldest first, without the first `offset` of them; and how many there are in all."""
    query = _listed(key_id, include_archived=include_archived)
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    query = query.order_by(feedback_task.c.created_at_ms, feedback_task.c.seq)
    rows = connection.execute(query.offset(offset).limit(limit)).all()
    return _records(rows), total


def check_open(task: FeedbackTask) -> None:
    """Raises InvalidField when `task` is archived."""
    if task.archived_at_ms is not None:
        raise InvalidField(
            f"task_id: feedback task {task.id!r} ({task.name}) is archived and takes no more feedback; "
            "create a new task",
            param="task_id",
        )


def _insert_version(
    connection: Connection, task_id: str, version: int, draft: TaskDraft, now_ms: int
) -> None:
    schema, instruction, selector = _form(draft)
    connection.execute(
        insert(feedback_task_version).values(
            task_id=task_id,
            version=version,
            schema=schema,
            instruction=instruction,
            selector=selector,
            created_at_ms=now_ms,
        )
    )


def _form(task: TaskDraft | FeedbackTask) -> tuple[str, str, str]:
    """What makes a version: the columns `schema`, `instruction` and `selector`."""
    selector = {"tags": task.selector.tags, "metadata": dict(task.selector.metadata)}
    return dumps_text(task.schema), task.instruction, dumps_text(selector)


def _select(version: ColumnElement[int]) -> Select[Any]:
    """Tasks, each with one of its versions."""
    form = feedback_task_version.c
    return select(
        feedback_task,
        form.version.label("form_version"),
        form.schema,
        form.instruction,
        form.selector,
        form.created_at_ms.label("form_created_at_ms"),
    ).join(feedback_task_version, and_(form.task_id == feedback_task.c.id, form.version == version))


def _listed(key_id: str, *, include_archived: bool) -> Select[Any]:
    query = _select(feedback_task.c.version).where(feedback_task.c.key_id == key_id)
    return query if include_archived else query.where(IS_OPEN)


def _order() -> ColumnElement[Any]:
    return tuple_(feedback_task.c.created_at_ms, feedback_task.c.seq)


def _position(connection: Connection, key_id: str, task_id: str) -> tuple[Any, Any]:
    row = connection.execute(
        select(feedback_task.c.created_at_ms, feedback_task.c.seq).where(
            feedback_task.c.key_id == key_id, feedback_task.c.id == task_id
        )
    ).one_or_none()
    if row is None:
        raise no_such_cursor(task_id)
    return literal(row.created_at_ms), literal(row.seq)


def _records(rows: Sequence[Row[Any]]) -> tuple[FeedbackTask, ...]:
    return tuple(_record(row) for row in rows)


def _record(row: Row[Any]) -> FeedbackTask:
    selector = loads(row.selector)
    return FeedbackTask(
        id=row.id,
        key_id=row.key_id,
        name=row.name,
        version=row.form_version,
        schema=loads(row.schema),
        instruction=row.instruction,
        selector=Selector(tuple(selector["tags"]), tuple(selector["metadata"].items())),
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.form_created_at_ms if row.form_version > 1 else None,
        archived_at_ms=row.archived_at_ms,
    )
