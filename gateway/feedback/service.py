"""Feedback as a service: ids and times are given here, the database does the rest in one transaction.

Knows no vendor and no HTTP: bodies are parsed before and answers are written after.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from gateway.errors import ClientError
from gateway.records import (
    UNSET,
    Feedback,
    FeedbackChange,
    FeedbackDraft,
    FeedbackFilter,
    IdempotencyKey,
    Page,
    Retraction,
    Revision,
    SelectedTargets,
)
from gateway.store import feedback as rows
from gateway.store import feedback_list, feedback_rows, idempotency, targets
from gateway.store.base import Database

Act = FeedbackDraft | Retraction

Render = Callable[[Sequence[Feedback | None]], bytes]
"""The body that answers what was done, from a result for each act: the new feedback, or the newest that a
Retraction took back, None when it found nothing. Runs on the database's thread: it must not wait."""

Check = Callable[[Feedback], None]
"""Looks at what is stored before it changes, in the same transaction. May raise a GatewayError."""

Validate = Callable[[str, FeedbackDraft], Awaitable[FeedbackDraft]]
"""From a key and a draft with a task to the same draft with the task's name and version. Raises NotFound for
an unknown task and InvalidField for a value that does not fit its schema."""

_SPELLINGS = re.compile(
    r"(?:ann_|a-)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})", re.IGNORECASE
)


def canonical_id(feedback_id: str) -> str:
    """The UUID behind any vendor's spelling of it: plain, `ann_` or `a-` before 32 hex digits.

    What is no such spelling comes back as it was; no feedback has it. Source: docs/wire/README.md, "Ids".
    """
    match = _SPELLINGS.fullmatch(feedback_id)
    return "-".join(match.groups()).lower() if match else feedback_id


class FeedbackService:
    """Give, change, retract and read feedback. Every method raises StoreUnavailable when the store fails.

    `now_ms` is the time in milliseconds since the epoch, `make_id` a new UUID in canonical form; `validate`
    holds feedback for a task to the task's schema. Ids are taken in every vendor's spelling.
    """

    def __init__(
        self,
        database: Database,
        *,
        now_ms: Callable[[], int],
        make_id: Callable[[], str],
        idempotency_ttl_s: float,
        validate: Validate,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._make_id = make_id
        self._idempotency_ttl_ms = int(idempotency_ttl_s * 1000)
        self._validate = validate

    async def apply(
        self, key_id: str, acts: Sequence[Act], *, render: Render, once: IdempotencyKey | None = None
    ) -> bytes:
        """Do all of `acts`, in order, or none, and return the rendered answer; durable when it returns.

        A `once` that was answered before gets the first answer and nothing is done. Raises
        IdempotencyConflict when it was sent with another body, InvalidField and NotFound with the `item` they
        are about.
        """
        now_ms = self._now_ms()
        oldest_ms = now_ms - self._idempotency_ttl_ms
        if once is not None and any(_is_looked_up(act) for act in acts):
            # The task or what a selector fits may have changed since: what was answered stays answered.
            first = await self._database.read(
                lambda connection: idempotency.first_answer(connection, key_id, once, oldest_ms)
            )
            if first is not None:
                return first
        ready = [await self._ready(key_id, item, act) for item, act in enumerate(acts)]

        return await self._database.write(
            lambda connection: idempotency.answer_once(
                connection,
                key_id,
                once,
                now_ms=now_ms,
                oldest_ms=oldest_ms,
                work=lambda: render(rows.apply(connection, key_id, ready, now_ms)),
            )
        )

    async def change(
        self, key_id: str, feedback_id: str, change: FeedbackChange, *, check: Check | None = None
    ) -> Feedback:
        """Change a piece of feedback in one transaction. Raises NotFound, and what `check` raises."""
        plain_id, now_ms = canonical_id(feedback_id), self._now_ms()

        def check_both(stored: Feedback) -> None:
            if check is not None:
                check(stored)
            if stored.task_id is not None and change.value is not UNSET:
                raise _HasTask(stored)

        try:
            return await self._database.write(
                lambda connection: rows.change(connection, key_id, plain_id, change, now_ms, check=check_both)
            )
        except _HasTask as seen:
            version = await self._version(key_id, seen.stored, change)
        return await self._database.write(
            lambda connection: rows.change(
                connection, key_id, plain_id, change, now_ms, check=check, task_version=version
            )
        )

    async def retract(self, key_id: str, feedback_id: str, *, check: Check | None = None) -> Feedback:
        """Take a piece of feedback back. Raises NotFound, also the second time, and what `check` raises."""
        plain_id, now_ms = canonical_id(feedback_id), self._now_ms()
        return await self._database.write(
            lambda connection: rows.retract(connection, key_id, plain_id, now_ms, check=check)
        )

    async def get(self, key_id: str, feedback_id: str) -> Feedback:
        """Raises NotFound, also for what was retracted."""
        plain_id = canonical_id(feedback_id)
        return await self._database.read(lambda connection: feedback_rows.get(connection, key_id, plain_id))

    async def history(self, key_id: str, feedback_id: str) -> tuple[Feedback, tuple[Revision, ...]]:
        """What a piece of feedback is, retracted or not, and what it was, oldest first. Raises NotFound."""
        plain_id = canonical_id(feedback_id)
        return await self._database.read(
            lambda connection: feedback_rows.history(connection, key_id, plain_id)
        )

    async def find(
        self, key_id: str, wanted: FeedbackFilter, *, limit: int, after: str | None
    ) -> Page[Feedback]:
        """A page, newest first. Raises InvalidField when there is no feedback `after`."""
        last = None if after is None else canonical_id(after)
        return await self._database.read(
            lambda connection: feedback_list.find(connection, key_id, wanted, limit=limit, after=last)
        )

    async def oldest(
        self, key_id: str, wanted: FeedbackFilter, *, offset: int, limit: int
    ) -> tuple[tuple[Feedback, ...], int]:
        """`limit` pieces of feedback from number `offset` on, oldest first, and how many there are in all."""
        return await self._database.read(
            lambda connection: feedback_list.oldest(connection, key_id, wanted, offset=offset, limit=limit)
        )

    async def _ready(self, key_id: str, item: int, act: Act) -> rows.Act:
        """The act with an id if it is a draft, which is checked against its task and given its targets."""
        if isinstance(act, Retraction):
            return act
        try:
            if act.task_id is not None:
                act = await self._validate(key_id, act)
            selected = act.targets
            if isinstance(selected, SelectedTargets):
                found = await self._database.read(
                    lambda connection: targets.select_targets(connection, key_id, selected)
                )
                act = replace(act, targets=found)
        except ClientError as error:
            error.item = item
            raise
        if act.overrides is not None:
            act = replace(act, overrides=canonical_id(act.overrides))
        return self._make_id(), act

    async def _version(self, key_id: str, stored: Feedback, change: FeedbackChange) -> int | None:
        """The version of its task that the changed value fits."""
        draft = FeedbackDraft(
            targets=(),
            name=stored.name,
            kind=rows.new_kind(stored.kind, change),
            value=change.value,
            task_id=stored.task_id,
            task_version=stored.task_version,
        )
        return (await self._validate(key_id, draft)).task_version


class _HasTask(Exception):
    """The value must be held to a task's schema before it is changed: nothing was written yet."""

    def __init__(self, stored: Feedback) -> None:
        super().__init__()
        self.stored = stored


def _is_looked_up(act: Act) -> bool:
    return isinstance(act, FeedbackDraft) and (
        act.task_id is not None or isinstance(act.targets, SelectedTargets)
    )
