"""Promise 2 under SIGKILL: what a client received in full is in the store, and the store opens clean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.harness import RawClient, Traffic, run_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness import Process, RunningGateway


@pytest.mark.parametrize("after_s", [0.3, 0.9, 1.7])
def test_every_answer_received_in_full_has_its_row_after_sigkill(
    fake_openai: Process, tmp_path: Path, after_s: float
) -> None:
    upstream = f"{fake_openai.url}/v1"
    with run_gateway(upstream=upstream, directory=tmp_path) as gateway:
        traffic = Traffic(gateway, clients=12, gives_feedback=True)
        with traffic:
            wait_until_some_were_received(traffic)
            time.sleep(after_s)
            gateway.kill()
            traffic.join()

    assert traffic.feedback
    assert traffic.refused == []
    assert gateway.rows.integrity() == "ok"
    stored = {row["trace_id"] for row in gateway.rows.query("SELECT trace_id FROM exchange")}
    assert set(traffic.received) - stored == set(), "answered in full, but not in the store"
    given = {row["id"] for row in gateway.rows.query("SELECT id FROM feedback")}
    assert set(traffic.feedback) - given == set(), "answered with 200, but not in the store"
    assert len(stored) == gateway.rows.count("exchange"), "no request is stored twice"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_row_is_in_the_store_when_the_last_byte_arrives(fake_openai: Process, stream: bool) -> None:
    with run_gateway(upstream=f"{fake_openai.url}/v1") as gateway, RawClient(gateway.port) as client:
        for number in range(20):
            body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"stream":%b}'
            text = b"true" if stream else b"false"
            client.post("/v1/chat/completions", body % text, f"x-trace-id: t-{number}")
            if stream:
                client.read_until(b"data: [DONE]\n\n")
                assert gateway.rows.exchanges(f"t-{number}"), "the last event left before the commit"
                client.read_until(b"0\r\n\r\n")
            else:
                client.read_answer()
                assert gateway.rows.exchanges(f"t-{number}"), "the last byte left before the commit"


def test_after_a_crash_the_gateway_starts_again_and_goes_on(fake_openai: Process, tmp_path: Path) -> None:
    upstream = f"{fake_openai.url}/v1"
    with run_gateway(upstream=upstream, directory=tmp_path) as gateway, Traffic(gateway) as traffic:
        wait_until_some_were_received(traffic)
        gateway.kill()
        traffic.join()
    before = gateway.rows.count("exchange")

    with run_gateway(upstream=upstream, directory=tmp_path) as gateway:
        summary = httpx.get(f"{gateway.base_url}/traces/{traffic.received[0]}")
        with Traffic(gateway, limit=20) as more:
            more.join()

    assert summary.status_code == 200
    assert summary.json()["exchange_count"] == 1
    assert gateway.rows.count("exchange") == before + 20
    assert trace_table_is_what_its_rows_say(gateway)


def test_a_trace_counts_what_its_rows_say_after_sigkill(fake_openai: Process, tmp_path: Path) -> None:
    with run_gateway(upstream=f"{fake_openai.url}/v1", directory=tmp_path) as gateway:
        traffic = Traffic(gateway, gives_feedback=True)
        with traffic:
            wait_until_some_were_received(traffic)
            gateway.kill()
            traffic.join()

    assert trace_table_is_what_its_rows_say(gateway)


def wait_until_some_were_received(traffic: Traffic) -> None:
    deadline = time.monotonic() + 20
    while len(traffic.received) < 30:
        assert time.monotonic() < deadline, f"only {len(traffic.received)} answers"
        time.sleep(0.01)


def trace_table_is_what_its_rows_say(gateway: RunningGateway) -> bool:
    """`trace` is written in the transaction of its rows, so no crash can part them."""
    differing = gateway.rows.query(
        "SELECT t.trace_id FROM trace t WHERE"
        " t.exchange_count != (SELECT count(*) FROM exchange e WHERE e.trace_id = t.trace_id)"
        " OR t.feedback_count != (SELECT count(*) FROM feedback_target f WHERE f.trace_id = t.trace_id)"
        " UNION SELECT e.trace_id FROM exchange e WHERE e.trace_id NOT IN (SELECT trace_id FROM trace)"
    )
    return not differing
