"""From every older database to this version's: what was in it is there, and the schema is the same."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

import gateway.store.migrate as migrations
from tests.own_api import own_api

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]


def config(connection: Connection | None = None) -> Config:
    found = Config()
    found.set_main_option("script_location", str(Path(migrations.__file__).with_name("migrations")))
    found.attributes["connection"] = connection
    return found


def upgrade(path: Path, revision: str) -> None:
    """As the version of the gateway that had `revision` as its newest left a database."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        command.upgrade(config(connection), revision)
        connection.commit()
    engine.dispose()


def migrate(path: Path) -> None:
    raw = sqlite3.connect(path, isolation_level=None)
    try:
        migrations.migrate(raw)
    finally:
        raw.close()


def schema_of(path: Path) -> Schema:
    """Columns in their order, keys and indexes with their conditions, of every table."""
    raw = sqlite3.connect(path)
    names = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    schema = {}
    for name in names:
        (create,) = raw.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        indexes = {}
        for _, index, unique, origin, partial in raw.execute(f"PRAGMA index_list('{name}')"):
            stored = raw.execute("SELECT sql FROM sqlite_master WHERE name = ?", (index,)).fetchone()
            where = re.sub(r"\s+", " ", ((stored and stored[0]) or "").partition(" WHERE ")[2])
            columns = tuple(raw.execute(f"PRAGMA index_xinfo('{index}')"))
            indexes[index] = (unique, origin, partial, columns, where)
        schema[name] = (
            raw.execute(f"PRAGMA table_xinfo('{name}')").fetchall(),
            "WITHOUT ROWID" in create.upper(),
            indexes,
        )
    raw.close()
    return schema


@pytest.mark.parametrize("start", ["", "0001"])
def test_a_new_database_is_as_if_it_had_been_migrated(tmp_path: Path, start: str) -> None:
    migrated, new = tmp_path / "migrated.db", tmp_path / "new.db"
    if start:
        upgrade(migrated, start)
        migrate(migrated)
    else:
        upgrade(migrated, "head")
    migrate(new)
    assert schema_of(new) == schema_of(migrated)


def test_a_new_database_does_not_need_alembic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise AssertionError("a new database took the migrations, which cost time at the start")

    monkeypatch.setattr(migrations, "_upgrade", fail)
    migrate(tmp_path / "new.db")
    migrate(tmp_path / "new.db")


def test_there_is_one_newest_migration_and_it_is_known() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [migrations.HEAD]


# --- 0001, with everything that could be in it ---


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A database of 0001: a trace with an exchange and two pieces of feedback, one of them retracted; and one
    that came before its exchange."""
    path = tmp_path / "gateway.db"
    upgrade(path, "0001")
    raw = sqlite3.connect(path)
    raw.execute(
        "INSERT INTO exchange (seq, id, key_id, trace_id, started_at_ms, latency_ms, method, path, streamed, "
        "status, request_bytes, response_bytes, metadata, meta_user) "
        "VALUES (1, 'r1', 'default', 't1', 1800000000000, 5, 'POST', '/v1/x', 0, 200, 1, 1, "
        "'{\"_user\":\"ann\"}', 'ann')"
    )
    feedback = (
        "INSERT INTO feedback (seq, id, key_id, value, weight, metadata, meta_user, created_at_ms, "
        "updated_at_ms, retracted_at_ms) VALUES (?, ?, 'default', ?, ?, ?, ?, ?, ?, ?)"
    )
    raw.executemany(
        feedback,
        [
            (1, ID.format(1), -10, 0.5, '{"_user":"ann","n":1}', "ann", 1_800_000_000_001, None, None),
            (3, ID.format(3), 5, 1.0, None, None, 1_800_000_000_002, 1_800_000_000_009, 1_800_000_000_010),
            (4, ID.format(4), 0, 0.0, None, None, 1_800_000_000_003, 1_800_000_000_004, None),
        ],
    )  # fmt: skip
    raw.executemany(
        "INSERT INTO feedback_target (feedback_seq, key_id, trace_id) VALUES (?, 'default', ?)",
        [(1, "t1"), (3, "t1"), (4, "t2")],
    )
    raw.executemany(
        "INSERT INTO trace VALUES (?, 'default', ?, 1800000000000, 1800000000000, ?, 0, 0, 0, NULL, 1, ?)",
        [(1, "t1", 1, -10.0), (2, "t2", 0, None)],
    )
    raw.executemany(
        "INSERT INTO trace_score VALUES ('default', ?, ?, ?, 1)", [("t1", -10, 0.5), ("t2", 0, 0.0)]
    )
    raw.execute(
        "INSERT INTO idempotency VALUES ('default', '/v1/feedback', 'k', 'sha', 200, x'7b7d', 1800000000000)"
    )
    raw.commit()
    raw.close()
    return path


ID = "00000000-0000-7000-8000-00000000000{}"


async def test_feedback_of_0001_reads_as_it_did(old: Path) -> None:
    async with own_api(old.parent) as api:
        assert await api.ids("/v1/feedback") == [ID.format(4), ID.format(1)]
        found = await api.get(f"/v1/feedback/{ID.format(1)}")
        assert (found["value"], found["weight"], found["metadata"]) == (-10, 0.5, {"_user": "ann", "n": 1})
        assert (found["created_at"], found["updated_at"]) == ("2027-01-15T08:00:00.001Z", None)
        assert found["targets"] == [{"trace_id": "t1", "request_id": None, "matched": True}]
        assert (found["name"], found["kind"], found["signal"]) == ("feedback", "score", "explicit")
        assert found["source"] == {"type": "API", "id": "ann"}
        assert found["valid"] is True
        assert (await api.get(f"/v1/feedback/{ID.format(4)}"))["updated_at"] == "2027-01-15T08:00:00.004Z"


async def test_feedback_of_0001_is_found_counted_and_can_change(old: Path) -> None:
    async with own_api(old.parent) as api:
        for filters in ({"user": "ann"}, {"max_value": -10}, {"trace_id": "t1"}, {"source_id": "ann"}):
            assert await api.ids("/v1/feedback", **filters) == [ID.format(1)]
        assert ID.format(3) in await api.ids("/v1/feedback", include_retracted="true")
        summary = (await api.get("/v1/traces/t1"))["feedback"]
        assert (summary["count"], summary["score_count"], summary["weighted_mean"]) == (1, 1, -10.0)

        await api.client.put(f"/v1/feedback/{ID.format(1)}", json={"value": 2})
        summary = (await api.get("/v1/traces/t1"))["feedback"]
        assert summary["pairs"] == [{"value": 2, "weight": 0.5, "count": 1}]
        await api.client.delete(f"/v1/feedback/{ID.format(4)}")
        assert (await api.client.get("/v1/traces/t2")).status_code == 404

        [new] = await api.give({"trace_id": "t1", "value": 1})
        assert (await api.ids("/v1/feedback"))[0] == new


async def test_exchanges_and_first_answers_of_0001_are_kept(old: Path) -> None:
    async with own_api(old.parent) as api:
        log = await api.get("/v1/logs/r1")
        assert (log["trace_id"], log["metadata"], log["feedback"]["count"]) == ("t1", {"_user": "ann"}, 1)
        await api.exchange("t1")
    raw = sqlite3.connect(old)
    assert raw.execute("SELECT idempotency_key, response FROM idempotency").fetchall() == [("k", b"{}")]
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(old: Path) -> None:
    before = schema_of(old)
    raw = sqlite3.connect(old)
    raw.execute("CREATE TABLE inbox_claim (in_the_way)")
    raw.commit()
    raw.close()
    with pytest.raises(Exception, match="inbox_claim"):
        migrate(old)
    raw = sqlite3.connect(old)
    raw.execute("DROP TABLE inbox_claim")
    raw.commit()
    assert raw.execute("SELECT count(*) FROM feedback").fetchone() == (3,)
    raw.close()
    assert schema_of(old) == before
    migrate(old)
