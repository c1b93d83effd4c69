"""How much the store holds, and how much room that takes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, select

from gateway.store.tables import exchange, feedback, trace


@dataclass(slots=True, frozen=True)
class Volume:
    """Numbers of rows ever numbered, which is more than there are where rows were deleted; bytes on disk.

    `newest_ms` is when the newest exchange began, None without any.
    """

    exchanges: int
    traces: int
    feedback: int
    bytes: int
    newest_ms: int | None


def volume(connection: Connection) -> Volume:
    """Of all keys together. Costs the same however much there is: nothing is counted."""
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    exchanges = _last(connection, exchange.c.seq)
    newest = select(exchange.c.started_at_ms).where(exchange.c.seq == exchanges)
    return Volume(
        exchanges=exchanges,
        traces=_last(connection, trace.c.seq),
        feedback=_last(connection, feedback.c.seq),
        bytes=pages * page_bytes,
        newest_ms=connection.execute(newest).scalar(),
    )


def _last(connection: Connection, seq: ColumnElement[int]) -> int:
    last: int = connection.execute(select(func.coalesce(func.max(seq), 0))).scalar_one()
    return last
