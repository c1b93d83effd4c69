"""Making and archiving tasks. Their versions and finer selectors are the API's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dashboard import inbox
from gateway.dashboard.guard import form, visitor
from gateway.dashboard.posted import Form
from gateway.dashboard.site import Site, see_other
from gateway.errors import ClientError, InvalidField
from gateway.jsonio import loads
from gateway.records import Selector
from gateway.records.tasks import TaskDraft

KINDS: Mapping[str, tuple[str, Any]] = {
    "yes-no": ("Yes or no", {"type": "boolean"}),
    "stars": ("Stars, 1 to 5", {"type": "integer", "minimum": 1, "maximum": 5}),
    "labels": ("One of some labels", None),
    "text": ("A text", {"type": "string", "minLength": 1}),
    "schema": ("A JSON Schema", None),
}
"""What an answer may be: the words on the page and the schema, None where the form says it."""


def routes(site: Site) -> list[BaseRoute]:
    pages = TaskPages(site)
    return [
        Route("/ui/tasks/new", site.page(pages.new, pages.create)),
        Route("/ui/tasks/archive", site.page(None, pages.archive)),
    ]


class TaskPages:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._tasks = site.services.tasks

    async def new(self, request: Request) -> Response:
        return self._page(request, Form(()), None)

    async def create(self, request: Request) -> Response:
        sent = form(request)
        try:
            await self._tasks.create(visitor(request).key_id, _draft(sent), render=lambda _: b"")
        except ClientError as error:
            return self._page(request, sent, error)
        return see_other(inbox.PATH)

    async def archive(self, request: Request) -> Response:
        await self._tasks.archive(visitor(request).key_id, form(request).get("task"))
        return see_other(inbox.PATH)

    def _page(self, request: Request, sent: Form, error: ClientError | None) -> Response:
        context = {
            "title": "New task",
            "active": "inbox",
            "narrow": True,
            "kinds": KINDS,
            "sent": sent,
            "problem": error.message if error else "",
            "at": (error.param or "").partition(".")[0] if error else "",
        }
        return self._site.render(request, "task_new.html", context, status=400 if error else 200)


def _draft(sent: Form) -> TaskDraft:
    """Raises InvalidField."""
    return TaskDraft(
        name=sent.get("name"),
        schema=_schema(sent),
        instruction=sent.get("instruction").strip(),
        selector=Selector(tags=tuple(_lines(sent.get("tags"))), metadata=_pairs(sent.get("metadata"))),
    )


def _schema(sent: Form) -> Any:
    kind = sent.get("kind")
    if kind not in KINDS:
        raise InvalidField("kind: choose what an answer may be", param="kind")
    if kind == "labels":
        labels = list(dict.fromkeys(_lines(sent.get("labels"))))
        if not labels:
            raise InvalidField("labels: write the labels, one a line", param="labels")
        return {"enum": labels}
    if kind != "schema":
        return KINDS[kind][1]
    try:
        return loads(sent.get("schema"))
    except ValueError as error:
        raise InvalidField(f"schema: is not JSON ({error})", param="schema") from error


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for line in _lines(text):
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise InvalidField(f"selector: write a line as key=value, not {line[:60]!r}", param="selector")
        pairs.append((name.strip(), value.strip()))
    return tuple(pairs)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
