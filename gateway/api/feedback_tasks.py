"""Feedback tasks over HTTP: forms with a schema, and the inbox of what waits to be graded for one.

What a body may hold is in `gateway.feedback.task_body`, what it means in `gateway.feedback.tasks`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api.idempotency import idempotency_key
from gateway.api.params import CLAIMS, INBOX, TASK, TASKS, no_parameters
from gateway.api.resource import Resource, answer, json_answer, read_body
from gateway.api.services import Services
from gateway.api.shapes import log_shape, page_shape, time_shape
from gateway.errors import InvalidField
from gateway.feedback.task_body import checked_reviewer, parse_claim, parse_task, parse_task_change
from gateway.jsonio import dumps
from gateway.records import FeedbackTask
from gateway.records.tasks import Claim, InboxItem

PATH = "/v1/feedback-tasks"


def routes(services: Services) -> list[BaseRoute]:
    endpoints = TaskEndpoints(services)
    resources = {
        "": Resource({"GET": endpoints.find, "POST": endpoints.create}),
        "/{id}": Resource({"GET": endpoints.get, "PUT": endpoints.revise, "DELETE": endpoints.archive}),
        "/{id}/archive": Resource({"POST": endpoints.archive}),
        "/{id}/inbox": Resource({"GET": endpoints.inbox}),
        "/{id}/inbox/claims": Resource({"POST": endpoints.claim, "DELETE": endpoints.release}),
    }
    return [
        Route(f"{PATH}{path}{slash}", resource) for path, resource in resources.items() for slash in ("", "/")
    ]


class TaskEndpoints:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks = services.tasks

    async def create(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        no_parameters(request.scope["query_string"])
        body = await self._body(request)
        created = await self._tasks.create(
            key_id,
            parse_task(body),
            render=lambda task: dumps(task_shape(task)),
            once=idempotency_key(request, PATH, body),
        )
        return answer(created)

    async def find(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, paging = TASKS.read(request.scope["query_string"])
        page = await self._tasks.find(key_id, limit=paging.limit, after=paging.after, **wanted)
        return json_answer(page_shape(page, task_shape))

    async def get(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, _ = TASK.read(request.scope["query_string"])
        return json_answer(task_shape(await self._tasks.get(key_id, _id(request), **wanted)))

    async def revise(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        no_parameters(request.scope["query_string"])
        change = parse_task_change(await self._body(request))
        return json_answer(task_shape(await self._tasks.revise(key_id, _id(request), change)))

    async def archive(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        no_parameters(request.scope["query_string"])
        return json_answer(task_shape(await self._tasks.archive(key_id, _id(request))))

    async def inbox(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, paging = INBOX.read(request.scope["query_string"])
        page = await self._tasks.inbox(
            key_id, _id(request), limit=paging.limit, after=paging.after, reviewer=_reviewer(wanted)
        )
        return json_answer(page_shape(page, inbox_item_shape))

    async def claim(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        no_parameters(request.scope["query_string"])
        wanted = parse_claim(await self._body(request))
        page = await self._tasks.claim(
            key_id, _id(request), reviewer=wanted.reviewer, limit=wanted.limit, seconds=wanted.seconds
        )
        return json_answer(page_shape(page, inbox_item_shape))

    async def release(self, request: Request) -> Response:
        key_id = self._services.key_id(request.headers)
        wanted, _ = CLAIMS.read(request.scope["query_string"])
        reviewer = _reviewer(wanted)
        if reviewer is None:
            raise InvalidField("reviewer: is required; say whose claims to release", param="reviewer")
        released = await self._tasks.release(
            key_id, _id(request), reviewer=reviewer, exchange_id=wanted.get("request_id")
        )
        return json_answer({"object": "inbox.released", "released": released})

    async def _body(self, request: Request) -> bytes:
        return await read_body(
            request, max_bytes=self._services.max_body_bytes, timeout_s=self._services.body_timeout_s
        )


def task_shape(task: FeedbackTask) -> dict[str, Any]:
    return {
        "object": "feedback_task",
        "id": task.id,
        "name": task.name,
        "version": task.version,
        "schema": task.schema,
        "instruction": task.instruction,
        "selector": {"tags": task.selector.tags, "metadata": dict(task.selector.metadata)},
        "created_at": time_shape(task.created_at_ms),
        "updated_at": None if task.updated_at_ms is None else time_shape(task.updated_at_ms),
        "archived_at": None if task.archived_at_ms is None else time_shape(task.archived_at_ms),
    }


def inbox_item_shape(item: InboxItem) -> dict[str, Any]:
    """A log, and who has claimed it."""
    return {**log_shape(item.log), "claim": None if item.claim is None else _claim_shape(item.claim)}


def _claim_shape(claim: Claim) -> dict[str, Any]:
    return {"by": claim.by, "until": time_shape(claim.until_ms)}


def _id(request: Request) -> str:
    task_id: str = request.path_params["id"]
    return task_id


def _reviewer(wanted: dict[str, Any]) -> str | None:
    return checked_reviewer(wanted["reviewer"]) if "reviewer" in wanted else None
