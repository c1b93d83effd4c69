"""One trace: its exchanges as a conversation, what they cost and how long they took, and its feedback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.capture import attempts
from gateway.dashboard import body, forms
from gateway.dashboard.attempts import Bar, Try, timing, tries
from gateway.dashboard.conversation import Talk, Turn, repeated, talk
from gateway.dashboard.guard import visitor
from gateway.dashboard.posted import Form
from gateway.dashboard.site import Site
from gateway.errors import NotFound
from gateway.jsonio import loads
from gateway.records import Feedback, FeedbackTask, Log, Revision
from gateway.store import talks
from gateway.store.talks import Told, TraceTalk

PATH = "/ui/trace"
EXCHANGES_A_PAGE = 20
MAX_BODY_BYTES = 8 * 1024 * 1024
"""Of all bodies on a page; what is beyond is a click away."""
MAX_TASKS = 50

DONE = {
    "given": "Your feedback is stored.",
    "changed": "The feedback was changed.",
    "retracted": "The feedback was retracted. It counts no more; its history stays.",
}
"""What a form that was carried out says on the page it leads to."""


@dataclass(slots=True, frozen=True)
class Step:
    """An exchange as the page shows it. `earlier` turns at the start of `talk.asked` were shown before."""

    number: int
    log: Log
    talk: Talk
    earlier: int
    timing: tuple[Bar, ...]
    tries: tuple[Try, ...]
    left_out_tries: int
    metadata: dict[str, Any]
    tags: tuple[str, ...]
    request: body.Raw
    response: body.Raw
    curl: str
    left_out: bool


@dataclass(slots=True, frozen=True)
class Given:
    """A piece of feedback, what it was before, and the number of its exchange if it is about one."""

    item: Feedback
    history: tuple[Revision, ...]
    about: int | None


@dataclass(slots=True, frozen=True)
class Draft:
    """What is in the feedback form: after a problem, what was posted."""

    posted: Form | None = None
    problems: tuple[str, ...] = ()
    task: FeedbackTask | None = None

    def get(self, name: str, default: str = "") -> str:
        return default if self.posted is None else self.posted.get(name, default)


def routes(site: Site) -> list[BaseRoute]:
    async def page(request: Request) -> Response:
        return await show(site, request, request.query_params.get("id", ""))

    return [Route(PATH, site.page(page))]


async def show(site: Site, request: Request, trace_id: str, draft: Draft | None = None) -> Response:
    """The page of a trace; with `draft` as it is after a form that could not be stored."""
    key_id, services = visitor(request).key_id, site.services
    after = request.query_params.get("after") or None
    base_url = str(request.base_url).rstrip("/")

    def read(connection: Any) -> tuple[TraceTalk, list[Step]]:
        found = talks.get(
            connection,
            key_id,
            trace_id,
            limit=EXCHANGES_A_PAGE,
            max_body_bytes=MAX_BODY_BYTES,
            feedback_limit=services.max_items_shown,
            after=after,
        )
        return found, _steps(found.told, base_url)

    found, steps = await services.database.read(read)
    tasks = (await services.tasks.find(key_id, limit=MAX_TASKS)).items
    draft = draft or Draft(task=_chosen(tasks, request.query_params.get("task", "")))
    context = {
        **_context(found),
        "title": f"Trace {trace_id}",
        "active": "logs",
        "steps": steps,
        "next_after": steps[-1].log.row.id if found.has_more and steps else None,
        "after": after,
        "done": DONE.get(request.query_params.get("done", "")),
        "tasks": tasks,
        "draft": draft,
        "task_form": _task_form(draft),
        "live_url": f"/ui/live/trace?{request.url.query}",
    }
    return site.render(request, "trace.html", context, status=400 if draft.problems else 200)


async def live_parts(site: Site, request: Request) -> dict[str, str]:
    """The parts of the page that change while it is open. Raises NotFound."""
    key_id, services = visitor(request).key_id, site.services
    trace_id = request.query_params.get("id", "")

    def read(connection: Any) -> TraceTalk:
        return talks.get(
            connection,
            key_id,
            trace_id,
            limit=EXCHANGES_A_PAGE,
            max_body_bytes=0,
            feedback_limit=services.max_items_shown,
            after=request.query_params.get("after") or None,
        )

    found = await services.database.read(read)
    context = _context(found)
    return {
        name: site.fragment(request, "trace_part.html", {**context, "part": name})
        for name in ("trace-figures", "feedback-list")
    }


def _context(found: TraceTalk) -> dict[str, Any]:
    numbers = {told.log.row.id: number for number, told in enumerate(found.told, 1)}
    return {
        "trace": found.summary,
        "given": [_given(item, found.history, numbers) for item in found.feedback.items],
        "more_feedback": found.feedback.has_more,
    }


def _given(item: Feedback, history: dict[str, tuple[Revision, ...]], numbers: dict[str, int]) -> Given:
    about = next(
        (numbers[target.exchange_id] for target in item.targets if target.exchange_id in numbers), None
    )
    return Given(item, history.get(item.id, ()), about)


def _steps(told: Iterable[Told], base_url: str) -> list[Step]:
    kept = list(told)
    longest_ms = max((each.log.row.latency_ms for each in kept), default=0.0) or 1.0
    before: tuple[Turn, ...] = ()
    steps = []
    for number, each in enumerate(kept, 1):
        row = each.log.row
        made = attempts.made(row)
        said = talk(row, each.bodies)
        steps.append(
            Step(
                number=number,
                log=each.log,
                talk=said,
                earlier=_earlier(said, before),
                timing=timing(row, made, longest_ms),
                tries=tries(row, made),
                left_out_tries=attempts.count(row) - len(made),
                metadata=_object(row.metadata),
                tags=tuple(loads(row.tags)) if row.tags else (),
                request=body.raw(row, each.bodies, "request"),
                response=body.raw(row, each.bodies, "response"),
                curl=body.curl(row, each.bodies, base_url),
                left_out=each.left_out,
            )
        )
        if said.asked:
            before = (*said.asked, *said.answered)
    return steps


def _earlier(said: Talk, before: tuple[Turn, ...]) -> int:
    """Turns not to show again; the last one asked is always shown."""
    return min(repeated(said.asked, before), max(len(said.asked) - 1, 0))


def _object(text: str | None) -> dict[str, Any]:
    value = loads(text) if text else None
    return value if isinstance(value, dict) else {}


def _chosen(tasks: Sequence[FeedbackTask], task_id: str) -> FeedbackTask | None:
    if not task_id:
        return None
    for task in tasks:
        if task.id == task_id:
            return task
    raise NotFound(f"there is no feedback task {task_id!r}")


def _task_form(draft: Draft) -> forms.Field | None:
    if draft.task is None:
        return None
    return forms.form_of(draft.task.schema, posted=draft.posted, problems=draft.problems)
