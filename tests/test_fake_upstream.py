"""The fake OpenAI upstream of `gateway demo`, asked by the real `openai` package with nothing between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Process

HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(fake_openai: Process) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{fake_openai.url}/v1", api_key="sk-test", max_retries=0) as sdk:
        yield sdk


def test_the_same_question_gets_the_same_answer(client: openai.OpenAI) -> None:
    first, second = (client.chat.completions.create(model="gpt-4o", messages=HELLO) for _ in range(2))

    assert first.id == second.id
    assert first.choices == second.choices


def test_different_questions_get_different_answers(client: openai.OpenAI) -> None:
    questions = (
        "hello",
        "Write a haiku",
        "capital of France?",
        "How do I get a refund?",
        "Why?",
        "What now?",
    )
    answers = {
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": question}])
        .choices[0]
        .message.content
        for question in questions
    }
    assert len(answers) >= 5


def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    question: Any = {"model": "o4-mini", "messages": HELLO, "n": 3}
    whole = client.chat.completions.create(**question)
    with client.chat.completions.stream(**question, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()

    texts = [[choice.message.content for choice in answer.choices] for answer in (whole, streamed)]
    assert texts[0] == texts[1]
    assert streamed.usage
    assert whole.usage
    assert streamed.usage.completion_tokens_details
    assert streamed.usage.completion_tokens_details.reasoning_tokens
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_an_answer_longer_than_allowed_is_cut(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=2)

    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "Hello! "[:-1]


def test_a_named_tool_is_the_one_called(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": name}} for name in ("one", "two")]
    choice: Any = {"type": "function", "function": {"name": "two"}}
    answer: Any = client.chat.completions.create(
        model="gpt-4o", messages=HELLO, tools=tools, tool_choice=choice
    )

    assert answer.choices[0].message.tool_calls[0].function.name == "two"


def test_an_embedding_is_a_unit_vector_however_it_is_encoded(client: openai.OpenAI) -> None:
    packed = client.embeddings.create(model="text-embedding-3-small", input="red").data[0].embedding
    plain = client.embeddings.create(model="text-embedding-3-small", input="red", encoding_format="float")

    assert len(packed) == 1536
    assert sum(number * number for number in packed) == pytest.approx(1, abs=1e-3)
    assert packed == pytest.approx(plain.data[0].embedding, abs=1e-6)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"model":"gpt-4o"}', 400),
        (b'{"model":"gpt-4o","messages":[]}', 400),
        (b'{"model":"nope","messages":[{}]}', 404),
        (b'{"model":"broken-model","messages":[{}]}', 500),
        (b'{"model":"busy-model","messages":[{}]}', 429),
    ],
)
def test_errors_have_openais_shape(fake_openai: Process, body: bytes, status: int) -> None:
    answer = httpx.post(f"{fake_openai.url}/v1/chat/completions", content=body)

    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_an_unknown_url_is_a_404_of_openais(fake_openai: Process) -> None:
    answer = httpx.get(f"{fake_openai.url}/v1/chat/completions")

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Invalid URL (GET /v1/chat/completions)"
