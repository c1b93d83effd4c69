"""First answers, kept under their Idempotency-Key so that a repeated create gets the same one."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, delete, insert, select, tuple_

from gateway.errors import IdempotencyConflict
from gateway.records import IdempotencyKey
from gateway.store.tables import idempotency

_PRUNE_ROWS = 1_000
_PRIMARY_KEY = (idempotency.c.key_id, idempotency.c.path, idempotency.c.idempotency_key)


def answer_once(
    connection: Connection,
    key_id: str,
    once: IdempotencyKey | None,
    *,
    now_ms: int,
    oldest_ms: int,
    work: Callable[[], bytes],
) -> bytes:
    """Do `work`, keep the body it answers (with status 200) for `once` and return it, in one transaction.

    When `once` was answered at `oldest_ms` or later, return that answer and do nothing. Raises
    IdempotencyConflict when it was for another body. Without a `once` it is just the work.
    """
    if once is None:
        return work()
    first = first_answer(connection, key_id, once, oldest_ms)
    if first is not None:
        return first
    answer = work()
    _forget(connection, oldest_ms)
    connection.execute(delete(idempotency).where(*_is(key_id, once)))  # an expired one may be left
    connection.execute(
        insert(idempotency).values(
            key_id=key_id,
            path=once.path,
            idempotency_key=once.key,
            body_sha256=once.body_sha256,
            status=200,
            response=answer,
            created_at_ms=now_ms,
        )
    )
    return answer


def first_answer(connection: Connection, key_id: str, once: IdempotencyKey, oldest_ms: int) -> bytes | None:
    """What `once` was answered at `oldest_ms` or later. Raises IdempotencyConflict for another body."""
    query = select(idempotency.c.body_sha256, idempotency.c.response).where(
        *_is(key_id, once), idempotency.c.created_at_ms >= oldest_ms
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    if found.body_sha256 != once.body_sha256:
        raise IdempotencyConflict(
            f"Idempotency-Key {once.key!r} was used before with another body; "
            "send the first body again or use a new key",
            param="Idempotency-Key",
        )
    response: bytes = found.response
    return response


def _forget(connection: Connection, oldest_ms: int) -> None:
    """Bounded, so that a first create after a quiet month is not the one that clears up all of it."""
    expired = select(*_PRIMARY_KEY).where(idempotency.c.created_at_ms < oldest_ms).limit(_PRUNE_ROWS)
    connection.execute(delete(idempotency).where(tuple_(*_PRIMARY_KEY).in_(expired)))


def _is(key_id: str, once: IdempotencyKey) -> tuple[ColumnElement[bool], ...]:
    return (
        idempotency.c.key_id == key_id,
        idempotency.c.path == once.path,
        idempotency.c.idempotency_key == once.key,
    )
