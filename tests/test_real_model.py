"""A real model behind the gateway and the real `openai` package before it: `pytest -m real_model`.

Needs an OpenAI-compatible server at the base URL REAL_MODEL_URL, for example http://127.0.0.1:9200/v1.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from tests.harness import RunningGateway, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real_model

QUESTION: Any = [{"role": "user", "content": "Write one sentence about the sea."}]


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    url = os.environ.get("REAL_MODEL_URL")
    if not url:
        pytest.skip("REAL_MODEL_URL is not set; set it to a model server, e.g. http://127.0.0.1:9200/v1")
    with run_gateway(upstream=url) as running:
        yield running


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="none", max_retries=0, timeout=120) as sdk:
        yield sdk


@pytest.fixture
def model(client: openai.OpenAI) -> str:
    return next(iter(client.models.list())).id


def test_a_real_answer_is_recorded_with_the_tokens_it_reports(
    gateway: RunningGateway, client: openai.OpenAI, model: str, trace: str
) -> None:
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=32, extra_headers={"x-trace-id": trace}
    )

    assert (answer.choices[0].message.content or "").strip()
    assert answer.usage
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"], row["streamed"]) == (200, None, 0)
    assert (row["requested_model"], row["answering_model"]) == (model, answer.model)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert row["finish_reason"] == answer.choices[0].finish_reason


def test_a_real_stream_is_recorded_as_the_text_that_arrived(
    gateway: RunningGateway, client: openai.OpenAI, model: str, trace: str
) -> None:
    with client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=32, stream=True, extra_headers={"x-trace-id": trace}
    ) as stream:
        chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.strip()
    assert len(chunks) > 2, "it came in pieces"
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"], row["streamed"]) == (200, None, 1)
    assert row["response_head"].rstrip().endswith(b"data: [DONE]")
    log = get(gateway, f"/logs/{row['id']}")
    assert log["message"]["choices"][0]["message"]["content"] == text


def test_feedback_on_a_real_answer_is_shown_with_its_trace(
    gateway: RunningGateway, client: openai.OpenAI, model: str, trace: str
) -> None:
    client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=8, extra_headers={"x-trace-id": trace}
    )
    given = httpx.post(f"{gateway.base_url}/feedback", json={"trace_id": trace, "value": 7, "weight": 0.5})

    assert given.status_code == 200, given.text
    shown = get(gateway, f"/traces/{trace}")
    assert shown["exchange_count"] == 1
    [item] = shown["feedback_items"]
    assert [item["id"]] == given.json()["feedback_ids"]
    assert (item["value"], item["weight"], item["matched"]) == (7, 0.5, True)


def get(gateway: RunningGateway, path: str) -> Any:
    response = httpx.get(f"{gateway.base_url}{path}", timeout=10)
    assert response.status_code == 200, response.text
    return response.json()
