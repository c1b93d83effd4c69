"""The inbox: what a task wants graded, one exchange after another, with the task's own form.

An exchange is claimed for a reviewer while they look at it, so that two people do not grade the same one.
Reading a page claims nothing; only the forms do. What waits is decided by `gateway.feedback.tasks`.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dashboard import forms
from gateway.dashboard.conversation import talk
from gateway.dashboard.guard import form, is_tls, visitor
from gateway.dashboard.posted import Form
from gateway.dashboard.site import Site, see_other, url
from gateway.errors import ClientError, InvalidField, NotFound
from gateway.feedback.schemas import UnfitValue
from gateway.records import UNSET, FeedbackDraft, FeedbackTask, LogDetail, TargetId, kind_of
from gateway.store import logs

PATH = "/ui/inbox"
GRADE_PATH = "/ui/inbox/grade"
REVIEWER_COOKIE = "gateway_reviewer"

MAX_TASKS = 100
MAX_NAME_CHARS = 100
MAX_COMMENT_CHARS = 4_096
MAX_DIGITS = 6
CLAIM_S = 600

_REVIEWER_S = 365 * 86_400
_OWN_CLAIMS = 20
"""Looked through for one that the reviewer has left unfinished."""


class Sitting(NamedTuple):
    """Who grades what: `done` counts what they graded since they began, `last` is the newest of it."""

    task: str
    by: str
    done: int = 0
    last: str = ""

    def url(self, exchange_id: str | None, *, seen: str | None = None) -> str:
        return url(
            GRADE_PATH,
            task=self.task,
            exchange=exchange_id,
            done=self.done or None,
            last=self.last,
            seen=seen,
        )


def routes(site: Site) -> list[BaseRoute]:
    pages = InboxPages(site)
    return [
        Route(PATH, site.page(pages.tasks, pages.begin)),
        Route(GRADE_PATH, site.page(pages.show, pages.grade)),
    ]


class InboxPages:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._tasks = site.services.tasks
        self._feedback = site.services.feedback

    async def tasks(self, request: Request) -> Response:
        """The tasks there are."""
        with_archived = request.query_params.get("archived") == "yes"
        page = await self._tasks.find(
            visitor(request).key_id, limit=MAX_TASKS, include_archived=with_archived
        )
        context = {
            "title": "Inbox",
            "active": "inbox",
            "tasks": page.items,
            "has_more": page.has_more,
            "with_archived": with_archived,
            "reviewer": _reviewer(request),
        }
        return self._site.render(request, "inbox.html", context)

    async def begin(self, request: Request) -> Response:
        """Claim the first exchange for a reviewer."""
        sent = form(request)
        sitting = Sitting(sent.get("task"), _checked_name(sent.get("by")))
        response = await self._next(request, sitting, resume=True)
        response.set_cookie(
            REVIEWER_COOKIE, quote(sitting.by), _REVIEWER_S, path="/ui", secure=is_tls(request),
            httponly=True, samesite="lax",
        )  # fmt: skip
        return response

    async def show(self, request: Request) -> Response:
        """The exchange to grade, or that there is none."""
        asked = request.query_params
        sitting = Sitting(
            asked.get("task", ""), _reviewer(request), _count(asked.get("done")), asked.get("last", "")
        )
        task = await self._tasks.get(visitor(request).key_id, sitting.task)
        return await self._page(request, task, sitting, asked.get("exchange", ""))

    async def grade(self, request: Request) -> Response:
        """Save, skip, or take back what was saved last; then the next."""
        sent, key_id = form(request), visitor(request).key_id
        sitting = Sitting(
            sent.get("task"), _checked_name(sent.get("by")), _count(sent.get("done")), sent.get("last")
        )
        exchange_id = sent.get("exchange")
        match sent.get("action"):
            case "skip":
                # The claim stays until it runs out: given back, it would be the next one again.
                return await self._next(request, sitting)
            case "stop":
                await self._tasks.release(key_id, sitting.task, reviewer=sitting.by)
                return see_other(PATH)
            case "undo":
                taken = await self._feedback.retract(key_id, sitting.last)
                about = next((target.exchange_id for target in taken.targets if target.exchange_id), None)
                back = sitting._replace(done=max(sitting.done - 1, 0), last="")
                return see_other(back.url(about, seen="undone"))
        task = await self._tasks.get(key_id, sitting.task)
        try:
            given = await self._save(key_id, task, exchange_id, sitting.by, sent)
        except UnfitValue as error:
            return await self._page(request, task, sitting, exchange_id, sent, list(error.problems))
        except NotFound:
            raise
        except ClientError as error:
            return await self._page(request, task, sitting, exchange_id, sent, [error.message])
        return await self._next(request, sitting._replace(done=sitting.done + 1, last=given))

    async def _save(self, key_id: str, task: FeedbackTask, exchange_id: str, by: str, sent: Form) -> str:
        """Store the answer; its id. Raises UnfitValue and other ClientErrors."""
        value, problems = forms.value_of(task.schema, sent)
        if problems:
            raise UnfitValue(task, tuple(problems))
        if value is UNSET:
            raise UnfitValue(task, ("choose or write an answer first",))
        comment = sent.get("comment").strip()
        if len(comment) > MAX_COMMENT_CHARS:
            raise InvalidField(f"The comment has {len(comment)} characters, the limit is {MAX_COMMENT_CHARS}")
        draft = FeedbackDraft(
            targets=(TargetId(exchange_id, first="exchange"),),
            kind=kind_of(value),
            value=value,
            comment=comment or None,
            source_type="HUMAN",
            source_id=by,
            task_id=task.id,
        )

        def new_id(stored: Any) -> bytes:
            return bytes(stored[0].id, "ascii")

        return (await self._feedback.apply(key_id, [draft], render=new_id)).decode()

    async def _next(self, request: Request, sitting: Sitting, *, resume: bool = False) -> Response:
        """Claim the next exchange and go there."""
        key_id = visitor(request).key_id
        if resume:
            waiting = await self._tasks.inbox(key_id, sitting.task, limit=_OWN_CLAIMS, reviewer=sitting.by)
            own = [item for item in waiting.items if item.claim is not None and item.claim.by == sitting.by]
            if own:
                return see_other(sitting.url(own[0].log.row.id))
        claimed = await self._tasks.claim(key_id, sitting.task, reviewer=sitting.by, seconds=CLAIM_S)
        return see_other(sitting.url(claimed.items[0].log.row.id if claimed.items else None))

    async def _page(
        self,
        request: Request,
        task: FeedbackTask,
        sitting: Sitting,
        exchange_id: str,
        sent: Form | None = None,
        problems: list[str] | None = None,
    ) -> Response:
        found = await self._exchange(request, exchange_id) if exchange_id else None
        context = {
            "title": "Grade",
            "active": "inbox",
            "task": task,
            "sitting": sitting,
            "log": found.log if found else None,
            "said": talk(found.log.row, found.bodies) if found else None,
            "task_form": forms.form_of(task.schema, posted=sent, problems=problems or ()),
            "comment": sent.get("comment") if sent else "",
            "problems": problems or [],
            "is_undone": request.query_params.get("seen") == "undone",
        }
        return self._site.render(request, "grade.html", context, status=400 if problems else 200)

    async def _exchange(self, request: Request, exchange_id: str) -> LogDetail:
        """Raises NotFound."""
        key_id = visitor(request).key_id
        return await self._site.services.database.read(
            lambda connection: logs.get(connection, key_id, exchange_id, feedback_limit=0)
        )


def _reviewer(request: Request) -> str:
    return unquote(request.cookies.get(REVIEWER_COOKIE, ""))[:MAX_NAME_CHARS]


def _checked_name(name: str) -> str:
    """Raises InvalidField."""
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        raise InvalidField(
            f"Say who grades, in 1 to {MAX_NAME_CHARS} characters: nobody else gets what you have open",
            param="by",
        )
    return name.strip()


def _count(text: str | None) -> int:
    is_count = text is not None and text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if is_count and text is not None else 0
