"""Our own endpoints put together: feedback, traces, logs, exports, the vendors' and the pages.

A part of the composition root, loaded once the proxy listens: it is half of the gateway's modules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gateway.api import health
from gateway.api.later import Later
from gateway.api.routes import router
from gateway.api.services import Services
from gateway.auth.keys import KeyRing
from gateway.compat.registry import vendors
from gateway.config import schema
from gateway.dashboard.services import DashboardServices
from gateway.feedback.service import FeedbackService
from gateway.feedback.services import FeedbackServices
from gateway.feedback.steering import Steered
from gateway.feedback.tasks import TaskService
from gateway.ids import new_id
from gateway.records import UpstreamHealth
from gateway.store.sqlite import SqliteDatabase


def own_endpoints(
    database: SqliteDatabase,
    settings: schema.Settings,
    keys: KeyRing | None,
    *,
    report: health.Report,
    count_now: Callable[[], None],
    steered: Callable[[], Sequence[Steered]],
    upstream_health: Callable[[], Mapping[str, UpstreamHealth]],
) -> ASGIApp:
    """`report` says how the gateway is, `steered` what follows feedback; `count_now` asks for figures."""
    ttl_s = settings.store.idempotency_ttl_s
    tasks = TaskService(database, now_ms=_now_ms, make_id=_make_id, idempotency_ttl_s=ttl_s)
    feedback = FeedbackService(
        database, now_ms=_now_ms, make_id=_make_id, idempotency_ttl_s=ttl_s, validate=tasks.validated
    )
    services = Services(
        database,
        feedback,
        tasks,
        body_timeout_s=settings.server.body_timeout_s,
        write_timeout_s=settings.server.write_timeout_s,
        keys=keys,
        steered=steered,
    )
    pages = DashboardServices(
        database,
        feedback,
        tasks,
        report=report,
        settings=settings,
        now_ms=_now_ms,
        count_now=count_now,
        keys=keys,
        steered=steered,
        upstream_health=upstream_health,
    )
    served = vendors(FeedbackServices(feedback, tasks))
    return router(services, served, [*health.routes(report, upstream_health), *page_routes(pages)])


def page_routes(services: DashboardServices) -> list[BaseRoute]:
    """The dashboard, which costs memory from the first look on."""

    async def make() -> ASGIApp:
        from gateway.dashboard.routes import dashboard  # noqa: PLC0415 - its templates are what costs

        return await dashboard(services)

    look = Later(make)
    return [Route("/ui", look), Route("/ui/{path:path}", look)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _make_id() -> str:
    return new_id(time.time_ns())
