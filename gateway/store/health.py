"""How each upstream has done lately, by what was recorded of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.store.logs import FAILED
from gateway.store.tables import exchange

LOOKED_AT = 2_000
"""The newest exchanges, of all upstreams together."""


@dataclass(slots=True, frozen=True)
class UpstreamHealth:
    """Of the exchanges looked at: how many there were, how many failed, and their times.

    `last_error` is the newest of those that failed, `last_ms` when the newest exchange began.
    """

    count: int
    failed: int
    median_ms: float
    p95_ms: float
    last_ms: int
    last_error: str | None
    last_error_ms: int | None


def upstreams(connection: Connection, key_id: str, *, since_ms: int) -> dict[str, UpstreamHealth]:
    """Of the exchanges since then, but no more than the newest LOOKED_AT."""
    columns = (
        exchange.c.upstream, exchange.c.latency_ms, exchange.c.status, exchange.c.error_kind,
        exchange.c.started_at_ms, FAILED.label("failed"),
    )  # fmt: skip
    query = select(*columns).where(exchange.c.key_id == key_id, exchange.c.started_at_ms >= since_ms)
    query = query.order_by(exchange.c.started_at_ms.desc(), exchange.c.seq.desc()).limit(LOOKED_AT)
    found = defaultdict(list)
    for row in connection.execute(query):
        if row.upstream is not None:
            found[row.upstream].append(row)
    health = {}
    for name, rows in found.items():
        times = sorted(row.latency_ms for row in rows)
        failed = [row for row in rows if row.failed]
        last = failed[0] if failed else None
        health[name] = UpstreamHealth(
            count=len(rows),
            failed=len(failed),
            median_ms=times[len(times) // 2],
            p95_ms=times[min(len(times) * 95 // 100, len(times) - 1)],
            last_ms=rows[0].started_at_ms,
            last_error=None if last is None else last.error_kind or f"status {last.status}",
            last_error_ms=None if last is None else last.started_at_ms,
        )
    return health
