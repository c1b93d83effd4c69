"""The attempts of an exchange: as they are stored, and as people read them. No clock and no database.

Names of targets and models may come from a client's own plan, so their length is bounded here. What is shown
of them is text like any other that somebody else wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.jsonio import JSON, dumps_text, loads
from gateway.records import Attempt, ExchangeRow

KEPT_FIRST = 50
KEPT_LAST = 50
"""Of more attempts than both together, those between are counted and not kept."""

MAX_LABEL_CHARS = 200
CACHE_STATUSES = ("hit", "miss", "refresh", "shared")
FROM_CACHE = ("hit", "shared")
"""What `cache_status` is where the answer cost no call of its own."""

_FIRST_OF_OUR_STATUSES = 499
"""An upstream's failure, the end of the client or our own: from here on a status with an error is ours."""


class Made(NamedTuple):
    """An attempt with its place among all of its exchange, from 1."""

    number: int
    attempt: Attempt


def stored(attempts: Sequence[Attempt]) -> str | None:
    """As JSON, without members that are None; None where there is nothing to say beyond the row itself."""
    if not attempts:
        return None
    kept = attempts
    if len(attempts) > KEPT_FIRST + KEPT_LAST:
        kept = [*attempts[:KEPT_FIRST], *attempts[-KEPT_LAST:]]
    try:
        return dumps_text([_members(attempt) for attempt in kept])
    except TypeError:  # text that is no Unicode cannot be stored
        return None


def count(row: ExchangeRow) -> int:
    """How many attempts were made, those that were not kept included."""
    return len(made(row)) if row.attempt_count is None else row.attempt_count


def made(row: ExchangeRow) -> tuple[Made, ...]:
    """The attempts of an exchange, oldest first: those kept, or the one that the row itself describes.

    There is none where no upstream was asked: the request was refused, or the cache had the answer.
    """
    kept = read(row.attempts)
    if kept:
        missing = max(len(kept), row.attempt_count or 0) - len(kept)
        return tuple(
            Made(place + (missing if place > KEPT_FIRST else 0), attempt)
            for place, attempt in enumerate(kept, 1)
        )
    if row.upstream is None or row.cache_status in FROM_CACHE or _was_refused(row):
        return ()
    return (Made(1, _only(row)),)


def read(text: str | None) -> list[Attempt]:
    """What `stored` wrote."""
    return [_attempt(members) for members in loads(text)] if text else []


def fallback(attempts: Sequence[Attempt]) -> str | None:
    """The target that the last attempt was made at, where the first was made at another."""
    if not attempts or attempts[-1].target == attempts[0].target:
        return None
    return attempts[-1].target


def _only(row: ExchangeRow) -> Attempt:
    started_ms = min(row.queue_ms or 0.0, row.latency_ms)
    answered_ms = row.latency_ms if row.first_byte_ms is None else min(row.first_byte_ms, row.latency_ms)
    return Attempt(
        target=row.target or row.upstream or "",
        upstream=row.upstream or "",
        model=None,
        status=row.status if _has_answered(row) else None,
        error_kind=row.error_kind,
        started_ms=started_ms,
        latency_ms=max(answered_ms - started_ms, 0.0),
    )


def _was_refused(row: ExchangeRow) -> bool:
    """Whether it was our own error that ended it, before anything was sent to the upstream."""
    return (
        row.error_kind is not None
        and row.queue_ms is None
        and row.first_byte_ms is None
        and row.status < _FIRST_OF_OUR_STATUSES
    )


def _has_answered(row: ExchangeRow) -> bool:
    """Whether the status is the upstream's: where an answer never came, the row has the one that we gave."""
    return row.error_kind is None or (row.first_byte_ms is not None and row.status < _FIRST_OF_OUR_STATUSES)


def _members(attempt: Attempt) -> dict[str, JSON]:
    members = attempt._asdict()
    for name in ("target", "upstream", "model"):
        members[name] = members[name] and members[name][:MAX_LABEL_CHARS]
    for name in ("started_ms", "latency_ms"):
        members[name] = round(members[name], 3)
    return {name: value for name, value in members.items() if value is not None}


def _attempt(members: dict[str, JSON]) -> Attempt:
    return Attempt(
        target=members["target"],
        upstream=members["upstream"],
        model=members.get("model"),
        status=members.get("status"),
        error_kind=members.get("error_kind"),
        started_ms=members["started_ms"],
        latency_ms=members["latency_ms"],
        key=members.get("key"),
    )
