"""Kept answers in the database: found by key, written behind the requests, bounded by size.

What is worth keeping and who may have it is decided before. A lost answer costs an upstream call and nothing
else, so what cannot be written is counted and forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.config import schema
from gateway.errors import StoreUnavailable
from gateway.jsonio import loads
from gateway.records import Headers, KeptAnswer
from gateway.store import sql
from gateway.store.sqlite import Session, SqliteDatabase

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.answer_rows import Written

logger = logging.getLogger(__name__)

TOUCH_MS = 600_000
"""How exactly it is known when an answer was used last: noting every use would make every hit a write."""
CLEAN_S = 60.0
"""Between two looks for answers that have expired, while there are any answers."""
MAX_BATCH_BYTES = 2 * 1024 * 1024
MAX_BATCH_ROWS = 64
"""Written in one transaction: exchanges wait meanwhile."""
MAX_TOUCHED_ROWS = 500
"""Whose use is noted in one transaction, for the same reason."""

_PAUSE_S = 1.0
_MAX_TOUCHED = 10_000
_MAX_LOOKED_UP = 64


@dataclass(slots=True)
class AnswersStats:
    """Counts since the start. `dropped` answers were not kept: queue full, or the write failed.

    `size_bytes` is what all kept answers take, as of this process's last write; None before it.
    """

    kept: int = 0
    dropped: int = 0
    removed: int = 0
    failures: int = 0
    last_error: str | None = None
    size_bytes: int | None = None


class _Lookup(NamedTuple):
    key: bytes
    max_age_ms: int
    found: asyncio.Future[KeptAnswer | None]


class KeptAnswers:
    """`find` and `keep` from `start` to `close`. Several processes may do so over the same database."""

    def __init__(
        self,
        database: SqliteDatabase,
        settings: schema.Cache,
        now_ms: Callable[[], int],
        *,
        clean_s: float = CLEAN_S,
    ) -> None:
        self._database = database
        self._settings = settings
        self._now_ms = now_ms
        self._clean_s = clean_s
        self._reader: Session | None = None
        self._lookups: list[_Lookup] = []
        self._looking: asyncio.Task[None] | None = None
        self._queue: dict[bytes, KeptAnswer] = {}
        self._queued_bytes = 0
        self._touched: dict[bytes, None] = {}
        self._arrived = asyncio.Event()
        self._written_all = asyncio.Event()
        self._written_all.set()
        self._writing: asyncio.Task[None] | None = None
        self.stats = AnswersStats()

    def start(self) -> None:
        self._writing = asyncio.create_task(self._run(), name="answer cache")

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    async def close(self, limit_s: float) -> None:
        """Write what is queued, for at most `limit_s` seconds, then stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._written_all.wait()
        for task in (self._writing, self._looking):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self._reader is not None:
            await self._reader.close()

    # --- finding ---

    async def find(self, key: bytes, max_age_ms: int) -> KeptAnswer | None:
        """The answer under `key`, unless it has expired or is older. Raises StoreUnavailable."""
        queued = self._queue.get(key)
        if queued is not None:
            end_ms = min(queued.created_at_ms + max_age_ms, queued.expires_at_ms - 1)
            return queued if self._now_ms() <= end_ms else None
        found: asyncio.Future[KeptAnswer | None] = asyncio.get_running_loop().create_future()
        self._lookups.append(_Lookup(key, max_age_ms, found))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await found

    async def _look(self) -> None:
        """One trip to the connection's thread for all who wait, so that never more than one is under way."""
        try:
            while self._lookups:
                waiting = [lookup for lookup in self._lookups[:_MAX_LOOKED_UP] if not lookup.found.done()]
                del self._lookups[:_MAX_LOOKED_UP]
                try:
                    answers = await self._read(waiting) if waiting else []
                except (sqlite3.Error, StoreUnavailable) as error:
                    self._refuse(waiting, error)
                    continue
                for lookup, kept in zip(waiting, answers, strict=True):
                    if not lookup.found.done():
                        lookup.found.set_result(kept)
        finally:
            self._looking = None

    async def _read(self, waiting: Sequence[_Lookup]) -> list[KeptAnswer | None]:
        if self._reader is None:  # a connection costs memory, which is for who uses the cache
            self._reader = await self._database.another_session()
        now_ms = self._now_ms()
        rows = await self._reader.run(lambda raw: [_find(raw, lookup, now_ms) for lookup in waiting])
        for lookup, row in zip(waiting, rows, strict=True):
            if row is not None and now_ms - row.used_at_ms > TOUCH_MS and len(self._touched) < _MAX_TOUCHED:
                self._touched[lookup.key] = None
        return [row and row.answer for row in rows]

    def _refuse(self, waiting: Sequence[_Lookup], error: Exception) -> None:
        self.stats.last_error = str(error)
        for lookup in waiting:
            if not lookup.found.done():
                lookup.found.set_exception(StoreUnavailable(f"the cache cannot be read: {error}"))

    # --- keeping ---

    def keep(self, key: bytes, kept: KeptAnswer) -> None:
        """Write it soon. Does not raise; an answer there is no room for is dropped and counted."""
        replaced = self._queue.pop(key, None)
        if replaced is not None:
            self._queued_bytes -= replaced.size_bytes
        room = min(self._settings.queue_max_bytes - self._queued_bytes, self._settings.max_bytes)
        if kept.size_bytes > room:
            self.stats.dropped += 1
        else:
            self._queue[key] = kept
            self._queued_bytes += kept.size_bytes
            self._written_all.clear()
            self._arrived.set()

    async def _run(self) -> None:
        has_answers = True  # another process, or an earlier one, may have left some
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._clean_s if has_answers else None):
                    await self._arrived.wait()
            try:
                has_answers = await self._write()
            except Exception as error:  # noqa: BLE001 - the outermost loop: it is counted, and what waits comes next
                self._failed(error)
                await asyncio.sleep(_PAUSE_S)

    async def _write(self) -> bool:
        """Write what is queued and remove what is too much, in small steps; whether any answers are left."""
        is_over = True
        while self._queue or self._touched or is_over:
            batch = self._next_batch()
            touched = [self._touched.popitem()[0] for _ in range(min(len(self._touched), MAX_TOUCHED_ROWS))]
            if not (batch or touched) and not await self._database.read(_has_answers):
                self.stats.size_bytes = 0
                break
            done = await self._commit(batch, touched)
            is_over = done.is_over
        if not self._queue:
            self._arrived.clear()
            self._written_all.set()
        return bool(self.stats.size_bytes)

    async def _commit(self, batch: dict[bytes, KeptAnswer], touched: list[bytes]) -> Written:
        now_ms, max_bytes = self._now_ms(), self._settings.max_bytes

        def write(connection: Connection) -> Written:
            from gateway.store import answer_rows  # noqa: PLC0415 - SQLAlchemy, as in `_has_answers`

            return answer_rows.write(connection, batch, touched, now_ms=now_ms, max_bytes=max_bytes)

        try:
            done = await self._database.write(write)
        except BaseException:
            self.stats.dropped += len(batch)
            raise
        finally:
            self._forget(batch)
        self.stats.kept += len(batch)
        self.stats.removed += done.removed
        self.stats.size_bytes = done.size_bytes
        return done

    def _next_batch(self) -> dict[bytes, KeptAnswer]:
        batch: dict[bytes, KeptAnswer] = {}
        size = 0
        for key, kept in self._queue.items():
            size += kept.size_bytes
            if batch and (size > MAX_BATCH_BYTES or len(batch) == MAX_BATCH_ROWS):
                break
            batch[key] = kept
        return batch

    def _forget(self, batch: dict[bytes, KeptAnswer]) -> None:
        """Take a batch out of the queue, but not an answer that replaced one of it meanwhile."""
        for key, kept in batch.items():
            if self._queue.get(key) is kept:
                del self._queue[key]
                self._queued_bytes -= kept.size_bytes

    def _failed(self, error: Exception) -> None:
        if not self.stats.failures:
            logger.error("cache: answers cannot be written: %s", error)
        self.stats.failures += 1
        self.stats.last_error = str(error) or type(error).__name__
        if not self._queue:
            self._arrived.clear()
            self._written_all.set()


# --- on the database's threads ---


class _Found(NamedTuple):
    answer: KeptAnswer
    used_at_ms: int


def _find(raw: sqlite3.Connection, lookup: _Lookup, now_ms: int) -> _Found | None:
    values = {"key": lookup.key, "oldest_ms": now_ms - lookup.max_age_ms, "now_ms": now_ms}
    row = raw.execute(sql.FIND_ANSWER, values).fetchone()
    if row is None:
        return None
    headers, body, created_at_ms, expires_at_ms, used_at_ms = row
    return _Found(KeptAnswer(_headers(headers), body, created_at_ms, expires_at_ms), used_at_ms)


def _headers(stored: str) -> Headers:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in loads(stored)]


def _has_answers(connection: Connection) -> bool:
    from gateway.store import answer_rows  # noqa: PLC0415 - SQLAlchemy, which the start does not wait for

    return answer_rows.has_answers(connection)
