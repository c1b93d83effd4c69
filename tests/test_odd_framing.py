"""HTTP as few write it: offers of another protocol, trailers, transfer codings, lengths that are not kept."""

from __future__ import annotations

import gzip
import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import CLOSE, SILENCE, RawClient, RunningGateway, WireUpstream, chunk, run_gateway
from tests.test_short_way import BODY, CHAT, COMPLETION, STREAM, answer, event, head

if TYPE_CHECKING:
    from collections.abc import Iterator

H2C = (
    "connection: Upgrade, HTTP2-Settings",
    "upgrade: h2c",
    "http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)
"""What the HTTP client of Java's own library says with its first request over plain HTTP."""


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(wire: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    one = {"base_url": wire.base_url, "transport": request.param, "idle_timeout_s": 1}
    with run_gateway({"upstreams": {"one": one}}) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


@pytest.mark.parametrize("split", [None, 20, -len(BODY), -5])
def test_an_offer_of_another_protocol_is_declined_and_the_request_served(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, split: int | None
) -> None:
    request = head(trace, BODY, *H2C) + BODY
    with RawClient(gateway.port) as client:
        for number in range(2):
            upstream.answers(answer(COMPLETION))
            client.send(request[:split])
            if split is not None:
                time.sleep(0.02)
                client.send(request[split:])
            assert client.read_answer().body == COMPLETION
            received = upstream.request(number)
            assert received.body == BODY
            assert not {b"upgrade", b"connection", b"http2-settings"} & {name for name, _ in received.headers}
    assert len(gateway.rows.exchanges(trace)) == 2


def test_offers_sent_without_waiting_are_all_served(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    with RawClient(gateway.port) as client:
        client.send((head(trace, BODY, *H2C) + BODY) * 3)
        assert [client.read_answer().status for _ in range(3)] == [200] * 3
    assert [received.body for received in upstream.requests] == [BODY] * 3


def test_an_offer_of_web_sockets_is_declined(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    with RawClient(gateway.port) as client:
        client.get(
            "/v1/realtime", "connection: keep-alive, Upgrade", "upgrade: websocket", f"x-trace-id: {trace}"
        )
        assert client.read_answer(method="GET").status == 200
    assert b"upgrade" not in dict(upstream.request(0).headers)


def test_our_own_endpoints_take_a_body_that_comes_with_an_offer(gateway: RunningGateway, trace: str) -> None:
    body = json.dumps({"trace_id": trace, "value": 1}).encode()
    with RawClient(gateway.port) as client:
        client.post("/v1/feedback", body, *H2C)
        assert client.read_answer().status == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/files"])
@pytest.mark.parametrize(
    "trailer",
    ["authorization: Bearer other", "x-trace-id: other", "x-capture: bogus", "content-encoding: gzip"],
)
def test_trailers_are_no_headers(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, path: str, trailer: str
) -> None:
    lines = [f"POST {path} HTTP/1.1", "host: a", f"x-trace-id: {trace}", "transfer-encoding: chunked", "", ""]
    with RawClient(gateway.port) as client:
        client.send("\r\n".join(lines).encode() + chunk(BODY) + b"0\r\n" + trailer.encode() + b"\r\n\r\n")
        assert client.read_answer().header("x-trace-id") == trace
    received = upstream.request(0)
    assert received.body == BODY
    assert trailer.partition(":")[0].encode() not in dict(received.headers)


def test_a_body_in_another_transfer_coding_is_refused(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    lines = ["POST /v1/files HTTP/1.1", "host: a", f"x-trace-id: {trace}", "transfer-encoding: gzip, chunked"]
    with RawClient(gateway.port) as client:
        client.send("\r\n".join([*lines, "", ""]).encode() + chunk(gzip.compress(b"{}")) + b"0\r\n\r\n")
        refused = client.read_answer()
    assert (refused.status, refused.json()["error"]["code"]) == (501, "unsupported_transfer_coding")
    assert not upstream.requests


def test_an_answer_in_another_transfer_coding_is_a_broken_one(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    zipped = chunk(gzip.compress(COMPLETION)) + b"0\r\n\r\n"
    upstream.answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n" + zipped)
    with RawClient(gateway.port) as client:
        client.send(head(trace, BODY) + BODY)
        assert client.read_answer().json()["error"]["code"] == "upstream_broken"


def test_a_bad_chunk_right_behind_the_head_is_told_and_recorded(gateway: RunningGateway, trace: str) -> None:
    lines = [
        f"POST {CHAT} HTTP/1.1",
        "host: a",
        f"x-trace-id: {trace}",
        "transfer-encoding: chunked",
        "",
        "zz\r\n",
    ]
    with RawClient(gateway.port) as client:
        client.send("\r\n".join(lines).encode())
        assert client.read_answer().status == 400
    assert gateway.rows.the_exchange(trace)["error_kind"] == "client_closed"
    assert "Exception" not in gateway.log


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
@pytest.mark.parametrize("framing", ["transfer-encoding: chunked", "content-length: 90"])
@pytest.mark.parametrize("end", [CLOSE, SILENCE])
def test_no_answer_that_breaks_off_looks_whole(
    gateway: RunningGateway,
    upstream: WireUpstream,
    trace: str,
    version: str,
    kind: str,
    framing: str,
    end: Any,
) -> None:
    start = event("some")[:70]
    begun = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{framing}\r\n\r\n".encode()
    upstream.answers(begun + (chunk(start) if "chunked" in framing else start), 0.05, end)
    with RawClient(gateway.port) as client:
        client.send(head(trace, BODY, version=version) + BODY)
        answered = client.read_answer()
    assert not answered.clean
    assert answered.body.startswith(start)
    assert (b"event: error" in answered.body) == (kind == "text/event-stream")
    assert gateway.rows.the_exchange(trace)["error_kind"] in ("upstream_aborted", "upstream_idle_timeout")
    assert "Exception" not in gateway.log


def test_a_stream_has_no_length(gateway: RunningGateway, upstream: WireUpstream, trace: str) -> None:
    events = event("all of it")
    upstream.answers(
        STREAM.replace(b"transfer-encoding: chunked", b"content-length: %d" % len(events)) + events
    )
    with RawClient(gateway.port) as client:
        client.send(head(trace, BODY) + BODY)
        answered = client.read_answer()
    assert (answered.header("content-length"), answered.body, answered.clean) == (None, events, True)


def test_tokens_are_read_from_a_compressed_answer_larger_than_what_is_kept(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    noise = random.Random(1)
    data = [{"embedding": [noise.random() for _ in range(1536)]} for _ in range(100)]
    body = gzip.compress(
        json.dumps({"data": data, "usage": {"prompt_tokens": 8, "total_tokens": 8}}).encode()
    )
    assert len(body) > 1024 * 1024
    upstream.answers(answer(body, "content-encoding: gzip"))
    with RawClient(gateway.port) as client:
        client.send(head(trace, BODY) + BODY)
        assert client.read_answer().body == body
    row = gateway.rows.the_exchange(trace)
    assert row["prompt_tokens"] == 8
    assert len(row["response_head"]) + len(row["response_tail"]) == 1024 * 1024
