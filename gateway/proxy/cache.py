"""The answer cache: a layer around opening an upstream's answer.

Who asks for what is in `gateway.routing.cacheuse` and `cachekey`; where answers are kept is handed in. When
that place fails, a request goes upstream as if there were no cache.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from gateway.capture.repeatable import is_event_stream, is_of_a_kind, is_repeatable
from gateway.config import schema
from gateway.errors import StoreUnavailable
from gateway.proxy.cached import CachedAnswer, Ending, Keeping, kept_headers
from gateway.proxy.upstream.base import UpstreamResponse
from gateway.records import KeptAnswer
from gateway.routing.cacheuse import Use

logger = logging.getLogger(__name__)

CacheStatus = Literal["hit", "miss", "refresh", "shared"]
"""As it is recorded. `shared`: another request that was in flight got the answer, and this one got it too."""

Opened = tuple[UpstreamResponse, CacheStatus]
Open = Callable[[], Awaitable[UpstreamResponse]]


class Answers(Protocol):
    """Where answers are kept."""

    async def find(self, key: bytes, max_age_ms: int) -> KeptAnswer | None:
        """The answer under `key` if it is not older. Raises StoreUnavailable."""
        ...

    def keep(self, key: bytes, answer: KeptAnswer) -> None:
        """Keep it soon, instead of the one that is there. Does not raise and does not wait."""
        ...


@dataclass(slots=True)
class CacheStats:
    """Counts since the start. `failures`: lookups that failed or took too long, and so were misses.

    `too_large` and `not_repeatable` answers went to their client, but not into the cache.
    """

    hits: int = 0
    shared: int = 0
    misses: int = 0
    refreshed: int = 0
    too_large: int = 0
    not_repeatable: int = 0
    failures: int = 0


class Lookup(NamedTuple):
    """What one request asks of the cache.

    `wait_s` limits the wait for another request's answer. `keeps` is asked once the upstream has begun to
    answer: whether this answer, if it is a good one, is to be kept.
    """

    key: bytes
    use: Use
    wait_s: float
    keeps: Callable[[], bool] = lambda: True


class ResponseCache:
    """`open` an answer: a kept one, or the upstream's, which is then kept.

    With `share_in_flight`, the first of several identical requests leads, and the others wait for its answer.
    If its client goes away, the next one leads. If its answer turns out to be none that can be shared, the
    others all go upstream at once: an outage must not make them queue up one after the other.
    """

    def __init__(self, answers: Answers, settings: schema.Cache, now_ms: Callable[[], int]) -> None:
        self._answers = answers
        self._settings = settings
        self._now_ms = now_ms
        self._flights: dict[bytes, _Flight] = {}
        self.stats = CacheStats()

    @property
    def in_flight(self) -> int:
        """How many answers are under way that others may wait for."""
        return len(self._flights)

    async def open(self, lookup: Lookup, ask: Open) -> Opened:
        """The answer for `lookup`; `ask` opens the upstream's, and what it raises is raised here.

        Whoever opened the answer closes it.
        """
        if lookup.use.refresh:
            self.stats.refreshed += 1
            return self._keeping(await ask(), lookup), "refresh"
        if lookup.use.share_in_flight:
            return await self._open_shared(lookup, ask)
        kept = await self._find(lookup)
        if kept is not None:
            return self._give(kept, "hit")
        return await self._miss(lookup, ask)

    async def _open_shared(self, lookup: Lookup, ask: Open) -> Opened:
        key, max_age_ms = lookup.key, lookup.use.max_age_ms
        deadline = asyncio.get_running_loop().time() + lookup.wait_s
        while (flight := self._flights.get(key)) is not None:
            landing = await flight.landing(deadline)
            if landing == "nobody leads":
                continue
            if isinstance(landing, KeptAnswer) and self._now_ms() - landing.created_at_ms <= max_age_ms:
                return self._give(landing, flight.status)
            return await self._miss(lookup, ask)
        flight = self._flights[key] = _Flight()
        try:
            kept = await self._find(lookup)
            if kept is not None:
                flight.status = "hit"
                self._land(key, flight, kept)
                return self._give(kept, "hit")
            return await self._miss(lookup, ask, flight)
        except asyncio.CancelledError:
            self._land(key, flight, "nobody leads")
            raise
        except BaseException:
            self._land(key, flight, None)
            raise

    async def _find(self, lookup: Lookup) -> KeptAnswer | None:
        try:
            async with asyncio.timeout(self._settings.lookup_timeout_s):
                return await self._answers.find(lookup.key, lookup.use.max_age_ms)
        except (StoreUnavailable, TimeoutError) as error:
            if not self.stats.failures:
                logger.warning(
                    "cache: a lookup failed, the upstream is asked: %s", error or "it took too long"
                )
            self.stats.failures += 1
            return None

    async def _miss(self, lookup: Lookup, ask: Open, flight: _Flight | None = None) -> Opened:
        self.stats.misses += 1
        return self._keeping(await ask(), lookup, flight), "miss"

    def _give(self, kept: KeptAnswer, status: CacheStatus) -> Opened:
        if status == "shared":
            self.stats.shared += 1
        else:
            self.stats.hits += 1
        age_s = (self._now_ms() - kept.created_at_ms) // 1000
        # A stream is sent in chunks as it was; its head may even have left, with a comment to keep it alive.
        return CachedAnswer(kept, age_s=age_s, has_length=not is_event_stream(kept.headers)), status

    def _keeping(
        self, answer: UpstreamResponse, lookup: Lookup, flight: _Flight | None = None
    ) -> UpstreamResponse:
        key, keeps = lookup.key, lookup.keeps()
        if not is_of_a_kind(answer.status, answer.headers):
            self.stats.not_repeatable += 1
            self._land(key, flight, None)
            return answer

        def on_end(how: Ending, body: bytes) -> None:
            kept = self._kept(answer, lookup.use, how, body)
            if kept is not None and keeps:
                self._answers.keep(key, kept)
            self._land(key, flight, "nobody leads" if kept is None and how == "left" else kept)

        return Keeping(answer, self._settings.max_entry_bytes, on_end)

    def _kept(self, answer: UpstreamResponse, use: Use, how: Ending, body: bytes) -> KeptAnswer | None:
        if how == "too_large":
            self.stats.too_large += 1
            return None
        if how != "complete":
            return None
        if not is_repeatable(answer.headers, body):
            self.stats.not_repeatable += 1
            return None
        now_ms = self._now_ms()
        return KeptAnswer(kept_headers(answer.headers), body, now_ms, now_ms + use.lifetime_ms)

    def _land(self, key: bytes, flight: _Flight | None, landing: Landing) -> None:
        if flight is not None and self._flights.get(key) is flight:
            del self._flights[key]
            flight.land(landing)


Landing = KeptAnswer | Literal["nobody leads"] | None
"""What those who wait are told: the answer, that one of them is to lead, or that there is none to share."""


class _Flight:
    """An upstream call that identical requests wait for."""

    def __init__(self) -> None:
        self.status: CacheStatus = "shared"
        self._landed: asyncio.Future[Landing] = asyncio.get_running_loop().create_future()

    def land(self, landing: Landing) -> None:
        self._landed.set_result(landing)

    async def landing(self, deadline: float) -> Landing:
        """None, too, where nothing has come by `deadline`, a time of the event loop's clock."""
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(self._landed)
        except TimeoutError:
            return None
