"""Kept answers, written and removed: the statements behind `gateway.store.cache`, which decides when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from gateway.jsonio import dumps_text
from gateway.records import KeptAnswer
from gateway.store.tables import cached_answer as answer
from gateway.store.tables import cached_answer_total as total

MAX_REMOVED_ROWS = 500
"""Removed in one transaction: exchanges wait meanwhile."""


class Written(NamedTuple):
    """What one transaction did. `size_bytes` is what all kept answers take after it."""

    size_bytes: int
    removed: int
    is_over: bool
    """Whether there is still more to remove."""


def has_answers(connection: Connection) -> bool:
    return connection.execute(select(answer.c.seq).limit(1)).first() is not None


def write(
    connection: Connection,
    batch: dict[bytes, KeptAnswer],
    touched: Sequence[bytes],
    *,
    now_ms: int,
    max_bytes: int,
) -> Written:
    """Keep `batch`, note the use of `touched`, and remove what expired or is too much. Run it in `write`.

    The total is kept in the same transaction, so that no process has to add up all rows to know it.
    """
    size = _total(connection)
    if touched:
        connection.execute(update(answer).where(answer.c.key.in_(touched)).values(used_at_ms=now_ms))
    if batch:
        replaced = delete(answer).where(answer.c.key.in_(list(batch))).returning(answer.c.size_bytes)
        size -= sum(connection.execute(replaced).scalars())
        connection.execute(insert(answer), [_row(key, kept, now_ms) for key, kept in batch.items()])
        size += sum(kept.size_bytes for kept in batch.values())
    expired = _oldest(connection, answer.c.expires_at_ms, answer.c.expires_at_ms <= now_ms)
    left = size - sum(freed for _, freed in expired)
    removed = [*expired, *_unused(connection, now_ms, left - max_bytes)]
    connection.execute(delete(answer).where(answer.c.seq.in_([seq for seq, _ in removed])))
    size -= sum(freed for _, freed in removed)
    stored = upsert(total).values(id=1, size_bytes=size)
    connection.execute(stored.on_conflict_do_update(index_elements=[total.c.id], set_={"size_bytes": size}))
    is_over = size > max_bytes or len(expired) == MAX_REMOVED_ROWS
    return Written(size, len(removed), is_over)


def _row(key: bytes, kept: KeptAnswer, now_ms: int) -> dict[str, Any]:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept.headers]
    return {
        "key": key,
        "created_at_ms": kept.created_at_ms,
        "expires_at_ms": kept.expires_at_ms,
        "used_at_ms": now_ms,
        "size_bytes": kept.size_bytes,
        "headers": dumps_text(headers),
        "body": kept.body,
    }


def _total(connection: Connection) -> int:
    known = connection.execute(select(total.c.size_bytes)).scalar()
    if known is not None:
        return int(known)
    return int(connection.execute(select(func.coalesce(func.sum(answer.c.size_bytes), 0))).scalar_one())


Removed = list[tuple[int, int]]
"""`seq` and size of rows."""


def _oldest(connection: Connection, by: Any, *where: Any) -> Removed:
    query = select(answer.c.seq, answer.c.size_bytes).where(*where).order_by(by, answer.c.seq)
    return [(row.seq, row.size_bytes) for row in connection.execute(query.limit(MAX_REMOVED_ROWS))]


def _unused(connection: Connection, now_ms: int, excess: int) -> Removed:
    """Of those that have not expired, as many as have to go: those unused for longest."""
    going: Removed = []
    if excess <= 0:
        return going
    for seq, freed in _oldest(connection, answer.c.used_at_ms, answer.c.expires_at_ms > now_ms):
        if excess <= 0:
            break
        going.append((seq, freed))
        excess -= freed
    return going
