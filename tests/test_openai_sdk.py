"""The real `openai` package against a gateway process: nothing but `base_url` changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.harness import RunningGateway

HELLO: Any = [{"role": "user", "content": "hello"}]
FRANCE: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the capital of France?"},
]
WEATHER: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="sk-test", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def async_client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key="sk-test", max_retries=0) as sdk:
        yield sdk


def test_a_chat_completion_is_answered_and_recorded(
    client: openai.OpenAI, gateway: RunningGateway, trace: str
) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o-mini", messages=FRANCE, n=2, user="ana", extra_headers={"x-trace-id": trace}
    )

    assert answer.choices[0].message.content == "The capital of France is Paris."
    assert len(answer.choices) == 2
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["streamed"], row["error_kind"]) == (200, 0, None)
    assert (row["requested_model"], row["answering_model"]) == ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    assert (row["finish_reason"], row["body_user"]) == ("stop", "ana")
    assert answer.usage
    assert answer.usage.prompt_tokens_details
    assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
        answer.usage.prompt_tokens_details.cached_tokens,
    )
    assert row["cost_usd"] > 0
    assert json.loads(row["request_head"])["messages"] == FRANCE
    assert json.loads(row["response_head"])["id"] == answer.id


def test_a_stream_arrives_in_pieces_with_usage_at_its_end(
    client: openai.OpenAI, gateway: RunningGateway, trace: str
) -> None:
    stream = client.chat.completions.create(
        model="o4-mini", messages=FRANCE, stream=True, stream_options={"include_usage": True},
        extra_headers={"x-trace-id": trace},
    )  # fmt: skip
    chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    usage = chunks[-1].usage
    assert text == "The capital of France is Paris."
    assert len(chunks) > 5
    assert usage
    assert usage.completion_tokens_details
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["streamed"], row["finish_reason"]) == (200, 1, "stop")
    assert (row["prompt_tokens"], row["completion_tokens"], row["reasoning_tokens"]) == (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.completion_tokens_details.reasoning_tokens,
    )
    assert row["response_head"].endswith(b"data: [DONE]\n\n")
    assert 0 < row["first_byte_ms"] < row["latency_ms"]


def test_the_streaming_helper_assembles_the_answer(client: openai.OpenAI, trace: str) -> None:
    with client.chat.completions.stream(
        model="gpt-4o", messages=HELLO, extra_headers={"x-trace-id": trace}
    ) as stream:
        answer = stream.get_final_completion()

    assert answer.choices[0].message.content == "Hello! What can I do for you today?"


def test_a_tool_call_goes_there_and_its_result_back(
    client: openai.OpenAI, gateway: RunningGateway, trace: str
) -> None:
    question: Any = [{"role": "user", "content": "Weather in Lisbon?"}]
    asked = client.chat.completions.create(
        model="gpt-4o", messages=question, tools=WEATHER, extra_headers={"x-trace-id": trace}
    )
    calls: Any = asked.choices[0].message.tool_calls
    result = {"role": "tool", "tool_call_id": calls[0].id, "content": "rain"}
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[*question, asked.choices[0].message, result], tools=WEATHER,
        extra_headers={"x-trace-id": trace},
    )  # fmt: skip

    assert json.loads(calls[0].function.arguments) == {"city": "Lisbon"}
    assert answer.choices[0].finish_reason == "stop"
    rows = gateway.rows.exchanges(trace)
    assert [row["finish_reason"] for row in rows] == ["tool_calls", "stop"]


def test_streamed_tool_calls_come_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="gpt-4o", messages=HELLO, tools=WEATHER) as stream:
        calls: Any = stream.get_final_completion().choices[0].message.tool_calls

    assert (calls[0].function.name, json.loads(calls[0].function.arguments)) == (
        "get_weather",
        {"city": "Paris"},
    )


def test_older_completions_work_streamed_and_not(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Write a title")
    stream = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Write a title", stream=True)

    assert whole.choices[0].text.startswith("Three titles")
    assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}], ids=["as base64", "as floats"])
def test_embeddings_come_through(
    client: openai.OpenAI, gateway: RunningGateway, trace: str, encoding: Any
) -> None:
    answer = client.embeddings.create(
        model="text-embedding-3-small", input=["red", "blue"], dimensions=64,
        extra_headers={"x-trace-id": trace}, **encoding,
    )  # fmt: skip

    assert [len(item.embedding) for item in answer.data] == [64, 64]
    row = gateway.rows.the_exchange(trace)
    assert (row["prompt_tokens"], row["path"]) == (answer.usage.prompt_tokens, "/v1/embeddings")


def test_the_responses_api_works_streamed_and_not(
    client: openai.OpenAI, gateway: RunningGateway, trace: str
) -> None:
    whole = client.responses.create(
        model="gpt-4.1", input="hello", metadata={"team": "blue"}, extra_headers={"x-trace-id": trace}
    )
    with client.responses.stream(
        model="gpt-4.1", input="hello", extra_headers={"x-trace-id": f"{trace}-streamed"}
    ) as stream:
        streamed = stream.get_final_response()

    assert whole.output_text == streamed.output_text == "Hello! What can I do for you today?"
    assert whole.usage
    row, streamed_row = gateway.rows.the_exchange(trace), gateway.rows.the_exchange(f"{trace}-streamed")
    assert row["prompt_tokens"] == streamed_row["prompt_tokens"] == whole.usage.input_tokens
    assert row["completion_tokens"] == streamed_row["completion_tokens"] == whole.usage.output_tokens
    assert row["answering_model"] == streamed_row["answering_model"] == "gpt-4.1-2025-04-14"
    assert (row["streamed"], streamed_row["streamed"]) == (0, 1)
    assert json.loads(row["body_metadata"]) == {"team": "blue"}


def test_models_and_moderations_come_through(client: openai.OpenAI) -> None:
    assert "gpt-4o" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    assert client.moderations.create(input="hello").results[0].flagged is False


def test_a_file_upload_arrives_whole(client: openai.OpenAI, gateway: RunningGateway, trace: str) -> None:
    content = b'{"custom_id": "1"}\n' * 20_000
    stored = client.files.create(
        file=("batch.jsonl", content), purpose="batch", extra_headers={"x-trace-id": trace}
    )

    assert (stored.bytes, stored.filename, stored.purpose) == (len(content), "batch.jsonl", "batch")
    row = gateway.rows.the_exchange(trace)
    assert row["request_bytes"] > len(content)
    assert row["path"] == "/v1/files"


def test_an_audio_upload_arrives_whole_and_its_model_is_known(
    client: openai.OpenAI, gateway: RunningGateway, trace: str
) -> None:
    audio = bytes(range(256)) * 1000
    heard = client.audio.transcriptions.create(
        model="whisper-1", file=("speech.wav", audio, "audio/wav"), extra_headers={"x-trace-id": trace}
    )

    assert heard.text.startswith(f"I heard {len(audio)} bytes")
    assert gateway.rows.the_exchange(trace)["requested_model"] == "whisper-1"


@pytest.mark.parametrize(
    ("model", "error_class", "status"),
    [
        ("no-such-model", openai.NotFoundError, 404),
        ("busy-model", openai.RateLimitError, 429),
        ("broken-model", openai.InternalServerError, 500),
    ],
)
def test_an_upstreams_error_raises_what_it_would_without_us(
    client: openai.OpenAI, gateway: RunningGateway, trace: str, model: str, error_class: Any, status: int
) -> None:
    with pytest.raises(error_class) as raised:
        client.chat.completions.create(model=model, messages=HELLO, extra_headers={"x-trace-id": trace})

    assert raised.value.status_code == status
    assert raised.value.body["message"]
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["requested_model"]) == (status, model)


def test_a_wrong_key_is_the_upstreams_to_refuse(gateway: RunningGateway) -> None:
    with (
        openai.OpenAI(base_url=gateway.base_url, api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.chat.completions.create(model="gpt-4o", messages=HELLO)

    assert raised.value.code == "invalid_api_key"
    assert "sk-wrong" not in gateway.log, "no key reaches a log line"


def test_our_own_errors_are_openais_classes_too(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(
            model="gpt-4o", messages=HELLO, extra_headers={"x-trace-id": "two words"}
        )

    assert raised.value.code == "invalid_trace_id"
    assert raised.value.param == "x-trace-id"
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id, "the SDK finds x-request-id on errors as well"


def test_the_sdk_retries_what_the_upstream_asks_to_retry_and_each_try_is_a_row(
    gateway: RunningGateway, trace: str
) -> None:
    with (
        openai.OpenAI(base_url=gateway.base_url, api_key="sk-test", max_retries=1) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(
            model="broken-model", messages=HELLO, extra_headers={"x-trace-id": trace}
        )

    assert [row["status"] for row in gateway.rows.exchanges(trace)] == [500, 500]


def test_a_raw_response_carries_our_ids(client: openai.OpenAI, gateway: RunningGateway, trace: str) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=HELLO, extra_headers={"x-portkey-trace-id": trace}
    )

    assert raw.headers["x-trace-id"] == raw.headers["x-portkey-trace-id"] == trace
    assert raw.headers["x-request-id"] == raw.request_id == gateway.rows.the_exchange(trace)["id"]
    assert raw.parse().choices[0].message.content


def test_without_a_trace_id_one_is_made_up(client: openai.OpenAI, gateway: RunningGateway) -> None:
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)

    made_up = raw.headers["x-trace-id"]
    assert made_up[14] == "7", "a UUID of version 7"
    assert gateway.rows.the_exchange(made_up)["id"] == raw.headers["x-request-id"]


def test_a_traceparent_gives_the_trace_id(client: openai.OpenAI, gateway: RunningGateway) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=HELLO, extra_headers={"traceparent": parent}
    )

    assert raw.headers["x-trace-id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert gateway.rows.exchanges("4bf92f3577b34da6a3ce929d0e0e4736")


def test_metadata_of_header_and_body_is_recorded(
    client: openai.OpenAI, gateway: RunningGateway, trace: str
) -> None:
    sent = {
        "_user": "ana",
        "_organisation": "acme",
        "_prompt": "v2",
        "_environment": "prod",
        "team": {"a": [1]},
    }
    client.chat.completions.create(
        model="gpt-4o", messages=HELLO, user="body-user", metadata={"from": "body"},
        extra_headers={"x-trace-id": trace, "x-metadata": json.dumps(sent)},
    )  # fmt: skip

    row = gateway.rows.the_exchange(trace)
    special = [row[f"meta_{name}"] for name in ("user", "organisation", "prompt", "environment")]
    assert special == ["ana", "acme", "v2", "prod"]
    assert json.loads(row["metadata"])["team"] == {"a": [1]}
    assert (row["body_user"], json.loads(row["body_metadata"])) == ("body-user", {"from": "body"})


def test_a_request_can_opt_out_of_having_its_bodies_kept(
    client: openai.OpenAI, gateway: RunningGateway, trace: str
) -> None:
    client.chat.completions.create(
        model="gpt-4o", messages=HELLO, extra_headers={"x-trace-id": trace, "x-capture": "none"}
    )

    row = gateway.rows.the_exchange(trace)
    assert (row["request_head"], row["response_head"]) == (None, None)
    assert row["request_bytes"] > 0
    assert row["completion_tokens"] > 0, "usage is no body"


def test_no_key_is_in_the_database(client: openai.OpenAI, gateway: RunningGateway, trace: str) -> None:
    client.chat.completions.create(model="gpt-4o", messages=HELLO, extra_headers={"x-trace-id": trace})

    row = gateway.rows.the_exchange(trace)
    assert "sk-test" not in row["request_headers"]
    assert "authorization" not in row["request_headers"]
    assert gateway.database
    files = gateway.database.parent.glob(f"{gateway.database.name}*")
    assert not any(b"sk-test" in path.read_bytes() for path in files)


async def test_the_async_client_streams(
    async_client: openai.AsyncOpenAI, gateway: RunningGateway, trace: str
) -> None:
    stream = await async_client.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, extra_headers={"x-trace-id": trace}
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == "Hello! What can I do for you today?"
    assert gateway.rows.the_exchange(trace)["status"] == 200


def test_a_client_that_stops_reading_a_stream_leaves_one_row(
    client: openai.OpenAI, gateway: RunningGateway, trace: str
) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o", messages=FRANCE, n=20, stream=True, extra_headers={"x-trace-id": trace}
    )
    next(iter(stream))
    stream.close()

    row = gateway.rows.the_exchange(trace, settle_s=0.3)
    assert row["error_kind"] == "client_closed"
