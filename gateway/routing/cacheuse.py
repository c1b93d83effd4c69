"""What a route and a request together ask of the cache. Pure: headers in, a decision out.

Sources: Portkey docs, "Cache (Simple & Semantic)"; RFC 9111 section 5.2.1 for Cache-Control in a request.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.config.schema import CacheUse
from gateway.errors import InvalidHeader
from gateway.records import Headers

CACHE = b"x-portkey-cache"
FORCE_REFRESH = b"x-portkey-cache-force-refresh"
NAMESPACE = b"x-portkey-cache-namespace"
CACHE_CONTROL = b"cache-control"

_READ = frozenset({CACHE, FORCE_REFRESH, NAMESPACE, CACHE_CONTROL})
_ON = frozenset({"simple", "semantic", "true"})  # of answers to similar requests we have the same one's only
_OFF = frozenset({"false", "disabled", "none", "off"})
_NAMESPACE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")
_BY_DEFAULT = CacheUse()


class Use(NamedTuple):
    """How one request uses the cache.

    It takes answers up to `max_age_ms` old; its own is kept for `lifetime_ms`. `refresh`: ask the upstream
    all the same, and keep what it says.
    """

    max_age_ms: int
    lifetime_ms: int
    namespace: str | None
    refresh: bool
    share_in_flight: bool


def cache_use(plan: CacheUse | None, headers: Headers, *, by_header: bool) -> Use | None:
    """How the request with `headers` uses the cache, None for not at all. Raises InvalidHeader.

    `plan` is what its route or config says; without one the request itself may ask, if `by_header` lets it.
    It can always ask for less: no cache, younger answers, a namespace of its own.
    """
    found = {name: value.decode("latin-1").strip() for name, value in headers if name in _READ}
    wish = _is_wished(found[CACHE]) if CACHE in found and (by_header or plan is not None) else None
    if plan is None and wish:
        plan = _BY_DEFAULT
    if plan is None or wish is False:
        return None
    directives = _directives(found.get(CACHE_CONTROL, ""))
    if "no-store" in directives:
        return None
    max_age_s = min(plan.max_age_s, _max_age_s(directives.get("max-age")))
    return Use(
        max_age_ms=int(max_age_s * 1000),
        lifetime_ms=int(plan.max_age_s * 1000),
        namespace=_namespace(found.get(NAMESPACE)) or plan.namespace,
        refresh=_is_true(found.get(FORCE_REFRESH, "false")) or "no-cache" in directives or not max_age_s,
        share_in_flight=plan.share_in_flight,
    )


def _is_wished(value: str) -> bool:
    word = value.lower()
    if word in _ON or word in _OFF:
        return word in _ON
    raise InvalidHeader(
        f"x-portkey-cache: {value[:64]!r} is not known; use simple or false", param="x-portkey-cache"
    )


def _is_true(value: str) -> bool:
    match value.lower():
        case "true" | "1":
            return True
        case "false" | "0" | "":
            return False
    raise InvalidHeader(
        f"x-portkey-cache-force-refresh: {value[:64]!r} is not known; use true, or leave the header out",
        param="x-portkey-cache-force-refresh",
    )


def _namespace(value: str | None) -> str | None:
    if not value or _NAMESPACE.fullmatch(value):
        return value or None
    raise InvalidHeader(
        "x-portkey-cache-namespace: a namespace is 1 to 256 visible ASCII characters, this one "
        f"{f'has {len(value)}' if len(value) > 256 else 'has others'}; shorten or encode it",
        param="x-portkey-cache-namespace",
    )


def _directives(value: str) -> dict[str, str]:
    parts = [part.partition("=") for part in value.lower().split(",")]
    return {name.strip(): argument.strip().strip('"') for name, _, argument in parts}


def _max_age_s(argument: str | None) -> float:
    if argument is None:
        return float("inf")
    if not argument.isdecimal() or len(argument) > 18:
        raise InvalidHeader(
            f"cache-control: max-age={argument[:64]!r} is not a number of seconds; send e.g. max-age=3600",
            param="cache-control",
        )
    return int(argument)
