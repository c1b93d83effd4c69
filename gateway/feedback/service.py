"""Feedback as a service: ids and times are given here, the database does the rest in one transaction.

Knows no vendor and no HTTP: bodies are parsed before and answers are written after.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gateway.records import Feedback, FeedbackChange, FeedbackDraft, FeedbackFilter, IdempotencyKey, Page
from gateway.store import feedback as rows
from gateway.store import idempotency
from gateway.store.base import Database

Render = Callable[[Sequence[str]], bytes]
"""The body that answers a create, from the new ids: what a repeated create gets again."""

_SPELLINGS = re.compile(
    r"(?:ann_|a-)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})", re.IGNORECASE
)


def canonical_id(feedback_id: str) -> str:
    """The UUID behind any vendor's spelling of it: plain, `ann_` or `a-` before 32 hex digits.

    What is no such spelling comes back as it was; no feedback has it. Source: wire/README.md, "Ids".
    """
    match = _SPELLINGS.fullmatch(feedback_id)
    return "-".join(match.groups()).lower() if match else feedback_id


class FeedbackService:
    """Create, change, retract and read feedback. Every method raises StoreUnavailable when the store fails.

    `now_ms` is the time in milliseconds since the epoch, `make_id` a new UUID in canonical form.
    """

    def __init__(
        self,
        database: Database,
        *,
        now_ms: Callable[[], int],
        make_id: Callable[[], str],
        idempotency_ttl_s: float,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._make_id = make_id
        self._idempotency_ttl_ms = int(idempotency_ttl_s * 1000)

    async def create(
        self,
        key_id: str,
        drafts: Sequence[FeedbackDraft],
        *,
        render: Render,
        once: IdempotencyKey | None = None,
    ) -> bytes:
        """Store all of `drafts` or none, and return the rendered answer; durable when it returns.

        A `once` that was answered before gets the first answer and nothing is stored. Raises
        IdempotencyConflict when it was sent with another body.
        """
        now_ms = self._now_ms()
        numbered = [(self._make_id(), draft) for draft in drafts]
        answer = render([feedback_id for feedback_id, _ in numbered])

        if once is None:
            await self._database.write(lambda connection: rows.create(connection, key_id, numbered, now_ms))
            return answer
        return await self._database.write(
            lambda connection: idempotency.answer_once(
                connection,
                key_id,
                once,
                answer,
                now_ms=now_ms,
                oldest_ms=now_ms - self._idempotency_ttl_ms,
                work=lambda: rows.create(connection, key_id, numbered, now_ms),
            )
        )

    async def change(self, key_id: str, feedback_id: str, change: FeedbackChange) -> str:
        """Change a piece of feedback in one transaction; returns its id. Raises NotFound."""
        plain_id, now_ms = canonical_id(feedback_id), self._now_ms()
        await self._database.write(
            lambda connection: rows.change(connection, key_id, plain_id, change, now_ms)
        )
        return plain_id

    async def retract(self, key_id: str, feedback_id: str) -> str:
        """Take a piece of feedback back; returns its id. Raises NotFound, also the second time."""
        plain_id, now_ms = canonical_id(feedback_id), self._now_ms()
        await self._database.write(lambda connection: rows.retract(connection, key_id, plain_id, now_ms))
        return plain_id

    async def get(self, key_id: str, feedback_id: str) -> Feedback:
        """Raises NotFound."""
        plain_id = canonical_id(feedback_id)
        return await self._database.read(lambda connection: rows.get(connection, key_id, plain_id))

    async def find(
        self, key_id: str, wanted: FeedbackFilter, *, limit: int, after: str | None
    ) -> Page[Feedback]:
        """A page, newest first. Raises InvalidField when there is no feedback `after`."""
        last = None if after is None else canonical_id(after)
        return await self._database.read(
            lambda connection: rows.find(connection, key_id, wanted, limit=limit, after=last)
        )
