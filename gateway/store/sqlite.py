"""SQLite: one connection that writes, a few that read, each on a thread of its own (aiosqlite).

Connections, transactions and error translation live here; statements live beside their nouns.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from uuid import uuid4

import aiosqlite

from gateway.config import schema
from gateway.errors import StoreUnavailable
from gateway.store.migrate import migrate

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store.core import Core

T = TypeVar("T")

logger = logging.getLogger(__name__)

READERS = 2
_PROGRESS_STEPS = 20_000  # SQLite virtual machine steps between two looks at the clock: about a millisecond
_CLOSE_LIMIT_S = 10.0
_PROBE = "UPDATE alembic_version SET version_num = version_num"


class Session:
    """One SQLite connection, the thread that owns it, and SQLAlchemy on top of it."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._core: Core | None = None

    @classmethod
    async def open(cls, location: str, settings: schema.Store) -> Session:
        """Connect to `location`, a SQLite URI. Raises sqlite3.Error."""
        connect = partial(
            sqlite3.connect,
            location,
            uri=True,
            isolation_level=None,
            timeout=settings.busy_timeout_s,
            check_same_thread=False,
            cached_statements=256,
        )
        connection = aiosqlite.Connection(connect, iter_chunk_size=64)
        session = cls(await connection)
        try:
            await session.run(partial(_prepare, synchronous=settings.synchronous))
        except sqlite3.Error:
            await session.close()
            raise
        return session

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread: one hop there and one back, however much it does."""
        # aiosqlite offers a method for each statement and none for a whole function; SQLAlchemy's dialect for
        # it reaches in the same way. test_sqlite.py fails if an upgrade takes these two names away.
        connection = self._connection
        return await connection._execute(work, connection._conn)  # type: ignore[no-untyped-call, no-any-return]

    async def run_core(self, work: Callable[[Connection], T]) -> T:
        """The same, with the connection as SQLAlchemy Core sees it."""
        return await self.run(lambda raw: self.with_core(raw, work))

    def with_core(self, raw: sqlite3.Connection, work: Callable[[Connection], T]) -> T:
        """The same on the connection's thread, whose connection is `raw`."""
        if self._core is None:
            from gateway.store.core import Core  # noqa: PLC0415 - SQLAlchemy, which the start does not wait for

            self._core = Core(raw)
        return self._core.run(work)

    async def close(self) -> None:
        await asyncio.wait_for(self._connection.close(), _CLOSE_LIMIT_S)


def _try_to_open(location: str) -> None:
    """Raises sqlite3.Error, here and not in aiosqlite, whose thread would go on talking to a closed loop."""
    connection = sqlite3.connect(location, uri=True)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, *, synchronous: str) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL" if synchronous == "full" else "PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA journal_size_limit=67108864")
    # Pages that many batches touch are then copied to the database file once in 16 MiB, not once in 4.
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    connection.execute("PRAGMA cache_size=-8192")
    connection.execute("PRAGMA temp_store=MEMORY")


def _probe(connection: sqlite3.Connection) -> None:
    connection.execute(_PROBE)


class SqliteDatabase:
    """The embedded store; see `gateway.store.base.Database` for the contract."""

    def __init__(
        self, location: str, writer: Session, readers: list[Session], settings: schema.Store
    ) -> None:
        self._location = location
        self._settings = settings
        self.writer = writer
        self._readers = readers
        self._idle: asyncio.LifoQueue[Session] = asyncio.LifoQueue()
        for reader in readers:
            self._idle.put_nowait(reader)
        self._read_timeout_s = settings.read_timeout_s

    @classmethod
    async def open(cls, settings: schema.Store) -> SqliteDatabase:
        """Open the database, create or migrate it. Raises StoreUnavailable."""
        sessions: list[Session] = []
        try:
            location = locate(settings.url)
            await asyncio.to_thread(_try_to_open, location)
            while len(sessions) < 1 + READERS:
                sessions.append(await Session.open(location, settings))
            await sessions[0].run(migrate)
        except (sqlite3.Error, OSError) as error:
            for session in sessions:
                await session.close()
            raise StoreUnavailable(f"store.url: cannot open {settings.url}: {_reason(error)}") from error
        return cls(location, sessions[0], sessions[1:], settings)

    async def another_session(self) -> Session:
        """A connection of the caller's own, who closes it. Raises StoreUnavailable."""
        try:
            return await Session.open(self._location, self._settings)
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    async def write(self, work: Callable[[Connection], T]) -> T:
        def transaction(connection: Connection) -> T:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            result = work(connection)
            connection.commit()
            return result

        try:
            return await self.writer.run_core(transaction)
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    async def read(self, work: Callable[[Connection], T]) -> T:
        deadline = time.monotonic() + self._read_timeout_s

        def snapshot(connection: Connection) -> T:
            raw = cast("sqlite3.Connection", connection.connection.dbapi_connection)
            raw.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)
            try:
                connection.exec_driver_sql("BEGIN")
                return work(connection)
            finally:
                raw.set_progress_handler(None, 0)

        try:
            async with asyncio.timeout(self._read_timeout_s):
                session = await self._idle.get()
        except TimeoutError as error:
            raise _unavailable(error) from error
        try:
            return await session.run_core(snapshot)
        except sqlite3.Error as error:
            raise _unavailable(error) from error
        finally:
            self._idle.put_nowait(session)

    async def probe(self) -> None:
        """Commit a write that changes nothing. Raises StoreUnavailable where none can be committed."""
        try:
            await self.writer.run(_probe)
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log into the database file."""
        for session in (*self._readers, self.writer):
            try:
                await session.close()
            except (sqlite3.Error, TimeoutError) as error:
                logger.warning("store: a connection did not close: %s", _reason(error))


def locate(url: str) -> str:
    """The SQLite URI for a `store.url`. Creates the folder of a file that does not exist yet."""
    if url == "memory:":
        return f"file:/gateway-{uuid4().hex}?vfs=memdb"
    path = Path(url.removeprefix("sqlite:///")).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.as_uri()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _unavailable(error: Exception) -> StoreUnavailable:
    logger.error("store: %s", _reason(error))
    return StoreUnavailable("the store cannot do this right now; try again in a moment")
