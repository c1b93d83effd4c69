"""What is read from an answer: model, usage, finish reason, message; whole, streamed, cut or broken."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture.answer import NO_ANSWER, Answer, Usage, read_events, read_json
from gateway.capture.body import BodyBuffer, cut
from gateway.capture.decode import MAX_DECODED_BYTES, decode
from gateway.capture.message import assemble
from gateway.records import Payload


def whole(body: bytes) -> Payload:
    return Payload(body, b"", len(body))


def stream(*events: Any) -> bytes:
    return (
        b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    )


CHAT_USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (
            {"model": "m", "choices": [{"finish_reason": "stop"}], "usage": CHAT_USAGE},
            Answer("m", Usage(10, 7, 4, 3), "stop"),
        ),
        ({"model": "e", "data": [], "usage": {"prompt_tokens": 5}}, Answer("e", Usage(5))),
        (
            {
                "object": "response",
                "model": "r",
                "status": "completed",
                "usage": {
                    "input_tokens": 9,
                    "output_tokens": 2,
                    "input_tokens_details": {"cached_tokens": 1},
                    "output_tokens_details": {"reasoning_tokens": 2},
                },
            },
            Answer("r", Usage(9, 2, 1, 2), "completed"),
        ),
        (
            {
                "type": "message",
                "model": "claude",
                "stop_reason": "end_turn",
                "usage": {
                    "input_tokens": 3,
                    "output_tokens": 8,
                    "cache_read_input_tokens": 5,
                    "cache_creation_input_tokens": 2,
                },
            },
            Answer("claude", Usage(10, 8, 5, None), "end_turn"),
        ),
        (
            {"usage": {"prompt_tokens": True, "completion_tokens": -1}, "model": 5, "choices": "x"},
            Answer(None, Usage(None, None, None, None), None),
        ),
        ({"usage": {"prompt_tokens": 10**30}}, Answer(None, Usage(), None)),
        ([1, 2], NO_ANSWER),
    ],
)
def test_an_answer_is_read_from_json(body: Any, answer: Answer) -> None:
    assert read_json(whole(json.dumps(body).encode())) == answer


def test_usage_comes_from_the_last_event_that_carries_it() -> None:
    body = stream(
        {"model": "m", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]},
        {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
        {"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {"model": "m", "choices": [], "usage": CHAT_USAGE},
    )
    assert read_events(whole(body)) == Answer("m", Usage(10, 7, 4, 3), "length")


TELLING = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["a", "b", "", None]),
        "usage": st.dictionaries(
            st.sampled_from(
                ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens",
                 "cache_read_input_tokens"]
            ),
            st.integers(-1, 9),
        ),
        "choices": st.lists(st.fixed_dictionaries({"finish_reason": st.sampled_from(["stop", "", None])})),
        "response": st.fixed_dictionaries({"model": st.sampled_from(["c", "d"])}),
    },
)  # fmt: skip


@given(st.lists(TELLING, min_size=1, max_size=5), st.integers(1, 3))
def test_how_far_from_its_end_a_stream_says_something_makes_no_difference(
    events: list[Any], long: int
) -> None:
    silent = {"model": "m", "choices": [{"delta": {"content": "x" * 800 * long}}]}
    spread = [one for event in events for one in (event, silent)]
    assert read_events(whole(stream(*spread))) == read_events(whole(stream(*events)))


def test_an_anthropic_stream_tells_its_usage_in_two_events() -> None:
    body = stream(
        {
            "type": "message_start",
            "message": {"model": "claude", "usage": {"input_tokens": 6, "output_tokens": 1}},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    )
    assert read_events(whole(body)) == Answer("claude", Usage(6, 9), "end_turn")


def test_a_responses_stream_tells_everything_in_its_last_event() -> None:
    final = {
        "object": "response",
        "model": "r",
        "status": "completed",
        "usage": {"input_tokens": 2, "output_tokens": 3},
    }
    body = stream(
        {"type": "response.created", "response": {"model": "r"}},
        {"type": "response.completed", "response": final},
    )
    assert read_events(whole(body)) == Answer("r", Usage(2, 3), "completed")


def test_a_cut_body_still_tells_its_usage() -> None:
    body = json.dumps(
        {"model": "e", "data": [0.5] * 5000, "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    ).encode()
    buffer = BodyBuffer(1000)
    buffer.add(body)
    assert read_json(buffer.payload()) == Answer("e", Usage(7))


def test_a_cut_stream_still_tells_its_usage() -> None:
    chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": "word "}}]}
    body = stream(*[chunk] * 500, {"model": "m", "choices": [], "usage": CHAT_USAGE})
    buffer = BodyBuffer(1000)
    buffer.add(body)
    assert read_events(buffer.payload()).usage == Usage(10, 7, 4, 3)


@given(st.binary(max_size=300), st.booleans())
def test_nothing_an_upstream_sends_breaks_the_reading(body: bytes, is_cut: bool) -> None:
    payload = Payload(body, body[::-1], len(body) * 3) if is_cut else whole(body)
    assert isinstance(read_json(payload), Answer)
    assert isinstance(read_events(payload), Answer)
    assemble(payload.head, payload.tail)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "message", "usage", "index", "tool_calls", "function", "content", "response",
             "type", "model", "finish_reason", "content_block", "text", "arguments", "object", "status",
             "logprobs"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JSON_VALUES, max_size=4))
def test_no_shape_of_json_breaks_the_reading(events: list[Any]) -> None:
    body = stream(*events)
    assert isinstance(read_events(whole(body)), Answer)
    assemble(body, None)
    for event in events:
        assert isinstance(read_json(whole(json.dumps(event).encode())), Answer)


def test_a_streamed_message_is_put_together_as_if_it_had_not_been_streamed() -> None:
    def choice(index: int, **delta: Any) -> dict[str, Any]:
        return {
            "id": "c",
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [{"index": index, "delta": delta}],
        }

    body = stream(
        choice(0, role="assistant", content="Hel"),
        choice(1, role="assistant", refusal="I "),
        choice(0, content="lo"),
        choice(1, refusal="won't"),
        choice(
            0,
            tool_calls=[
                {"index": 0, "id": "t0", "type": "function", "function": {"name": "f", "arguments": ""}}
            ],
        ),
        choice(0, tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
        choice(
            0,
            tool_calls=[
                {"index": 1, "id": "t1", "type": "function", "function": {"name": "g", "arguments": "{}"}}
            ],
        ),
        choice(0, tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": 1}},
    )
    answer = assemble(body, None)
    assert answer["object"] == "chat.completion"
    assert answer["usage"] == {"prompt_tokens": 1}
    first, second = answer["choices"]
    assert first["finish_reason"] == "tool_calls"
    assert first["message"]["content"] == "Hello"
    assert [call["function"] for call in first["message"]["tool_calls"]] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert second["message"] == {"role": "assistant", "content": None, "refusal": "I won't"}


def test_an_anthropic_message_is_put_together() -> None:
    body = stream(
        {
            "type": "message_start",
            "message": {"role": "assistant", "content": [], "usage": {"input_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "He"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "y"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    )
    assert assemble(body, None) == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Hey"}],
        "usage": {"input_tokens": 1, "output_tokens": 2},
        "stop_reason": "end_turn",
    }


def test_a_responses_stream_that_broke_off_shows_the_text_so_far() -> None:
    body = stream(
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hel"},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "lo"},
    )
    assert assemble(body, None)["output_text"] == "Hello"


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(0, 200))
def test_a_long_body_keeps_its_head_its_tail_and_its_size(chunks: list[bytes], limit: int) -> None:
    body = b"".join(chunks)
    buffer = BodyBuffer(limit)
    for chunk in chunks:
        buffer.add(chunk)
    payload = buffer.payload()
    assert payload.size == len(body)
    if len(body) <= limit:
        assert (payload.head, payload.tail) == (body, b"")
    else:
        assert len(payload.head) + len(payload.tail) == limit
        assert body.startswith(payload.head)
        assert body.endswith(payload.tail)
        assert len(payload.head) - len(payload.tail) in (0, 1)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 300))
def test_cutting_later_keeps_what_cutting_at_once_would_have_kept(body: bytes, limit: int, less: int) -> None:
    buffer, smaller = BodyBuffer(limit), BodyBuffer(min(less, limit))
    buffer.add(body)
    smaller.add(body)
    assert cut(buffer.payload(), min(less, limit)) == smaller.payload()


ENCODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("encoding", ENCODERS)
@given(body=st.binary(min_size=1, max_size=2000))
def test_every_encoding_is_undone_for_the_record(encoding: str, body: bytes) -> None:
    decoded = decode(whole(ENCODERS[encoding](body)), encoding.upper(), limit=4000)
    assert decoded.encoding is None
    assert decoded.payload == whole(body)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_cut_encoded_body_is_decoded_as_far_as_it_goes(encoding: str) -> None:
    body = bytes(range(256)) * 400
    encoded = ENCODERS[encoding](body)
    payload = Payload(encoded[: len(encoded) // 2], encoded[-10:], len(encoded))
    decoded = decode(payload, encoding, limit=10**6)
    if decoded.encoding is None:
        assert body.startswith(decoded.payload.head)
        assert not decoded.payload.is_whole


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_bomb_is_not_unpacked_to_its_end(encoding: str) -> None:
    encoded = ENCODERS[encoding](bytes(MAX_DECODED_BYTES + 10**6))
    decoded = decode(whole(encoded), encoding, limit=1000)
    assert len(decoded.payload.head) + len(decoded.payload.tail) == 1000
    assert not decoded.payload.is_whole
    assert decoded.payload.size <= MAX_DECODED_BYTES + 2 * 256 * 1024


@pytest.mark.parametrize("encoding", [*ENCODERS, "gzip, br", "rot13"])
def test_bytes_that_are_not_what_the_header_says_are_kept_as_they_are(encoding: str) -> None:
    decoded = decode(whole(b"plain text, no encoding at all"), encoding, limit=1000)
    assert decoded.encoding == encoding
    assert decoded.payload.head == b"plain text, no encoding at all"
