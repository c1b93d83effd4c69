"""The task that counts exchanges and feedback by hour, after the fact: when it is quiet, or when asked to.

It decides when; what is counted is in `exchange_hours` and `feedback_hours`. Several processes may run one
over the same database: a step that another has taken meanwhile is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from gateway.errors import StoreUnavailable
from gateway.store import days, exchange_hours, feedback_hours
from gateway.store.base import Database
from gateway.store.hours import Stale, What, next_stale, settle

logger = logging.getLogger(__name__)

STEP_EXCHANGES = 1_000
"""Counted in about 20 ms, and written in less."""
PAUSE_S = 10.0
"""Between two looks at whether there is something to count."""
QUIET_PER_S = 50
"""With more exchanges a second than this, counting waits: the requests come first."""
MAX_WAITING = 100_000
"""Exchanges that may wait for a quiet time."""
_IN_ORDER: tuple[What, ...] = ("feedback", "exchange day", "feedback day")
"""Days when their hours have settled."""
_SHARE = 4
"""How many times as long as a step the pause after it is; nobody waits for the figures then."""


class Roller:
    """Counts from `start` to `close`. `wake` says that somebody looks at the figures."""

    def __init__(self, database: Database, *, pause_s: float = PAUSE_S) -> None:
        self._database = database
        self._pause_s = pause_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen = 0
        self._looked_s = time.monotonic()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="roller")

    def wake(self) -> None:
        """Count what there is now, however busy it is."""
        self._woken.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def catch_up(self) -> None:
        """Count all there is. Raises StoreUnavailable."""
        while await self.step():
            pass

    async def step(self) -> bool:
        """Count some more; whether there was anything. Raises StoreUnavailable."""
        step = await self._database.read(
            lambda connection: exchange_hours.next_step(connection, STEP_EXCHANGES)
        )
        if step is not None:
            await self._database.write(lambda connection: exchange_hours.add(connection, step))
            return True
        for what in _IN_ORDER:
            stale = await self._database.read(lambda connection, kind=what: next_stale(connection, kind))  # type: ignore[misc]
            if stale is not None:
                await (self._hour(stale) if what == "feedback" else self._day(stale))
                return True
        return False

    async def _hour(self, stale: Stale) -> None:
        counted = await self._database.read(
            lambda connection: feedback_hours.count(connection, stale.key_id, stale.hour)
        )
        await self._database.write(lambda connection: feedback_hours.replace(connection, stale, counted))

    async def _day(self, stale: Stale) -> None:
        day = await self._database.read(lambda connection: days.add_up(connection, stale))
        is_current = await self._database.write(lambda connection: days.clear(connection, stale))
        for some in day.portions():
            if not is_current:
                return
            is_current = await self._database.write(
                lambda connection, rows=some: days.write(connection, stale, rows)  # type: ignore[misc]
            )
        await self._database.write(lambda connection: settle(connection, stale))

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s):
                    await self._woken.wait()
            is_asked = self._woken.is_set()
            self._woken.clear()
            try:
                if is_asked or await self._is_time():
                    await self._count(is_asked=is_asked)
            except StoreUnavailable as error:
                logger.debug("roller: %s", error.message)
            except Exception:
                logger.exception("roller: counting by hour failed, it is tried again later")

    async def _count(self, *, is_asked: bool) -> None:
        """Count all there is; unless somebody asked for it, only for as long as it is quiet."""
        started_s = time.monotonic()
        while await self.step():
            taken_s = time.monotonic() - started_s
            is_asked = is_asked or self._woken.is_set()
            await asyncio.sleep(0 if is_asked else taken_s * _SHARE)
            if not is_asked and not await self._is_time():
                return
            started_s = time.monotonic()

    async def _is_time(self) -> bool:
        counted, newest = await self._database.read(exchange_hours.progress)
        now_s = time.monotonic()
        arrived, passed_s = newest - self._seen, now_s - self._looked_s
        self._seen, self._looked_s = newest, now_s
        return arrived <= QUIET_PER_S * max(passed_s, 1.0) or newest - counted > MAX_WAITING
