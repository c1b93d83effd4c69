"""The batch writer: nothing is lost while the store fails, nothing is held up by one odd row."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.capture.digest import Digest
from gateway.capture.pricing import Prices
from gateway.config.schema import Capture, Store
from gateway.records import Exchange, ExchangeEntry, Payload
from gateway.store.exchanges import insert_batch
from gateway.store.sqlite import SqliteDatabase
from gateway.store.writer import ExchangeWriter
from tests.own_api import own_api

PRICES = Prices()


def exchange(number: int, **changes: Any) -> Exchange:
    body = b'{"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}'
    made = Exchange(
        id=f"exchange-{number}",
        key_id="default",
        trace_id=f"trace-{number % 3}",
        started_at_ms=1_800_000_000_000 + number,
        latency_ms=1.5,
        first_byte_ms=1.0,
        method="POST",
        path="/v1/chat/completions",
        upstream="openai",
        requested_model="gpt-4o-mini",
        status=200,
        error_kind=None,
        error_message=None,
        keep_bodies=True,
        body_user=None,
        body_metadata=None,
        metadata=None,
        request_headers=[],
        response_headers=[(b"content-type", b"application/json")],
        request=Payload(b"{}", b"", 2),
        response=Payload(body, b"", len(body)),
    )
    return replace(made, **changes)


def settings(path: Path, **changes: Any) -> Store:
    return Store(url=f"sqlite:///{path}", **{"retry_s": 0.02, "busy_timeout_s": 0.05, **changes})


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(settings(tmp_path / "gateway.db"))
    yield opened
    await opened.close()


def writer(
    database: SqliteDatabase,
    tmp_path: Path,
    *,
    digest: Callable[[Exchange], ExchangeEntry] | None = None,
    wait: bool = True,
    **changes: Any,
) -> ExchangeWriter:
    return ExchangeWriter(
        database.writer,
        digest or Digest(Capture(), PRICES, {}),
        settings(tmp_path / "gateway.db", **changes),
        wait=wait,
    )


def query(tmp_path: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(tmp_path / "gateway.db") as connection:
        return connection.execute(sql).fetchall()


def lock(tmp_path: Path) -> sqlite3.Connection:
    """Another process that holds the write lock."""
    other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


async def test_an_exchange_is_committed_when_record_returns(database: SqliteDatabase, tmp_path: Path) -> None:
    sink = writer(database, tmp_path)
    await sink.record(exchange(1))
    assert query(tmp_path, "SELECT id, prompt_tokens FROM exchange") == [("exchange-1", 2)]
    await sink.close(1)


async def test_many_at_once_become_few_transactions_and_exact_traces(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    sink = writer(database, tmp_path)
    await asyncio.gather(
        *(sink.record(exchange(number, status=200 + number % 2 * 300)) for number in range(300))
    )
    await sink.close(1)
    assert sink.stats.stored == 300
    kept = query(tmp_path, "SELECT trace_id, exchange_count, error_count, prompt_tokens, cost_usd FROM trace")
    recomputed = query(
        tmp_path,
        "SELECT trace_id, count(*), sum(status >= 400), sum(prompt_tokens), sum(cost_usd)"
        " FROM exchange GROUP BY 1",
    )
    assert [row[:4] for row in sorted(kept)] == [row[:4] for row in sorted(recomputed)]
    assert [row[4] for row in sorted(kept)] == pytest.approx([row[4] for row in sorted(recomputed)])
    assert query(tmp_path, "SELECT count(*) FROM exchange_body") == [(300,)]


@pytest.mark.parametrize("rows", [1, 3, 15, 40])
async def test_a_batch_of_many_kinds_is_stored_as_its_rows_would_be_alone(tmp_path: Path, rows: int) -> None:
    """Rows of one kind share a statement; which these are, nobody sees in the database."""
    kinds: list[dict[str, Any]] = [
        {},
        {"tags": ("a", "b"), "metadata": {"_user": "u"}},
        {"status": 502, "error_kind": "upstream_error", "upstream": None, "response": Payload(b"", b"", 0)},
        {"requested_model": None, "keep_bodies": False, "started_at_ms": 5},
        {"requested_model": "another", "trace_id": "its own", "key_id": "another"},
    ]
    digest = Digest(Capture(), PRICES, {})
    entries = [digest(exchange(number, **kinds[number * number // 2 % len(kinds)])) for number in range(rows)]
    dumps = []
    for name, size in (("together", rows), ("alone", 1)):
        database = await SqliteDatabase.open(settings(tmp_path / f"{name}.db"))
        for start in range(0, rows, size):
            batch = entries[start : start + size]
            await database.writer.run(lambda raw, batch=batch: insert_batch(raw, batch, lambda *_: None))
        await database.close()
        with sqlite3.connect(tmp_path / f"{name}.db") as connection:
            dumps.append(
                [
                    sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
                    for table in ("exchange", "exchange_body", "exchange_tag", "trace", "trace_model")
                ]
            )
    assert dumps[0] == dumps[1]
    assert len(dumps[0][0]) == rows


async def test_while_the_store_is_locked_answers_go_on_and_their_rows_follow(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    sink = writer(database, tmp_path)
    other = lock(tmp_path)
    await asyncio.gather(*(sink.record(exchange(number)) for number in range(20)))
    assert sink.failing
    assert sink.stats.late == 20
    assert query(tmp_path, "SELECT count(*) FROM exchange") == [(0,)]
    other.execute("ROLLBACK")
    other.close()
    await sink.close(5)
    assert query(tmp_path, "SELECT count(*) FROM exchange") == [(20,)]
    assert sink.stats.dropped == 0
    assert not sink.failing


async def test_a_commit_that_takes_too_long_is_not_waited_for(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    sink = writer(database, tmp_path, commit_timeout_s=0.05)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    stuck = asyncio.create_task(
        database.writer.run(lambda _: asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10))
    )
    await asyncio.sleep(0)  # until it holds the connection
    await asyncio.wait_for(sink.record(exchange(1)), 5)
    assert sink.stats.late == 1
    release.set()
    await stuck
    await sink.close(5)
    assert query(tmp_path, "SELECT count(*) FROM exchange") == [(1,)]


async def test_the_queue_of_a_failing_store_is_bounded_and_what_does_not_fit_is_counted(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    sink = writer(database, tmp_path, queue_max_rows=5)
    other = lock(tmp_path)
    await sink.record(exchange(0))
    for number in range(1, 9):
        await sink.record(exchange(number))
    assert sink.queued_rows == 5
    assert sink.stats.dropped == 4
    other.execute("ROLLBACK")
    other.close()
    await sink.close(5)
    assert query(tmp_path, "SELECT count(*) FROM exchange") == [(5,)]


async def test_a_full_queue_of_a_healthy_store_slows_down_and_drops_nothing(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    sink = writer(database, tmp_path, wait=False, queue_max_rows=3)
    await asyncio.gather(*(sink.record(exchange(number)) for number in range(200)))
    await sink.close(5)
    assert sink.stats.dropped == 0
    assert query(tmp_path, "SELECT count(*) FROM exchange") == [(200,)]


async def test_a_row_that_cannot_be_stored_loses_its_bodies_and_holds_nobody_up(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    sink = writer(database, tmp_path)
    odd = exchange(2, path="/v1/\ud800")
    await asyncio.gather(sink.record(exchange(1)), sink.record(odd), sink.record(exchange(3)))
    await sink.close(1)
    assert query(tmp_path, "SELECT id, path FROM exchange ORDER BY id") == [
        ("exchange-1", "/v1/chat/completions"),
        ("exchange-2", "/v1/?"),
        ("exchange-3", "/v1/chat/completions"),
    ]
    assert (sink.stats.stored, sink.stats.reduced, sink.stats.dropped) == (3, 1, 0)


async def test_a_body_that_cannot_be_read_is_stored_without_it(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    real = Digest(Capture(), PRICES, {})

    def digest(given: Exchange) -> ExchangeEntry:
        if given.response.head:
            raise RuntimeError("a mistake of ours")
        return real(given)

    sink = writer(database, tmp_path, digest=digest)
    await sink.record(exchange(1))
    await sink.close(1)
    assert query(tmp_path, "SELECT id, response_bytes FROM exchange") == [
        ("exchange-1", exchange(1).response.size)
    ]
    assert sink.stats.reduced == 1


async def test_feedback_that_cannot_be_joined_to_its_exchange_holds_nobody_up(tmp_path: Path) -> None:
    async with own_api(tmp_path) as api:
        await api.give(*({"trace_id": f"exchange-{number}", "value": 1} for number in (1, 2)))
        with sqlite3.connect(tmp_path / "gateway.db") as connection:
            connection.execute(
                "CREATE TRIGGER odd BEFORE INSERT ON feedback_target WHEN NEW.exchange_id = 'exchange-2'"
                " BEGIN SELECT RAISE(ABORT, 'odd'); END"
            )
        sink = writer(api.database, tmp_path)
        await asyncio.gather(*(sink.record(exchange(number)) for number in (1, 2, 3)))
        await sink.close(1)
        assert (sink.stats.stored, sink.stats.reduced, sink.stats.dropped, sink.stats.failures) == (
            3,
            0,
            0,
            0,
        )
    stored = query(tmp_path, "SELECT id FROM exchange JOIN exchange_body ON exchange_seq = seq ORDER BY id")
    assert stored == [("exchange-1",), ("exchange-2",), ("exchange-3",)]
    joined = query(tmp_path, "SELECT exchange_id FROM feedback_target")
    assert sorted(joined) == [("",), ("exchange-1",)]


async def test_feedback_is_joined_by_the_first_exchange_of_a_start(tmp_path: Path) -> None:
    async with own_api(tmp_path) as api:
        await api.give({"trace_id": "exchange-1", "value": 1})
    database = await SqliteDatabase.open(settings(tmp_path / "gateway.db"))
    sink = writer(database, tmp_path)
    await sink.record(exchange(1))
    await sink.close(1)
    await database.close()
    assert query(tmp_path, "SELECT trace_id, exchange_id FROM feedback_target") == [("trace-1", "exchange-1")]
    assert query(tmp_path, "SELECT trace_id, exchange_count, feedback_count FROM trace") == [
        ("trace-1", 1, 1)
    ]


async def test_an_exchange_that_is_already_there_is_not_counted_twice(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    """As after a commit that worked but reported a failure, and was tried again."""
    sink = writer(database, tmp_path)
    await sink.record(exchange(1))
    await sink.record(exchange(1))
    await sink.close(1)
    assert query(tmp_path, "SELECT count(*) FROM exchange") == [(1,)]
    assert query(tmp_path, "SELECT exchange_count FROM trace") == [(1,)]


async def test_a_full_disk_is_survived(database: SqliteDatabase, tmp_path: Path) -> None:
    sink = writer(database, tmp_path)
    await sink.record(exchange(0))
    pages = await database.writer.run(lambda raw: raw.execute("PRAGMA page_count").fetchone()[0])
    await database.writer.run(lambda raw: raw.execute(f"PRAGMA max_page_count={pages}").fetchone())
    big = Payload(b"x" * 100_000, b"", 100_000)
    await sink.record(exchange(1, request=big))
    assert sink.failing
    assert "full" in (sink.stats.last_error or "")
    await database.writer.run(lambda raw: raw.execute("PRAGMA max_page_count=1000000").fetchone())
    await sink.close(5)
    assert query(tmp_path, "SELECT count(*) FROM exchange") == [(2,)]


async def test_what_is_left_when_the_gateway_stops_is_counted(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    sink = writer(database, tmp_path)
    other = lock(tmp_path)
    await sink.record(exchange(1))
    await sink.close(0.1)
    other.close()
    assert sink.stats.dropped == 1
