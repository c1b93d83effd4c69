"""Giving, changing and retracting feedback. What may be given is decided by `gateway.feedback`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dashboard import forms, trace
from gateway.dashboard.guard import form, visitor
from gateway.dashboard.posted import Form
from gateway.dashboard.site import Site, see_other, url
from gateway.dashboard.trace import Draft
from gateway.errors import ClientError, NotFound
from gateway.feedback.body import fits, parse_create, parse_update
from gateway.feedback.schemas import UnfitValue
from gateway.jsonio import dumps, loads
from gateway.records import UNSET, Feedback, FeedbackTask, kind_of

PATH = "/ui/feedback"
THUMBS = {"up": 1, "down": -1}

_PREFIX = "Invalid request body: "


def routes(site: Site) -> list[BaseRoute]:
    pages = FeedbackPages(site)
    return [
        Route(PATH, site.page(pages.edit, pages.change)),
        Route(f"{PATH}/give", site.page(None, pages.give)),
        Route(f"{PATH}/retract", site.page(None, pages.retract)),
    ]


class FeedbackPages:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._feedback = site.services.feedback
        self._tasks = site.services.tasks

    async def give(self, request: Request) -> Response:
        """A thumb, a score or the answer to a task, from the form on a trace's page."""
        sent, key_id = form(request), visitor(request).key_id
        trace_id = sent.get("trace")
        task = await self._tasks.get(key_id, sent.get("task")) if sent.get("task") else None
        try:
            item = _item(sent, task)
            acts = parse_create(dumps([item]))
            await self._feedback.apply(key_id, acts, render=lambda _: b"")
        except UnfitValue as error:
            return await self._again(request, trace_id, sent, task, error.problems)
        except ClientError as error:
            return await self._again(request, trace_id, sent, task, [_plain(error)])
        return see_other(url(trace.PATH, id=trace_id, done="given") + "#feedback")

    async def edit(self, request: Request) -> Response:
        found = await self._get(request, request.query_params.get("id", ""))
        return await self._edit_page(request, found)

    async def change(self, request: Request) -> Response:
        sent, key_id = form(request), visitor(request).key_id
        found = await self._get(request, sent.get("id"))
        try:
            changed, _ = parse_update(dumps(await self._changes(key_id, sent, found)))
            await self._feedback.change(key_id, found.id, changed, check=fits(changed))
        except UnfitValue as error:
            return await self._edit_page(request, found, sent, error.problems)
        except NotFound:
            raise
        except ClientError as error:
            return await self._edit_page(request, found, sent, [_plain(error)])
        return see_other(url(trace.PATH, id=found.trace_id, done="changed") + "#feedback")

    async def retract(self, request: Request) -> Response:
        found = await self._feedback.retract(visitor(request).key_id, form(request).get("id"))
        return see_other(url(trace.PATH, id=found.trace_id, done="retracted") + "#feedback")

    async def _get(self, request: Request, feedback_id: str) -> Feedback:
        return await self._feedback.get(visitor(request).key_id, feedback_id)

    async def _again(
        self, request: Request, trace_id: str, sent: Form, task: FeedbackTask | None, problems: Any
    ) -> Response:
        return await trace.show(self._site, request, trace_id, Draft(sent, tuple(problems), task))

    async def _edit_page(
        self, request: Request, found: Feedback, sent: Form | None = None, problems: Any = ()
    ) -> Response:
        task = await self._task(visitor(request).key_id, found)
        task_form = None
        if task is not None:
            stored = UNSET if sent is not None else found.value
            task_form = forms.form_of(task.schema, value=stored, posted=sent, problems=list(problems))
        context = {
            "title": "Change feedback",
            "active": "logs",
            "narrow": True,
            "item": found,
            "task": task,
            "task_form": task_form,
            "sent": sent,
            "value": _shown(found.value),
            "correction": _shown(found.correction),
            "problems": problems,
        }
        return self._site.render(request, "feedback_edit.html", context, status=400 if problems else 200)

    async def _task(self, key_id: str, found: Feedback) -> FeedbackTask | None:
        return None if found.task_id is None else await self._tasks.get(key_id, found.task_id)

    async def _changes(self, key_id: str, sent: Form, found: Feedback) -> dict[str, Any]:
        changes: dict[str, Any] = {
            "weight": sent.get("weight").strip() or found.weight,
            "comment": sent.get("comment").strip() or None,
            "correction": _like(found.correction, sent.get("correction")),
        }
        if found.task_id is not None:
            task = await self._tasks.get(key_id, found.task_id)
            value, problems = forms.value_of(task.schema, sent)
            if problems:
                raise UnfitValue(task, tuple(problems))
            changes |= {} if value is UNSET else {"value": value, "kind": kind_of(value)}
        elif found.kind != "none":
            changes |= {"kind": found.kind, "value": _value(found.kind, sent.get("value"))}
        return changes


def _item(sent: Form, task: FeedbackTask | None) -> dict[str, Any]:
    """The form as a body of `POST /v1/feedback`. Raises UnfitValue."""
    item: dict[str, Any] = {
        "comment": sent.get("comment").strip() or None,
        "correction": sent.get("correction").strip() or None,
        "source_type": "HUMAN",
        "source_id": sent.get("by").strip() or None,
        "weight": sent.get("weight").strip() or 1,
    }
    item |= {"request_id": sent.get("about")} if sent.get("about") else {"trace_id": sent.get("trace")}
    if task is not None:
        value, problems = forms.value_of(task.schema, sent)
        if problems:
            raise UnfitValue(task, tuple(problems))
        return {**item, "task_id": task.id, **({} if value is UNSET else {"value": value})}
    thumb = THUMBS.get(sent.get("thumb"))
    if thumb is not None:
        return {**item, "value": thumb}
    value = sent.get("value").strip().replace("\u2212", "-")
    return {**item, "value": value} if value else item


def _value(kind: str, text: str) -> Any:
    """What a field says, as its kind has it. Raises ClientError for what is no JSON."""
    text = text.strip()
    if kind in ("score", "text"):
        return text.replace("\u2212", "-") if kind == "score" else text
    return _json(text)


def _like(stored: Any, text: str) -> Any:
    """A correction in the form that the stored one has: JSON where it was no text."""
    text = text.strip()
    if not text:
        return None
    return text if stored is None or isinstance(stored, str) else _json(text)


def _json(text: str) -> Any:
    try:
        return loads(text)
    except ValueError as error:
        raise ClientError(f"this is not JSON: {error}") from error


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return dumps(value).decode()


def _plain(error: ClientError) -> str:
    """The sentence without what is meant for programs."""
    message = error.message.removeprefix(_PREFIX).partition(". Error code:")[0].removeprefix("item 0: ")
    return message[:1].upper() + message[1:] + ("" if message.endswith(".") else ".")
