"""How a request arrives, and over which connection it goes upstream, neither its client nor its row can tell.

A request that came whole goes a shorter way through the gateway (`gateway/proxy/direct.py`) than one in
pieces; what comes of both is compared here, for every kind of answer. Faults have the fault matrix.
"""

from __future__ import annotations

import gzip
import json
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import (
    CLOSE,
    SILENCE,
    Again,
    RawClient,
    RunningGateway,
    WireUpstream,
    chunk,
    run_gateway,
    until_in_flight,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Answer

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [], "user": "ann", "metadata": {"a": "b"}}).encode()
COMPLETION = json.dumps(
    {
        "id": "chatcmpl-1",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
).encode()
EVENTS = b'data: {"choices":[]}\n\ndata: [DONE]\n\n'


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "content-type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n"
DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: %b\n\n" % json.dumps({"model": "gpt-4o-mini", "choices": [choice]}).encode()


def one_by_one(*pieces: bytes, pause_s: float = 0.01) -> tuple[Any, ...]:
    """The pieces as an upstream sends them that takes its time."""
    return tuple(step for piece in pieces for step in (piece, pause_s))[:-1]


TOKENS = [chunk(event(f"word{number}")) for number in range(5)]
LAST = event("").replace(b"null", b'"stop"')
ANTHROPIC = [
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3}}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"hi"}}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":2}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]

ANSWERS: dict[str, tuple[Any, ...]] = {
    "a completion": (answer(COMPLETION, "x-request-id: req_1", "x-ratelimit-limit-requests: 10"),),
    "its head first": (answer(COMPLETION)[: -len(COMPLETION)], 0.02, COMPLETION),
    "in three pieces": (answer(COMPLETION)[:-20], 0.02, COMPLETION[-20:-5], 0.02, COMPLETION[-5:]),
    "half a head first": (answer(COMPLETION)[:30], 0.02, answer(COMPLETION)[30:]),
    "after an interim answer": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 0.02, answer(COMPLETION)),
    "compressed": (answer(gzip.compress(COMPLETION), "content-encoding: gzip"),),
    "in one chunk": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n"
        + chunk(COMPLETION) + END,
    ),
    "up to the connection's end": (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + COMPLETION,
        CLOSE,
    ),
    "with fields of the hop": (
        answer(COMPLETION, "connection: close, x-hop", "x-hop: 1", "keep-alive: timeout=5"),
        CLOSE,
    ),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n",),
    "an empty body": (answer(b""),),
    "a status without a name": (answer(COMPLETION, status="299 "),),
    "a redirect": (answer(b"", "location: http://elsewhere.test/", status="307 Temporary Redirect"),),
    "not found": (answer(b'{"error":{"message":"no"}}', status="404 Not Found"),),
    "too many requests": (answer(b'{"error":{}}', "retry-after: 1", status="429 Too Many Requests"),),
    "an error": (answer(b'{"error":{}}', status="500 Internal Server Error"),),
    "a large body": (answer(b'"' + b"x" * 400_000 + b'"'),),
    "a stream": (STREAM + chunk(EVENTS) + END,),
    "a stream, event by event": one_by_one(STREAM, *TOKENS, chunk(LAST), chunk(DONE), END),
    "its first event with the head": one_by_one(STREAM + TOKENS[0], *TOKENS[1:], chunk(DONE) + END),
    "several events a chunk": one_by_one(STREAM, chunk(event("a") + event("b")), chunk(EVENTS), END),
    "several chunks at once": one_by_one(STREAM, b"".join(TOKENS), TOKENS[0] + chunk(DONE) + END),
    "events in pieces": one_by_one(
        STREAM + TOKENS[0][:20], TOKENS[0][20:] + TOKENS[1][:2], TOKENS[1][2:], chunk(DONE)[:9],
        chunk(DONE)[9:] + END[:3], END[3:],
    ),
    "an event in several chunks": one_by_one(
        STREAM, TOKENS[0], chunk(b'data: {"a":'), chunk(b'"b"}\n'), chunk(b"\n"), TOKENS[1],
        chunk(b"data: [DO"), chunk(b"NE]\n\n"), END,
    ),
    "the last event alone": one_by_one(STREAM, chunk(DONE), END),
    "the last event with the head": one_by_one(STREAM + chunk(DONE), END),
    "no last event": one_by_one(STREAM, *TOKENS, END),
    "no event": one_by_one(STREAM, END),
    "an end that takes its time": (*one_by_one(STREAM, *TOKENS, chunk(DONE)), 0.3, END),
    "more after the last event": (*one_by_one(STREAM, *TOKENS, chunk(DONE)), 0.3, TOKENS[0], 0.01, END),
    "an end that breaks off after the last event": (*one_by_one(STREAM, *TOKENS, chunk(DONE)), 0.2, CLOSE),
    "two hundred events": one_by_one(STREAM, *TOKENS * 40, chunk(DONE), END, pause_s=0.001),
    "lines that end in other ways": one_by_one(
        STREAM, TOKENS[0], chunk(b'data: {"a":1}\r\n\r\n'), chunk(b'data: {"a":1}\rdata: [DONE]\n\n'), END
    ),
    "a stream of Anthropic's": one_by_one(STREAM, *map(chunk, ANTHROPIC), END),
    "a stream with a length": one_by_one(
        STREAM.replace(b"transfer-encoding: chunked", b"content-length: %d" % (len(event("a")) + len(DONE))),
        event("a"), DONE,
    ),
    "a stream up to the connection's end": (
        *one_by_one(STREAM.replace(b"transfer-encoding: chunked\r\n", b""), event("a"), DONE), CLOSE,
    ),
    "pieces that are no events": one_by_one(
        STREAM.replace(b"text/event-stream", b"audio/mpeg"), TOKENS[0], chunk(b"\0" * 3000), chunk(DONE), END
    ),
}  # fmt: skip

ARRIVALS = (
    "whole, over a new connection",
    "whole",
    "in pieces",
    "whole, to be closed",
    "of HTTP/1.0 kept alive",
)

TELLING = (
    "method", "path", "upstream", "requested_model", "answering_model", "streamed", "status", "error_kind",
    "finish_reason", "prompt_tokens", "completion_tokens", "cost_usd", "request_bytes", "response_bytes",
    "body_user", "body_metadata", "meta_user", "metadata", "tags", "request_headers", "response_headers",
    "request_head", "response_head", "response_tail", "response_encoding",
)  # fmt: skip


@pytest.fixture(scope="module")
def gateway(wire: WireUpstream) -> Iterator[RunningGateway]:
    with run_gateway({"server": {"shutdown_grace_s": 0.5}}, upstream=wire.base_url) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


def head(trace: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    lines = [
        f"POST {CHAT} HTTP/{version}", "host: gateway.test", "content-type: application/json",
        f"content-length: {len(body)}", f"x-trace-id: {trace}", 'x-metadata: {"_user": "bob", "plan": "pro"}',
        "x-tags: beta", "x-team: blue", *headers,
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def keep_a_connection(gateway: RunningGateway, trace: str) -> None:
    with RawClient(gateway.port) as client:
        client.send(head(f"{trace}-before", BODY) + BODY)
        assert client.read_answer().status == 200


def ask(gateway: RunningGateway, client: RawClient, trace: str, arrival: str) -> Answer:
    if "new" not in arrival:
        keep_a_connection(gateway, trace)
    if arrival == "in pieces":
        client.send(head(trace, BODY))
        time.sleep(0.02)
        client.send(BODY[:20])
        time.sleep(0.02)
        client.send(BODY[20:])
    elif "closed" in arrival:
        client.send(head(trace, BODY, "connection: close") + BODY)
    elif "1.0" in arrival:
        client.send(head(trace, BODY, "connection: keep-alive", version="1.0") + BODY)
    else:
        client.send(head(trace, BODY) + BODY)
    return client.read_answer()


def told(answer: Answer) -> tuple[Any, ...]:
    """All of an answer that is not different each time, or HTTP's way of saying where it ends."""
    ids = {"x-trace-id", "x-portkey-trace-id", "x-request-id", "connection", "transfer-encoding"}
    headers = sorted((name.lower(), value) for name, value in answer.headers if name.lower() not in ids)
    status_line = answer.raw_head.partition(b"\r\n")[0]
    return status_line, headers, answer.body, answer.clean


@pytest.mark.parametrize("kind", ANSWERS)
def test_how_a_request_arrives_changes_nothing(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, kind: str
) -> None:
    seen, rows, sent = [], [], []
    for number, arrival in enumerate(ARRIVALS):
        upstream.reset()
        if "new" not in arrival:
            upstream.answers(answer(b"{}"))
        upstream.answers(*ANSWERS[kind])
        with RawClient(gateway.port) as client:
            answered = ask(gateway, client, f"{trace}-{number}", arrival)
        assert answered.header("x-trace-id") == f"{trace}-{number}"
        row = gateway.rows.the_exchange(f"{trace}-{number}")
        assert answered.header("x-request-id") == row["id"]
        assert 0 < row["queue_ms"] < row["first_byte_ms"] <= row["latency_ms"]
        received = upstream.request(-1)
        seen.append(told(answered))
        cost = row["cost_usd"] and round(
            row["cost_usd"], 12
        )  # the list multiplies in another order than we do
        rows.append({column: row[column] for column in TELLING} | {"cost_usd": cost})
        sent.append((received.target, received.headers, received.body))
    assert seen == [seen[0]] * len(ARRIVALS)
    assert rows == [rows[0]] * len(ARRIVALS)
    assert sent == [sent[0]] * len(ARRIVALS)


def test_a_status_without_a_name_has_a_status_line_all_the_same(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(*ANSWERS["a status without a name"])
    with RawClient(gateway.port) as client:
        answered = ask(gateway, client, trace, "whole, over a new connection")
    assert answered.raw_head.startswith(b"HTTP/1.1 299 \r\n")  # RFC 9112 section 4: the space is not optional


BAD: dict[str, tuple[bytes, tuple[str, ...], int]] = {
    "not JSON": (b"{", (), 400),
    "no object": (b"[]", (), 400),
    "empty": (b"", (), 400),
    "a bad trace id": (BODY, ("x-portkey-trace-id: ok", "x-trace-id: two words"), 400),
    "bad metadata": (BODY, ("x-portkey-metadata: {", "x-metadata: "), 400),
    "bad capture": (BODY, ("x-capture: some",), 400),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_told_the_same_and_recorded(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, case: str
) -> None:
    body, more, status = BAD[case]
    lines = {line.partition(":")[0] for line in more}
    kept = [
        line
        for line in head(trace, body, *more).decode().split("\r\n")
        if line in more or line.partition(":")[0] not in lines
    ]
    request = "\r\n".join(kept).encode()
    said = []
    for split in (False, True):
        with RawClient(gateway.port) as client:
            if split:
                client.send(request[:-2])
                time.sleep(0.02)
                request = request[-2:]
            client.send(request + body)
            answered = client.read_answer()
        said.append((answered.status, answered.json()["error"]["code"], answered.json()["error"]["param"]))
        row = gateway.rows.query("SELECT status FROM exchange WHERE id = ?", answered.header("x-request-id"))
        assert [one["status"] for one in row] == [status]
    assert said == [said[0]] * 2
    assert said[0][0] == status
    assert not upstream.requests


def test_requests_sent_without_waiting_are_answered_in_their_order(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    keep_a_connection(gateway, trace)
    for number in range(4):
        upstream.answers(0.05 * (4 - number), answer(b'{"number":%d}' % number))
    with RawClient(gateway.port) as client:
        client.send(b"".join(head(f"{trace}-{number}", BODY) + BODY for number in range(4)))
        answers = [client.read_answer() for _ in range(4)]
    assert [answered.json()["number"] for answered in answers] == [0, 1, 2, 3]
    assert [answered.header("x-trace-id") for answered in answers] == [f"{trace}-{n}" for n in range(4)]
    for number in range(4):
        assert gateway.rows.the_exchange(f"{trace}-{number}")["status"] == 200


def test_a_second_request_may_begin_while_the_first_is_on_its_way(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    keep_a_connection(gateway, trace)
    upstream.answers(0.2, answer(b'{"number":1}'))
    upstream.answers(answer(b'{"number":2}'))
    second = head(f"{trace}-2", BODY) + BODY
    with RawClient(gateway.port) as client:
        client.send(head(f"{trace}-1", BODY) + BODY)
        upstream.request(1)
        client.send(second[:50])
        time.sleep(0.02)
        client.send(second[50:])
        assert [client.read_answer().json()["number"] for _ in range(2)] == [1, 2]


def test_an_upstream_connection_that_died_unnoticed_is_replaced(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    keep_a_connection(gateway, trace)
    upstream.answers(CLOSE)  # what a connection that was closed a moment ago does with the next request
    upstream.answers(answer(COMPLETION))
    with RawClient(gateway.port) as client:
        client.send(head(trace, BODY) + BODY)
        assert client.read_answer().body == COMPLETION
    assert gateway.rows.the_exchange(trace)["status"] == 200
    assert len(upstream.requests) == 3


def test_a_clients_key_for_the_gateway_does_not_go_upstream(upstream: WireUpstream, trace: str) -> None:
    config = {"keys": {"ann": {"key": "gw-key-of-ann-0123456789"}}}
    with run_gateway(config, upstream=upstream.base_url) as gateway, RawClient(gateway.port) as client:
        for key, status in (("gw-key-of-ann-0123456789", 200), ("gw-key-of-nobody-012345", 401)) * 2:
            client.send(head(trace, BODY, f"authorization: Bearer {key}", "x-api-key: sk-1") + BODY)
            assert client.read_answer().status == status
        assert len(upstream.requests) == 2
        for received in upstream.requests:
            fields = dict(received.headers)
            assert b"authorization" not in fields
            assert fields[b"x-api-key"] == b"sk-1"
        assert {row["key_id"] for row in gateway.rows.exchanges(trace)} == {"ann"}


BEGUN: dict[str, tuple[Any, ...]] = {
    "no answer yet": (),
    "a stream's head": (STREAM,),
    "a stream": one_by_one(STREAM, *TOKENS),
}


def ask_and_see(client: RawClient, upstream: WireUpstream, trace: str, begun: str, *rest: Any) -> None:
    """Ask, and return when what there is at first of the answer has arrived."""
    upstream.answers(*BEGUN[begun], *rest)
    client.send(head(trace, BODY) + BODY)
    upstream.request(1)
    if BEGUN[begun]:
        client.see(b"word4" if len(BEGUN[begun]) > 1 else b"\r\n\r\n")


@pytest.mark.parametrize("begun", BEGUN)
def test_what_outstays_the_grace_is_ended_and_recorded(
    upstream: WireUpstream, trace: str, begun: str
) -> None:
    config = {"server": {"shutdown_grace_s": 0.3}}
    with run_gateway(config, upstream=upstream.base_url) as gateway, RawClient(gateway.port) as client:
        keep_a_connection(gateway, trace)
        ask_and_see(client, upstream, trace, begun, SILENCE)
        gateway.popen.send_signal(signal.SIGTERM)
        assert gateway.popen.wait(10) == 0
        row = gateway.rows.the_exchange(trace)
        assert row["error_kind"] == "gateway_shutdown"
        assert (row["status"] == 200) == (begun != "no answer yet")
        if begun == "a stream":
            assert row["response_head"] == b"".join(event(f"word{number}") for number in range(5))
            assert not client.read_answer().clean


@pytest.mark.parametrize("begun", BEGUN)
def test_a_stop_waits_for_what_is_on_its_way(upstream: WireUpstream, trace: str, begun: str) -> None:
    with run_gateway(upstream=upstream.base_url) as gateway, RawClient(gateway.port) as client:
        keep_a_connection(gateway, trace)
        rest = (chunk(LAST), chunk(DONE) + END) if BEGUN[begun] else (answer(COMPLETION),)
        ask_and_see(client, upstream, trace, begun, 0.5, *rest)
        gateway.popen.send_signal(signal.SIGTERM)
        answered = client.read_answer()
        assert answered.clean
        assert answered.body.endswith(DONE if BEGUN[begun] else COMPLETION)
        assert gateway.popen.wait(10) == 0
        assert gateway.rows.the_exchange(trace)["error_kind"] is None


@pytest.mark.parametrize("begun", ["a stream's head", "a stream"])
@pytest.mark.parametrize("on_disconnect", ["cancel", "drain"])
def test_a_client_that_leaves_a_stream_is_noticed(
    upstream: WireUpstream, trace: str, on_disconnect: str, begun: str
) -> None:
    config = {"upstreams": {"one": {"base_url": upstream.base_url, "on_disconnect": on_disconnect}}}
    is_gone = threading.Event()
    with run_gateway(config) as gateway:
        keep_a_connection(gateway, trace)
        with RawClient(gateway.port) as client:
            ask_and_see(client, upstream, trace, begun, is_gone, 0.1, TOKENS[0], 0.01, chunk(DONE) + END)
            client.hang_up()
        if on_disconnect == "cancel":
            assert upstream.request(1).hung_up.wait(5)
        is_gone.set()
        until_idle(gateway)
        row = gateway.rows.the_exchange(trace)
        assert row["error_kind"] == "client_closed"
        if on_disconnect == "drain":
            assert row["response_head"].endswith(event("word0") + DONE)


@pytest.mark.parametrize("end", ["at once", "later"])
def test_a_client_that_reads_its_stream_slowly_gets_all_of_it(
    gateway: RunningGateway, upstream: WireUpstream, trace: str, end: str
) -> None:
    long = event("x" * 1900)
    keep_a_connection(gateway, trace)
    pause = (0.5,) if end == "later" else ()
    upstream.answers(STREAM, 0.01, *[chunk(long) * 16, 0.001] * 300, *pause, chunk(DONE), *pause, END)
    with RawClient(gateway.port) as client:
        client.send(head(trace, BODY) + BODY)
        client.see(b"\r\n\r\n")
        time.sleep(1.5)
        answered = client.read_answer()
    assert (answered.clean, answered.body == long * 4800 + DONE) == (True, True)
    row = gateway.rows.the_exchange(trace)
    assert (row["error_kind"], row["response_bytes"]) == (None, len(long) * 4800 + len(DONE))


@pytest.mark.parametrize("limit", ["idle", "total"])
def test_a_stream_that_passes_a_limit_is_broken_off(upstream: WireUpstream, trace: str, limit: str) -> None:
    one = {"base_url": upstream.base_url, f"{limit}_timeout_s": 0.3}
    with run_gateway({"upstreams": {"one": one}}) as gateway, RawClient(gateway.port) as client:
        keep_a_connection(gateway, trace)
        upstream.answers(*one_by_one(STREAM, *TOKENS * 40 if limit == "total" else TOKENS), SILENCE)
        client.send(head(trace, BODY) + BODY)
        answered = client.read_answer()
        assert not answered.clean
        row = gateway.rows.the_exchange(trace)
        assert row["error_kind"] == f"upstream_{limit}_timeout"
        assert answered.body.startswith(row["response_head"])
        assert b"event: error" in answered.body[len(row["response_head"]) :]


@pytest.mark.parametrize("commit", ["sync", "background"])
def test_a_kept_connection_serves_one_request_after_another(
    upstream: WireUpstream, trace: str, commit: str
) -> None:
    config = {"capture": {"commit": commit}}
    with run_gateway(config, upstream=upstream.base_url) as gateway, RawClient(gateway.port) as client:
        for number in range(50):
            upstream.answers(answer(b'{"number":%d}' % number))
            client.send(head(f"{trace}-{number}", BODY) + BODY)
            assert client.read_answer().json()["number"] == number
        assert upstream.connections == 1
        for number in range(50):
            assert gateway.rows.the_exchange(f"{trace}-{number}")["status"] == 200


def until_idle(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        until_in_flight(client, 0)


@pytest.mark.parametrize("on_disconnect", ["cancel", "drain"])
@pytest.mark.parametrize("kind", ["too many requests", "its head first", "a completion"])
def test_a_client_that_goes_in_the_moment_of_its_answer_leaves_no_second_server(
    upstream: WireUpstream, trace: str, kind: str, on_disconnect: str
) -> None:
    config = {"upstreams": {"one": {"base_url": upstream.base_url, "on_disconnect": on_disconnect}}}
    arrived = threading.Event()
    with run_gateway(config) as gateway:
        keep_a_connection(gateway, trace)
        upstream.answers(arrived, *ANSWERS[kind])
        client = RawClient(gateway.port)
        client.send(head(trace, BODY) + BODY)
        upstream.request(1)
        gateway.popen.send_signal(signal.SIGSTOP)  # so that it finds both at once, the client's end first
        client.socket.close()
        time.sleep(0.05)
        arrived.set()
        time.sleep(0.1)
        gateway.popen.send_signal(signal.SIGCONT)
        until_idle(gateway)
        assert gateway.rows.the_exchange(trace)["error_kind"] in ("client_closed", None)
        for number in (1, 2):
            upstream.answers(0.1, answer(b'{"number":%d}' % number))
        with RawClient(gateway.port) as first, RawClient(gateway.port) as second:
            for number, one in enumerate((first, second), 1):
                one.send(head(f"{trace}-{number}", BODY) + BODY)
                upstream.request(1 + number)
            assert [one.read_answer().json()["number"] for one in (first, second)] == [1, 2]


def test_a_client_that_goes_with_a_second_request_on_its_way_is_noticed(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    keep_a_connection(gateway, trace)
    upstream.answers(SILENCE)
    client = RawClient(gateway.port)
    client.send((head(trace, BODY) + BODY) * 2)
    received = upstream.request(1)
    client.hang_up()
    assert received.hung_up.wait(5)
    until_idle(gateway)
    assert gateway.rows.exchanges(trace)[0]["error_kind"] == "client_closed"


def test_a_client_of_http_1_0_gets_no_chunks_whatever_it_calls_its_connection(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    keep_a_connection(gateway, trace)
    upstream.answers(*ANSWERS["in one chunk"])
    with RawClient(gateway.port) as client:
        client.send(head(trace, BODY, "proxy-connection: keep-alive", version="1.0") + BODY)
        answered = client.read_answer()
    assert (answered.header("transfer-encoding"), answered.body) == (None, COMPLETION)


def test_an_error_for_head_is_answered(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        client.get("/v1/anything", "x-capture: bogus", method="HEAD")
        assert client.read_answer(method="HEAD").status == 400


def test_the_idle_limit_is_not_the_slow_clients(upstream: WireUpstream, trace: str) -> None:
    mib = 1024 * 1024
    config = {"upstreams": {"one": {"base_url": upstream.base_url, "idle_timeout_s": 0.4}}}
    with run_gateway(config) as gateway, RawClient(gateway.port) as client:
        upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (12 * mib), Again(b"x" * mib, 12))
        client.send(head(trace, BODY) + BODY)
        time.sleep(1.5)
        answered = client.read_answer()
        assert (answered.clean, len(answered.body)) == (True, 12 * mib)
        assert gateway.rows.the_exchange(trace)["error_kind"] is None
