"""From stored bodies to lines of files: conversations, training examples, tables."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exports import feedback as table
from gateway.exports import finetuning
from gateway.exports.conversation import Conversation, conversation
from gateway.exports.exchanges import exchange_line
from gateway.exports.lines import csv_line
from gateway.jsonio import dumps, loads
from tests.own_api import NO_BODIES, exchange_row

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]
SAID = {"role": "assistant", "content": "hi"}


def read(request: Any, answer: Any, *, path: str = CHAT, streamed: bool = False) -> Conversation:
    bodies = NO_BODIES._replace(
        request_head=request if isinstance(request, bytes) else dumps(request),
        response_head=answer if isinstance(answer, bytes) else dumps(answer),
    )
    return conversation(exchange_row("t", 1, path=path, streamed=streamed), bodies)


def chat(message: Any) -> dict[str, Any]:
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}


def events(*data: Any) -> bytes:
    return b"".join(b"data: " + dumps(each) + b"\n\n" for each in data) + b"data: [DONE]\n\n"


# --- conversations ---


def test_a_chat_is_read_as_it_is() -> None:
    message = {**SAID, "refusal": None, "annotations": []}
    talk = read({"model": "m", "messages": HELLO, "temperature": 0}, chat(message))
    assert talk == Conversation(HELLO, {"model": "m", "temperature": 0}, message)


def test_a_stream_is_put_together_and_its_calls_lose_their_numbers() -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
    more = {"index": 0, "function": {"arguments": ":1}"}}
    chunks = [
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
        for delta in ({"role": "assistant"}, {"tool_calls": [call]}, {"tool_calls": [more]})
    ]
    answer = read({"messages": HELLO}, events(*chunks), streamed=True).answer
    assert answer == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
    }


@pytest.mark.parametrize(
    ("path", "request_body", "messages", "rest"),
    [
        (
            "/v1/completions",
            {"model": "m", "prompt": "once"},
            [{"role": "user", "content": "once"}],
            {"model": "m"},
        ),
        (
            "/v1/responses",
            {"instructions": "be brief", "input": "hello", "store": True},
            [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
            {"store": True},
        ),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]},
            [{"role": "user", "content": "a"}],
            {},
        ),
        (
            "/v1/messages",
            {"system": [{"type": "text", "text": "s"}], "messages": HELLO, "max_tokens": 5},
            [{"role": "system", "content": "s"}, *HELLO],
            {"max_tokens": 5},
        ),
        ("/v1/responses", {"input": "more", "previous_response_id": "r1"}, None, None),
        ("/v1/responses", {"input": [{"type": "function_call_output", "output": "x"}]}, None, None),
        ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, None, None),
        ("/v1/embeddings", {"input": "text"}, None, None),
        (CHAT, {"messages": []}, None, None),
        (CHAT, {"messages": ["hello"]}, None, None),
        ("/v1/completions", {"prompt": ["a", "b"]}, None, None),
    ],
)
def test_other_requests_are_read_where_their_meaning_survives(
    path: str, request_body: Any, messages: Any, rest: Any
) -> None:
    talk = read(request_body, {}, path=path)
    assert (talk.messages, talk.request) == (messages, request_body if rest is None else rest)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"choices": [{"text": "upon a time"}]}, {"role": "assistant", "content": "upon a time"}),
        (
            {
                "output": [
                    {"type": "reasoning"},
                    {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                ]
            },
            {
                "role": "assistant",
                "content": "hi",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
        ),
        (
            {"type": "message", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "ab"},
        ),
        (
            {"type": "message", "content": [{"type": "tool_use", "id": "u", "name": "f", "input": {"a": 1}}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "u", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
                ],
            },
        ),
        ({"object": "list", "data": []}, None),
        ({"choices": []}, None),
        ({"choices": [{"message": "hi"}]}, None),
        ({"error": {"message": "no"}}, None),
        (b"\xff\xd8", None),
        (b"", None),
    ],
)
def test_other_answers_become_the_assistants_message(answer: Any, message: Any) -> None:
    assert read({"messages": HELLO}, answer).answer == message


def test_what_was_cut_or_is_encoded_is_not_read() -> None:
    whole = NO_BODIES._replace(
        request_head=dumps({"messages": HELLO}), response_head=dumps(chat(SAID)), response_encoding=None
    )
    row = exchange_row("t", 1)
    assert conversation(row, whole).messages == HELLO
    assert conversation(row, whole._replace(request_tail=b"}")).messages is None
    assert conversation(row, whole._replace(request_encoding="x")).messages is None
    assert conversation(row, whole._replace(response_tail=b"}")).answer is None
    assert conversation(row, whole._replace(response_encoding="br")).answer is None
    assert conversation(row._replace(streamed=True), whole._replace(response_tail=b"")).answer is None
    assert conversation(row, None) == conversation(row, NO_BODIES) == Conversation(None, None, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ("messages", "role", "content", "type", "text", "choices", "message", "output", "delta", "input",
             "tool_calls", "index", "system", "prompt", "function", "tools")
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    request=JSON,
    answer=JSON,
    streamed=st.booleans(),
    path=st.sampled_from((CHAT, "/v1/responses", "/v1/messages", "/v1/completions")),
    correction=JSON,
)
def test_no_body_breaks_an_export(
    request: Any, answer: Any, streamed: bool, path: str, correction: Any
) -> None:
    talk = read(request, events(answer, answer) if streamed else answer, path=path, streamed=streamed)
    line = exchange_line({"id": "x"}, talk, [], has_more=False)
    assert loads(line)["messages"] == talk.messages
    finetuning.prompt_digest(talk)
    finetuning.preference(talk, preferred=finetuning.corrected(talk, correction), other=talk.answer)
    example = finetuning.supervised(talk, correction)
    if example is not None:
        assert loads(finetuning.example_line(example, "x") or b"")["id"] == "x"


def test_a_conversation_nested_too_deeply_is_left_out() -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    talk = Conversation([{"role": "user", "content": deep}], {}, SAID)
    line = loads(exchange_line({"id": "x"}, talk, [], has_more=False))
    assert (line["id"], line["messages"], line["answer"]) == ("x", None, None)
    assert finetuning.prompt_digest(talk) is None
    example = finetuning.supervised(talk)
    assert example is not None
    assert finetuning.example_line(example, None) is None


# --- training examples ---

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def test_an_example_is_the_conversation_with_what_a_file_may_hold() -> None:
    messages = [
        {"role": "user", "content": "hi", "name": "ann", "cache_control": {}},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c"}],
            "refusal": None,
            "annotations": [],
        },
        {"role": "tool", "content": "5", "tool_call_id": "c"},
    ]
    request = {"model": "m", "temperature": 1, "tools": TOOLS, "parallel_tool_calls": False}
    answer = {**SAID, "refusal": None, "reasoning_content": "hm"}
    assert finetuning.supervised(Conversation(messages, request, answer)) == {
        "messages": [
            {"role": "user", "content": "hi", "name": "ann"},
            {"role": "assistant", "tool_calls": [{"id": "c"}]},
            {"role": "tool", "content": "5", "tool_call_id": "c"},
            {"role": "assistant", "content": "hi"},
        ],
        "tools": TOOLS,
        "parallel_tool_calls": False,
    }


@pytest.mark.parametrize(
    "talk",
    [
        Conversation(None, None, SAID),
        Conversation(HELLO, {}, None),
        Conversation(HELLO, {}, {"role": "assistant", "content": None, "refusal": "no"}),
        Conversation(HELLO, {"tools": [{"name": "f", "input_schema": {}}]}, SAID),
    ],
)
def test_without_prompt_or_answer_there_is_no_example(talk: Conversation) -> None:
    assert finetuning.supervised(talk) is None


@pytest.mark.parametrize(
    ("said", "correction", "becomes"),
    [
        ("hi", "hello!", {"role": "assistant", "content": "hello!"}),
        ("hi", {"role": "assistant", "content": "x"}, {"role": "assistant", "content": "x"}),
        ('{"a": 1}', {"a": 2}, {"role": "assistant", "content": '{"a":2}'}),
        ("[1]", [2], {"role": "assistant", "content": "[2]"}),
        ("hi", ["a fact that is expected"], None),
        ("hi", {"a": 2}, None),
        ("hi", 5, None),
        ("hi", "", None),
        ("hi", {"role": "assistant"}, None),
    ],
)
def test_a_correction_stands_in_for_the_answer(said: str, correction: Any, becomes: Any) -> None:
    talk = Conversation(HELLO, {}, {"role": "assistant", "content": said})
    example = finetuning.supervised(talk, correction)
    assert example == (None if becomes is None else {"messages": [*HELLO, becomes]})


def test_a_pair_is_in_openais_preference_format() -> None:
    better = {"role": "assistant", "content": "hello!"}
    assert finetuning.preference(Conversation(HELLO, {}, SAID), preferred=better, other=SAID) == {
        "input": {"messages": HELLO, "tools": [], "parallel_tool_calls": True},
        "preferred_output": [better],
        "non_preferred_output": [SAID],
    }
    assert finetuning.preference(Conversation(HELLO, {}, SAID), preferred=SAID, other=SAID) is None


def test_a_prompt_is_the_same_whatever_answers_it() -> None:
    one = Conversation(HELLO, {"model": "a", "temperature": 1}, SAID)
    two = Conversation([{"content": "hello", "role": "user"}], {"model": "b"}, None)
    other = Conversation(HELLO, {"tools": TOOLS}, SAID)
    assert finetuning.prompt_digest(one) == finetuning.prompt_digest(two)
    assert finetuning.prompt_digest(one) != finetuning.prompt_digest(other)


# --- tables ---


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("plain", "plain"),
        ('a "b", c', '"a ""b"", c"'),
        ("two\nlines", '"two\nlines"'),
        (-5, "-5"),
        (0.5, "0.5"),
        (True, "true"),
        ([1, "a"], '"[1,""a""]"'),
        ("=1+1", "'=1+1"),
        ("-1 for this", "'-1 for this"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1", "'+1"),
        ("\t=1", "'\t=1"),
        ('=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"'),
    ],
)
def test_a_cell_is_text_json_or_nothing_and_never_a_formula(cell: Any, text: str) -> None:
    assert csv_line([cell]) == text.encode() + b"\r\n"


@given(st.lists(st.text().filter(lambda text: not text.startswith(tuple("=+-@\t\r"))), min_size=1))
def test_what_is_written_to_a_table_is_read_from_it(cells: list[str]) -> None:
    line = csv_line(["id", *cells])
    [row] = csv.reader(io.StringIO(line.decode(), newline=""), strict=True)
    assert row == ["id", *cells]


def test_a_row_has_a_cell_for_every_column() -> None:
    shown = {
        "id": "f1", "trace_id": "t", "targets": [{"trace_id": "t", "request_id": "e", "matched": True}],
        "name": "stars", "kind": "number", "signal": "explicit", "value": 4, "weight": 1.0, "comment": "ok",
        "correction": {"a": 1}, "source": {"type": "HUMAN", "id": "ann"}, "task": {"id": "k", "version": 2},
        "metadata": {"_user": "u", "_prompt": "p", "team": "x"}, "overrides": None, "valid": True,
        "created_at": "2027-01-15T08:00:00.001Z", "updated_at": None, "retracted_at": None, "matched": True,
    }  # fmt: skip
    [names, row] = csv.reader(io.StringIO((table.header() + table.csv_row(shown)).decode(), newline=""))
    assert names == list(table.COLUMNS)
    cells = dict(zip(names, row, strict=True))
    expected = {
        "id": "f1", "request_id": "e", "value": "4", "correction": '{"a":1}', "source_id": "ann", "user": "u",
        "task_version": "2", "valid": "true", "overrides": "", "environment": "",
    }  # fmt: skip
    assert {name: cells[name] for name in expected} == expected
