"""Upstreams put together from their settings: transport, paths, what passes of a client's headers, health.

A part of the composition root; nothing here decides anything about a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from gateway.config import schema
from gateway.providers.credentials import (
    CLIENT_CREDENTIALS,
    QUERY_CREDENTIALS,
    Dialect,
    credential_header,
    default_headers,
    takes_keys_differently,
)
from gateway.providers.paths import FORWARDED_PREFIXES, NATIVE_PREFIXES, UpstreamPaths
from gateway.proxy.headers import RequestFilter
from gateway.proxy.upstream.base import Transport, limits_of
from gateway.proxy.upstream.pool import NativeTransport
from gateway.proxy.upstreams import TargetState, Upstream
from gateway.records import TargetHealth, UpstreamHealth
from gateway.routing.budget import RetryBudget
from gateway.routing.health import Health
from gateway.routing.keys import KeyRotation
from gateway.routing.plan import Plan


def transport(name: str, settings: schema.Upstream) -> Transport:
    if settings.transport == "httpx":
        from gateway.proxy.upstream.httpx import HttpxTransport  # noqa: PLC0415 - memory only for who uses it

        return HttpxTransport(name, settings)
    return NativeTransport(name, settings)


def upstream_of(name: str, settings: schema.Upstream, via: Transport | None = None) -> Upstream:
    keys = settings.keys
    none: list[str | None] = [None]
    used = via or transport(name, settings)
    filters: dict[Dialect, list[RequestFilter]] = {
        dialect: [request_filter(settings, key, dialect) for key in keys or none]
        for dialect in ("openai", "native")
    }
    return Upstream(
        name=name,
        provider=settings.provider,
        paths=UpstreamPaths(
            name,
            urlsplit(settings.base_url).path.rstrip("/").encode("ascii"),
            native=native_paths(settings),
            query=settings.query,
            dropped=QUERY_CREDENTIALS.get(settings.provider, ()) if keys else (),
        ),
        transport=used,
        direct=used if isinstance(used, NativeTransport) else None,
        filters=filters["openai"],
        native=filters["native"] if takes_keys_differently(settings.provider) else None,
        keyed=lambda key, dialect: request_filter(settings, key, dialect),
        limits=limits_of(name, settings),
        drains=settings.on_disconnect == "drain",
        keys=KeyRotation(len(keys) or 1),
        has_own_key=bool(keys),
        budget=RetryBudget(settings.retry_budget, settings.min_retries_per_s),
        new_health=lambda: Health(settings.rest_after_failures, settings.rest_s, settings.max_rest_s),
    )


def native_paths(settings: schema.Upstream) -> dict[str, str]:
    """Where paths outside /v1 lead at an upstream."""
    return {**NATIVE_PREFIXES.get(settings.provider, {}), **settings.paths}


def forwarded_prefixes(settings: schema.Settings) -> list[str]:
    """The paths outside /v1 that lead to an upstream, or would if one had them."""
    named = {prefix for upstream in settings.upstreams.values() for prefix in upstream.paths}
    return sorted({*FORWARDED_PREFIXES, *(prefix for prefix in named if not prefix.startswith("/v1/"))})


def request_filter(settings: schema.Upstream, key: str | None, dialect: Dialect) -> RequestFilter:
    """What of a client's headers goes to an upstream, with `key` instead of its own where there is one."""
    added = [(header.encode(), value.encode()) for header, value in settings.headers.items()]
    if key is not None:
        added.append(credential_header(settings.provider, key, dialect))
    return RequestFilter(
        defaults=default_headers(settings.provider)[dialect],
        added=added,
        removed=frozenset() if key is None else CLIENT_CREDENTIALS,
        forwarded=[header.encode() for header in settings.forward_headers],
    )


def plain_plans(plans: tuple[Plan, ...], upstreams: Mapping[str, Upstream]) -> dict[Plan, Upstream]:
    """The plans that are one try at one target as it is, which need none of what the others cost."""
    found = {}
    for plan in plans:
        if plan.is_plain and plan.only is not None and len(upstreams[plan.only.upstream].filters) == 1:
            found[plan] = upstreams[plan.only.upstream]
    return found


def note_targets(plans: Iterable[Plan], upstreams: Mapping[str, Upstream]) -> None:
    """Let the upstreams know which of their models the configuration has plans for."""
    for plan in plans:
        for leaf in plan.leaves:
            upstreams[leaf.upstream].state(leaf.model).is_configured = True


def health_of(upstream: Upstream, now_s: float, now_ms: int) -> UpstreamHealth:
    """How it is at `now_s` of the clock that attempts are timed by, which is `now_ms` since the epoch."""
    states = upstream.states
    return UpstreamHealth(
        targets=tuple(
            target_health(
                upstream.name if model is None else f"{upstream.name}/{model}", state, now_s, now_ms
            )
            for model, state in states.items()
            if state.is_configured  # what a request asked for by itself is not for everybody to read
        ),
        in_flight=sum(state.in_flight for state in states.values()),
        retries_left=upstream.budget.left(now_s),
        keys=len(upstream.filters) if upstream.has_own_key else 0,
        keys_resting=len(upstream.keys.resting(now_s)),
    )


def target_health(label: str, state: TargetState, now_s: float, now_ms: int) -> TargetHealth:
    rest_s = state.health.badness(now_s)
    return TargetHealth(
        target=label,
        state=state.health.state(now_s),
        failures=state.health.failures,
        rests_until_ms=now_ms + int(rest_s * 1000) if rest_s else None,
        last_error=state.last_error,
        in_flight=state.in_flight,
    )
