"""The composition root: builds the store, the upstreams, the services and the routes; owns start and stop.

Everything else is handed what it uses. Nothing here decides anything about a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp

from gateway.api.errors import error_body
from gateway.api.front import Front
from gateway.api.later import Later
from gateway.api.models import Models
from gateway.auth.keys import KeyRing, hash_of
from gateway.capture.digest import Digest
from gateway.capture.pricing import Prices
from gateway.compat.portkey_answers import answer_headers, answer_status
from gateway.config import schema
from gateway.errors import StoreUnavailable
from gateway.proxy.attempts import Attempts
from gateway.proxy.cache import ResponseCache
from gateway.proxy.custom_hosts import CustomHosts
from gateway.proxy.forward import Forwarder
from gateway.proxy.listing import Listings
from gateway.proxy.lookup import CachedAttempts, Lookups
from gateway.proxy.relay import Relay
from gateway.proxy.upstream.guard import AddressGuard
from gateway.proxy.upstreams import Upstream
from gateway.records import DEFAULT_KEY_ID, Exchange, Headers, UpstreamHealth
from gateway.routing.addresses import parse_network
from gateway.routing.plan import Leaf, Plan, compile_plan
from gateway.routing.table import RouteTable
from gateway.store.cache import KeptAnswers
from gateway.store.sqlite import SqliteDatabase
from gateway.store.writer import ExchangeWriter
from gateway.upstreams import forwarded_prefixes, health_of, note_targets, plain_plans, upstream_of

if TYPE_CHECKING:
    from gateway.compat.portkey_routing import RequestedPlans
    from gateway.feedback.steering import Steering
    from gateway.store.roller import Roller

_SETTLE_LIMIT_S = 2.0
_GC_ALLOCATIONS = 20_000  # Python's 2,000 or less is a few requests in flight; they free themselves
_PROBE_LIMIT_S = 3.0
_LOAD_AFTER_S = 0.5
"""Before our own endpoints load, unless somebody asks for them: loading holds Python's lock for most of half
a second, in which a forwarded request takes three times as long.
"""
_DRAIN_LIMIT_S = 10.0
_MIN_CAPTURE_BYTES = 64 * 1024
_DECIDES_ANSWERS = {"base_url", "provider", "headers", "query", "paths"}
"""Settings of an upstream with which it may answer differently: kept answers are for them as they are."""


class Gateway:
    """One process's gateway, open from `open` to `close`."""

    def __init__(self, settings: schema.Settings, database: SqliteDatabase) -> None:
        self._settings = settings
        self._database = database
        self._upstreams = {name: upstream_of(name, upstream) for name, upstream in settings.upstreams.items()}
        urls = {name: upstream.base_url for name, upstream in settings.upstreams.items()}
        self._writer = ExchangeWriter(
            database.writer,
            Digest(settings.capture, Prices(), urls),
            settings.store,
            wait=settings.capture.commit == "sync",
        )
        self._custom_hosts: CustomHosts[Upstream] = CustomHosts(
            AddressGuard([parse_network(text) for text in settings.custom_hosts.private_networks]),
            upstream_of,
        )
        self._answers = KeptAnswers(database, settings.cache, _now_ms)
        self._cache = ResponseCache(self._answers, settings.cache, _now_ms)
        self._routes = RouteTable(settings.routes, settings.upstreams)
        self._configs = {name: compile_plan(plan) for name, plan in settings.configs.items()}
        note_targets([*self._routes.plans, *self._configs.values()], self._upstreams)
        self._steering = self._steering_of_plans()
        self._capture_bytes = max(settings.capture.max_body_bytes, _MIN_CAPTURE_BYTES)
        self._requested_plans: RequestedPlans | None = None
        self._forwarder = self._proxy()
        self._keys = key_ring(settings.keys)
        self._roller: Roller | None = None
        self._endpoints = Later(self._make_endpoints)
        self._loading: asyncio.Task[None] | None = None
        self.app = Front(
            self._forwarder,
            self._endpoints,
            self._keys,
            models=self._models() if settings.routes else None,
            prefixes=forwarded_prefixes(settings),
        )

    @classmethod
    async def open(cls, settings: schema.Settings) -> Gateway:
        """Raises StoreUnavailable."""
        gateway = cls(settings, await SqliteDatabase.open(settings.store))
        if gateway._steering is not None:
            gateway._steering.start()
        gateway._loading = asyncio.create_task(gateway._load_endpoints(), name="endpoints")
        gateway._answers.start()
        # What was loaded so far stays: without this every full collection would walk it all again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_ALLOCATIONS, 20, 20)
        return gateway

    def _proxy(self) -> Forwarder:
        settings = self._settings
        routes = self._routes
        shares = self._steering.shares if self._steering is not None else lambda _: None
        attempts = Attempts(self._find, shares=shares, rng=random.Random())  # noqa: S311 - no secret
        return Forwarder(
            routes=routes,
            requested=self._requested,
            told=self._told,
            status_of=answer_status,
            plain=plain_plans(routes.plans, self._upstreams),
            attempts=CachedAttempts(self._cache, self._lookups(), attempts),
            relay=Relay(self._writer.record, self._capture_bytes),
            record_then=self._writer.record_then,
            error_body=error_body,
            server=settings.server,
        )

    def _steering_of_plans(self) -> Steering | None:
        """What works the weights out for plans that follow feedback; None where there is none."""
        settings = self._settings
        if not any(plan.is_steered for plan in (*settings.routes, *settings.configs.values())):
            return None
        from gateway.feedback.steering import Steering  # noqa: PLC0415 - for who steers

        routes = {f"routes[{place}]": plan for place, plan in enumerate(self._routes.plans)}
        configs = {f"configs.{name}": plan for name, plan in self._configs.items()}
        key_ids = [DEFAULT_KEY_ID, *settings.keys]
        return Steering(routes | configs, self._database, key_ids=key_ids, now_ms=_now_ms)

    def _lookups(self) -> Lookups:
        settings = self._settings
        plans = (*settings.routes, *settings.configs.values())
        return Lookups(
            settings.cache,
            by_header=settings.capture.bodies == "all",
            configured=[plan.cache for plan in plans if plan.cache is not None],
            find=self._find,
            described={
                name: upstream.model_dump(mode="json", include=_DECIDES_ANSWERS)
                for name, upstream in settings.upstreams.items()
            },
        )

    def _models(self) -> Models:
        settings = self._settings
        return Models(
            self._routes,
            {name: upstream.provider for name, upstream in settings.upstreams.items()},
            Listings(self._upstreams).entries,
            self._forwarder,
            self._writer.record,
            max_body_bytes=self._capture_bytes,
        )

    def _requested(
        self, asking: Mapping[bytes, bytes], choose: Callable[[str | None], Plan], model: str | None
    ) -> Plan:
        if self._requested_plans is None:
            from gateway.compat.portkey_routing import RequestedPlans  # noqa: PLC0415 - for who asks

            self._requested_plans = RequestedPlans(self._settings, self._configs)
        return self._requested_plans.plan(asking, choose, model)

    def _find(self, leaf: Leaf) -> Upstream:
        if leaf.base_url is not None:
            return self._custom_hosts.upstream(leaf.base_url, leaf.upstream)
        return self._upstreams[leaf.upstream]

    def _told(self, plan: Plan, exchange: Exchange) -> Headers:
        """What the answer's headers tell of the way it took."""
        upstream = self._settings.upstreams.get(exchange.upstream or "")
        vendor = None if upstream is None else upstream.preset or upstream.provider
        return answer_headers(plan, exchange.attempts, exchange.cache_status, vendor)

    async def _load_endpoints(self) -> None:
        await asyncio.sleep(_LOAD_AFTER_S)
        await self._endpoints.load()

    async def _make_endpoints(self) -> ASGIApp:
        """Our own endpoints and the figures they show: half of the gateway's modules, and SQLAlchemy.

        No forwarded request waits for them.
        """
        endpoints = await asyncio.to_thread(import_module, "gateway.endpoints")
        roller = await asyncio.to_thread(import_module, "gateway.store.roller")
        await asyncio.to_thread(import_module, "gateway.capture.price_list")
        gc.freeze()
        self._roller = roller.Roller(self._database)
        made: ASGIApp = endpoints.own_endpoints(
            self._database,
            self._settings,
            self._keys,
            report=self._report,
            count_now=self._roller.wake,
            steered=self._steering.report if self._steering is not None else tuple,
            upstream_health=self._upstream_health,
        )
        self._roller.start()
        return made

    async def _report(self) -> tuple[bool, dict[str, Any]]:
        """What /readyz says: whether a row can be written now, and what could not be recorded so far."""
        try:
            async with asyncio.timeout(_PROBE_LIMIT_S):
                await self._database.probe()
            writable = not self._writer.failing
        except (StoreUnavailable, TimeoutError):
            writable = False
        stats = self._writer.stats
        store = {
            "url": self._settings.store.url,
            "writable": writable,
            "queued_rows": self._writer.queued_rows,
            "queued_bytes": self._writer.queued_bytes,
            "stored": stats.stored,
            "stored_without_bodies": stats.reduced,
            "not_recorded": stats.dropped,
            "answered_before_commit": stats.late,
            "failed_writes": stats.failures,
            "last_error": stats.last_error,
        }
        upstreams = {
            name: {
                "base_url": upstream.base_url,
                "provider": upstream.provider,
                "transport": upstream.transport,
            }
            for name, upstream in self._settings.upstreams.items()
        }
        details = {"store": store, "upstreams": upstreams, "cache": self._cache_report()}
        forwarder = self._forwarder
        return writable, details | {"in_flight": forwarder.in_flight, "refused": forwarder.refused}

    def _cache_report(self) -> dict[str, Any]:
        used, kept = self._cache.stats, self._answers.stats
        return {
            "hits": used.hits,
            "shared": used.shared,
            "misses": used.misses,
            "refreshed": used.refreshed,
            "failed_lookups": used.failures,
            "too_large": used.too_large,
            "not_repeatable": used.not_repeatable,
            "kept": kept.kept,
            "kept_bytes": kept.size_bytes,
            "queued_bytes": self._answers.queued_bytes,
            "not_kept": kept.dropped,
            "removed": kept.removed,
            "failed_writes": kept.failures,
            "last_error": kept.last_error,
        }

    def _upstream_health(self) -> dict[str, UpstreamHealth]:
        now_s, now_ms = time.perf_counter(), _now_ms()
        return {name: health_of(upstream, now_s, now_ms) for name, upstream in self._upstreams.items()}

    async def close(self) -> None:
        """Wait for what was cancelled to settle, commit what is queued, close every connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_LIMIT_S):
                await self._forwarder.wait_idle()
        if self._loading is not None:
            self._loading.cancel()
        if self._roller is not None:
            await self._roller.close()
        if self._steering is not None:
            await self._steering.close()
        await self._answers.close(_SETTLE_LIMIT_S)
        await self._writer.close(_DRAIN_LIMIT_S)
        for upstream in self._upstreams.values():
            await upstream.transport.close()
        await self._custom_hosts.close()
        await self._database.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def key_ring(keys: Mapping[str, schema.Key]) -> KeyRing | None:
    if not keys:
        return None
    return KeyRing({key.digest(hash_of): name for name, key in keys.items()})
