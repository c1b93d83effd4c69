"""Every row of an upstream's faults, tried with every plan, on both transports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fault_matrix.upstream_faults import FAULTS, FINE_BODY, Fault

if TYPE_CHECKING:
    from tests.fault_matrix.stand import Stand
    from tests.harness import Answer

ROWS = {fault.does: fault for faults in FAULTS.values() for fault in faults}

PLANS = ["retry", "fallback"]
PASSING = {does: fault for does, fault in ROWS.items() if fault.is_seen and fault.attempts("retry") == 2}
"""What a second try at the same upstream helps against, and can be seen to."""

OVER_KEPT = {does: fault for does, fault in ROWS.items() if fault.is_seen and fault.at != "accept"}
"""What an upstream can do to a request that came over a connection which had served another."""

PLANNED = [(fault, plan) for fault in ROWS.values() for plan in (PLANS if fault.tried_again else ["both"])]
"""What is not tried again is not under a plan that would try both."""


@pytest.fixture(params=ROWS.values(), ids=ROWS.keys())
def fault(request: pytest.FixtureRequest) -> Fault:
    row: Fault = request.param
    return row


def strikes(fault: Fault, stand: Stand, times: int) -> None:
    """Script the fault for the next `times` attempts; those after it would be answered."""
    for _ in range(times):
        if fault.steps:
            stand.faulty.answers(*fault.steps, at=fault.at)


def test_a_fault_alone(fault: Fault, stand: Stand, trace: str) -> None:
    strikes(fault, stand, 1)
    answer = stand.answer(trace, f"{fault.place}.alone", stream=fault.stream)

    check_answer(fault, answer, stand.transport)
    check_row(fault, stand, trace)
    check_attempts(fault, stand, 1)
    stand.settled()
    if fault.is_seen:
        stand.still_serves(trace, f"{fault.place}.alone")


@pytest.mark.parametrize("fault", OVER_KEPT.values(), ids=OVER_KEPT.keys())
def test_a_fault_over_a_connection_that_was_open_before(fault: Fault, stand: Stand, trace: str) -> None:
    stand.keep_connections()
    strikes(fault, stand, 2)  # a connection that ends without an answer is replaced, once
    answer = stand.answer(trace, f"{fault.place}.alone", stream=fault.stream)

    check_answer(fault, answer, stand.transport)
    check_row(fault, stand, trace)
    stand.settled()
    stand.begin()
    stand.still_serves(trace, f"{fault.place}.alone")


@pytest.mark.parametrize(("fault", "plan"), PLANNED, ids=lambda it: getattr(it, "does", it))
def test_a_fault_that_lasts_under_a_plan(fault: Fault, stand: Stand, trace: str, plan: str) -> None:
    attempts = fault.attempts(plan)
    strikes(fault, stand, attempts if plan == "retry" else 1)
    answer = stand.answer(trace, f"{fault.place}.{plan}", stream=fault.stream)

    if plan == "fallback" and attempts == 2:
        assert (answer.status, answer.body) == (200, FINE_BODY)
        row = stand.row(trace)
        assert (row["status"], row["error_kind"], row["upstream"]) == (200, None, "good")
        check_attempts(fault, stand, 1)
        assert len(stand.good.requests) == 1
    else:
        check_answer(fault, answer, stand.transport)
        row = check_row(fault, stand, trace)
        check_attempts(fault, stand, attempts)
        assert not stand.good.requests
    check_recorded_attempts(fault, row, stand.transport, attempts)
    stand.settled()


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_fault_that_passes_under_a_plan_with_retries(fault: Fault, stand: Stand, trace: str) -> None:
    strikes(fault, stand, 1)
    answer = stand.answer(trace, f"{fault.place}.retry", stream=fault.stream)

    assert (answer.status, answer.body, answer.clean) == (200, FINE_BODY, True)
    row = stand.row(trace)
    assert (row["status"], row["error_kind"]) == (200, None)
    check_attempts(fault, stand, 2)
    check_recorded_attempts(fault, row, stand.transport, 2, recovered=True)
    stand.settled()


def test_retry_after_is_waited_for(stand: Stand, trace: str) -> None:
    strikes(ROWS["answers 429 with `Retry-After`"], stand, 1)
    assert stand.answer(trace, "scripted.retry").status == 200

    first, second = stand.attempts(trace)
    assert second["started_ms"] - (first["started_ms"] + first["latency_ms"]) >= 60


def check_answer(fault: Fault, answer: Answer, transport: str) -> None:
    status, code = fault.outcome(transport)
    assert (answer.status, answer.clean) == (status, fault.ends == "whole")
    for name in ("x-trace-id", "x-request-id"):
        assert answer.header(name), f"{name} is missing"
    if fault.is_ours:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["code"], error["type"]) == (code, "upstream_error")
        assert code is not None
        if status == 504:
            assert f"{code.removeprefix('upstream_')}_s" in error["message"], "the message names the setting"
        return
    for name, value in fault.headers:
        assert answer.header(name) == value
    if fault.ends == "whole":
        assert answer.body == fault.body
        return
    assert answer.body.startswith(fault.body)
    if fault.ends == "error event":
        name, error = last_event(answer.body)
        assert (name, error["error"]["code"]) == ("error", code)
    else:
        assert b'"error"' not in answer.body


def check_row(fault: Fault, stand: Stand, trace: str) -> dict[str, Any]:
    row = stand.row(trace)
    assert (row["status"], row["error_kind"]) == fault.outcome(stand.transport)
    if fault.ends != "whole":
        assert (row["response_head"] or b"").startswith(fault.recorded), "what came is recorded"
    if fault.is_ours:
        assert row["first_byte_ms"] is None
    return row


def check_attempts(fault: Fault, stand: Stand, wanted: int) -> None:
    if fault.is_seen:
        seen = stand.faulty.connections if fault.at == "accept" else len(stand.faulty.requests)
        assert seen == wanted


def check_recorded_attempts(
    fault: Fault, row: dict[str, Any], transport: str, wanted: int, *, recovered: bool = False
) -> None:
    """The row tells of every attempt: those that failed as the fault says, a last one that did not as 200."""
    attempts = json.loads(row["attempts"])
    assert (len(attempts), row["attempt_count"]) == (wanted, wanted)
    status, code = fault.outcome(transport)
    failed = (None, code) if fault.is_ours else (status, None)
    told = [(attempt.get("status"), attempt.get("error_kind")) for attempt in attempts]
    recovered = recovered or attempts[-1]["upstream"] == "good"
    assert told == [failed] * (wanted - recovered) + [(200, None)] * recovered
    assert attempts[0]["upstream"] == fault.place
    starts = [attempt["started_ms"] for attempt in attempts]
    assert starts == sorted(starts)


def last_event(body: bytes) -> tuple[str, dict[str, Any]]:
    """Name and data of the last event of a stream."""
    block = body.rstrip(b"\n").rpartition(b"\n\n")[2].decode()
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    return fields.get("event", ""), json.loads(fields["data"])
