"""Kept answers in the database: found, replaced, expired, and never more than there is room for."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from gateway.config import schema
from gateway.errors import StoreUnavailable
from gateway.records import KeptAnswer
from gateway.store import cache as store
from gateway.store.cache import TOUCH_MS, KeptAnswers
from gateway.store.sqlite import SqliteDatabase
from gateway.store.tables import cached_answer, cached_answer_total
from tests.harness.lock import lock_held
from tests.harness.process import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection

HEADERS = [(b"content-type", b"application/json"), (b"openai-model", "é".encode("latin-1"))]
HOUR_MS = 3_600_000
KIB = 1024


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["file", "memory"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/gateway.db"
    opened = await SqliteDatabase.open(schema.Store(url=url, busy_timeout_s=0.1))
    yield opened
    await opened.close()


def key(number: int) -> bytes:
    return b"%032d" % number


def kept(clock: Clock, body: bytes = b"{}", *, lives_ms: int = HOUR_MS) -> KeptAnswer:
    return KeptAnswer(HEADERS, body, clock.now_ms, clock.now_ms + lives_ms)


def opened(database: SqliteDatabase, clock: Clock, **more: Any) -> KeptAnswers:
    """With `clean_s` it also looks for what has expired without being asked to write."""
    clean_s = more.pop("clean_s", 60)
    answers = KeptAnswers(database, schema.Cache(**more), clock, clean_s=clean_s)
    answers.start()
    return answers


async def written(answers: KeptAnswers) -> None:
    async with asyncio.timeout(10):
        while answers.queued_bytes:
            await asyncio.sleep(0.005)
        await answers._written_all.wait()


async def rows(database: SqliteDatabase) -> tuple[int, int]:
    """How many answers there are and what they take, added up; which is what the total says."""

    def count(connection: Connection) -> tuple[int, int]:
        number, size = connection.execute(
            select(func.count(), func.coalesce(func.sum(cached_answer.c.size_bytes), 0))
        ).one()
        total = connection.execute(select(cached_answer_total.c.size_bytes)).scalar()
        assert (total or 0) == size
        return number, size

    return await database.read(count)


async def test_what_was_kept_is_found_by_another_process_as_it_was(
    database: SqliteDatabase, clock: Clock
) -> None:
    one, other = opened(database, clock), opened(database, clock)
    answer = kept(clock, bytes(range(256)) * 300)
    one.keep(key(1), answer)
    assert await one.find(key(1), HOUR_MS) == answer
    await written(one)
    assert await one.find(key(1), HOUR_MS) == answer
    assert await other.find(key(1), HOUR_MS) == answer
    assert await other.find(key(2), HOUR_MS) is None
    await one.close(1)
    await other.close(1)


@pytest.mark.parametrize("is_written", [False, True])
async def test_an_answer_is_not_found_when_it_has_expired_or_is_too_old(
    database: SqliteDatabase, clock: Clock, is_written: bool
) -> None:
    answers = opened(database, clock)
    answers.keep(key(1), kept(clock, lives_ms=10_000))
    if is_written:
        await written(answers)
    clock.now_ms += 9_999
    assert await answers.find(key(1), HOUR_MS) is not None
    assert await answers.find(key(1), 9_999) is not None
    assert await answers.find(key(1), 9_998) is None
    clock.now_ms += 1
    assert await answers.find(key(1), HOUR_MS) is None
    await answers.close(1)


async def test_a_newer_answer_replaces_the_one_that_is_there(database: SqliteDatabase, clock: Clock) -> None:
    answers = opened(database, clock)
    for body in (b"1" * 900, b"2", b"3" * 500):
        answers.keep(key(1), kept(clock, body))
        await written(answers)
    answers.keep(key(1), kept(clock, b"4"))
    answers.keep(key(1), last := kept(clock, b"5" * 70))
    await written(answers)
    assert await answers.find(key(1), HOUR_MS) == last
    assert await rows(database) == (1, last.size_bytes)
    await answers.close(1)


async def test_thousands_of_answers_take_no_more_than_the_room_there_is(
    database: SqliteDatabase, clock: Clock
) -> None:
    room = 200 * KIB
    answers = opened(database, clock, max_bytes=room)
    for number in range(4_000):
        answers.keep(key(number), kept(clock, b"x" * (number % 700)))
        clock.now_ms += 1
        if number % 100 == 99:
            await written(answers)
            assert (await rows(database))[1] <= room
    number, size = await rows(database)
    assert room - 2 * KIB < size <= room, "no more is removed than has to be"
    assert answers.stats.kept == 4_000
    assert answers.stats.removed == 4_000 - number
    assert answers.stats.size_bytes == size
    assert await answers.find(key(3_999), HOUR_MS) is not None
    assert await answers.find(key(0), HOUR_MS) is None
    await answers.close(1)


async def test_what_was_used_of_late_stays(database: SqliteDatabase, clock: Clock) -> None:
    answers = opened(database, clock, max_bytes=14 * KIB)
    for number in range(10):
        answers.keep(key(number), kept(clock, b"x" * KIB, lives_ms=10 * HOUR_MS))
        await written(answers)
        clock.now_ms += 1_000
    clock.now_ms += TOUCH_MS
    assert await answers.find(key(0), 10 * HOUR_MS) is not None
    for number in range(10, 15):
        answers.keep(key(number), kept(clock, b"x" * KIB))
        await written(answers)
    assert await answers.find(key(0), 10 * HOUR_MS) is not None
    assert await answers.find(key(1), 10 * HOUR_MS) is None
    await rows(database)
    await answers.close(1)


async def test_a_hit_writes_nothing_where_it_was_used_just_before(
    database: SqliteDatabase, clock: Clock
) -> None:
    answers = opened(database, clock)
    answers.keep(key(0), kept(clock))
    await written(answers)
    clock.now_ms += TOUCH_MS
    await answers.find(key(0), HOUR_MS)
    assert not answers._touched
    await answers.close(1)


async def test_expired_answers_go_without_anybody_writing(database: SqliteDatabase, clock: Clock) -> None:
    answers = opened(database, clock, clean_s=0.05)
    for number in range(1_200):
        answers.keep(key(number), kept(clock, lives_ms=1_000 if number % 2 else HOUR_MS))
    await written(answers)
    clock.now_ms += 1_000
    async with asyncio.timeout(10):
        while (await rows(database))[0] > 600:
            await asyncio.sleep(0.02)
    assert (await rows(database))[0] == 600
    await answers.close(1)


async def test_less_room_after_a_restart_is_made_at_once(database: SqliteDatabase, clock: Clock) -> None:
    before = opened(database, clock)
    for number in range(2_000):
        before.keep(key(number), kept(clock, b"x" * 100))
    await before.close(10)
    assert (await rows(database))[0] == 2_000
    after = opened(database, clock, max_bytes=10 * KIB, clean_s=0.05)
    async with asyncio.timeout(10):
        while (await rows(database))[1] > 10 * KIB:
            await asyncio.sleep(0.02)
    await after.close(1)


async def test_an_answer_larger_than_all_room_is_not_kept(database: SqliteDatabase, clock: Clock) -> None:
    answers = opened(database, clock, max_bytes=KIB)
    answers.keep(key(1), kept(clock, b"x" * KIB))
    assert await answers.find(key(1), HOUR_MS) is None
    assert answers.stats.dropped == 1
    await answers.close(1)


async def test_what_waits_for_the_store_is_bounded(database: SqliteDatabase, clock: Clock) -> None:
    answers = KeptAnswers(database, schema.Cache(queue_max_bytes=1024 * KIB), clock)  # not started
    for number in range(100):
        answers.keep(key(number), kept(clock, b"x" * 100 * KIB))
    assert answers.queued_bytes <= 1024 * KIB
    assert answers.stats.dropped == 90
    await answers.close(0.01)


async def test_closing_writes_what_waits(database: SqliteDatabase, clock: Clock) -> None:
    answers = opened(database, clock)
    for number in range(200):
        answers.keep(key(number), kept(clock))
    await answers.close(10)
    assert (await rows(database))[0] == 200


async def test_many_lookups_at_once_are_answered_each_with_its_own(
    database: SqliteDatabase, clock: Clock
) -> None:
    answers = opened(database, clock)
    for number in range(0, 300, 2):
        answers.keep(key(number), kept(clock, b"%d" % number))
    await written(answers)
    found = await asyncio.gather(*(answers.find(key(number), HOUR_MS) for number in range(300)))
    assert [answer and answer.body for answer in found] == [
        None if number % 2 else b"%d" % number for number in range(300)
    ]
    await answers.close(1)


async def test_who_stopped_waiting_for_a_lookup_holds_up_nobody(
    database: SqliteDatabase, clock: Clock
) -> None:
    answers = opened(database, clock)
    answers.keep(key(1), kept(clock))
    await written(answers)
    impatient = [asyncio.create_task(answers.find(key(1), HOUR_MS)) for _ in range(100)]
    await asyncio.sleep(0)
    for task in impatient:
        task.cancel()
    assert await answers.find(key(1), HOUR_MS) is not None
    await answers.close(1)


async def test_a_store_that_cannot_be_written_costs_the_answer_and_is_counted(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_PAUSE_S", 0.01)
    path = tmp_path / "gateway.db"
    database = await SqliteDatabase.open(schema.Store(url=f"sqlite:///{path}", busy_timeout_s=0.05))
    answers = opened(database, clock)
    with lock_held(path):
        answers.keep(key(1), kept(clock))
        async with asyncio.timeout(10):
            while not answers.stats.failures:
                await asyncio.sleep(0.01)
    assert answers.stats.dropped == 1
    assert answers.stats.last_error
    answers.keep(key(2), kept(clock))
    await written(answers)
    assert await answers.find(key(2), HOUR_MS) is not None
    await answers.close(1)
    await database.close()


async def test_a_store_that_cannot_be_read_says_so(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "gateway.db"
    database = await SqliteDatabase.open(schema.Store(url=f"sqlite:///{path}"))
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DROP TABLE cached_answer")
    answers = KeptAnswers(database, schema.Cache(), clock)
    with pytest.raises(StoreUnavailable):
        await answers.find(key(1), HOUR_MS)
    await answers.close(0.01)
    await database.close()


ENDLESS = """
import asyncio, sys, time
from gateway.config import schema
from gateway.records import KeptAnswer
from gateway.store.cache import KeptAnswers
from gateway.store.sqlite import SqliteDatabase

def now():
    return time.time_ns() // 1_000_000

async def main():
    database = await SqliteDatabase.open(schema.Store(url=sys.argv[1]))
    answers = KeptAnswers(database, schema.Cache(max_bytes=300_000), now)
    answers.start()
    going = False
    for number in range(10**9):
        body = b"x" * (number % 5000)
        answers.keep(b"%032d" % (number % 1000), KeptAnswer([], body, now(), now() + 60_000))
        if number % 20 == 0:
            await asyncio.sleep(0.001)
        if answers.stats.kept and not going:
            going = True
            print("going", flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_leaves_a_total_that_is_true(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gateway.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ENDLESS, url, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"going\n"
        await asyncio.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    await process.wait()

    database = await SqliteDatabase.open(schema.Store(url=url))
    number, size = await rows(database)
    assert number > 0
    assert size <= 300_000 + store.MAX_BATCH_BYTES
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    answers = KeptAnswers(database, schema.Cache(max_bytes=300_000), lambda: time.time_ns() // 1_000_000)
    answers.start()
    answers.keep(key(1), KeptAnswer([], b"x", 1, 2**50))
    await written(answers)
    assert (await rows(database))[1] <= 300_000
    await answers.close(1)
    await database.close()
