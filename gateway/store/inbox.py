"""The inbox of a feedback task: the exchanges that nobody has graded, and who is at work on which of them.

What counts as graded is in `ungraded`. A claim that has run out is as good as none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from sqlalchemy import Connection, delete, insert, select

from gateway.records import ExchangeRow, FeedbackTask, Page
from gateway.records.tasks import Claim, InboxItem
from gateway.store import logs, tasks
from gateway.store.search import no_such_cursor, unindexed
from gateway.store.tables import exchange, inbox_claim
from gateway.store.ungraded import Known, Walk, graded

_COLUMNS = [exchange.c[name] for name in ExchangeRow._fields]

Shows = Callable[[Claim | None], bool]
"""Whether an exchange with this claim is wanted."""


def find(
    connection: Connection,
    key_id: str,
    task_id: str,
    *,
    known: Known,
    now_ms: int,
    limit: int,
    after: str | None = None,
    reviewer: str | None = None,
) -> tuple[Page[InboxItem], Known]:
    """A page, oldest first, from behind the exchange `after`; with `reviewer`, without what others claimed.

    Raises NotFound, and InvalidField when there is no exchange `after`.
    """
    task = tasks.get(connection, key_id, task_id)

    def shows(claim: Claim | None) -> bool:
        return reviewer is None or claim is None or claim.by == reviewer

    return _page(connection, task, shows, known=known, now_ms=now_ms, limit=limit, after=after)


def free(
    connection: Connection,
    key_id: str,
    task_id: str,
    *,
    known: Known,
    now_ms: int,
    limit: int,
    after: str | None = None,
) -> tuple[Page[InboxItem], Known]:
    """A page of what nobody has claimed. Raises NotFound, and InvalidField when the task is archived."""
    task = tasks.get(connection, key_id, task_id)
    tasks.check_open(task)
    return _page(
        connection, task, lambda claim: claim is None, known=known, now_ms=now_ms, limit=limit, after=after
    )


def claim(
    connection: Connection,
    key_id: str,
    task_id: str,
    exchange_ids: Sequence[str],
    *,
    claim: Claim,
    now_ms: int,
    limit: int,
) -> list[str]:
    """Claim the first `limit` of `exchange_ids` that are free and ungraded still; those that were.

    Claims that have run out are forgotten. Raises NotFound, and InvalidField when the task is archived.
    """
    task = tasks.get(connection, key_id, task_id)
    tasks.check_open(task)
    connection.execute(
        delete(inbox_claim).where(inbox_claim.c.task_id == task_id, inbox_claim.c.until_ms <= now_ms)
    )
    query = select(exchange.c.id).where(
        exchange.c.id.in_(exchange_ids), unindexed(exchange.c.key_id) == key_id, ~graded(task)
    )
    wanted = set(connection.execute(query).scalars()) - _claims(connection, task_id, now_ms).keys()
    taken = [exchange_id for exchange_id in exchange_ids if exchange_id in wanted][:limit]
    rows = [
        {"task_id": task_id, "exchange_id": exchange_id, "claimed_by": claim.by, "until_ms": claim.until_ms}
        for exchange_id in taken
    ]
    if rows:
        connection.execute(insert(inbox_claim), rows)
    return taken


def release(
    connection: Connection, key_id: str, task_id: str, reviewer: str, exchange_id: str | None, now_ms: int
) -> int:
    """Forget what `reviewer` claimed, or only `exchange_id` of it; how many live claims those were.

    Raises NotFound.
    """
    tasks.get(connection, key_id, task_id)
    theirs = [
        inbox_claim.c.task_id == task_id,
        inbox_claim.c.claimed_by == reviewer,
        inbox_claim.c.until_ms > now_ms,
    ]
    if exchange_id is not None:
        theirs.append(inbox_claim.c.exchange_id == exchange_id)
    return connection.execute(delete(inbox_claim).where(*theirs)).rowcount


def _page(
    connection: Connection,
    task: FeedbackTask,
    shows: Shows,
    *,
    known: Known,
    now_ms: int,
    limit: int,
    after: str | None,
) -> tuple[Page[InboxItem], Known]:
    after_seq = 0 if after is None else _seq(connection, task.key_id, after)
    claims = _claims(connection, task.id, now_ms)
    walk = Walk(connection, task, known)
    wanted = (one.seq for one in walk.behind(after_seq) if shows(claims.get(one.exchange_id)))
    seqs = list(islice(wanted, limit + 1))
    items = _items(connection, task.key_id, seqs[:limit], claims)
    return Page(items, has_more=len(seqs) > limit), walk.known


def _items(
    connection: Connection, key_id: str, seqs: Sequence[int], claims: Mapping[str, Claim]
) -> tuple[InboxItem, ...]:
    query = select(*_COLUMNS).where(exchange.c.seq.in_(seqs)).order_by(exchange.c.seq)
    rows = [ExchangeRow(*row) for row in connection.execute(query)]
    return tuple(
        InboxItem(log, claims.get(log.row.id)) for log in logs.with_feedback(connection, key_id, rows)
    )


def _seq(connection: Connection, key_id: str, exchange_id: str) -> int:
    query = select(exchange.c.seq).where(exchange.c.id == exchange_id, exchange.c.key_id == key_id)
    seq: int | None = connection.execute(query).scalar_one_or_none()
    if seq is None:
        raise no_such_cursor(exchange_id)
    return seq


def _claims(connection: Connection, task_id: str, now_ms: int) -> dict[str, Claim]:
    """The claims that hold, by the exchange's id."""
    query = select(inbox_claim.c.exchange_id, inbox_claim.c.claimed_by, inbox_claim.c.until_ms).where(
        inbox_claim.c.task_id == task_id, inbox_claim.c.until_ms > now_ms
    )
    return {row.exchange_id: Claim(row.claimed_by, row.until_ms) for row in connection.execute(query)}
