"""The start: a forwarded request waits for nothing that it does not need."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gateway import app
from gateway.config.schema import Settings, Store
from tests.harness import Process, RunningGateway, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAT = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}).encode()
NOT_NEEDED = {"alembic", "gateway.endpoints", "jinja2", "jsonschema_rs", "sqlalchemy"}


@contextmanager
def started(upstream: Process, folder: Path) -> Iterator[RunningGateway]:
    """One that has forwarded a request, and tells at its end what it has loaded."""
    with run_gateway(
        upstream=f"{upstream.url}/v1",
        directory=folder,
        environment={"LOADED": str(folder / "loaded")},
        wait=False,
        module="tests.harness.loaded",
    ) as gateway:
        yield gateway.wait_until("/v1/chat/completions", CHAT)


def until_recorded(gateway: RunningGateway, rows: int) -> None:
    deadline = time.monotonic() + 5
    while gateway.rows.count("exchange") != rows:
        assert time.monotonic() < deadline, gateway.rows.exchanges()
        time.sleep(0.02)


def loaded(folder: Path) -> set[str]:
    return NOT_NEEDED.intersection((folder / "loaded").read_text().splitlines())


def test_a_forwarded_request_waits_for_no_sqlalchemy(fake_openai: Process, tmp_path: Path) -> None:
    for recorded, database in enumerate(("a new one", "one that is there"), 1):
        with started(fake_openai, tmp_path) as gateway:
            until_recorded(gateway, recorded)  # a moment later: it counts as answered from its head on
        assert loaded(tmp_path) == set(), database


def test_who_asks_for_our_own_endpoints_has_them_loaded_at_once(fake_openai: Process, tmp_path: Path) -> None:
    with started(fake_openai, tmp_path) as gateway:
        gateway.wait_until("/healthz")
    assert {"gateway.endpoints", "sqlalchemy"} <= loaded(tmp_path)


@pytest.fixture
def _same_gc() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("_same_gc")
async def test_our_own_endpoints_load_by_themselves_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_LOAD_AFTER_S", 0.01)
    gateway = await app.Gateway.open(Settings(store=Store(url="memory:")))
    tasks = {task.get_name(): task for task in asyncio.all_tasks()}
    await tasks["endpoints"]
    assert "roller" in {task.get_name() for task in asyncio.all_tasks()}
    await gateway.close()
