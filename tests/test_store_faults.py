"""Another process holds the database's lock: answers go on, what must be stored says no, nothing is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.harness import RunningGateway, run_gateway
from tests.harness.lock import lock_held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Process

HELD_S = 3.0
IMPATIENT = {"store": {"busy_timeout_s": 0.2, "retry_s": 0.2}}


@pytest.fixture
def gateway(fake_openai: Process) -> Iterator[RunningGateway]:
    with run_gateway(IMPATIENT, upstream=f"{fake_openai.url}/v1") as running:
        yield running


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=10) as connection:
        yield connection


def ask(client: httpx.Client, trace: str) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    return client.post("/v1/chat/completions", json=body, headers={"x-trace-id": trace})


def give(client: httpx.Client, trace: str) -> httpx.Response:
    return client.post("/v1/feedback", json={"trace_id": trace, "value": 5})


def ready_again(client: httpx.Client, *, within_s: float = 5.0) -> httpx.Response:
    deadline = time.monotonic() + within_s
    while (answer := client.get("/readyz")).status_code != 200:
        assert time.monotonic() < deadline, f"not ready {within_s} s after the release: {answer.text}"
        time.sleep(0.05)
    return answer


def test_chat_goes_on_while_the_database_is_locked_and_no_row_is_lost(
    gateway: RunningGateway, client: httpx.Client, trace: str
) -> None:
    assert gateway.database
    assert ask(client, f"{trace}-before").status_code == 200
    asked = []
    with lock_held(gateway.database):
        released_at = time.monotonic() + HELD_S
        while time.monotonic() < released_at:
            asked.append(f"{trace}-{len(asked)}")
            answer = ask(client, asked[-1])
            assert answer.status_code == 200, answer.text
            assert answer.json()["choices"][0]["message"]["content"]
            time.sleep(0.05)
        assert gateway.rows.exchanges(asked[0]) == [], "the lock does keep rows out"
        locked_out = client.get("/readyz")

    report = ready_again(client).json()
    assert len(asked) > 10
    assert (locked_out.status_code, locked_out.json()["status"]) == (503, "not_ready")
    assert locked_out.json()["store"]["queued_rows"] == len(asked)
    for name in asked:
        row = gateway.rows.the_exchange(name, settle_s=0)
        assert (row["status"], row["error_kind"]) == (200, None)
        assert row["response_head"], "with its body"
    assert gateway.rows.count("exchange") == len(asked) + 1, "each of them once"
    assert (report["store"]["not_recorded"], report["store"]["stored_without_bodies"]) == (0, 0)


def test_readiness_says_no_while_the_database_is_locked_and_yes_after(
    gateway: RunningGateway, client: httpx.Client
) -> None:
    assert gateway.database
    assert client.get("/readyz").json()["status"] == "ready"
    with lock_held(gateway.database):
        answer = client.get("/readyz")
        alive = client.get("/healthz")

    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
    assert answer.json()["store"]["writable"] is False
    assert alive.status_code == 200, "being locked out is no reason to be restarted"
    assert ready_again(client).json()["status"] == "ready"


def test_feedback_that_cannot_be_stored_is_a_500_that_sdks_do_not_repeat(
    gateway: RunningGateway, client: httpx.Client, trace: str
) -> None:
    assert gateway.database
    with lock_held(gateway.database):
        refused = give(client, trace)
    taken = give(client, trace)

    assert refused.status_code == 500
    assert (refused.json()["status"], refused.json()["message"]) == ("failure", "Something went wrong")
    assert refused.json()["error"]["code"] == "internal"
    assert refused.headers["x-portkey-request-id"]
    assert taken.status_code == 200
    assert [row["id"] for row in gateway.rows.feedback(trace)] == taken.json()["feedback_ids"]


def test_what_was_stored_can_be_read_while_the_database_is_locked(
    gateway: RunningGateway, client: httpx.Client, trace: str
) -> None:
    assert gateway.database
    ask(client, trace)
    with lock_held(gateway.database):
        shown = client.get(f"/v1/traces/{trace}")

    assert (shown.status_code, shown.json()["exchange_count"]) == (200, 1)


def test_rows_that_still_wait_at_sigterm_are_stored_once_the_lock_is_gone(
    gateway: RunningGateway, client: httpx.Client, trace: str
) -> None:
    assert gateway.database
    with lock_held(gateway.database):
        assert ask(client, trace).status_code == 200
        gateway.popen.terminate()
        time.sleep(0.5)

    assert gateway.popen.wait(15) == 0
    assert gateway.rows.the_exchange(trace)["status"] == 200
