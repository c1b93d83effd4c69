"""Our own endpoints over a real SQLite file, in this process: no proxy, no port, the test's clock."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from gateway.api.routes import router
from gateway.api.services import Services
from gateway.compat.registry import vendors
from gateway.config.schema import Store
from gateway.feedback.service import FeedbackService
from gateway.feedback.services import FeedbackServices
from gateway.feedback.tasks import TaskService
from gateway.ids import new_id
from gateway.jsonio import loads
from gateway.records import BodyRow, ExchangeEntry, ExchangeRow
from gateway.store.exchanges import insert_batch
from gateway.store.sqlite import SqliteDatabase
from gateway.store.writer import adopting

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

START_MS = 1_800_000_000_000
"""2027-01-15T08:00:00Z"""
NO_BODIES = BodyRow("[]", "[]", None, None, None, None, None, None)
IDEMPOTENCY_TTL_S = 3600.0


class Clock:
    """Milliseconds since the epoch; each look is one later, so that everything has an order."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        self.ms += 1
        return self.ms


@dataclass
class OwnAPI:
    database: SqliteDatabase
    clock: Clock
    app: ASGIApp
    client: httpx.AsyncClient

    async def give(self, *items: dict[str, Any]) -> list[str]:
        """Post feedback; the ids."""
        response = await self.client.post("/v1/feedback", json=list(items))
        assert response.status_code == 200, response.text
        ids: list[str] = response.json()["feedback_ids"]
        return ids

    async def get(self, path: str, **params: Any) -> Any:
        response = await self.client.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    async def ids(self, path: str, **params: Any) -> list[str]:
        """The ids of a list, in its order."""
        return [item["id"] for item in (await self.get(path, **params))["data"]]

    async def exchange(
        self, trace_id: str, *, bodies: BodyRow = NO_BODIES, key_id: str = "default", **columns: Any
    ) -> str:
        """Store an exchange as the proxy would; its id."""
        row = exchange_row(trace_id, self.clock(), key_id=key_id, **columns)
        tags = tuple(loads(row.tags)) if row.tags else ()
        entry, adopt = ExchangeEntry(row, bodies, tags), adopting(self.database.writer)
        await self.database.writer.run(lambda raw: insert_batch(raw, [entry], adopt))
        return row.id


def exchange_row(trace_id: str, now_ms: int, **columns: Any) -> ExchangeRow:
    plain = ExchangeRow(
        id=new_id(now_ms * 1_000_000),
        key_id="default",
        trace_id=trace_id,
        started_at_ms=now_ms,
        latency_ms=12.5,
        first_byte_ms=3.5,
        method="POST",
        path="/v1/chat/completions",
        upstream="openai",
        requested_model="gpt-4o",
        answering_model="gpt-4o-2024-08-06",
        streamed=False,
        status=200,
        error_kind=None,
        error_message=None,
        finish_reason="stop",
        prompt_tokens=10,
        completion_tokens=20,
        cached_tokens=None,
        reasoning_tokens=None,
        cost_usd=0.25,
        request_bytes=100,
        response_bytes=200,
        body_user=None,
        body_metadata=None,
        meta_user=None,
        meta_organisation=None,
        meta_prompt=None,
        meta_environment=None,
        metadata=None,
        tags=None,
        queue_ms=1.25,
    )
    return plain._replace(**columns)


@asynccontextmanager
async def own_api(folder: Path, **limits: Any) -> AsyncIterator[OwnAPI]:
    """`limits` are those of Services."""
    database = await SqliteDatabase.open(Store(url=f"sqlite:///{folder}/gateway.db"))
    clock = Clock()

    def make_id() -> str:
        return new_id(clock.ms * 1_000_000)

    tasks = TaskService(database, now_ms=clock, make_id=make_id, idempotency_ttl_s=IDEMPOTENCY_TTL_S)
    feedback = FeedbackService(
        database,
        now_ms=clock,
        make_id=make_id,
        idempotency_ttl_s=IDEMPOTENCY_TTL_S,
        validate=tasks.validated,
    )
    services = Services(database=database, feedback=feedback, tasks=tasks, **limits)
    app = router(services, vendors(FeedbackServices(feedback, tasks)))
    transport = httpx.ASGITransport(app=app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield OwnAPI(database, clock, app, client)
    finally:
        await database.close()


@contextmanager
def lasting_api(runner: asyncio.Runner, folder: Path) -> Iterator[OwnAPI]:
    """One for all examples of a property; each keeps to ids of its own."""
    context = own_api(folder)
    yield runner.run(context.__aenter__())
    runner.run(context.__aexit__(None, None, None))
