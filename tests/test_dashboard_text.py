"""Words on pages: hidden characters, figures, differences and conversations of every API."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard import figures
from gateway.dashboard.conversation import talk
from gateway.dashboard.difference import compare
from gateway.dashboard.text import one_line, visible
from gateway.jsonio import dumps
from tests.own_api import exchange_row
from tests.own_dashboard import bodies


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain & <b>", "plain &amp; &lt;b&gt;"),
        ("a\tb\nc\r\nd", "a\tb\nc\nd"),
        ("\x1b[31m", '<span class="hidden-char" title="control character">U+001B</span>[31m'),
        ("\u202e", '<span class="hidden-char" title="right-to-left override">U+202E</span>'),
        ("a\u200bb", 'a<span class="hidden-char" title="zero width space">U+200B</span>b'),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
        ("\ud800", '<span class="hidden-char" title="hidden character">U+D800</span>'),
        (None, "None"),
    ],
)
def test_what_is_hidden_in_a_text_is_shown(text: object, shown: str) -> None:
    assert str(visible(text)) == shown


@given(st.text())
def test_no_text_brings_markup_or_hidden_characters(text: str) -> None:
    shown = str(visible(text)).replace('<span class="hidden-char" title="', "").replace("</span>", "")
    assert "<" not in shown
    assert not set(shown) & set("\x00\x1b\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f\ufeff")


def test_a_long_text_becomes_one_short_line() -> None:
    assert one_line("a\n\n b   c") == "a b c"
    assert one_line("word " * 100, 20) == "word word word word\u2026"
    assert len(one_line("x" * 5_000_000)) == 121


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.number(1234567), "1\u202f234\u202f567"),
        (figures.compact(999), "999"),
        (figures.compact(1234), "1.2k"),
        (figures.compact(35_000), "35k"),
        (figures.compact(999_950), "1.0M"),
        (figures.compact(0), "0"),
        (figures.duration(None), "\u2013"),
        (figures.duration(0.4), "0.4 ms"),
        (figures.duration(1240), "1.24 s"),
        (figures.duration(200_000), "3 min 20 s"),
        (figures.cost(None), "\u2013"),
        (figures.cost(0), "$0"),
        (figures.cost(1234.5), "$1,234.50"),
        (figures.cost(0.000017), "$0.000017"),
        (figures.cost(1e-9), "<$0.000001"),
        (figures.size(512), "512 B"),
        (figures.size(1536), "1.5 KiB"),
        (figures.size(3 * 2**30), "3.0 GiB"),
        (figures.mean(3.5), "+3.5"),
        (figures.mean(-10), "\u221210"),
        (figures.mean(-0.001), "0"),
        (figures.iso(1_800_000_000_123), "2027-01-15T08:00:00.123Z"),
        (figures.clock(0), "1970-01-01 00:00:00"),
    ],
)
def test_figures_are_short(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.text(alphabet="ab \n"), st.text(alphabet="ab \n"))
def test_the_pieces_of_a_difference_make_up_both_texts(old: str, new: str) -> None:
    pieces = compare(old, new)
    assert pieces is not None
    assert "".join(piece.text for piece in pieces if piece.kind != "added") == old
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == new


def test_texts_that_have_little_in_common_are_not_compared() -> None:
    old = " ".join(str(number) for number in range(3_000))
    new = " ".join(str(number) for number in range(9_000, 12_000))
    assert compare(old, new) is None
    assert compare("x" * 300_000, "") is None


def said(
    path: str, request: Any, response: Any, *, streamed: bool = False
) -> list[tuple[str, list[tuple[str, Any]]]]:
    row = exchange_row("t", 1, path=path, streamed=streamed)
    found = talk(row, bodies(request, response))
    return [
        (turn.role, [(part.kind, part.text) for part in turn.parts])
        for turn in (*found.asked, *found.answered)
    ]


def test_a_responses_conversation() -> None:
    request = {
        "instructions": "Be kind.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
            {"type": "function_call_output", "call_id": "1", "output": "42"},
        ],
    }
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is 42."}]},
    ]
    assert said("/v1/responses", request, {"output": output}) == [
        ("system", [("text", "Be kind.")]),
        ("user", [("text", "Hi")]),
        ("assistant", [("call", "{}")]),
        ("tool", [("result", "42")]),
        ("assistant", [("thinking", "hm")]),
        ("assistant", [("text", "It is 42.")]),
    ]


def test_an_anthropic_conversation_that_was_streamed() -> None:
    request = {
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "sunny"}]}
        ],
    }
    events = [
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Sunny"}},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "name": "f", "input": {}},
        },
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'},
        },
    ]
    stream = b"".join(b"data: %b\n\n" % dumps(event) for event in events)
    assert said("/v1/messages", request, stream, streamed=True) == [
        ("system", [("text", "Be kind.")]),
        ("user", [("result", "sunny")]),
        ("assistant", [("text", "Sunny"), ("call", '{"a":1}')]),
    ]


def test_several_choices_embeddings_and_errors() -> None:
    choices = [
        {"message": {"role": "assistant", "content": "a"}},
        {"message": {"role": "assistant", "content": "b"}},
    ]
    assert said("/v1/chat/completions", {"messages": []}, {"choices": choices}) == [
        ("assistant 1", [("text", "a")]), ("assistant 2", [("text", "b")]),
    ]  # fmt: skip
    assert said("/v1/embeddings", {"input": "x"}, {"data": [{"embedding": [0.5] * 3}]}) == [
        ("user", [("text", "x")]), ("answer", [("note", "1 vectors of 3 numbers")]),
    ]  # fmt: skip
    assert said("/v1/x", {}, {"error": {"message": "no"}}) == [("error", [("text", "no")])]
    assert said("/v1/x", {}, "<html>busy</html>") == [("answer", [("text", "<html>busy</html>")])]


MEMBERS = (
    "role", "content", "type", "text", "messages", "input", "choices", "message", "output", "tool_calls",
    "function",
    "image_url", "source", "data", "error", "system", "summary",
)  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5),
    max_leaves=20,
)


@given(json_values, json_values, st.booleans())
def test_no_body_breaks_a_conversation(request: Any, response: Any, streamed: bool) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
        said(
            path,
            {"messages": request, "input": response, "system": request},
            {"choices": response},
            streamed=streamed,
        )
        said(path, request, {"output": response, "content": request}, streamed=streamed)
        said(path, request, response, streamed=streamed)
