"""The same faults again and again: no socket, no task, no object and no memory stays behind."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from tests.fault_matrix.upstream_faults import EVENTS_HEAD, FAULTS, FINE, TWO_EVENTS, Fault, event
from tests.harness import RESET, SILENCE, PeakMemory, RawClient, resident_mib

if TYPE_CHECKING:
    from tests.fault_matrix.stand import Stand
    from tests.harness import Step

ROWS = {fault.does: fault for faults in FAULTS.values() for fault in faults}
TIMES = 25

OFTEN = [
    "refuses the connection",
    "answers a TLS handshake without TLS",
    "has a certificate of nobody we trust",
    "resets before its headers",
    "closes within its headers",
    "answers 500",
    "closes in mid-stream",
    "sends a chunk without a size",
    "sends more bytes than its length says",
    "closes short of its length",
]
LARGE = [
    "sends 10 MB of headers",
    "sends one header of 10 MB",
    "sends a trailer of 10 MB",
    "sends a gzip bomb",
]


def repeat(fault: Fault, stand: Stand, trace: str, times: int) -> None:
    for number in range(times):
        if fault.steps:
            stand.faulty.answers(*fault.steps, at=fault.at)
        stand.answer(f"{trace}-{number}", f"{fault.place}.alone", stream=fault.stream)


@pytest.mark.parametrize("does", OFTEN)
def test_a_fault_many_times_leaves_what_was_before(stand: Stand, trace: str, does: str) -> None:
    repeat(ROWS[does], stand, f"{trace}-warm-up", 2)
    stand.settled()
    before = stand.held("?objects")["objects"]
    repeat(ROWS[does], stand, trace, TIMES)
    stand.settled()

    after = stand.held("?objects")["objects"]
    assert all(after[name] - before[name] <= 2 for name in before), (before, after)


def test_connections_that_are_reset_in_the_moment_they_are_made_are_502s(stand: Stand, trace: str) -> None:
    """Whether connecting already fails or only the first write is the kernel's to say, each time anew."""
    for number in range(100):
        stand.faulty.answers(RESET, at="accept")
        answer = stand.answer(f"{trace}-{number}", "scripted.alone")
        code = answer.json()["error"]["code"]
        assert (answer.status, code) in ((502, "upstream_broken"), (502, "upstream_unreachable"))
        assert stand.row(f"{trace}-{number}")["error_kind"] == code
    stand.settled()


@pytest.mark.parametrize("plan", ["alone", "retry", "fallback", "kept"])
def test_clients_that_go_away_at_any_moment_leave_nothing(stand: Stand, trace: str, plan: str) -> None:
    rng = random.Random(plan)
    stand.faulty.always_answers(0.004, FINE)
    for number in range(60):
        client = RawClient(stand.gateway.port)
        stand.ask(client, f"{trace}-{number}", f"scripted.{plan}", stream=rng.random() < 0.5)
        threading.Event().wait(rng.random() * 0.008)
        client.hang_up()
    for number in range(60):
        stand.row(f"{trace}-{number}")

    stand.settled()
    stand.begin()
    stand.still_serves(trace, "scripted.alone")


def test_one_connection_is_enough_after_many_cancelled_requests(stand: Stand, trace: str) -> None:
    """Each of these once cost the httpx transport a place in its pool, for good."""
    for number in range(10):
        client = RawClient(stand.gateway.port)
        stand.ask(client, f"{trace}-{number}", "narrow.alone")
        client.hang_up()
    for number in range(10):
        stand.row(f"{trace}-{number}")

    stand.settled()
    stand.still_serves(trace, "narrow.alone")


@pytest.mark.parametrize("does", LARGE)
def test_memory_is_flat_over_what_is_too_large(stand: Stand, trace: str, does: str) -> None:
    repeat(ROWS[does], stand, f"{trace}-warm-up", 1)
    before_mib = resident_mib(stand.gateway)
    with PeakMemory(stand.gateway) as peak:
        repeat(ROWS[does], stand, trace, 4)

    assert peak.mib - before_mib < 24
    stand.settled()


@pytest.mark.parametrize("steps", [(SILENCE,), (EVENTS_HEAD, SILENCE), (*TWO_EVENTS, SILENCE)])
def test_a_plain_request_over_an_open_connection_needs_no_task(
    stand: Stand, trace: str, steps: tuple[Step, ...]
) -> None:
    stand.keep_connections()
    stand.faulty.answers(*steps)
    with RawClient(stand.gateway.port) as client:
        stand.ask(client, trace, "scripted.alone")
        stand.faulty.request(0)
        if len(steps) > 1:
            client.read_until(event(2) if steps[-2] != EVENTS_HEAD else b"\r\n\r\n")
        held = stand.held()
    tasks = sum(held["tasks"].values()) - sum(stand.at_rest["tasks"].values())
    assert (held["in_flight"], tasks) == (1, 0 if stand.transport == "native" else 1)
    stand.settled()
    assert stand.row(trace)["error_kind"] == "client_closed"
