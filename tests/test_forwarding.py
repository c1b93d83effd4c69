"""Promise 1: bytes in are bytes out. Both transports, looked at from both ends of the wire."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

import brotli
import httptools
import pytest
import zstandard

from tests.harness import CLOSE, RawClient, RunningGateway, WireUpstream, chunk, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
KIB = 1024


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(wire: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    """One upstream server under four names, which the model's name chooses between."""
    plain = {"base_url": wire.base_url, "transport": request.param}
    config = {
        "capture": {"max_body_bytes": 256 * KIB},
        "upstreams": {
            "plain": plain,
            "prefixed": plain | {"base_url": f"http://127.0.0.1:{wire.port}/deep/er/v7"},
            "telling": plain | {"forward_headers": ["x-trace-id", "x-portkey-trace-id", "x-metadata"]},
            "keyed": plain | {"api_key": "sk-of-the-gateway", "headers": {"x-team": "blue"}},
        },
        "routes": [
            {"models": [f"{name}-*"], "target": {"upstream": name}}
            for name in ("prefixed", "telling", "keyed")
        ]
        + [{"models": ["*"], "target": {"upstream": "plain"}}],
    }
    with run_gateway(config) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer with a counted body."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

# --- the request ---

ODD_JSON = {
    "spacing": b'{ "model" :\t"m" ,\r\n "messages":[ ] }  \n',
    "unknown fields": b'{"model":"m","messages":[],"x_vendor":{"deep":[1,{"er":null}]}}',
    "key order and repeated keys": b'{"z":1,"a":2,"model":"m","z":3}',
    "numbers beyond a double": b'{"model":"m","seed":12345678901234567890123,"t":1.10,"e":1E400,"z":-0.0}',
    "escapes": rb'{"model":"m","user":"\u00e9\/\u2028\ud83d\ude00"}',
    "a lone surrogate": rb'{"model":"m","user":"\ud800"}',
    "raw unicode": '{"model":"m","user":"é ￿ 😀"}'.encode(),
    "deep nesting": b'{"model":"m","x":' + b"[" * 900 + b"]" * 900 + b"}",
}


@pytest.mark.parametrize("body", ODD_JSON.values(), ids=ODD_JSON.keys())
def test_a_json_body_arrives_upstream_byte_for_byte(
    client: RawClient, upstream: WireUpstream, body: bytes
) -> None:
    client.post(CHAT, body, JSON)

    assert client.read_answer().status == 200
    assert upstream.request().body == body
    assert upstream.request().header("content-length") == str(len(body))
    assert upstream.request().all("transfer-encoding") == []


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/v1/files/a%2Fb%20c%C3%A9/content", b"/v1/files/a%2Fb%20c%C3%A9/content"),
        ("/v1/files?limit=2&after=a+b%2Fc&empty=&flag", b"/v1/files?limit=2&after=a+b%2Fc&empty=&flag"),
        ("/v1/files/with;params=1,2/@me:$now!*'()", b"/v1/files/with;params=1,2/@me:$now!*'()"),
        ("/v1/files/lower%2fcase%7eescapes", b"/v1/files/lower%2fcase%7eescapes"),
        ("/v1/files/trailing/", b"/v1/files/trailing/"),
        ("/v1/search?q=[a]{b}|c^d`e&r=\"quoted\"", b"/v1/search?q=[a]{b}|c^d`e&r=\"quoted\""),
        ("/v1/search?a=1?b=2", b"/v1/search?a=1?b=2"),
        ("/v1/search?", b"/v1/search"),
    ],
)  # fmt: skip
def test_path_and_query_arrive_as_they_were_written(
    client: RawClient, upstream: WireUpstream, sent: str, arrives: bytes
) -> None:
    client.get(sent)

    assert client.read_answer().status == 200
    assert upstream.request().target in (arrives, arrives + b"?")


def test_the_gateways_v1_is_the_upstreams_base_url(client: RawClient, upstream: WireUpstream) -> None:
    client.post(CHAT + "?api-version=7", b'{"model":"prefixed-m"}', JSON)

    client.read_answer()
    assert upstream.request().target == b"/deep/er/v7/chat/completions?api-version=7"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_goes_upstream(client: RawClient, upstream: WireUpstream, method: str) -> None:
    client.post(
        "/v1/batches/b1/cancel",
        b"what=ever",
        "content-type: application/x-www-form-urlencoded",
        method=method,
    )

    assert client.read_answer().status == 200
    assert upstream.request().method == method
    assert upstream.request().body == b"what=ever"


def test_a_request_without_a_body_has_none_upstream(client: RawClient, upstream: WireUpstream) -> None:
    client.get("/v1/files")

    client.read_answer()
    assert upstream.request().body == b""
    assert upstream.request().all("content-length") == []
    assert upstream.request().all("transfer-encoding") == []


def test_end_to_end_request_headers_arrive_in_order_and_number(
    client: RawClient, upstream: WireUpstream
) -> None:
    client.post(
        CHAT, b"{}", JSON, "authorization: Bearer sk-of-the-client", "OpenAI-Organization: org-1",
        "x-many: 1", "X-Odd:   a,  b  c ", "x-many: 2", "accept-encoding: gzip, br", "user-agent: me/1",
        "cookie: a=b; c=d",
    )  # fmt: skip

    client.read_answer()
    received = upstream.request()
    assert received.all("authorization") == ["Bearer sk-of-the-client"]
    assert received.all("openai-organization") == ["org-1"]
    assert received.all("x-many") == ["1", "2"]
    assert received.all("x-odd") == ["a,  b  c"]
    assert received.all("accept-encoding") == ["gzip, br"]
    assert received.all("user-agent") == ["me/1"]
    assert received.all("cookie") == ["a=b; c=d"]


def test_nothing_is_added_to_the_request_but_host_and_length(
    client: RawClient, upstream: WireUpstream
) -> None:
    client.post(CHAT, b"{}", JSON)

    client.read_answer()
    received = upstream.request()
    assert sorted(name.lower() for name, _ in received.headers) == [
        b"content-length",
        b"content-type",
        b"host",
    ]
    assert received.all("host") == [f"127.0.0.1:{upstream.port}"]


def test_hop_by_hop_request_headers_stay_behind(client: RawClient, upstream: WireUpstream) -> None:
    client.post(
        CHAT, b"{}", JSON, "connection: keep-alive, X-Private,  x-hush", "x-private: 1", "X-Hush: 2",
        "keep-alive: timeout=9", "te: trailers", "trailer: x-sum", "proxy-authorization: Basic x",
        "proxy-connection: keep-alive", "x-public: 3",
    )  # fmt: skip

    client.read_answer()
    names = {name.lower() for name, _ in upstream.request().headers} - {b"connection"}
    assert names == {b"content-length", b"content-type", b"host", b"x-public"}
    assert b"private" not in upstream.request().raw_head.lower()


def test_the_gateways_own_headers_stay_behind(client: RawClient, upstream: WireUpstream, trace: str) -> None:
    client.post(
        CHAT, b"{}", JSON, f"x-trace-id: {trace}", 'x-metadata: {"_user": "ana"}', "x-capture: none",
        "x-portkey-api-key: pk", "x-portkey-trace-id: other", "x-portkey-config: {}", "x-portkey-anything: 1",
        "traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    )  # fmt: skip

    client.read_answer()
    names = {name.lower() for name, _ in upstream.request().headers}
    assert not {
        name for name in names if name.startswith((b"x-portkey-", b"x-trace", b"x-meta", b"x-capture"))
    }
    assert b"traceparent" in names, "it is the W3C's, not ours"


def test_forward_headers_names_own_headers_that_go_upstream(
    client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    headers = (
        f"x-trace-id: {trace}",
        "x-portkey-trace-id: p",
        "x-portkey-api-key: pk",
        'x-metadata: {"a": 1}',
    )
    client.post(CHAT, b'{"model":"telling-m"}', JSON, *headers)

    client.read_answer()
    assert upstream.request().header("x-trace-id") == trace
    assert upstream.request().header("x-portkey-trace-id") == "p"
    assert upstream.request().header("x-metadata") == '{"a": 1}'
    assert upstream.request().header("x-portkey-api-key") is None


def test_an_upstreams_key_and_headers_replace_the_clients(client: RawClient, upstream: WireUpstream) -> None:
    client.post(CHAT, b'{"model":"keyed-m"}', JSON, "authorization: Bearer sk-of-the-client", "x-team: red")

    client.read_answer()
    assert upstream.request().all("authorization") == ["Bearer sk-of-the-gateway"]
    assert upstream.request().all("x-team") == ["blue"]


def test_a_chunked_request_body_arrives_with_the_same_bytes(
    client: RawClient, upstream: WireUpstream
) -> None:
    body = b'{"model":"m","messages":[]}'
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n")
    client.send(b"transfer-encoding: chunked\r\n\r\n" + chunk(body[:7]) + chunk(body[7:]) + LAST_CHUNK)

    assert client.read_answer().status == 200
    assert upstream.request().body == body


def test_a_compressed_request_goes_up_compressed_and_is_stored_decoded(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    plain = b'{"model":"m","messages":[]}'
    body = gzip.compress(plain)
    client.post(CHAT, body, JSON, "content-encoding: gzip", f"x-trace-id: {trace}")

    client.read_answer()
    assert upstream.request().body == body
    assert upstream.request().header("content-encoding") == "gzip"
    row = gateway.rows.the_exchange(trace)
    assert (row["request_head"], row["request_encoding"]) == (plain, None)
    assert row["request_bytes"] == len(body)


def test_an_expecting_client_is_told_to_continue(client: RawClient, upstream: WireUpstream) -> None:
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n")
    client.send(b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
    client.send(b"{}")

    assert client.read_answer().status == 200
    assert upstream.request().body == b"{}"


def test_a_large_upload_is_on_its_way_before_the_client_has_sent_it_all(
    client: RawClient, upstream: WireUpstream
) -> None:
    body = bytes(range(256)) * 2 * KIB  # 512 KiB
    client.send(b"POST /v1/files HTTP/1.1\r\nhost: g\r\ncontent-type: application/octet-stream\r\n")
    client.send(b"content-length: %d\r\n\r\n" % len(body) + body[: 300 * KIB])

    wait_until(lambda: bool(upstream.requests) and upstream.requests[0].body_bytes >= 128 * KIB)
    client.send(body[300 * KIB :])
    assert client.read_answer().status == 200
    assert upstream.request().body == body
    assert upstream.request().header("content-length") == str(len(body))


def test_a_large_upload_without_a_length_arrives_with_the_same_bytes(
    client: RawClient, upstream: WireUpstream
) -> None:
    body = bytes(range(256)) * 600
    client.send(
        b"POST /v1/files HTTP/1.1\r\nhost: g\r\ncontent-type: audio/wav\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for start in range(0, len(body), 10_000):
        client.send(chunk(body[start : start + 10_000]))
    client.send(LAST_CHUNK)

    assert client.read_answer().status == 200
    assert upstream.request().body == body
    framing = upstream.request().header("transfer-encoding"), upstream.request().header("content-length")
    assert framing in (("chunked", None), (None, str(len(body)))), "one of them, whatever was known by then"


def test_a_large_upload_to_a_slow_upstream_arrives_whole(
    gateway: RunningGateway, upstream: WireUpstream
) -> None:
    body = bytes(range(256)) * 48 * KIB  # 12 MiB: more than sockets and buffers hold
    upstream.answers(0.5, at="head")
    with RawClient(gateway.port) as client:
        client.post("/v1/files", body, "content-type: audio/wav")
        assert client.read_answer().status == 200

    assert upstream.request().body_bytes == len(body)
    assert upstream.request().sha256 == hashlib.sha256(body).hexdigest()


REFUSAL = b'{"error":{"message":"too big for me"}}'


def test_an_answer_in_mid_upload_reaches_a_client_that_sends_on(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream
) -> None:
    if gateway.transport == "httpx":
        pytest.skip("httpx reads no answer before it has sent the request")
    upstream.answers(ok(REFUSAL, status="413 Content Too Large"), 0.3, CLOSE, at="head")
    client.send(b"POST /v1/files HTTP/1.1\r\nhost: g\r\ncontent-type: audio/wav\r\n")
    client.send(b"content-length: 90000000\r\n\r\n")
    sender = threading.Thread(target=send_until_refused, args=(client, 90_000_000), daemon=True)
    sender.start()

    answer = client.read_answer()
    assert (answer.status, answer.body) == (413, REFUSAL)
    client.hang_up()
    sender.join(5)


def test_an_answer_in_mid_upload_reaches_a_client_that_waits(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream
) -> None:
    if gateway.transport == "httpx":
        pytest.skip("httpx reads no answer before it has sent the request")
    upstream.answers(ok(REFUSAL, status="413 Content Too Large"), 0.3, CLOSE, at="head")
    client.send(b"POST /v1/files HTTP/1.1\r\nhost: g\r\ncontent-type: audio/wav\r\n")
    client.send(b"content-length: 9000000\r\n\r\n" + bytes(200 * KIB))

    answer = client.read_answer()
    assert (answer.status, answer.body) == (413, REFUSAL)


def send_until_refused(client: RawClient, size: int) -> None:
    with contextlib.suppress(OSError):
        for _ in range(size // 50_000):
            client.send(bytes(50_000))


# --- the answer ---


def test_an_answer_comes_back_byte_for_byte(client: RawClient, upstream: WireUpstream) -> None:
    body = b'{ "id":"x" ,\n"object" : "chat.completion", "unknown":\t1.10 }\r\n'
    upstream.answers(
        ok(body, "Content-Type: application/json; charset=UTF-8", "OpenAI-Processing-Ms: 7", "x-odd:  a  b ")
    )
    client.post(CHAT, b"{}", JSON)

    answer = client.read_answer()
    assert (answer.status, answer.body) == (200, body)
    assert answer.all("content-type") == ["application/json; charset=UTF-8"]
    assert answer.all("openai-processing-ms") == ["7"]
    assert answer.all("x-odd") == ["a  b"]
    assert answer.all("content-length") == [str(len(body))]


def test_nothing_is_added_to_the_answer_but_our_ids(
    client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(ok(b"{}", "content-type: application/json"))
    client.post(CHAT, b"{}", JSON, f"x-trace-id: {trace}")

    answer = client.read_answer()
    names = sorted(name for name, _ in answer.headers)
    assert names == ["content-length", "content-type", "x-portkey-trace-id", "x-request-id", "x-trace-id"]
    assert answer.header("x-trace-id") == answer.header("x-portkey-trace-id") == trace


@pytest.mark.parametrize(
    "status",
    ["200 OK", "201 Created", "202 Accepted", "301 Moved Permanently", "302 Found", "307 Temporary Redirect",
     "400 Bad Request", "401 Unauthorized", "402 Payment Required", "403 Forbidden", "404 Not Found",
     "405 Method Not Allowed", "408 Request Timeout", "409 Conflict", "413 Content Too Large",
     "418 I'm a teapot", "422 Unprocessable Content", "429 Too Many Requests", "451 Unavailable",
     "499 Client Closed", "500 Internal Server Error", "501 Not Implemented", "502 Bad Gateway",
     "503 Service Unavailable", "504 Gateway Timeout", "520 Unknown", "529 Overloaded", "599 Whatever"],
)  # fmt: skip
def test_every_status_and_its_body_comes_back_untouched(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, status: str
) -> None:
    body = b"<html>not even JSON</html>"
    headers = (
        "content-type: text/html",
        "retry-after: 7",
        "x-ratelimit-remaining-tokens: 0",
        "location: /elsewhere",
    )
    upstream.answers(ok(body, *headers, "www-authenticate: Bearer", status=status))
    client.post(CHAT, b"{}", JSON, f"x-trace-id: {trace}")

    answer = client.read_answer()
    assert (answer.status, answer.body) == (int(status[:3]), body)
    assert answer.header("content-type") == "text/html"
    assert answer.header("retry-after") == "7"
    assert answer.header("x-ratelimit-remaining-tokens") == "0"
    assert answer.header("location") == "/elsewhere"
    assert answer.header("www-authenticate") == "Bearer"
    row = gateway.rows.the_exchange(trace, settle_s=0)
    assert (row["status"], row["response_head"]) == (int(status[:3]), body)
    assert len(upstream.requests) == 1, "an upstream's error is an answer, not a reason to try again"


def test_repeated_response_headers_stay_apart_and_in_order(client: RawClient, upstream: WireUpstream) -> None:
    upstream.answers(ok(b"{}", "set-cookie: a=1; Path=/", "x-n: 1", "Set-Cookie: b=2, c=3", "x-n: 2"))
    client.get("/v1/files")

    answer = client.read_answer()
    assert answer.all("set-cookie") == ["a=1; Path=/", "b=2, c=3"]
    assert answer.all("x-n") == ["1", "2"]


def test_header_values_beyond_ascii_pass_untouched(client: RawClient, upstream: WireUpstream) -> None:
    upstream.answers(ok(b"{}", "x-name: caf\xe9"))
    client.get("/v1/files", "x-name: na\xefve")

    assert client.read_answer().header("x-name") == "caf\xe9"
    assert upstream.request().header("x-name") == "na\xefve"


def test_hop_by_hop_response_headers_stay_behind(client: RawClient, upstream: WireUpstream) -> None:
    upstream.answers(
        ok(
            b"{}", "connection: keep-alive, X-Secret", "x-secret: 1", "keep-alive: timeout=5",
            "proxy-authenticate: Basic", "upgrade: h2c", "trailer: x-sum", "x-public: 2",
        )
    )  # fmt: skip
    client.get("/v1/files")

    answer = client.read_answer()
    names = {name for name, _ in answer.headers} - {"x-trace-id", "x-portkey-trace-id", "x-request-id"}
    assert names == {"content-length", "x-public"}


def test_the_upstreams_request_id_moves_aside_for_ours(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(ok(b"{}", "x-request-id: req_of_openai"))
    client.post(CHAT, b"{}", JSON, f"x-trace-id: {trace}")

    answer = client.read_answer()
    row = gateway.rows.the_exchange(trace)
    assert answer.all("x-request-id") == [row["id"]]
    assert answer.all("x-upstream-request-id") == ["req_of_openai"]
    assert ["x-request-id", "req_of_openai"] in json.loads(row["response_headers"])


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", _zstd)]
)
def test_a_compressed_answer_passes_compressed_and_is_stored_decoded(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, encoding: str, encode: Any
) -> None:
    plain = b'{"model":"m-1","usage":{"prompt_tokens":3,"completion_tokens":4},"choices":[]}'
    body = encode(plain)
    upstream.answers(ok(body, "content-type: application/json", f"content-encoding: {encoding}"))
    client.post(CHAT, b"{}", JSON, f"accept-encoding: {encoding}", f"x-trace-id: {trace}")

    answer = client.read_answer()
    assert answer.body == body
    assert answer.header("content-encoding") == encoding
    row = gateway.rows.the_exchange(trace)
    assert (row["response_head"], row["response_encoding"]) == (plain, None)
    assert (row["response_bytes"], row["prompt_tokens"], row["completion_tokens"]) == (len(body), 3, 4)


def test_a_compressed_stream_passes_compressed_and_is_stored_decoded(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    plain = b'data: {"model":"m-1","choices":[]}\n\n' * 20 + b"data: [DONE]\n\n"
    body = gzip.compress(plain)
    head = EVENT_STREAM.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    upstream.answers(head + chunk(body[:10]), 0.01, chunk(body[10:]) + LAST_CHUNK)
    client.post(CHAT, b'{"stream":true}', JSON, f"x-trace-id: {trace}")

    assert client.read_answer().body == body
    assert gateway.rows.the_exchange(trace)["response_head"] == plain


def test_the_first_event_reaches_the_client_before_the_second_is_sent(
    client: RawClient, upstream: WireUpstream
) -> None:
    first_was_read = threading.Event()
    upstream.answers(EVENT_STREAM + chunk(b"data: 1\n\n"), first_was_read, chunk(b"data: 2\n\n") + LAST_CHUNK)
    client.post(CHAT, b'{"stream":true}', JSON)

    head = client.read_until(b"\r\n\r\n")
    assert client.read_until(b"data: 1\n\n").endswith(b"data: 1\n\n")
    first_was_read.set()
    assert client.read_until(b"data: 2\n\n").endswith(b"data: 2\n\n")
    assert b"content-type: text/event-stream" in head
    assert b"content-length" not in head


def test_the_head_of_a_stream_reaches_the_client_before_its_first_event(
    client: RawClient, upstream: WireUpstream
) -> None:
    head_was_read = threading.Event()
    upstream.answers(EVENT_STREAM, head_was_read, chunk(b"data: 1\n\n") + LAST_CHUNK)
    client.post(CHAT, b'{"stream":true}', JSON)

    assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    head_was_read.set()
    assert b"data: 1\n\n" in client.read_until(b"data: 1\n\n")


ODD_STREAMS = {
    "half events": [b'data: {"a"', b":1}\n", b"\nda", b"ta: [DONE]\n\n"],
    "several events at once": [b"data: 1\n\ndata: 2\n\n", b"data: 3\n\ndata: [DONE]\n\n"],
    "carriage returns and comments": [
        b": ping\r\n\r\n",
        b"event: x\r\ndata: 1\r\n\r\n",
        b"data: [DONE]\r\n\r\n",
    ],
    "a character in two halves": ["data: é\n\n".encode()[:7], "data: é\n\n".encode()[7:]],
    "nothing at its end": [b"data: 1\n\n", b"data: 2"],
    "something after the last event": [b"data: [DONE]\n\n", b": goodbye\n\n", b"data: really\n\n"],
    "no events at all": [],
}


@pytest.mark.parametrize("pieces", ODD_STREAMS.values(), ids=ODD_STREAMS.keys())
def test_a_stream_keeps_its_bytes_however_it_is_cut(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, pieces: list[bytes]
) -> None:
    upstream.answers(EVENT_STREAM, *(step for piece in pieces for step in (0.01, chunk(piece))), LAST_CHUNK)
    client.post(CHAT, b'{"stream":true}', JSON, f"x-trace-id: {trace}")

    answer = client.read_answer()
    assert answer.clean
    assert answer.body == b"".join(pieces)
    assert answer.header("content-length") is None
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"], row["streamed"]) == (200, None, 1)
    stored = row["response_head"] or b""
    # The record may end with the last event; what a vendor sends after it still reaches the client.
    assert stored == b"".join(pieces) or (b"".join(pieces).startswith(stored) and b"[DONE]" in stored)


ODD_CHUNKS = {
    "as everybody writes them": [b"3\r\nabc\r\n", b"10\r\n0123456789abcdef\r\n", b"2\r\nde\r\n"],
    "zeros in front": [b"3\r\nabc\r\n", b"003\r\ndef\r\n", b"3\r\nghi\r\n"],
    "great letters": [b"3\r\nabc\r\n", b"A\r\n0123456789\r\n", b"a\r\n0123456789\r\n"],
    "an extension": [b"3\r\nabc\r\n", b"3;a=b\r\ndef\r\n", b"3\r\nghi\r\n"],
    "two at once": [b"3\r\nabc\r\n", b"3\r\ndef\r\n3\r\nghi\r\n", b"3\r\njkl\r\n"],
    "in halves": [b"3\r\nabc\r\n", b"6\r\ndef", b"ghi\r\n", b"3\r\njkl\r\n"],
    "within a line end": [b"3\r\nabc\r", b"\n3\r\ndef\r\n", b"3\r\nghi\r\n"],
    "a chunk in a chunk": [b"3\r\nabc\r\n", b"8\r\n", b"3\r\ndef\r\n", b"\r\n", b"3\r\nghi\r\n"],
    "a chunk after its first digit": [
        b"3\r\nabc\r\n1",
        b"5\r\ndefgh\r\n",
        b"i" * 14 + b"\r\n",
        b"1\r\nj\r\n",
    ],
}


@pytest.mark.parametrize("pieces", ODD_CHUNKS.values(), ids=ODD_CHUNKS.keys())
@pytest.mark.parametrize("kind", [b"text/event-stream", b"text/plain"])
def test_chunks_are_understood_however_they_are_written(
    client: RawClient, upstream: WireUpstream, kind: bytes, pieces: list[bytes]
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % kind
    upstream.answers(head, *(step for piece in pieces for step in (0.01, piece)), 0.01, LAST_CHUNK)
    client.post(CHAT, b'{"stream":true}', JSON)

    answer = client.read_answer()
    parser = httptools.HttpResponseParser(said := Said())
    parser.feed_data(head + b"".join(pieces))
    assert (answer.clean, answer.body) == (True, said.body)


class Said:
    """What llhttp takes for the body."""

    body = b""

    def on_body(self, data: bytes) -> None:
        self.body += data


def test_chunks_that_come_apart_are_relayed_apart(client: RawClient, upstream: WireUpstream) -> None:
    pieces = [b"data: %d\n\n" % number for number in range(5)]
    upstream.answers(EVENT_STREAM, *(step for piece in pieces for step in (chunk(piece), 0.05)), LAST_CHUNK)
    client.post(CHAT, b'{"stream":true}', JSON)

    assert client.read_answer().chunks == pieces


def test_a_body_that_ends_with_its_connection_ends_cleanly(client: RawClient, upstream: WireUpstream) -> None:
    upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nto the ", 0.02, b"end", CLOSE)
    client.get("/v1/files/f1/content")

    answer = client.read_answer()
    assert (answer.body, answer.clean) == (b"to the end", True)


def test_an_upstream_of_the_old_school_is_understood(client: RawClient, upstream: WireUpstream) -> None:
    upstream.answers(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nold", CLOSE)
    client.get("/v1/files")

    answer = client.read_answer()
    assert (answer.status, answer.body, answer.clean) == (200, b"old", True)


def test_the_answer_to_head_has_a_length_and_no_body(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1234\r\n\r\n")
    client.get("/v1/files/f1/content", f"x-trace-id: {trace}", method="HEAD")

    answer = client.read_answer(method="HEAD")
    assert (answer.status, answer.header("content-length")) == (200, "1234")
    assert gateway.rows.the_exchange(trace)["method"] == "HEAD"
    client.get("/v1/files")
    assert client.read_answer().status == 200, "the connection carries on"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_stays_without_one(
    client: RawClient, upstream: WireUpstream, status: str
) -> None:
    upstream.answers(f'HTTP/1.1 {status}\r\netag: "abc"\r\n\r\n'.encode())
    client.get("/v1/files/f1", method="DELETE")

    answer = client.read_answer()
    assert (answer.status, answer.header("etag")) == (int(status[:3]), '"abc"')
    assert answer.header("transfer-encoding") is None
    client.get("/v1/files")
    assert client.read_answer().status == 200, "the connection carries on"


def test_an_empty_body_stays_empty(client: RawClient, upstream: WireUpstream) -> None:
    upstream.answers(ok(b"", status="202 Accepted"))
    client.post(CHAT, b"{}", JSON)

    answer = client.read_answer()
    assert (answer.status, answer.body, answer.header("content-length")) == (202, b"", "0")


@pytest.mark.parametrize("interim", ["100 Continue", "102 Processing", "103 Early Hints\r\nlink: </a>"])
def test_interim_answers_of_the_upstream_are_not_the_answer(
    client: RawClient, upstream: WireUpstream, interim: str
) -> None:
    first = f"HTTP/1.1 {interim}\r\n\r\n".encode()
    upstream.answers(first, 0.02, first + ok(b'{"fine":1}', "x-kept: yes"))
    client.post(CHAT, b"{}", JSON)

    answer = client.read_answer()
    assert (answer.status, answer.body, answer.header("x-kept")) == (200, b'{"fine":1}', "yes")
    assert answer.header("link") is None


def test_a_large_answer_passes_whole_and_is_stored_in_part(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    body = bytes(index * 7 % 251 for index in range(3 * KIB * KIB))
    upstream.answers(ok(body, "content-type: application/octet-stream"))
    client.get("/v1/files/f1/content", f"x-trace-id: {trace}")

    answer = client.read_answer()
    assert answer.clean
    assert answer.body == body
    row = gateway.rows.the_exchange(trace)
    assert row["response_bytes"] == len(body)
    assert body.startswith(row["response_head"])
    assert body.endswith(row["response_tail"])
    assert 0 < len(row["response_head"]) + len(row["response_tail"]) <= 256 * KIB


def test_a_slow_reader_gets_a_large_answer_whole(client: RawClient, upstream: WireUpstream) -> None:
    body = b"0123456789abcdef" * 512 * KIB  # 8 MiB: more than sockets and buffers hold
    upstream.answers(ok(body))
    client.get("/v1/files/f1/content")
    client.read_until(b"\r\n\r\n")
    threading.Event().wait(0.3)  # the gateway has to stop reading, not to fill its memory

    received = b""
    while len(received) < len(body):
        received += client.read_some()
    assert received == body


# --- connections ---


def test_an_upstream_connection_is_used_again(client: RawClient, upstream: WireUpstream) -> None:
    for _ in range(5):
        client.post(CHAT, b"{}", JSON)
        assert client.read_answer().status == 200
    upstream.answers(EVENT_STREAM + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + LAST_CHUNK)
    client.post(CHAT, b'{"stream":true}', JSON)
    client.read_answer()
    client.post(CHAT, b"{}", JSON)
    client.read_answer()

    assert upstream.connections == 1


def test_a_connection_the_upstream_will_close_is_not_used_again(
    client: RawClient, upstream: WireUpstream
) -> None:
    upstream.answers(ok(b"{}", "connection: close"), 0.05, CLOSE)
    for _ in range(2):
        client.post(CHAT, b"{}", JSON)
        assert client.read_answer().status == 200

    assert [request.connection for request in upstream.requests] == [0, 1]


def test_many_requests_at_once_each_get_their_own_answer(
    gateway: RunningGateway, upstream: WireUpstream
) -> None:
    clients = [RawClient(gateway.port) for _ in range(20)]
    for number in range(20):
        upstream.answers(0.05, ok(b'{"connection":%d}' % number))
    for client in clients:
        client.post(CHAT, b"{}", JSON)

    bodies = [client.read_answer().body for client in clients]
    for client in clients:
        client.__exit__(None, None, None)
    assert sorted(bodies) == sorted(b'{"connection":%d}' % number for number in range(20))


def wait_until(holds: Any, *, within_s: float = 5.0) -> None:
    for _ in range(int(within_s / 0.01)):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"did not come true within {within_s} s")
