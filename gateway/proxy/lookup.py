"""Whether and how one request uses the cache, and the attempts behind it where it does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from gateway.config import schema
from gateway.jsonio import JSON
from gateway.providers.credentials import CLIENT_CREDENTIALS
from gateway.proxy.attempts import Ask, Attempts
from gateway.proxy.cache import Lookup, ResponseCache
from gateway.proxy.upstream.base import UpstreamResponse
from gateway.proxy.upstreams import Upstream
from gateway.routing.cachekey import Asked, cache_key, is_cacheable, meant, plan_identity
from gateway.routing.cacheuse import CACHE, cache_use
from gateway.routing.plan import Leaf, Plan

_COUNTS_ALWAYS = frozenset({b"content-encoding"})


class Lookups:
    """`of` a request: how it is looked up, None where it does not use the cache.

    `configured` are what routes and named configs say of the cache; what a request itself brings counts only
    with `by_header`. `described` has what of each upstream's settings decides what it answers.
    """

    def __init__(
        self,
        settings: schema.Cache,
        *,
        by_header: bool,
        configured: Collection[schema.CacheUse],
        find: Callable[[Leaf], Upstream],
        described: Mapping[str, JSON],
    ) -> None:
        self._is_on = settings.max_bytes > 0 and settings.max_entry_bytes > 0
        self._by_header = settings.by_header and by_header
        self._configured = tuple(configured)
        self._find = find
        self._described = described
        self._key_headers = _COUNTS_ALWAYS | {name.encode() for name in settings.key_headers}
        self._key_and_credentials = self._key_headers | CLIENT_CREDENTIALS

    def of(self, ask: Ask, plan: Plan) -> Lookup | None:
        """Raises InvalidHeader. Nothing is looked up of a request that asks for nothing to be kept of it."""
        recording, body = ask.recording, ask.body
        is_usable = self._is_on and recording.keep_bodies and isinstance(body, bytes)
        if not is_usable or not is_cacheable(recording.method, recording.path):
            return None
        use = cache_use(self._said(plan), recording.request_headers, by_header=self._by_header)
        if use is None:
            return None
        leaves = meant(plan.root, ask.context)
        if not leaves:
            return None
        asked = Asked(
            key_id=recording.key_id,
            plan=plan_identity(leaves, self._described),
            method=recording.method,
            target=ask.raw_path + b"?" + ask.query if ask.query else ask.raw_path,
            headers=ask.client_headers,
            key_headers=self._that_count(leaves),
            body=body if isinstance(body, bytes) else b"",
            namespace=use.namespace,
        )
        labels = {leaf.label for leaf in leaves}
        return Lookup(
            cache_key(asked),
            use,
            wait_s=self._wait_s(leaves[0], plan),
            keeps=lambda: recording.target is None or recording.target in labels,
        )

    def _said(self, plan: Plan) -> schema.CacheUse | None:
        is_ours = self._by_header or any(plan.cache is said for said in self._configured)
        return plan.cache if is_ours else None

    def _that_count(self, leaves: Collection[Leaf]) -> Collection[bytes]:
        """Where an upstream is called with the client's own credential, no other client gets its answers."""
        if any(leaf.api_key is None and not self._find(leaf).has_own_key for leaf in leaves):
            return self._key_and_credentials
        return self._key_headers

    def _wait_s(self, leaf: Leaf, plan: Plan) -> float:
        wait_s = leaf.first_byte_timeout_s or self._find(leaf).limits.first_byte_s
        return wait_s if plan.deadline_s is None else min(wait_s, plan.deadline_s)


def asks_for_cache(asking: Mapping[bytes, bytes] | None) -> bool:
    """Whether a request whose plan says nothing of the cache may want it all the same."""
    return asking is not None and CACHE in asking


class CachedAttempts:
    """The attempts at a plan, behind the cache for those requests that use it."""

    def __init__(self, cache: ResponseCache, lookups: Lookups, attempts: Attempts) -> None:
        self._cache = cache
        self._lookups = lookups
        self._attempts = attempts

    async def open(self, ask: Ask, plan: Plan) -> UpstreamResponse:
        """As `Attempts.open`. What came of the cache is in the recording."""
        lookup = self._lookups.of(ask, plan)
        if lookup is None:
            return await self._attempts.open(ask, plan)
        recording = ask.recording
        recording.cache_status = "refresh" if lookup.use.refresh else "miss"
        response, recording.cache_status = await self._cache.open(
            lookup, lambda: self._attempts.open(ask, plan)
        )
        return response
