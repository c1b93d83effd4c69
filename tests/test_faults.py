"""Faults with a story of their own, on both transports: stale connections, requests that are refused.

The table of what can go wrong, row by row, is tests/fault_matrix.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import (
    CLOSE,
    RESET,
    Answer,
    RawClient,
    RunningGateway,
    WireUpstream,
    chunk,
    run_gateway,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
KIB = 1024

EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
FINE = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"fine": true}\n'


def event(number: int) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(wire: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    """Limits short enough to wait for. A model's name begins with its upstream's.

    Only `pooled` keeps connections, so that a fault in one test cannot be another test's stale connection.
    """
    limits = {
        "connect_timeout_s": 0.5,
        "first_byte_timeout_s": 0.5,
        "idle_timeout_s": 0.5,
        "total_timeout_s": 20,
    }
    base = {"base_url": wire.base_url, "transport": request.param, "max_idle_connections": 0, **limits}
    upstreams: dict[str, dict[str, Any]] = {
        "plain": base,
        "pooled": base | {"max_idle_connections": 10},
        "draining": base | {"on_disconnect": "drain", "first_byte_timeout_s": 10, "idle_timeout_s": 10},
        "narrow": base | {"max_connections": 1, "first_byte_timeout_s": 10},
        "not-tls": base | {"base_url": wire.base_url.replace("http:", "https:")},
    }
    routes = [{"models": [f"{name}-*"], "target": {"upstream": name}} for name in upstreams]
    config = {
        "server": {
            "head_timeout_s": 1,
            "body_timeout_s": 0.5,
            "max_head_bytes": 16 * KIB,
            "max_json_body_bytes": 100 * KIB,
            "max_upload_bytes": 300 * KIB,
        },
        "upstreams": upstreams,
        "routes": [*routes, {"models": ["*"], "target": {"upstream": "plain"}}],
    }
    with run_gateway(config) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


def ask(client: RawClient, trace: str, *, model: str = "m", stream: bool = False) -> None:
    body = json.dumps({"model": model, "messages": [], "stream": stream}).encode()
    client.post(CHAT, body, JSON, f"x-trace-id: {trace}")


def error_of(answer: Answer) -> dict[str, Any]:
    """The error of an OpenAI-shaped error body, whose shape is checked; and that it is ours, with our ids."""
    body = answer.json()
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert answer.header("content-type") == "application/json"
    for name in ("x-trace-id", "x-portkey-trace-id", "x-request-id"):
        assert answer.header(name), f"{name} is missing"
    return error


# --- before the answer ---


def test_an_upstream_that_resets_every_connection_is_a_502(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(RESET, at="accept")
    ask(client, trace)

    answer = client.read_answer()
    # Whether connecting already fails or only the first write is the kernel's to say.
    assert (answer.status, error_of(answer)["code"]) in (
        (502, "upstream_broken"),
        (502, "upstream_unreachable"),
    )
    assert gateway.rows.the_exchange(trace)["error_kind"] == error_of(answer)["code"]


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 sk-echoed OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx sk-echoed: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nsk-echoed\r\n",
    ],
    ids=["status", "header", "chunk"],
)
def test_what_is_no_http_is_not_repeated_since_a_key_may_be_in_it(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, said: bytes
) -> None:
    upstream.answers(said, CLOSE)
    ask(client, trace)

    assert b"sk-echoed" not in client.read_answer().body
    row = gateway.rows.the_exchange(trace)
    assert row["error_kind"] in ("upstream_broken", "upstream_aborted")
    assert "sk-echoed" not in str(row)
    assert "sk-echoed" not in gateway.log


def test_an_upstream_without_the_tls_it_should_have_is_a_502(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(b"HTTP/1.1 400 Bad Request\r\n\r\nThis is plain HTTP.", CLOSE, at="accept")
    ask(client, trace, model="not-tls-m")

    answer = client.read_answer()
    assert (answer.status, error_of(answer)["code"]) == (502, "upstream_unreachable")
    assert "TLS" in error_of(answer)["message"] or "SSL" in error_of(answer)["message"]
    assert gateway.rows.the_exchange(trace)["error_kind"] == "upstream_unreachable"


def test_a_request_waits_for_a_connection_that_becomes_free(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(0.2, FINE)
    with RawClient(gateway.port) as first:
        ask(first, f"{trace}-first", model="narrow-m")
        upstream.request(0)
        ask(client, trace, model="narrow-m")
        assert client.read_answer().status == 200
        assert first.read_answer().status == 200
    waited, served = gateway.rows.the_exchange(trace), gateway.rows.the_exchange(f"{trace}-first")
    assert waited["queue_ms"] > served["queue_ms"] + 100


# --- within the answer ---


def test_the_error_event_stands_alone_after_half_an_event(
    client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(EVENT_STREAM + chunk(event(1) + b'data: {"choices":[{"del'), 0.02, CLOSE)
    ask(client, trace, stream=True)

    body = client.read_answer().body
    assert last_event(body)[0] == "error"
    assert body.startswith(event(1) + b'data: {"choices":[{"del')


EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"


@pytest.mark.parametrize("pause_s", [0.0, 0.02], ids=["in one piece", "a little later"])
def test_more_bytes_than_the_length_says_are_nobodys_answer(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, pause_s: float
) -> None:
    if gateway.transport == "httpx" and not pause_s:
        pytest.skip("h11 takes what it has already read for the next answer")
    if pause_s:
        upstream.answers(FINE, pause_s, EVIL, 0.2)
    else:
        upstream.answers(FINE + EVIL, 0.2)
    ask(client, trace, model="pooled-m")
    first = client.read_answer()
    threading.Event().wait(0.05)
    ask(client, f"{trace}-next", model="pooled-m")
    second = client.read_answer()

    assert (first.body, first.clean) == (b'{"fine": true}\n', True)
    assert second.body == b'{"fine": true}\n', "bytes left over are not the next request's answer"
    assert gateway.rows.the_exchange(trace)["error_kind"] is None


# --- stale connections ---


@pytest.mark.parametrize("ending", [CLOSE, RESET])
def test_a_kept_connection_that_turns_out_dead_is_replaced_once_and_silently(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, ending: Any
) -> None:
    upstream.answers(FINE)
    upstream.answers(ending)
    upstream.answers(FINE)
    ask(client, f"{trace}-warm-up", model="pooled-m")
    assert client.read_answer().status == 200
    ask(client, trace, model="pooled-m")

    assert client.read_answer().status == 200
    assert [request.connection for request in upstream.requests] == [0, 0, 1]
    assert gateway.rows.the_exchange(trace)["error_kind"] is None


def test_a_second_dead_connection_is_the_upstreams_fault(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(FINE)
    upstream.answers(RESET)
    upstream.answers(RESET)
    ask(client, f"{trace}-warm-up", model="pooled-m")
    client.read_answer()
    ask(client, trace, model="pooled-m")

    assert client.read_answer().status == 502
    assert len(upstream.requests) == 3
    assert gateway.rows.the_exchange(trace)["error_kind"] == "upstream_broken"


def test_a_connection_that_died_after_a_byte_of_the_answer_is_not_replaced(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(FINE)
    upstream.answers(b"HTTP/1.1 2", 0.05, CLOSE)
    ask(client, f"{trace}-warm-up", model="pooled-m")
    client.read_answer()
    ask(client, trace, model="pooled-m")

    assert client.read_answer().status == 502
    assert len(upstream.requests) == 2
    assert gateway.rows.the_exchange(trace)["error_kind"] == "upstream_broken"


def test_a_connection_the_upstream_closed_meanwhile_is_not_even_tried(
    client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(FINE, 0.05, CLOSE)
    ask(client, f"{trace}-warm-up", model="pooled-m")
    client.read_answer()
    assert upstream.requests[0].hung_up.wait(2)
    ask(client, trace, model="pooled-m")

    assert client.read_answer().status == 200
    assert [request.connection for request in upstream.requests] == [0, 1]


# --- the client's faults ---


def test_a_client_that_stops_in_mid_body_gets_a_408(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    client.send(f"POST {CHAT} HTTP/1.1\r\nhost: g\r\n{JSON}\r\nx-trace-id: {trace}\r\n".encode())
    client.send(b'content-length: 100\r\n\r\n{"model":')

    answer = client.read_answer()
    assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")
    assert "body_timeout_s" in error_of(answer)["message"]
    assert client.ended(), "the rest of that body would be read as the next request"
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"], row["upstream"]) == (408, "request_timeout", None)
    assert upstream.requests == []


def test_a_client_that_stops_in_mid_upload_gets_a_408_and_the_upstream_an_end(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    client.send(f"POST /v1/files HTTP/1.1\r\nhost: g\r\nx-trace-id: {trace}\r\n".encode())
    client.send(b"content-type: audio/wav\r\ncontent-length: 250000\r\n\r\n" + bytes(150 * KIB))

    answer = client.read_answer()
    assert (answer.status, error_of(answer)["code"]) == (408, "request_timeout")
    assert gateway.rows.the_exchange(trace)["error_kind"] == "request_timeout"
    assert upstream.requests[0].hung_up.wait(2)
    assert not upstream.requests[0].complete, "half an upload must not look like a whole one"


@pytest.mark.parametrize(
    ("path", "content_type", "size"),
    [(CHAT, "application/json", 100 * KIB + 1), ("/v1/files", "audio/wav", 300 * KIB + 1)],
)
def test_a_body_with_too_great_a_length_gets_a_413_before_it_is_read(
    gateway: RunningGateway,
    client: RawClient,
    upstream: WireUpstream,
    trace: str,
    path: str,
    content_type: str,
    size: int,
) -> None:
    client.send(f"POST {path} HTTP/1.1\r\nhost: g\r\ncontent-type: {content_type}\r\n".encode())
    client.send(f"content-length: {size}\r\nx-trace-id: {trace}\r\n\r\n".encode())

    answer = client.read_answer()
    assert (answer.status, error_of(answer)["code"]) == (413, "too_large")
    assert str(size - 1) in error_of(answer)["message"], "the message names the limit"
    assert gateway.rows.the_exchange(trace)["error_kind"] == "too_large"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("path", "content_type"), [(CHAT, "application/json"), ("/v1/files", "audio/wav")], ids=["json", "upload"]
)
def test_a_body_that_grows_too_large_gets_a_413(
    gateway: RunningGateway,
    client: RawClient,
    upstream: WireUpstream,
    trace: str,
    path: str,
    content_type: str,
) -> None:
    client.send(f"POST {path} HTTP/1.1\r\nhost: g\r\ncontent-type: {content_type}\r\n".encode())
    client.send(f"transfer-encoding: chunked\r\nx-trace-id: {trace}\r\n\r\n".encode())
    for _ in range(32):
        client.send(chunk(b" " * 10 * KIB))

    answer = client.read_answer()
    assert (answer.status, error_of(answer)["code"]) == (413, "too_large")
    assert gateway.rows.the_exchange(trace)["error_kind"] == "too_large"
    assert not any(request.complete for request in upstream.requests)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b'{"model":',
        b"[]",
        b'"text"',
        b"null",
        b"NaN",
        b'{"a":NaN}',
        b"\xff\xfe",
        b'{"a":1} trailing',
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses"])
def test_a_body_that_is_no_json_object_gets_a_400_where_one_is_required(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, path: str, body: bytes
) -> None:
    client.post(path, body, JSON, f"x-trace-id: {trace}")

    answer = client.read_answer()
    assert (answer.status, error_of(answer)["code"]) == (400, "invalid_json")
    row = gateway.rows.the_exchange(trace, settle_s=0)
    assert (row["status"], row["error_kind"]) == (400, "invalid_json")
    assert (row["request_head"] or b"") == body
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
def test_pages_of_our_own_carry_ids_and_leave_no_row(
    gateway: RunningGateway, client: RawClient, path: str
) -> None:
    before = gateway.rows.count("exchange")
    client.get(path)

    answer = client.read_answer()
    assert answer.status == 200
    assert answer.header("x-request-id")
    assert gateway.rows.count("exchange") == before


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1", "/v2/chat/completions", "/chat/completions", "/v1/../etc/passwd"]
)
def test_an_unknown_path_gets_a_4xx_that_says_so(
    client: RawClient, upstream: WireUpstream, path: str
) -> None:
    client.get(path)

    answer = client.read_answer()
    error = error_of(answer)
    assert answer.status in (400, 404)
    assert error["type"] == "invalid_request_error"
    assert error["code"] in ("unknown_path", "invalid_path")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "/v1/feedback"), ("POST", "/v1/traces"), ("DELETE", "/v1/logs"), ("POST", "/healthz")],
)
def test_a_method_our_own_paths_do_not_take_gets_a_405_with_allow(
    client: RawClient, upstream: WireUpstream, method: str, path: str
) -> None:
    client.post(path, b"{}", JSON, method=method)

    answer = client.read_answer()
    assert answer.status == 405
    assert answer.json()["error"]["message"]
    assert "GET" in (answer.header("allow") or "")
    assert answer.header("x-request-id")
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["x-trace-id", "x-portkey-trace-id"])
@pytest.mark.parametrize("value", ["", "with space", "x" * 257, "tab\there", "caf\xe9"], ids=range(5))
def test_a_bad_trace_id_gets_a_400_and_a_row_of_its_own(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, name: str, value: str
) -> None:
    client.post(CHAT, b"{}", JSON, f"{name}: {value}")

    answer = client.read_answer()
    error = error_of(answer)
    assert (answer.status, error["code"], error["param"]) == (400, "invalid_trace_id", name)
    row = gateway.rows.the_exchange(str(answer.header("x-trace-id")), settle_s=0)
    assert (row["status"], row["error_kind"], row["id"]) == (
        400,
        "invalid_trace_id",
        answer.header("x-request-id"),
    )
    assert upstream.requests == []


@pytest.mark.parametrize("value", ["x" * 256, "!~", "a/b?c=d&e#f", '"quoted"', "%20"], ids=range(5))
def test_any_visible_ascii_is_a_trace_id(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, value: str
) -> None:
    client.post(CHAT, b"{}", JSON, f"x-trace-id: {value}")

    answer = client.read_answer()
    assert (answer.status, answer.header("x-trace-id"), answer.header("x-portkey-trace-id")) == (
        200,
        value,
        value,
    )
    assert gateway.rows.exchanges(value)


@pytest.mark.parametrize("name", ["x-metadata", "x-portkey-metadata"])
@pytest.mark.parametrize("value", ["not json", "[1]", '"text"', '{"a":NaN}', '{"a":', "7"])
def test_bad_metadata_gets_a_400(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, name: str, value: str
) -> None:
    client.post(CHAT, b"{}", JSON, f"x-trace-id: {trace}", f"{name}: {value}")

    answer = client.read_answer()
    error = error_of(answer)
    assert (answer.status, error["code"]) == (400, "invalid_metadata")
    assert name in error["message"]
    row = gateway.rows.the_exchange(answer.header("x-trace-id") or "", settle_s=0)
    assert row["error_kind"] == "invalid_metadata"
    assert answer.header("x-trace-id") == trace, "the trace id was fine"
    assert upstream.requests == []


@pytest.mark.parametrize("pieces", [1, 10], ids=["in one piece", "in pieces"])
def test_a_head_over_the_limit_gets_a_431(client: RawClient, upstream: WireUpstream, pieces: int) -> None:
    head = b"GET /v1/models HTTP/1.1\r\nhost: g\r\nx-long: " + b"x" * 17 * KIB + b"\r\n\r\n"
    size = len(head) // pieces + 1
    with contextlib.suppress(ConnectionError):  # it may be refused before it is sent
        for start in range(0, len(head), size):
            client.send(head[start : start + size])
            threading.Event().wait(0.01)

    answer = client.read_answer()
    assert (answer.status, answer.header("connection")) == (431, "close")
    assert "max_head_bytes" in error_of(answer)["message"]
    assert upstream.requests == []


def test_a_head_that_never_ends_has_its_connection_closed(client: RawClient, upstream: WireUpstream) -> None:
    client.send(b"GET /v1/models HTTP/1.1\r\nhost: g\r\n")

    assert client.ended()
    assert upstream.requests == []


NOT_HTTP = {
    "noise": b"\x00\x01\x02\xff\r\n\r\n",
    "a word": b"hello\r\n\r\n",
    "tls": bytes.fromhex("16030100a5010000a10303"),
    "two lengths": b"POST /v1/x HTTP/1.1\r\nhost: g\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": (
        b"POST /v1/x HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a bad chunk": b"POST /v1/x HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a bare line break in a header": b"GET /v1/x HTTP/1.1\r\nhost: g\r\nx-a: b\nc\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("data", NOT_HTTP.values(), ids=NOT_HTTP.keys())
def test_what_is_not_http_ends_in_a_400_or_a_closed_door(
    client: RawClient, upstream: WireUpstream, data: bytes
) -> None:
    client.send(data)
    client.socket.shutdown(socket.SHUT_WR)

    seen = b""
    while True:
        try:
            piece = client.read_some()
        except ConnectionError:
            break
        if not piece:
            break
        seen += piece
    assert seen == b"" or seen.startswith(b"HTTP/1.1 400 ")
    assert not any(request.complete for request in upstream.requests)


# --- the client goes away ---


def test_draining_reads_the_answer_to_its_end_for_the_record(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    client_is_gone = threading.Event()
    upstream.answers(client_is_gone, 0.2, FINE, 0.2)
    client = RawClient(gateway.port)
    ask(client, trace, model="draining-m")
    upstream.request(0)
    client.hang_up()
    client_is_gone.set()

    row = gateway.rows.the_exchange(trace, settle_s=0.3)
    assert (row["error_kind"], row["response_head"]) == ("client_closed", b'{"fine": true}\n')


def test_the_gateway_carries_on_after_all_of_this(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    ask(client, trace)

    assert client.read_answer().status == 200
    assert gateway.rows.integrity() == "ok"
    assert "Traceback" not in gateway.log


def last_event(body: bytes) -> tuple[str, dict[str, Any]]:
    """Name and data of the last event of a stream."""
    block = body.rstrip(b"\n").rpartition(b"\n\n")[2].decode()
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    return fields.get("event", ""), json.loads(fields["data"])
