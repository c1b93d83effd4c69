"""Live status: upstreams, the queue before the store, the store's size, and what is not being recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.config import schema
from gateway.dashboard.guard import visitor
from gateway.dashboard.site import Site
from gateway.dashboard.steering import tables
from gateway.records import UpstreamHealth
from gateway.store import health, volume

LATELY_MS = 24 * 3_600_000
PARTS = ("status-state", "status-upstreams", "status-health", "status-steering", "status-store")


def routes(site: Site) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        context = await _context(site, request)
        return site.render(request, "status.html", {**context, "title": "Status", "active": "status"})

    return [Route("/ui/status", site.page(show))]


async def live_parts(site: Site, request: Request) -> dict[str, str]:
    context = await _context(site, request)
    return {name: site.fragment(request, "status_part.html", {**context, "part": name}) for name in PARTS}


async def _context(site: Site, request: Request) -> dict[str, Any]:
    services, key_id = site.services, visitor(request).key_id
    ready, details = await services.report()
    now_ms = services.now_ms()
    held, lately = await services.database.read(
        lambda connection: (
            volume.volume(connection),
            health.upstreams(connection, key_id, since_ms=now_ms - LATELY_MS),
        )
    )
    settings = services.settings
    return {
        "ready": ready,
        "store": details["store"],
        "in_flight": details["in_flight"],
        "upstreams": [(name, each, lately.get(name)) for name, each in settings.upstreams.items()],
        "health": _known(services.upstream_health()),
        "steered": tables(services.steered()),
        "workers": settings.server.workers,
        "now_ms": now_ms,
        "held": held,
        "looked_at": health.LOOKED_AT,
        "queue_max_rows": settings.store.queue_max_rows,
        "missing": missing(settings, details["store"]),
    }


def _known(health: Mapping[str, UpstreamHealth]) -> dict[str, UpstreamHealth]:
    """Those of which there is something to say, in the order of their names."""
    return {
        name: each
        for name, each in sorted(health.items())
        if each.in_flight
        or each.keys_resting
        or any(target.state != "healthy" or target.failures for target in each.targets)
    }


def missing(settings: schema.Settings, store: dict[str, Any]) -> list[str]:
    """What is not being recorded, in sentences: by choice, or for want of something."""
    sentences = []
    if store["not_recorded"]:
        sentences.append(
            f"{store['not_recorded']:,} exchanges were not recorded: the store did not take them."
        )
    if store["stored_without_bodies"]:
        sentences.append(
            f"{store['stored_without_bodies']:,} exchanges were stored without their bodies: it refused them."
        )
    if store["answered_before_commit"]:
        sentences.append(f"{store['answered_before_commit']:,} answers left before their row was committed.")
    capture = settings.capture
    if capture.bodies == "none":
        sentences.append("No bodies are kept (capture.bodies: none), so there is no text to show or search.")
    if capture.bodies == "errors":
        sentences.append("Only failed exchanges keep their bodies (capture.bodies: errors).")
    if capture.commit == "background":
        sentences.append(
            "Answers do not wait for their commit (capture.commit: background): a crash loses a few."
        )
    sentences.append(
        f"Of bodies over {capture.max_body_bytes:,} bytes the middle is not kept (capture.max_body_bytes)."
    )
    sentences.append("Keys, cookies and all headers that capture does not list are never stored.")
    return sentences
