"""What is recorded of an exchange, what is not, and that no secret is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest

from gateway.capture.digest import Digest
from gateway.capture.pricing import Prices
from gateway.config.schema import Capture
from gateway.records import Attempt, ExchangeEntry, Payload
from tests.harness import Process, RunningGateway, run_gateway
from tests.test_writer import exchange

PRICES = Prices()
SECRETS = [
    "sk-of-the-gateway-0123456789",
    "sk-of-the-client-0123456789",
    "portkey-0123456789",
    "session=cookie-0123456789",
]


def digest(capture: Capture | None = None, **changes: Any) -> ExchangeEntry:
    return Digest(capture or Capture(), PRICES, {})(exchange(1, **changes))


@pytest.mark.parametrize(
    ("bodies", "status", "error_kind", "keep", "kept"),
    [
        ("all", 200, None, True, True),
        ("all", 200, None, False, False),
        ("none", 200, None, True, False),
        ("none", 500, None, True, False),
        ("errors", 200, None, True, False),
        ("errors", 500, None, True, True),
        ("errors", 200, "upstream_aborted", True, True),
        ("errors", 500, None, False, False),
    ],
)
def test_bodies_are_kept_as_the_setting_and_the_request_say(
    bodies: Literal["all", "none", "errors"], status: int, error_kind: str | None, keep: bool, kept: bool
) -> None:
    entry = digest(Capture(bodies=bodies), status=status, error_kind=error_kind, keep_bodies=keep)
    assert (entry.bodies.request_head is not None) is kept
    assert (entry.bodies.response_head is not None) is kept
    assert entry.row.prompt_tokens == 2, "usage is read either way"
    assert entry.row.response_bytes == exchange(1).response.size


def test_every_column_has_what_its_name_says() -> None:
    given: dict[str, Any] = {
        "id": "i", "key_id": "k", "trace_id": "t", "started_at_ms": 1, "latency_ms": 2.0,
        "first_byte_ms": 3.0, "method": "PUT", "path": "/p", "upstream": "u", "requested_model": "r",
        "status": 503, "error_kind": "e", "error_message": "m", "body_user": "b", "queue_ms": 4.0,
        "target": "g", "cache_status": "miss",
    }  # fmt: skip
    said = {
        "model": "a",
        "choices": [{"finish_reason": "f"}],
        "usage": {
            "prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6},
            "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 8},
        },
    }  # fmt: skip
    body = json.dumps(said).encode()
    entry = digest(
        **given,
        tags=("x",),
        metadata={"_user": "1", "_organisation": "2", "_prompt": "3", "_environment": "4"},
        body_metadata={"y": 1},
        attempts=(Attempt("n", "u", None, 503, "e", 1.0, 2.0),) * 9,
        request=Payload(b"", b"", 10),
        response=Payload(body, b"", len(body)),
    )
    row = entry.row._asdict()
    assert len(json.loads(row.pop("attempts"))) == 9
    assert row == given | {
        "answering_model": "a", "streamed": 0, "finish_reason": "f", "prompt_tokens": 5, "cached_tokens": 6,
        "completion_tokens": 7, "reasoning_tokens": 8, "cost_usd": None, "request_bytes": 10,
        "response_bytes": len(body), "body_metadata": '{"y":1}', "meta_user": "1",
        "meta_organisation": "2", "meta_prompt": "3", "meta_environment": "4",
        "metadata": '{"_user":"1","_organisation":"2","_prompt":"3","_environment":"4"}', "tags": '["x"]',
        "attempt_count": 9,
    }  # fmt: skip


@pytest.mark.parametrize("limit", [0, 1, 10, 100])
def test_a_long_body_keeps_head_and_tail_and_its_true_size(limit: int) -> None:
    body = bytes(range(256)) * 4
    entry = digest(Capture(max_body_bytes=limit), request=Payload(body, b"", len(body)))
    head, tail = entry.bodies.request_head, entry.bodies.request_tail
    assert head is not None
    assert tail is not None
    assert len(head) + len(tail) == limit
    assert body.startswith(head)
    assert body.endswith(tail)
    assert entry.row.request_bytes == 1024


def test_only_allowed_headers_are_stored() -> None:
    entry = digest(
        request_headers=[(b"content-type", b"application/json"), (b"authorization", b"x"), (b"cookie", b"y")],
        response_headers=[(b"content-type", b"a/b"), (b"set-cookie", b"z"), (b"x-request-id", b"r")],
    )
    assert json.loads(entry.bodies.request_headers) == [["content-type", "application/json"]]
    assert json.loads(entry.bodies.response_headers) == [["content-type", "a/b"], ["x-request-id", "r"]]


def test_the_special_keys_are_columns_and_the_rest_stays_with_them() -> None:
    metadata = {
        "_user": "u",
        "_organisation": 7,
        "_prompt": True,
        "_environment": ["no text"],
        "other": {"a": 1},
    }
    row = digest(metadata=metadata).row
    assert (row.meta_user, row.meta_organisation, row.meta_prompt, row.meta_environment) == (
        "u",
        "7",
        "true",
        None,
    )
    assert json.loads(row.metadata or "") == metadata


def deep(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


def test_a_body_whose_metadata_cannot_be_written_again_keeps_everything_else() -> None:
    entry = digest(body_metadata=deep(500), body_user="u")
    assert entry.row.body_metadata is None
    assert entry.row.body_user == "u"
    assert entry.bodies.request_head == b"{}"


def test_a_row_holds_what_the_request_and_the_answer_said(gateway: RunningGateway, trace: str) -> None:
    client = openai.OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0)
    client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "hello"}],
        user="body-user",
        metadata={"from": "body"},
        extra_headers={"x-trace-id": trace, "x-metadata": '{"_user": "ana", "from": "header"}'},
    )
    row = gateway.rows.the_exchange(trace)
    assert row["method"] == "POST"
    assert row["path"] == "/v1/chat/completions"
    assert row["requested_model"] == "gpt-4o-mini"
    assert row["answering_model"].startswith("gpt-4o-mini")
    assert (row["streamed"], row["status"], row["error_kind"]) == (0, 200, None)
    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] > 0
    assert row["cost_usd"] > 0
    assert 0 < row["queue_ms"] < row["first_byte_ms"] <= row["latency_ms"]
    assert (row["body_user"], json.loads(row["body_metadata"])) == ("body-user", {"from": "body"})
    assert (row["meta_user"], json.loads(row["metadata"])["from"]) == ("ana", "header")


def test_feedback_that_waits_for_its_exchange_costs_no_other_its_row(fake_openai: Process) -> None:
    """An exchange without a trace of the client's own has nothing to be joined: no statement is needed."""
    with run_gateway(upstream=f"{fake_openai.url}/v1") as gateway, httpx.Client(base_url=gateway.url) as http:
        ids = []
        for trace in (None, "theirs", None):
            http.post("/v1/feedback", json={"trace_id": "nobody", "value": 1}).raise_for_status()
            headers = {"x-trace-id": trace} if trace else {}
            body = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
            ids.append(http.post("/v1/chat/completions", json=body, headers=headers).headers["x-request-id"])
        assert [row["id"] for row in gateway.rows.query("SELECT id FROM exchange ORDER BY seq")] == ids
        counted = gateway.rows.query("SELECT trace_id, exchange_count AS n FROM trace ORDER BY seq")
        assert {row["trace_id"]: row["n"] for row in counted} == {
            "nobody": 0,
            ids[0]: 1,
            "theirs": 1,
            ids[2]: 1,
        }


def test_no_secret_is_at_rest_or_in_the_log(fake_openai: Process, tmp_path: Path) -> None:
    gateway_key, client_key, portkey_key, cookie = SECRETS
    config = {
        "server": {"log_level": "debug"},
        "upstreams": {
            "keyed": {"base_url": f"{fake_openai.url}/v1", "api_key": gateway_key},
            "keyless": {"base_url": f"{fake_openai.url}/v1"},
            "down": {"base_url": "http://127.0.0.1:1/v1", "api_key": gateway_key},
        },
        "routes": [
            {"models": ["gpt-4o"], "target": {"upstream": "keyed"}},
            {"models": ["unreachable"], "target": {"upstream": "down"}},
            {"models": ["*"], "target": {"upstream": "keyless"}},
        ],
    }
    headers = {"authorization": f"Bearer {client_key}", "x-portkey-api-key": portkey_key, "cookie": cookie}
    answers = []
    with run_gateway(config, directory=tmp_path) as gateway:
        for model in ("gpt-4o", "gpt-4o-mini", "broken-model", "unreachable"):
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
            answers.append(httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers))
        answers += [
            httpx.post(f"{gateway.base_url}/chat/completions", content=b"{", headers=headers),
            httpx.post(f"{gateway.base_url}/feedback", json={"trace_id": "t", "value": 99}, headers=headers),
            httpx.get(f"{gateway.url}/readyz", headers=headers),
            httpx.get(f"{gateway.base_url}/logs", headers=headers),
        ]
        log = gateway.log
    assert [answer.status_code for answer in answers] == [200, 200, 500, 502, 400, 400, 200, 200]
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    assert b"gpt-4o-mini" in stored
    for secret in SECRETS:
        assert secret.encode() not in stored
        assert secret not in log
        assert all(secret not in answer.text for answer in answers)
