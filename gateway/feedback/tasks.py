"""Feedback tasks as a service: forms with a schema, the check of answers against it, and the inbox.

Knows no vendor and no HTTP. What a schema may be is decided in `gateway.feedback.schemas`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from gateway.errors import InvalidField
from gateway.feedback.schemas import Schemas, check_schema
from gateway.records import UNSET, FeedbackDraft, FeedbackTask, IdempotencyKey, Page, Selector, Unset
from gateway.records.tasks import Claim, InboxItem, TaskChange, TaskDraft
from gateway.store import idempotency, inbox
from gateway.store import tasks as rows
from gateway.store.base import Database
from gateway.store.ungraded import NOTHING_KNOWN, Known

MAX_NAME_CHARS = 250
MAX_INSTRUCTION_CHARS = 16_384
MAX_TAGS = 50
MAX_TAG_CHARS = 256
MAX_METADATA_PAIRS = 10

_MAX_KNOWN_INBOXES = 100
_SPARE_CANDIDATES = 20  # of a claim, for those that other reviewers take meanwhile

Render = Callable[[FeedbackTask], bytes]
"""The body that answers a create: what a repeated create gets again."""


class TaskService:
    """Create, change and read tasks, and hand out what waits to be graded.

    Every method raises StoreUnavailable when the store fails, and NotFound for a task that does not exist.
    `now_ms` is the time in milliseconds since the epoch, `make_id` a new UUID in canonical form.
    """

    def __init__(
        self,
        database: Database,
        *,
        now_ms: Callable[[], int],
        make_id: Callable[[], str],
        idempotency_ttl_s: float = 86_400,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._make_id = make_id
        self._idempotency_ttl_ms = int(idempotency_ttl_s * 1000)
        self._schemas = Schemas()
        self._known = _KnownInboxes()

    async def create(
        self, key_id: str, draft: TaskDraft, *, render: Render, once: IdempotencyKey | None = None
    ) -> bytes:
        """Store a task and return the rendered answer; durable when it returns.

        A `once` that was answered before gets the first answer and nothing is stored. Raises InvalidField,
        also for a bad schema, and IdempotencyConflict.
        """
        draft = _checked_draft(draft)
        task_id, now_ms = self._make_id(), self._now_ms()
        return await self._database.write(
            lambda connection: idempotency.answer_once(
                connection,
                key_id,
                once,
                now_ms=now_ms,
                oldest_ms=now_ms - self._idempotency_ttl_ms,
                work=lambda: render(rows.create(connection, key_id, task_id, draft, now_ms)),
            )
        )

    async def revise(self, key_id: str, task_id: str, change: TaskChange) -> FeedbackTask:
        """Change a task: a new version, unless only its name changes. Raises InvalidField."""
        change = _checked_change(change)
        now_ms = self._now_ms()
        return await self._database.write(
            lambda connection: rows.revise(connection, key_id, task_id, change, now_ms)
        )

    async def archive(self, key_id: str, task_id: str) -> FeedbackTask:
        """Close a task to new feedback. Doing it again changes nothing."""
        now_ms = self._now_ms()
        return await self._database.write(
            lambda connection: rows.archive(connection, key_id, task_id, now_ms)
        )

    async def get(self, key_id: str, task_id: str, *, version: int | None = None) -> FeedbackTask:
        """A task as it is now, or with the schema, instruction and selector of an older version."""
        return await self._database.read(lambda connection: rows.get(connection, key_id, task_id, version))

    async def find(
        self, key_id: str, *, limit: int, after: str | None = None, include_archived: bool = False
    ) -> Page[FeedbackTask]:
        """A page, newest first. Raises InvalidField when there is no task `after`."""
        return await self._database.read(
            lambda connection: rows.find(
                connection, key_id, limit=limit, after=after, include_archived=include_archived
            )
        )

    async def page_by_offset(
        self, key_id: str, *, offset: int, limit: int, include_archived: bool = False
    ) -> tuple[tuple[FeedbackTask, ...], int]:
        """Oldest first from behind the first `offset`, and how many tasks there are in all."""
        return await self._database.read(
            lambda connection: rows.oldest(
                connection, key_id, offset=offset, limit=limit, include_archived=include_archived
            )
        )

    async def validated(self, key_id: str, draft: FeedbackDraft) -> FeedbackDraft:
        """`draft` with its task's name and newest version, once its value fits that version's schema.

        A draft without a task comes back as it is. Raises UnfitValue for a value that does not fit,
        InvalidField for an archived task.
        """
        if draft.task_id is None:
            return draft
        task = await self.get(key_id, draft.task_id)
        rows.check_open(task)
        self._schemas.check_value(task, draft.value)
        return replace(draft, name=task.name, task_version=task.version)

    async def inbox(
        self, key_id: str, task_id: str, *, limit: int, after: str | None = None, reviewer: str | None = None
    ) -> Page[InboxItem]:
        """Exchanges of the task's selector that nobody has graded, oldest first, from behind the id `after`.

        With `reviewer`, those that somebody else has claimed are left out. Raises InvalidField when there is
        no exchange `after`.
        """
        known, now_ms = self._known.of(task_id), self._now_ms()
        page, known = await self._database.read(
            lambda connection: inbox.find(
                connection,
                key_id,
                task_id,
                known=known,
                now_ms=now_ms,
                limit=limit,
                after=after,
                reviewer=reviewer,
            )
        )
        self._known.keep(task_id, known)
        return page

    async def claim(
        self, key_id: str, task_id: str, *, reviewer: str, limit: int = 1, seconds: int = 600
    ) -> Page[InboxItem]:
        """Claim the oldest exchanges of the inbox that are free: at most `limit`, nobody else gets them.

        `has_more` is whether free ones may be left. Raises InvalidField for an archived task.
        """
        now_ms = self._now_ms()
        claim = Claim(reviewer, now_ms + seconds * 1000)
        taken: list[InboxItem] = []
        page: Page[InboxItem] = Page((), has_more=True)
        has_more = True
        # Looking is the slow part, so it is done on a snapshot; only the taking waits for the write lock.
        while len(taken) < limit and page.has_more:
            page = await self._free(key_id, task_id, limit - len(taken), now_ms, after=_last_id(page))
            new = await self._take(key_id, task_id, page, claim, limit - len(taken))
            has_more = page.has_more or len(new) < len(page.items)
            taken += new
        return Page(tuple(taken), has_more=has_more)

    async def _free(
        self, key_id: str, task_id: str, wanted: int, now_ms: int, *, after: str | None
    ) -> Page[InboxItem]:
        known, limit = self._known.of(task_id), wanted + _SPARE_CANDIDATES
        page, known = await self._database.read(
            lambda connection: inbox.free(
                connection, key_id, task_id, known=known, now_ms=now_ms, limit=limit, after=after
            )
        )
        self._known.keep(task_id, known)
        return page

    async def _take(
        self, key_id: str, task_id: str, page: Page[InboxItem], claim: Claim, limit: int
    ) -> list[InboxItem]:
        if not page.items:
            return []
        candidates, now_ms = {item.log.row.id: item.log for item in page.items}, self._now_ms()
        taken = await self._database.write(
            lambda connection: inbox.claim(
                connection, key_id, task_id, list(candidates), claim=claim, now_ms=now_ms, limit=limit
            )
        )
        return [InboxItem(candidates[exchange_id], claim) for exchange_id in taken]

    async def release(
        self, key_id: str, task_id: str, *, reviewer: str, exchange_id: str | None = None
    ) -> int:
        """Give back what `reviewer` claimed, or only one exchange of it; how many those were."""
        now_ms = self._now_ms()
        return await self._database.write(
            lambda connection: inbox.release(connection, key_id, task_id, reviewer, exchange_id, now_ms)
        )


class _KnownInboxes:
    """What the last looks at inboxes found, so that the next ones begin there; the last used are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Known] = OrderedDict()

    def of(self, task_id: str) -> Known:
        return self._kept.get(task_id, NOTHING_KNOWN)

    def keep(self, task_id: str, known: Known) -> None:
        self._kept.pop(task_id, None)
        self._kept[task_id] = known
        if len(self._kept) > _MAX_KNOWN_INBOXES:
            self._kept.popitem(last=False)


def _last_id(page: Page[InboxItem]) -> str | None:
    return page.items[-1].log.row.id if page.items else None


def _checked_draft(draft: TaskDraft) -> TaskDraft:
    check_schema(draft.schema)
    return replace(
        draft,
        name=_checked_name(draft.name),
        instruction=_checked_instruction(draft.instruction),
        selector=_checked_selector(draft.selector),
    )


def _checked_change(change: TaskChange) -> TaskChange:
    if change == TaskChange():
        raise InvalidField("nothing to change; give a name, a schema, an instruction or a selector")
    if change.schema is not UNSET:
        check_schema(change.schema)
    return replace(
        change,
        name=change.name if isinstance(change.name, Unset) else _checked_name(change.name),
        instruction=(
            change.instruction
            if isinstance(change.instruction, Unset)
            else _checked_instruction(change.instruction)
        ),
        selector=(
            change.selector if isinstance(change.selector, Unset) else _checked_selector(change.selector)
        ),
    )


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        raise InvalidField(
            f"name: has {len(name)} characters, it needs 1 to {MAX_NAME_CHARS}; say what is asked",
            param="name",
        )
    return name.strip()


def _checked_instruction(instruction: str) -> str:
    if len(instruction) > MAX_INSTRUCTION_CHARS:
        raise InvalidField(
            f"instruction: has {len(instruction)} characters, the limit is {MAX_INSTRUCTION_CHARS}",
            param="instruction",
        )
    return instruction


def _checked_selector(selector: Selector) -> Selector:
    """Tags as exchanges have them: trimmed, each once."""
    tags = tuple(dict.fromkeys(tag.strip() for tag in selector.tags))
    for index, tag in enumerate(selector.tags):
        if not tag.strip() or len(tag) > MAX_TAG_CHARS:
            raise InvalidField(
                f"selector.tags[{index}]: has {len(tag)} characters, a tag has 1 to {MAX_TAG_CHARS}",
                param="selector.tags",
            )
    for name, count, most in (
        ("tags", len(selector.tags), MAX_TAGS),
        ("metadata", len(selector.metadata), MAX_METADATA_PAIRS),
    ):
        if count > most:
            raise InvalidField(
                f"selector.{name}: has {count} entries, the limit is {most}; narrow it",
                param=f"selector.{name}",
            )
    return replace(selector, tags=tags)
