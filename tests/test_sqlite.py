"""The SQLite database: contract, limits, and the two private names we use of aiosqlite."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import time
from pathlib import Path

import aiosqlite
import pytest
from sqlalchemy import Connection, func, insert, select, text

from gateway.config.schema import Store
from gateway.errors import StoreUnavailable
from gateway.store.sqlite import READERS, SqliteDatabase
from gateway.store.tables import trace

ROW = {
    "key_id": "k", "trace_id": "t", "first_at_ms": 1, "last_at_ms": 1, "exchange_count": 0, "error_count": 0,
    "prompt_tokens": 0, "completion_tokens": 0, "feedback_count": 0,
}  # fmt: skip


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(trace)).scalar_one()


@pytest.fixture(params=["file", "memory"])
async def database(request: pytest.FixtureRequest, tmp_path: Path):
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/new folder/ü#?.db"
    opened = await SqliteDatabase.open(Store(url=url, busy_timeout_s=1, read_timeout_s=0.3))
    yield opened
    await opened.close()


async def test_what_was_written_is_read(database: SqliteDatabase) -> None:
    await database.write(lambda connection: connection.execute(insert(trace).values(ROW)))
    for _ in range(READERS + 1):
        assert await database.read(count) == 1


async def test_a_write_that_raises_leaves_nothing(database: SqliteDatabase) -> None:
    def half(connection: Connection) -> None:
        connection.execute(insert(trace).values(ROW))
        raise KeyError("changed our mind")

    with pytest.raises(KeyError):
        await database.write(half)
    assert await database.read(count) == 0
    await database.write(lambda connection: connection.execute(insert(trace).values(ROW)))
    assert await database.read(count) == 1


async def test_sqlalchemy_may_come_first_in_the_middle_of_a_transaction(database: SqliteDatabase) -> None:
    """As when the first exchange of a start is one that feedback waits for."""

    def transaction(raw: sqlite3.Connection) -> None:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute(
            f"INSERT INTO trace ({', '.join(ROW)}) VALUES (:{', :'.join(ROW)})", {**ROW, "trace_id": "u"}
        )

        def work(connection: Connection) -> None:
            with connection.begin():
                connection.execute(insert(trace).values(ROW))

        database.writer.with_core(raw, work)

    await database.writer.run(transaction)
    assert await database.read(count) == 2


async def test_errors_are_those_of_the_driver(database: SqliteDatabase) -> None:
    def twice(connection: Connection) -> None:
        connection.execute(insert(trace), [ROW, ROW])

    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await database.writer.run_core(twice)


async def test_a_read_that_takes_too_long_is_ended_and_the_reader_lives_on(database: SqliteDatabase) -> None:
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    for _ in range(READERS + 1):
        with pytest.raises(StoreUnavailable):
            await database.read(lambda connection: connection.execute(endless).scalar())
    assert await database.read(count) == 0


async def test_the_probe_passes_on_a_store_that_can_be_written(database: SqliteDatabase) -> None:
    await database.probe()


async def test_the_probe_fails_while_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    database = await SqliteDatabase.open(Store(url=f"sqlite:///{path}", busy_timeout_s=0.05))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        await database.probe()
    other.close()
    await database.probe()
    await database.close()


@pytest.mark.parametrize(
    "spoil", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"not a database" * 100)]
)
async def test_a_database_that_cannot_be_opened_is_said_to_be_so(tmp_path: Path, spoil) -> None:
    path = tmp_path / "gateway.db"
    spoil(path)
    with pytest.raises(StoreUnavailable, match=r"store\.url: cannot open sqlite:///.*gateway\.db: "):
        await SqliteDatabase.open(Store(url=f"sqlite:///{path}"))


async def test_opening_twice_migrates_once_and_keeps_the_rows(tmp_path: Path) -> None:
    settings = Store(url=f"sqlite:///{tmp_path}/gateway.db")
    first = await SqliteDatabase.open(settings)
    await first.write(lambda connection: connection.execute(insert(trace).values(ROW)))
    second = await SqliteDatabase.open(settings)
    assert await second.read(count) == 1
    await first.close()
    await second.close()


async def test_a_closed_database_has_no_write_ahead_log_left(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(Store(url=f"sqlite:///{tmp_path}/gateway.db"))
    await database.write(lambda connection: connection.execute(insert(trace).values(ROW)))
    await database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.db"]


def test_aiosqlite_still_has_the_two_private_names_we_use() -> None:
    assert list(inspect.signature(aiosqlite.Connection._execute).parameters)[:2] == ["self", "fn"]
    assert isinstance(aiosqlite.Connection._conn, property)


async def test_a_thousand_writes_hold_up_no_read(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(Store(url=f"sqlite:///{tmp_path}/gateway.db"))

    def slow(connection: Connection) -> None:
        connection.execute(insert(trace).values(ROW))
        time.sleep(0.3)

    writing = asyncio.create_task(database.write(slow))
    await asyncio.sleep(0.1)
    assert await database.read(count) == 0
    assert not writing.done()
    await writing
    assert await database.read(count) == 1
    await database.close()


@pytest.mark.parametrize(("synchronous", "pragma"), [("normal", 1), ("full", 2)])
async def test_what_is_written_is_synced_as_the_settings_say(
    tmp_path: Path, synchronous: str, pragma: int
) -> None:
    settings = Store.model_validate({"url": f"sqlite:///{tmp_path}/g.db", "synchronous": synchronous})
    database = await SqliteDatabase.open(settings)
    asked = "PRAGMA synchronous"
    try:
        assert await database.writer.run(lambda raw: raw.execute(asked).fetchone()) == (pragma,)
    finally:
        await database.close()
