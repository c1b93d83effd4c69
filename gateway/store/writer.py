"""The batch writer: finished exchanges in, one transaction for everything that waits.

It decides when to write and what happens when that fails; the statements are in `exchanges.py`. It never
raises at a caller: traffic goes on without the store, rows wait in a bounded queue and are tried again, and
what could not be kept is counted.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from gateway.config import schema
from gateway.records import NO_PAYLOAD, Exchange, ExchangeEntry, ExchangeRow
from gateway.store.exchanges import Adopt, insert_batch, is_stored
from gateway.store.sqlite import Session

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger(__name__)

MAX_BATCH_ROWS = 256
_LINGER_S = 0.002
_LINGER_FROM_ROWS = 4
_ROW_OVERHEAD_BYTES = 2048

Digest = Callable[[Exchange], ExchangeEntry]

# What these say is about one row, not about the database: the row is set aside, the others are stored.
_ROW_FAULTS = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError,
    sqlite3.NotSupportedError, OverflowError, ValueError, TypeError,
)  # fmt: skip


@dataclass(slots=True)
class WriterStats:
    """Counts since the start, for /readyz and the log.

    `stored` rows are committed, `reduced` of them without their bodies because those could not be stored;
    `dropped` rows are lost (queue full, or refused even when reduced); `late` answers left before their
    commit.
    """

    stored: int = 0
    reduced: int = 0
    dropped: int = 0
    late: int = 0
    failures: int = 0
    last_error: str | None = field(default=None)


@dataclass(slots=True)
class _Outcome:
    reduced: int = 0
    lost: int = 0


@dataclass(slots=True)
class _Waiting:
    exchange: Exchange
    size: int
    then: Callable[[], None] | None
    """What waits for the commit; None once it was told."""

    def tell(self) -> bool:
        """Let the answer go. Returns whether it was still waiting."""
        then, self.then = self.then, None
        if then is None:
            return False
        try:
            then()
        except Exception:
            logger.exception("store: the answer of exchange %s could not be sent", self.exchange.id)
        return True


class _Done:
    """Awaitable, and done: what a future costs is saved where there is nothing to wait for."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


_DONE = _Done()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class ExchangeWriter:
    """Group commit. `record` is the sink that the proxy hands exchanges to.

    `digest` turns an exchange into its rows, on the database's thread. With `wait` false (capture.commit:
    background) an answer never waits for its commit.
    """

    def __init__(self, session: Session, digest: Digest, settings: schema.Store, *, wait: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._digest = digest
        self._adopt = adopting(session)
        self._settings = settings
        self._wait = wait
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._arrived = asyncio.Event()
        self._stored_all = asyncio.Event()
        self._stored_all.set()
        self._failing = False
        self._linger = False
        self.stats = WriterStats()
        self._task = asyncio.create_task(self._run(), name="exchange-writer")

    @property
    def failing(self) -> bool:
        return self._failing

    @property
    def queued_rows(self) -> int:
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    def record(self, exchange: Exchange) -> Awaitable[None]:
        """Store `exchange`; done once it is committed, or queued if the store cannot take it now."""
        committed = self._loop.create_future()
        waits = self._enqueue(exchange, partial(_resolve, committed))
        return committed if waits else _DONE

    def record_then(self, exchange: Exchange, then: Callable[[], None]) -> None:
        """The same, calling `then` once it is done."""
        if not self._enqueue(exchange, then):
            then()

    def _enqueue(self, exchange: Exchange, then: Callable[[], None]) -> bool:
        """Returns whether `then` is to be waited for; if not, it is not called."""
        request, response = exchange.request, exchange.response
        size = len(request.head) + len(request.tail) + len(response.head) + len(response.tail)
        size += _ROW_OVERHEAD_BYTES
        if self._failing and self._is_full(size):
            self._drop(1, "the store does not take them and the queue is full")
            return False
        # A full queue of a healthy store is a reason to slow down.
        waits = (self._wait or self._is_full(size)) and not self._failing
        self._queue.append(_Waiting(exchange, size, then if waits else None))
        self._queued_bytes += size
        self.stats.late += self._failing
        if not self._arrived.is_set():
            self._arrived.set()
            self._stored_all.clear()
        return waits

    def _is_full(self, size: int) -> bool:
        settings = self._settings
        if not self._queue:
            return False
        return (
            len(self._queue) >= settings.queue_max_rows
            or self._queued_bytes + size > settings.queue_max_bytes
        )

    async def close(self, limit_s: float) -> None:
        """Store what is queued, for at most `limit_s` seconds, then stop. Rows left over count as dropped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._stored_all.wait()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._queue:
            self._drop(len(self._queue), "the gateway stopped before the store took them")

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if self._linger:
                await asyncio.sleep(_LINGER_S)
            batch = list(islice(self._queue, MAX_BATCH_ROWS))
            try:
                await self._store(batch)
            except Exception as error:  # noqa: BLE001 - the outermost loop: whatever it was, it is counted and tried again
                self._failed(error)
                await asyncio.sleep(self._settings.retry_s)
            else:
                self._succeeded(batch)

    async def _store(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        patience = loop.call_later(self._settings.commit_timeout_s, self._give_up_waiting)
        try:
            outcome = await self._session.run(lambda raw: self._write(raw, batch))
        finally:
            patience.cancel()
        if outcome.lost:
            self._drop(outcome.lost, "the store refused them even without bodies")
        self.stats.stored += len(batch) - outcome.lost
        self.stats.reduced += outcome.reduced

    def _write(self, connection: sqlite3.Connection, batch: list[_Waiting]) -> _Outcome:
        """On the database's thread."""
        outcome = _Outcome()
        entries = [self._entry(waiting.exchange, outcome) for waiting in batch]
        try:
            insert_batch(connection, entries, self._adopt)
        except _ROW_FAULTS:
            for waiting, entry in zip(batch, entries, strict=True):
                self._write_one(connection, waiting.exchange, entry, outcome)
        return outcome

    def _entry(self, exchange: Exchange, outcome: _Outcome) -> ExchangeEntry:
        try:
            return self._digest(exchange)
        except Exception:
            logger.exception(
                "store: exchange %s cannot be read, it is stored without its bodies", exchange.id
            )
            outcome.reduced += 1
            return self._digest(_reduced(exchange))

    def _write_one(
        self, connection: sqlite3.Connection, exchange: Exchange, entry: ExchangeEntry, outcome: _Outcome
    ) -> None:
        """Store of an exchange what can be: if need be without its bodies, without feedback that waits for
        it, or without both.
        """
        for adopt in (self._adopt, _join_nothing):
            for is_reduced in (False, True):
                tried = self._digest(_reduced(exchange)) if is_reduced else entry
                try:
                    insert_batch(connection, [tried], adopt)
                except _ROW_FAULTS as error:
                    if is_stored(connection, exchange.id):  # by an earlier try whose commit failed to report
                        return
                    logger.warning("store: exchange %s cannot be stored as it is: %s", exchange.id, error)
                else:
                    outcome.reduced += is_reduced
                    return
        logger.error("store: exchange %s is lost", exchange.id)
        outcome.lost += 1

    def _succeeded(self, batch: list[_Waiting]) -> None:
        for waiting in batch:
            self._queue.popleft()
            self._queued_bytes -= waiting.size
            waiting.tell()
        # A batch of several means that requests arrive while one is written: waiting a moment for more
        # then saves more hops between threads than it costs, and at concurrency 1 nothing waits.
        self._linger = len(batch) >= _LINGER_FROM_ROWS
        if self._failing:
            logger.warning("store: writing again; %d rows waited", len(self._queue) + len(batch))
        self._failing = False
        if not self._queue:
            self._arrived.clear()
            self._stored_all.set()

    def _failed(self, error: Exception) -> None:
        self.stats.failures += 1
        self.stats.last_error = str(error) or type(error).__name__
        if not self._failing:
            logger.error("store: cannot write, trying again until it works: %s", self.stats.last_error)
        self._let_answers_go()

    def _give_up_waiting(self) -> None:
        logger.error(
            "store: a commit takes longer than store.commit_timeout_s; answers no longer wait for it"
        )
        self.stats.last_error = "a commit takes longer than store.commit_timeout_s"
        self._let_answers_go()

    def _let_answers_go(self) -> None:
        self._failing = True
        for waiting in list(self._queue):
            self.stats.late += waiting.tell()

    def _drop(self, rows: int, reason: str) -> None:
        if self.stats.dropped == 0 or self.stats.dropped // 1000 != (self.stats.dropped + rows) // 1000:
            logger.error("store: %d rows not recorded so far: %s", self.stats.dropped + rows, reason)
        self.stats.dropped += rows


def adopting(session: Session) -> Adopt:
    """Joins feedback to exchanges that are being stored on `session`'s connection."""

    def join(connection: sqlite3.Connection, rows: Sequence[ExchangeRow]) -> None:
        from gateway.store.feedback import adopt  # noqa: PLC0415 - SQLAlchemy, which the start does not wait for

        def work(core: Connection) -> None:
            # Begun by name, so that the end commits even where no statement was needed: SQLAlchemy knows of
            # no transaction before its own first statement, and closing rolls back what it does not know.
            with core.begin():
                for key_id in {row.key_id for row in rows}:
                    adopt(core, key_id, [(row.id, row.trace_id) for row in rows if row.key_id == key_id])

        session.with_core(connection, work)

    return join


def _join_nothing(_connection: sqlite3.Connection, _rows: Sequence[ExchangeRow]) -> None:
    pass


def _reduced(exchange: Exchange) -> Exchange:
    """The same exchange without anything a client or an upstream wrote at length."""
    return replace(
        exchange,
        keep_bodies=False,
        error_message=None,
        body_user=None,
        body_metadata=None,
        metadata=None,
        tags=(),
        requested_model=None,
        path=exchange.path.encode("ascii", "replace").decode(),
        request=NO_PAYLOAD._replace(size=exchange.request.size),
        response=NO_PAYLOAD._replace(size=exchange.response.size),
        request_headers=[],
        response_headers=[],
    )
