"""The dashboard over a real SQLite file, in this process: no proxy, no port, the test's clock."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any

import httpx
from starlette.routing import Router

from gateway.auth.keys import KeyRing, hash_of
from gateway.config.schema import Capture, Settings
from gateway.dashboard.services import DashboardServices
from gateway.endpoints import page_routes
from gateway.feedback.service import FeedbackService
from gateway.feedback.tasks import TaskService
from gateway.ids import new_id
from gateway.jsonio import dumps
from gateway.records import BodyRow
from tests.own_api import OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

HEADERS = {"content-security-policy", "x-content-type-options", "referrer-policy"}


def bodies(request: Any = None, response: Any = None) -> BodyRow:
    """Bodies as they are stored: JSON, text or bytes."""
    return BodyRow("[]", "[]", _stored(request), None, None, _stored(response), None, None)


def asking(text: Any, answer: Any = "Certainly.") -> BodyRow:
    """A chat exchange of one question and one answer."""
    message = {"role": "assistant", "content": answer}
    return bodies(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]},
        {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]},
    )


def streaming(*pieces: str) -> bytes:
    """A stream of chunks, one for each piece of the answer."""
    events = [
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": piece}}]}
        for piece in pieces
    ]
    return b"".join(b"data: %b\n\n" % dumps(event) for event in events) + b"data: [DONE]\n\n"


def _stored(body: Any) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else dumps(body)


@dataclass
class Dashboard:
    api: OwnAPI
    client: httpx.AsyncClient
    _csrf: str | None = None

    async def page(self, path: str, expect: int = 200, **params: Any) -> str:
        """The HTML of a page, which has our headers whatever it is."""
        response = await self.client.get(path, params=params or None)
        assert response.status_code == expect, response.text[:2000]
        assert set(response.headers) >= HEADERS
        return response.text

    async def traces(self, **params: Any) -> list[str]:
        """The trace ids that the logs list, in their order."""
        return traces_in(await self.page("/ui/logs", **params))

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        """Post a form as a browser does that has been on a page of ours."""
        return await self.client.post(path, data={"csrf": await self.csrf(), **fields})

    async def csrf(self) -> str:
        """The token that the forms of this browser carry."""
        if self._csrf is None:
            await self.api.exchange("a-page-with-a-form", started_at_ms=1)
            self._csrf = token_in(await self.page("/ui/trace", id="a-page-with-a-form"))
        return self._csrf


def token_in(html: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', html)
    assert found, html[:500]
    return found[1]


def traces_in(html: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'<tr data-trace="([^"]*)"', html)]


@asynccontextmanager
async def own_dashboard(
    folder: Path, *, keys: Mapping[str, str] | None = None, capture: Capture | None = None, **limits: Any
) -> AsyncIterator[Dashboard]:
    """`keys` map ids to keys; `limits` are those of DashboardServices."""
    async with own_api(folder) as api:
        make_id = lambda: new_id(api.clock() * 1_000_000)  # noqa: E731
        tasks = TaskService(api.database, now_ms=api.clock, make_id=make_id)
        feedback = FeedbackService(
            api.database, now_ms=api.clock, make_id=make_id, idempotency_ttl_s=60.0, validate=tasks.validated
        )

        async def report() -> tuple[bool, dict[str, Any]]:
            store = {
                "url": "sqlite:///gateway.db", "writable": True, "queued_rows": 3, "queued_bytes": 4096,
                "stored": 7, "stored_without_bodies": 0, "not_recorded": 2, "answered_before_commit": 0,
                "failed_writes": 1, "last_error": "disk I/O error",
            }  # fmt: skip
            return True, {"store": store, "upstreams": {}, "in_flight": 4}

        services = DashboardServices(
            api.database,
            feedback,
            tasks,
            report=report,
            settings=Settings(capture=capture or Capture()),
            count_now=lambda: None,
            now_ms=api.clock,
            keys=KeyRing({hash_of(key.encode()): key_id for key_id, key in keys.items()}) if keys else None,
            **limits,
        )
        transport = httpx.ASGITransport(app=Router(page_routes(services)))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield Dashboard(api, client)
