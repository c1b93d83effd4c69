"""A client that goes away at an awkward moment: one row, nothing left in use, no word of a fault of ours."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import CLOSE, SILENCE, RawClient, RunningGateway, WireUpstream, chunk, run_gateway
from tests.test_short_way import (
    ANSWERS,
    BODY,
    DONE,
    END,
    STREAM,
    TOKENS,
    event,
    head,
    keep_a_connection,
    one_by_one,
    until_idle,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGUN = one_by_one(STREAM, *TOKENS)


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


@pytest.fixture(params=["cancel", "drain"])
def gateway(upstream: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    one = {"base_url": upstream.base_url, "on_disconnect": request.param, "idle_timeout_s": 4}
    with run_gateway({"upstreams": {"one": one}}) as running:
        yield running


@pytest.fixture(params=["whole", "in pieces"])
def arrival(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(gateway: RunningGateway, client: RawClient, trace: str, arrival: str) -> None:
    keep_a_connection(gateway, trace)
    client.send(head(trace, BODY))
    if arrival == "in pieces":
        time.sleep(0.02)
    client.send(BODY)


def in_mid_stream(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, arrival: str, *rest: Any
) -> RawClient:
    client = RawClient(gateway.port)
    upstream.answers(answer_before())
    upstream.answers(*BEGUN, *rest)
    ask(gateway, client, trace, arrival)
    client.see(b"word4")
    return client


def answer_before() -> bytes:
    return ANSWERS["an empty body"][0]


def is_draining(gateway: RunningGateway) -> bool:
    return bool(gateway.config["upstreams"]["one"]["on_disconnect"] == "drain")


def test_with_a_second_request_behind_a_stream(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, arrival: str
) -> None:
    is_gone = threading.Event()
    rest = (is_gone, 0.05, *one_by_one(*TOKENS * 2), 0.01, chunk(DONE) + END)
    client = in_mid_stream(gateway, upstream, trace, arrival, *rest)
    client.send(head(f"{trace}-2", BODY) + BODY)
    time.sleep(0.05)
    client.hang_up()
    time.sleep(0.05)
    is_gone.set()
    until_idle(gateway)
    row = gateway.rows.the_exchange(trace)
    assert row["error_kind"] == "client_closed"
    assert row["response_head"].endswith(DONE) == is_draining(gateway)


def test_with_a_second_request_behind_an_answer_that_breaks_off(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, arrival: str
) -> None:
    may_end = threading.Event()
    with in_mid_stream(gateway, upstream, trace, arrival, may_end, CLOSE) as client:
        client.send(head(f"{trace}-2", BODY) + BODY)
        time.sleep(0.05)
        may_end.set()
        assert not client.read_answer().clean
    until_idle(gateway)
    assert gateway.rows.the_exchange(trace)["error_kind"] == "upstream_aborted"


@pytest.mark.parametrize("has_second", [False, True])
@pytest.mark.parametrize("kind", ["garbage", "too many requests", "half a head first"])
def test_in_the_moment_in_which_a_task_takes_over(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, kind: str, *, has_second: bool
) -> None:
    arrived = threading.Event()
    if kind == "garbage":
        client = in_mid_stream(gateway, upstream, trace, "whole", arrived, b"zz\r\n", SILENCE)
    else:
        client = RawClient(gateway.port)
        upstream.answers(answer_before())
        upstream.answers(arrived, *ANSWERS[kind])
        ask(gateway, client, trace, "whole")
        upstream.request(1)
    if has_second:
        client.send(head(f"{trace}-2", BODY) + BODY)
        time.sleep(0.05)
    gateway.popen.send_signal(signal.SIGSTOP)  # so that it finds both at once
    client.hang_up()
    arrived.set()
    time.sleep(0.05)
    gateway.popen.send_signal(signal.SIGCONT)
    until_idle(gateway)
    assert gateway.rows.the_exchange(trace)["error_kind"] in ("client_closed", "upstream_aborted", None)
    assert "failed" not in gateway.log
    assert "Fatal" not in gateway.log


def test_after_a_streams_last_event(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, arrival: str
) -> None:
    client = in_mid_stream(gateway, upstream, trace, arrival, chunk(DONE), SILENCE)
    client.see(DONE)
    client.hang_up()
    if not is_draining(gateway):
        assert upstream.request(1).hung_up.wait(2), "nobody wants the rest"
    until_idle(gateway)
    row = gateway.rows.the_exchange(trace)
    assert (row["error_kind"], row["response_head"][-len(DONE) :]) == (None, DONE)


def test_a_broken_end_after_the_last_event_is_no_failure_of_the_upstream(
    upstream: WireUpstream, trace: str, arrival: str
) -> None:
    watched = run_gateway(upstream=upstream.base_url, module="tests.fault_matrix.watched")
    with watched as gateway, RawClient(gateway.port) as client:
        upstream.answers(answer_before())
        upstream.answers(*ANSWERS["an error"])
        upstream.answers(*BEGUN, chunk(DONE), 0.1, CLOSE)
        ask(gateway, client, f"{trace}-error", arrival)
        assert (client.read_answer().status, failures(client)) == (500, [1])
        client.send(head(trace, BODY))
        if arrival == "in pieces":
            time.sleep(0.02)
        client.send(BODY)
        assert client.read_answer().body.endswith(DONE)
        assert failures(client) == [0]


def failures(client: RawClient) -> list[int]:
    client.get("/watch")
    found: list[int] = client.read_answer(method="GET").json()["failures"]
    return found


def test_what_follows_the_last_event_in_one_piece_does_not_let_it_leave_before_the_commit(
    upstream: WireUpstream, trace: str
) -> None:
    with run_gateway(upstream=upstream.base_url) as gateway:
        rest = chunk(event("last") + DONE + b": ping")
        with in_mid_stream(gateway, upstream, trace, "whole", rest, CLOSE) as client:
            assert DONE in client.read_answer().body
        assert gateway.rows.the_exchange(trace)["error_kind"] is None
