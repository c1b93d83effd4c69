"""log10: feedback tasks with a JSON Schema, and feedback that fits one for all exchanges with given tags.

Only what its client and command line send and read; source of every rule: docs/wire/log10.md. Schemas are
checked and exchanges found elsewhere. Completions, `--filter` and predictions do not exist here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.compat.fields import MAX_ID_CHARS, BadField, Fields, read_object
from gateway.errors import ClientError, GatewayError, InvalidField
from gateway.feedback.item import MAX_METADATA_BYTES
from gateway.feedback.schema_cost import BadSchema
from gateway.feedback.schemas import UnfitValue
from gateway.feedback.service import FeedbackService
from gateway.feedback.services import FeedbackServices
from gateway.feedback.tasks import TaskService
from gateway.feedback.vendor import Call, Endpoint, Refusal, Vendor
from gateway.jsonio import dumps, iso_time
from gateway.records import (
    Feedback,
    FeedbackDraft,
    FeedbackFilter,
    FeedbackTask,
    SelectedTargets,
    Selector,
    Target,
    TargetId,
)
from gateway.records.tasks import TaskDraft

PREFIX = "/api/v1"

MAX_PAGE = 1_000
DEFAULT_TASKS, DEFAULT_ROWS = 10, 50
"""What the client asks for when it is asked for nothing."""
DEFAULT_MATCHES, MAX_MATCHES = 100, 10_000
_MAX_DIGITS = 18
"""Larger numbers are no offsets of any list, and no integers of the database."""

TAGS = "_tags"
"""The metadata key that keeps the selector feedback was given with."""


def vendor(services: FeedbackServices) -> Vendor:
    tasks, feedback = Tasks(services.tasks), Rows(services.feedback)
    return Vendor(
        name="log10",
        render_error=render_error,
        endpoints=(
            Endpoint(f"{PREFIX}/feedback_task", {"GET": tasks.find, "POST": tasks.create}),
            Endpoint(f"{PREFIX}/feedback_task/{{id}}", {"GET": tasks.get}),
            Endpoint(f"{PREFIX}/feedback", {"GET": feedback.find, "POST": feedback.create}),
            Endpoint(f"{PREFIX}/feedback/{{id}}", {"GET": feedback.get}),
        ),
        prefix="/api",
    )


# --- tasks ---


class Tasks:
    def __init__(self, tasks: TaskService) -> None:
        self._tasks = tasks

    async def create(self, call: Call) -> bytes:
        fields = read_object(call.body)
        draft, organization = parse_task(fields), organization_of(fields.content)
        return await self._tasks.create(
            call.key_id, draft, render=lambda task: dumps(task_shape(task, organization)), once=call.once
        )

    async def find(self, call: Call) -> bytes:
        query = dict(call.query)
        offset, limit = paging(query, DEFAULT_TASKS)
        found, overall = await self._tasks.page_by_offset(call.key_id, offset=offset, limit=limit)
        shapes = [task_shape(task, organization_of(query)) for task in found]
        return dumps({"data": shapes, "total": overall})

    async def get(self, call: Call) -> bytes:
        found = await self._tasks.get(call.key_id, call.path_params["id"])
        return dumps(task_shape(found, organization_of(dict(call.query))))


def parse_task(fields: Fields) -> TaskDraft:
    """Raises BadField. Whether the schema is one is for the service to say."""
    schema = fields.required_fields("json_schema")
    fields.check_depth("json_schema")
    return TaskDraft(
        name=fields.required_text("name", max_chars=MAX_ID_CHARS),
        schema=schema.content,
        instruction=fields.text("instruction") or "",
        selector=Selector(tags=_entries(fields, "completion_tags_selector")),
    )


def task_shape(task: FeedbackTask, organization: str) -> dict[str, Any]:
    """The command line's table fails on a task without `required`, or with a time without an offset."""
    return {
        "id": task.id,
        "name": task.name,
        "instruction": task.instruction,
        "completion_tags_selector": list(task.selector.tags),
        "json_schema": _with_required(task.schema),
        "created_at": f"{iso_time(task.created_at_ms)}000+00:00",
        "created_at_ms": task.created_at_ms,
        "organization_id": organization,
    }


def _with_required(schema: Any) -> dict[str, Any]:
    """`schema` as an object: a schema may also be true or false, for anything or nothing."""
    if isinstance(schema, dict):
        return schema if isinstance(schema.get("required"), list) else {**schema, "required": []}
    return {"required": []} if schema else {"not": {}, "required": []}


# --- feedback ---


class Rows:
    def __init__(self, feedback: FeedbackService) -> None:
        self._feedback = feedback

    async def create(self, call: Call) -> bytes:
        given = parse_feedback(call.body)
        try:
            return await self._apply(call, given, given.draft)
        except SomeUnmatched as error:
            return await self._apply(call, given, given.without(error.targets), is_matched=True)

    async def _apply(
        self, call: Call, given: Given, draft: FeedbackDraft, *, is_matched: bool = False
    ) -> bytes:
        def render(results: Sequence[Feedback | None]) -> bytes:
            [saved] = [result for result in results if result is not None]
            if not is_matched and not all(target.matched for target in saved.targets):
                raise SomeUnmatched(saved.targets)
            return dumps(row_shape(saved, given.organization))

        return await self._feedback.apply(call.key_id, [draft], render=render, once=call.once)

    async def find(self, call: Call) -> bytes:
        """Oldest first. `total` counts from `offset` on: with all of them the client would ask for ever."""
        query = dict(call.query)
        offset, limit = paging(query, DEFAULT_ROWS)
        wanted = FeedbackFilter(
            task_id=query.get("task_id") or None, request_id=query.get("completion_id") or None
        )
        found, overall = await self._feedback.oldest(call.key_id, wanted, offset=offset, limit=limit)
        shapes = [row_shape(feedback, organization_of(query)) for feedback in found]
        return dumps({"data": shapes, "total": max(0, overall - offset)})

    async def get(self, call: Call) -> bytes:
        found = await self._feedback.get(call.key_id, call.path_params["id"])
        return dumps(row_shape(found, organization_of(dict(call.query))))


class SomeUnmatched(ClientError):
    """Some ids of a create match nothing. Raised where it undoes the create, which then goes without them."""

    def __init__(self, targets: tuple[Target, ...]) -> None:
        super().__init__("some completion_ids match nothing")
        self.targets = targets


@dataclass(slots=True, frozen=True)
class Given:
    """The feedback of a create, and its `ids` if it has some instead of a selector.

    `allow_unmatched` is whether it may match nothing at all.
    """

    draft: FeedbackDraft
    ids: tuple[TargetId, ...]
    organization: str
    allow_unmatched: bool

    def without(self, found: Sequence[Target]) -> FeedbackDraft:
        """The draft with those of its ids that `found` shows to be a trace's or an exchange's.

        Raises InvalidField when there are none and that is not allowed.
        """
        known = {target.exchange_id or target.trace_id for target in found if target.matched}
        matched = tuple(target for target in self.ids if target.id in known)
        if not matched and not self.allow_unmatched:
            raise InvalidField(
                "completion_ids match nothing; check them, or send allow_unmatched_feedback true",
                param="completion_ids",
            )
        return replace(self.draft, targets=matched)


def parse_feedback(body: bytes) -> Given:
    """Raises BadField. Whether the values fit the task's schema is for the service to say."""
    fields = read_object(body)
    tags = _entries(fields, "completion_tags_selector")
    allow_unmatched = fields.flag("allow_unmatched_feedback", default=False)
    fields.required_fields("json_values")
    targets = _targets(fields, tags, allow_unmatched=allow_unmatched)
    draft = FeedbackDraft(
        targets=targets,
        kind="object",
        value=fields.value("json_values"),
        comment=fields.text("comment") or None,
        source_type="HUMAN",
        task_id=fields.required_text("task_id", max_chars=MAX_ID_CHARS),
        metadata={TAGS: list(tags)} if tags else None,
    )
    ids = () if isinstance(targets, SelectedTargets) else targets
    return Given(draft, ids, organization_of(fields.content), allow_unmatched)


def _targets(
    fields: Fields, tags: tuple[str, ...], *, allow_unmatched: bool
) -> tuple[TargetId, ...] | SelectedTargets:
    has_tags, has_ids = fields.has("completion_tags_selector"), fields.has("completion_ids")
    if has_tags == has_ids:
        raise BadField(
            "must have exactly one of completion_tags_selector and completion_ids", place=(), fault="value"
        )
    limit = _max_matches(fields)
    if has_tags:
        if not tags:
            raise fields.bad("completion_tags_selector", "has no tags; name at least one")
        return SelectedTargets(Selector(tags=tags, ids_too=True), limit, allow_unmatched)
    ids = _entries(fields, "completion_ids")
    if not ids:
        raise fields.bad("completion_ids", "has no ids; name at least one")
    if len(ids) > limit:
        raise fields.bad("completion_ids", f"has {len(ids)} ids, max_matched_completions is {limit}")
    return tuple(TargetId(completion_id, first="exchange") for completion_id in ids)


def _max_matches(fields: Fields) -> int:
    name = "max_matched_completions"
    given = fields.content.get(name)
    if given is None:
        return DEFAULT_MATCHES
    if type(given) is not int or not 1 <= given <= MAX_MATCHES:
        raise fields.bad(name, f"must be an integer from 1 to {MAX_MATCHES}")
    return given


def _entries(fields: Fields, name: str) -> tuple[str, ...]:
    """Each entry once, trimmed, as the command line only splits at commas; empty ones are none."""
    entries = tuple(dict.fromkeys(entry.strip() for entry in fields.texts(name) or () if entry.strip()))
    size = len(dumps(entries))
    if size > MAX_METADATA_BYTES:
        raise fields.bad(name, f"has {size} bytes as compact JSON, the limit is {MAX_METADATA_BYTES}")
    return entries


def row_shape(feedback: Feedback, organization: str) -> dict[str, Any]:
    """Any record as a row: one that answers no task has its name and an object made of its value."""
    return {
        "id": feedback.id,
        "task_id": feedback.task_id or "",
        "task_name": feedback.name,
        "json_values": _values(feedback),
        "matched_completion_ids": [
            target.exchange_id or target.trace_id for target in feedback.targets if target.matched
        ],
        "comment": feedback.comment or "",
        "completions_summary": "",
        "created_at_ms": feedback.created_at_ms,
        "organization_id": organization,
    }


def _values(feedback: Feedback) -> Any:
    if isinstance(feedback.value, dict):
        return feedback.value
    values = {} if feedback.value is None else {feedback.name: feedback.value}
    return values if feedback.correction is None else {**values, "correction": feedback.correction}


# --- both ---


def organization_of(content: Mapping[str, Any]) -> str:
    """Accepted, not checked and echoed: the key says whose data it is."""
    given = content.get("organization_id")
    return given if isinstance(given, str) else ""


def paging(query: Mapping[str, str], default_limit: int) -> tuple[int, int]:
    """Offset and limit; a limit beyond the largest page is that page. Raises BadField."""
    limit = _count(query, "limit", least=1, default=default_limit)
    return _count(query, "offset", least=0, default=0), min(limit, MAX_PAGE)


def _count(query: Mapping[str, str], name: str, *, least: int, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    is_number = text.isascii() and text.isdigit()
    number = int(text) if is_number and len(text) <= _MAX_DIGITS else 10**_MAX_DIGITS
    if not is_number or number < least:
        raise BadField(f"must be an integer from {least}, not {text[:20]!r}", place=(name,), fault="value")
    return number


def render_error(error: GatewayError, _: str) -> Refusal:
    """`error` must be text: the client shows it, and fails itself on anything else."""
    return Refusal(min(500, error.status), dumps({"error": _words(error)}))


def _words(error: GatewayError) -> str:
    """The message, with the fields as this vendor calls them."""
    if isinstance(error, UnfitValue):
        return f"json_values do not match the task schema: {'; '.join(error.problems)}"
    if isinstance(error, BadSchema):
        return f"json_{error.message}"
    if error.param == "selector.tags":
        return error.message.replace("selector.tags", "completion_tags_selector")
    return error.message
