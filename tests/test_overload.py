"""Overload: beyond `server.max_in_flight` requests are refused at once, and those accepted do not suffer."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.harness import Answer, RawClient, RunningGateway, WireUpstream, run_gateway, until_in_flight

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
FINE = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"fine": true}\n'
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MOST = 4


@pytest.fixture(scope="module")
def gateway(wire: WireUpstream) -> Iterator[RunningGateway]:
    with run_gateway({"server": {"max_in_flight": MOST}}, upstream=wire.base_url) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


@pytest.fixture
def held_back(upstream: WireUpstream) -> Iterator[threading.Event]:
    """Set, it lets the upstream answer what was asked so far."""
    event = threading.Event()
    upstream.always_answers(event, FINE)
    yield event
    event.set()


@pytest.fixture
def accepted(
    gateway: RunningGateway, upstream: WireUpstream, held_back: threading.Event, trace: str
) -> Iterator[list[RawClient]]:
    """As many clients as may be, all waiting for the upstream."""
    with RawClient(gateway.port) as looking:
        until_in_flight(looking, 0)
    clients = [RawClient(gateway.port) for _ in range(MOST)]
    for number, client in enumerate(clients):
        ask(client, f"{trace}-accepted-{number}")
    upstream.request(MOST - 1)
    yield clients
    for client in clients:
        client.socket.close()


def ask(client: RawClient, trace: str) -> None:
    body = json.dumps({"model": "m", "messages": []}).encode()
    client.post(CHAT, body, JSON, f"x-trace-id: {trace}")


def check_refused(answer: Answer) -> None:
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (503, "overloaded")
    assert "max_in_flight" in error["message"], "the message names the setting"
    assert int(answer.header("retry-after") or 0) >= 1
    assert answer.header("x-trace-id")


def test_one_more_than_may_be_is_refused_while_the_others_wait(
    gateway: RunningGateway,
    client: RawClient,
    upstream: WireUpstream,
    accepted: list[RawClient],
    held_back: threading.Event,
    trace: str,
) -> None:
    ask(client, trace)
    check_refused(client.read_answer())  # while the upstream holds everybody else back
    assert len(upstream.requests) == MOST
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"], row["upstream"]) == (503, "overloaded", None)

    held_back.set()
    for one in accepted:
        assert one.read_answer().body == b'{"fine": true}\n'


def test_the_refused_client_may_try_again_on_the_same_connection(
    client: RawClient, accepted: list[RawClient], held_back: threading.Event, trace: str
) -> None:
    ask(client, f"{trace}-refused")
    check_refused(client.read_answer())
    held_back.set()
    assert accepted[0].read_answer().status == 200
    ask(client, trace)

    assert client.read_answer().status == 200


def test_hundreds_that_are_refused_do_not_hurt_those_accepted(
    gateway: RunningGateway, accepted: list[RawClient], held_back: threading.Event, trace: str
) -> None:
    def knock(number: int) -> None:
        with RawClient(gateway.port) as client:
            for turn in range(25):
                ask(client, f"{trace}-{number}-{turn}")
                check_refused(client.read_answer())

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(knock, range(12)))
    held_back.set()

    for number, one in enumerate(accepted):
        assert one.read_answer().status == 200
        assert gateway.rows.the_exchange(f"{trace}-accepted-{number}")["error_kind"] is None
    refused = gateway.rows.query(
        "SELECT count(*) AS n FROM exchange WHERE trace_id LIKE ? AND error_kind = 'overloaded'", f"{trace}-%"
    )
    assert refused[0]["n"] == 300, "a refused request is recorded as well"


def test_an_accepted_stream_goes_on_while_others_are_refused(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    more = threading.Event()
    upstream.answers(EVENTS_HEAD + b"9\r\ndata: 1\n\n\r\n", more, b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    upstream.always_answers(more, FINE)
    others = [RawClient(gateway.port) for _ in range(MOST - 1)]
    ask(client, trace)
    client.read_until(b"data: 1\n\n")
    for number, other in enumerate(others):
        ask(other, f"{trace}-{number}")
    upstream.request(MOST - 1)
    with RawClient(gateway.port) as late:
        ask(late, f"{trace}-late")
        check_refused(late.read_answer())
    more.set()

    assert b"data: 2\n\n" in client.read_until(b"0\r\n\r\n")
    for other in others:
        assert other.read_answer().status == 200
        other.socket.close()


def test_our_own_paths_are_served_meanwhile(
    gateway: RunningGateway, client: RawClient, accepted: list[RawClient], trace: str
) -> None:
    client.get("/readyz")
    assert client.read_answer().status == 200
    client.post("/v1/feedback", json.dumps({"trace_id": trace, "value": 1}).encode(), JSON)
    assert client.read_answer().status == 200


def test_a_client_that_gives_up_makes_room(
    client: RawClient,
    upstream: WireUpstream,
    accepted: list[RawClient],
    held_back: threading.Event,
    trace: str,
) -> None:
    accepted[0].hang_up()
    assert upstream.requests[0].hung_up.wait(3)
    until_in_flight(client, MOST - 1)
    ask(client, trace)
    upstream.request(MOST)
    held_back.set()

    assert client.read_answer().status == 200
