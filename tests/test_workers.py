"""Several processes on one port and one database file: together they are one gateway."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.bench import cpu
from tests.harness import RunningGateway, Traffic, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Process

TWO = ["--workers", "2"]
REQUESTS = 200


@pytest.fixture(scope="module")
def gateway(fake_openai: Process) -> Iterator[RunningGateway]:
    with run_gateway(upstream=f"{fake_openai.url}/v1", arguments=TWO) as running:
        yield running


def workers(gateway: RunningGateway) -> list[int]:
    """multiprocessing starts each through `spawn_main`, and its own helper through something else."""
    return [
        pid for pid in cpu.tree(gateway.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@contextmanager
def one_worker_asleep(pid: int) -> Iterator[None]:
    """What comes in meanwhile is the other worker's. The supervisor replaces one that sleeps for seconds."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def post(gateway: RunningGateway, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    """On a connection of its own: a connection belongs to one worker."""
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{gateway.base_url}{path}", json=body, headers=spelled, timeout=4, verify=False)


def test_two_workers_store_every_row_exactly_once_and_stop_with_0(fake_openai: Process) -> None:
    with run_gateway(upstream=f"{fake_openai.url}/v1", arguments=TWO) as gateway:
        assert len(workers(gateway)) == 2
        with Traffic(gateway, clients=8, gives_feedback=True, limit=REQUESTS) as traffic:
            traffic.join()

        assert gateway.terminate() == 0
        assert (len(traffic.received), traffic.refused) == (REQUESTS, [])
        stored = [row["trace_id"] for row in gateway.rows.query("SELECT trace_id FROM exchange")]
        assert sorted(stored) == sorted(traffic.received), "every row once"
        given = [row["id"] for row in gateway.rows.query("SELECT id FROM feedback")]
        assert len(given) == REQUESTS // 4
        assert sorted(given) == sorted(traffic.feedback)
        assert gateway.rows.integrity() == "ok"


def test_what_one_worker_stored_the_other_shows(gateway: RunningGateway, trace: str) -> None:
    first, second = workers(gateway)
    with one_worker_asleep(second):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        assert post(gateway, "/chat/completions", body, x_trace_id=trace).status_code == 200
    with one_worker_asleep(first):
        given = post(gateway, "/feedback", {"trace_id": trace, "value": 9})
    with one_worker_asleep(second):
        shown = httpx.get(f"{gateway.base_url}/traces/{trace}", timeout=4, verify=False)

    assert (given.status_code, shown.status_code) == (200, 200)
    assert shown.json()["exchange_count"] == 1
    [item] = shown.json()["feedback_items"]
    assert [item["id"]] == given.json()["feedback_ids"]
    assert item["matched"] is True


def test_a_retry_that_reaches_the_other_worker_is_the_same_call(gateway: RunningGateway, trace: str) -> None:
    answers = []
    for other in workers(gateway):
        with one_worker_asleep(other):
            answers.append(post(gateway, "/feedback", {"trace_id": trace, "value": 9}, idempotency_key=trace))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert len(gateway.rows.feedback(trace)) == 1
