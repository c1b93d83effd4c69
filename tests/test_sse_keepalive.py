"""SSE keep-alive: comments keep a client's connection awake while a stream's first event is not there."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.harness import CLOSE, SILENCE, RawClient, RunningGateway, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
COMMENT = b": keep-alive\n\n"
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FINE = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"fine": true}\n'


def event(text: str) -> bytes:
    delta = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


EVENTS = event("Hel") + event("lo") + b"data: [DONE]\n\n"
STREAM = EVENTS_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)


def error_answer(status: bytes) -> bytes:
    body = b'{"error": {"message": "theirs",\n "type": "t", "param": null, "code": "c"}}'
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(wire: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    """A route with comments every 50 ms, the same with retries or a deadline, and one without comments."""
    retry = {"attempts": 2, "backoff_s": 0.01}
    limits = {"connect_timeout_s": 0.5, "first_byte_timeout_s": 1}
    config = {
        "upstreams": {"wire": {"base_url": wire.base_url, "transport": request.param, **limits}},
        "routes": [
            {"models": ["kept"], "target": {"upstream": "wire"}, "sse_keepalive_s": 0.05},
            {"models": ["tried"], "target": {"upstream": "wire", "retry": retry}, "sse_keepalive_s": 0.05},
            {"models": ["late"], "target": {"upstream": "wire"}, "sse_keepalive_s": 0.05, "deadline_s": 0.3},
            {"models": ["*"], "target": {"upstream": "wire"}},
        ],
    }
    with run_gateway(config) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


@pytest.fixture
def sdk(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="sk-test", max_retries=0, timeout=15) as client:
        yield client


def ask(client: RawClient, trace: str, *, model: str = "kept", stream: bool = True) -> None:
    body = json.dumps({"model": model, "messages": [], "stream": stream}).encode()
    client.post(CHAT, body, JSON, f"x-trace-id: {trace}")


def after_comments(body: bytes) -> bytes:
    """What follows the comments, of which there must be some."""
    assert body.startswith(COMMENT)
    while body.startswith(COMMENT):
        body = body[len(COMMENT) :]
    return body


def error_in(body: bytes) -> dict[str, Any]:
    """The error of the one event that `body` is."""
    name, data = body.rstrip(b"\n").split(b"\n")
    assert name == b"event: error"
    error: dict[str, Any] = json.loads(data.removeprefix(b"data: "))["error"]
    return error


def test_comments_come_until_the_first_event_and_the_rest_is_as_it_was_sent(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    first_may_come = threading.Event()
    upstream.answers(first_may_come, STREAM)
    ask(client, trace)
    head = client.read_until(b"\r\n\r\n")
    for _ in range(3):
        client.read_until(COMMENT)
    first_may_come.set()
    rest = client.read_until(b"0\r\n\r\n")

    assert b"200 OK" in head
    assert b"content-type: text/event-stream" in head
    assert f"x-trace-id: {trace}".encode() in head
    assert EVENTS in rest
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"]) == (200, None)
    assert row["response_head"] == EVENTS, "comments are ours and not recorded"


def test_a_stream_that_begins_in_time_has_no_comments(
    client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    with_field = STREAM.replace(b"\r\ntransfer", b"\r\nopenai-version: 1\r\ntransfer", 1)
    upstream.answers(with_field)
    ask(client, trace)

    answer = client.read_answer()
    assert (answer.status, answer.body, answer.clean) == (200, EVENTS, True)
    assert answer.header("openai-version") == "1"


@pytest.mark.parametrize(("model", "stream"), [("kept", False), ("other", True)])
def test_nobody_else_gets_comments(
    client: RawClient, upstream: WireUpstream, trace: str, model: str, stream: bool
) -> None:
    upstream.answers(0.2, FINE)
    ask(client, trace, model=model, stream=stream)

    answer = client.read_answer()
    assert (answer.body, answer.header("content-type")) == (b'{"fine": true}\n', "application/json")


def test_the_openai_client_reads_the_stream_as_if_there_were_none(
    sdk: openai.OpenAI, upstream: WireUpstream
) -> None:
    upstream.answers(0.3, STREAM)
    stream = sdk.chat.completions.create(model="kept", messages=[], stream=True)

    assert [chunk.choices[0].delta.content for chunk in stream] == ["Hel", "lo"]


def test_the_openai_client_raises_what_fails_after_comments(
    sdk: openai.OpenAI, upstream: WireUpstream
) -> None:
    upstream.answers(0.3, CLOSE)
    stream = sdk.chat.completions.create(model="kept", messages=[], stream=True)

    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "upstream_broken"


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [(CLOSE, 502, "upstream_broken"), (SILENCE, 504, "upstream_first_byte_timeout")],
    ids=["closes", "says nothing"],
)
def test_what_fails_after_comments_is_an_error_event_and_an_aborted_connection(
    gateway: RunningGateway,
    client: RawClient,
    upstream: WireUpstream,
    trace: str,
    ending: Any,
    status: int,
    code: str,
) -> None:
    upstream.answers(0.15, ending)
    ask(client, trace)

    answer = client.read_answer()
    assert (answer.status, answer.clean) == (200, False)
    assert error_in(after_comments(answer.body))["code"] == code
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"]) == (status, code), "the row says how it ended"


def test_an_error_the_upstream_answers_after_comments_is_an_error_event(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(0.15, error_answer(b"429 Slow Down"))
    ask(client, trace)

    answer = client.read_answer()
    assert (answer.status, answer.clean) == (200, False)
    assert error_in(after_comments(answer.body))["message"] == "theirs"
    row = gateway.rows.the_exchange(trace)
    assert row["status"] == 429
    assert b"theirs" in row["response_head"]


def test_the_deadline_ends_the_comments(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(SILENCE)
    ask(client, trace, model="late")

    answer = client.read_answer()
    assert (answer.status, answer.clean) == (200, False)
    assert error_in(after_comments(answer.body))["code"] == "upstream_deadline_timeout"
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"]) == (504, "upstream_deadline_timeout")


@pytest.mark.parametrize(("encoding", "is_clean"), [("identity", True), ("gzip", False)])
def test_a_stream_that_comes_compressed_unasked_does_not_follow_comments(
    client: RawClient, upstream: WireUpstream, trace: str, encoding: str, is_clean: bool
) -> None:
    encoded = STREAM.replace(b"\r\n", b"\r\ncontent-encoding: %b\r\n" % encoding.encode(), 1)
    upstream.answers(0.15, encoded)
    ask(client, trace)

    answer = client.read_answer()
    assert answer.clean is is_clean
    rest = after_comments(answer.body)
    assert rest == EVENTS if is_clean else error_in(rest)["code"] == "upstream_broken"


def test_an_error_before_the_first_comment_keeps_its_status(
    client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(error_answer(b"429 Slow Down"))
    ask(client, trace)

    answer = client.read_answer()
    assert (answer.status, answer.json()["error"]["message"]) == (429, "theirs")


def test_comments_go_on_over_a_retry(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(0.15, error_answer(b"503 Busy"))
    upstream.answers(0.15, STREAM)
    ask(client, trace, model="tried")

    answer = client.read_answer()
    assert (answer.status, answer.clean) == (200, True)
    assert after_comments(answer.body) == EVENTS
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["attempt_count"]) == (200, 2)


def test_a_stream_that_breaks_off_after_comments_ends_as_any_other(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str
) -> None:
    first = event("Hel")
    upstream.answers(0.15, EVENTS_HEAD + b"%x\r\n%b\r\n" % (len(first), first), 0.02, CLOSE)
    ask(client, trace)

    answer = client.read_answer()
    assert not answer.clean
    rest = after_comments(answer.body)
    assert rest.startswith(first)
    assert error_in(rest[len(first) :])["code"] == "upstream_aborted"
    assert gateway.rows.the_exchange(trace)["response_head"] == first


def test_a_client_gone_among_the_comments_cancels_the_call(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(SILENCE)
    client = RawClient(gateway.port)
    ask(client, trace)
    client.read_until(COMMENT)
    client.hang_up()

    assert upstream.request(0).hung_up.wait(3), "the upstream's call was not cancelled"
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"]) == (499, "client_closed")
