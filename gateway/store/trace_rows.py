"""What a line of the list of traces says beyond the trace itself: figures and words of its exchanges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from gateway.capture import attempts
from gateway.records import TraceSummary
from gateway.store import traces
from gateway.store.tables import exchange, exchange_body

MESSAGE_BYTES = 64 * 1024
"""Of a request, for what its list shows of it."""

_EXCHANGES_LOOKED_AT = 100  # of one trace, for a row of the list
_FALLBACKS_LOOKED_AT = 3


@dataclass(slots=True, frozen=True)
class Detours:
    """How the answers of a trace came where not at once: attempts beyond the first of each exchange, targets
    that were fallen back to, and answers that the cache had. Of the trace's first hundred exchanges.
    """

    retries: int = 0
    fallbacks: tuple[str, ...] = ()
    cached: int = 0


@dataclass(slots=True, frozen=True)
class TraceRow:
    """A trace as the list shows it. The mean latency and the statuses are of its first hundred exchanges.

    `path` and `request` are of its first exchange: the beginning of the body, None where it was not kept.
    """

    summary: TraceSummary
    latency_ms: float | None
    statuses: tuple[int, ...]
    path: str | None
    request: bytes | None
    detours: Detours = Detours()


def rows(connection: Connection, key_id: str, found: Sequence[Row[Any]]) -> tuple[TraceRow, ...]:
    """`found`, rows of `trace`, with what a list shows of their exchanges."""
    summaries = traces.summaries(connection, key_id, found)
    exchanges = _exchanges(connection, key_id, summaries)
    requests = _requests(connection, [each[0].seq for each in exchanges.values()])
    targets = _fallbacks(connection, exchanges.values())
    return tuple(
        _row(summary, exchanges.get(summary.trace_id, ()), requests, targets) for summary in summaries
    )


def _row(
    summary: TraceSummary,
    exchanges: Sequence[Row[Any]],
    requests: Mapping[int, bytes],
    targets: Mapping[int, str],
) -> TraceRow:
    if not exchanges:
        return TraceRow(summary, None, (), None, None)
    mean_ms = sum(each.latency_ms for each in exchanges) / len(exchanges)
    statuses = tuple(sorted({each.status for each in exchanges}))
    detours = Detours(
        retries=sum(max((each.attempt_count or 1) - 1, 0) for each in exchanges),
        fallbacks=tuple(dict.fromkeys(targets[each.seq] for each in exchanges if each.seq in targets)),
        cached=sum(each.cache_status in attempts.FROM_CACHE for each in exchanges),
    )
    return TraceRow(summary, mean_ms, statuses, exchanges[0].path, requests.get(exchanges[0].seq), detours)


def _exchanges(
    connection: Connection, key_id: str, summaries: Iterable[TraceSummary]
) -> dict[str, list[Row[Any]]]:
    """Of each trace its first exchanges, oldest first."""
    columns = (
        "trace_id", "started_at_ms", "seq", "path", "latency_ms", "status", "attempt_count", "cache_status",
    )  # fmt: skip
    query = select(*(exchange.c[name] for name in columns)).where(exchange.c.key_id == key_id)
    short = [each.trace_id for each in summaries if 0 < each.exchange_count <= _EXCHANGES_LOOKED_AT]
    long = [each.trace_id for each in summaries if each.exchange_count > _EXCHANGES_LOOKED_AT]
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    # Sorted here: asked for an order, the database would walk its index by time from end to end.
    for row in sorted(connection.execute(query.where(exchange.c.trace_id.in_(short))), key=_place_in_time):
        found[row.trace_id].append(row)
    for trace_id in long:
        some = query.where(exchange.c.trace_id == trace_id)
        some = some.order_by(exchange.c.started_at_ms, exchange.c.seq).limit(_EXCHANGES_LOOKED_AT)
        found[trace_id] = list(connection.execute(some))
    return found


def _place_in_time(row: Row[Any]) -> tuple[int, int]:
    return row.started_at_ms, row.seq


def _requests(connection: Connection, seqs: Collection[int]) -> dict[int, bytes]:
    head = exchange_body.c.request_head
    query = select(exchange_body.c.exchange_seq, func.substr(head, 1, MESSAGE_BYTES).label("head")).where(
        exchange_body.c.exchange_seq.in_(list(seqs)), exchange_body.c.request_encoding.is_(None)
    )
    return {row.exchange_seq: row.head for row in connection.execute(query) if row.head is not None}


def _fallbacks(connection: Connection, exchanges: Iterable[Sequence[Row[Any]]]) -> dict[int, str]:
    """By the number of an exchange, the target that it fell back to; of each trace the first few."""
    seqs = [
        each.seq
        for of_trace in exchanges
        for each in [each for each in of_trace if (each.attempt_count or 1) > 1][:_FALLBACKS_LOOKED_AT]
    ]
    if not seqs:
        return {}
    query = select(exchange.c.seq, exchange.c.attempts).where(exchange.c.seq.in_(seqs))
    found = {row.seq: attempts.fallback(attempts.read(row.attempts)) for row in connection.execute(query)}
    return {seq: target for seq, target in found.items() if target is not None}
