"""Virtual keys: who gets in, in which header, and that two keys never meet."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import openai
import pytest

from tests.harness import RunningGateway, WireUpstream, run_gateway

A = "key-of-team-a-0123456789"
B = "key-of-team-b-0123456789"
PROVIDER = "sk-of-the-provider"
CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
BASIC = b64encode(f"anyone:{A}".encode()).decode()


@pytest.fixture(scope="module")
def upstream() -> Iterator[WireUpstream]:
    with WireUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: WireUpstream) -> Iterator[RunningGateway]:
    keys = {"team-a": {"key": A}, "team-b": {"sha256": sha256(B.encode()).hexdigest()}}
    with run_gateway({"keys": keys}, upstream=upstream.base_url) as running:
        yield running


def chat(gateway: RunningGateway, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=CHAT, headers=headers)


OWN_HEADERS = [
    {"x-portkey-api-key": A},
    {"X-API-KEY": A},
    {"CONFIDENT-API-KEY": A},
    {"CONFIDENT_API_KEY": A},
    {"x-log10-token": A},
    {"Authorization": f"Bearer {A}"},
    {"Authorization": f"bearer {A}"},
    {"Authorization": A},
    {"Authorization": f"Basic {BASIC}"},
    {"x-portkey-api-key": "", "Authorization": f"Bearer {A}"},
    {"x-portkey-api-key": A, "Authorization": f"Bearer {PROVIDER}"},
]


@pytest.mark.parametrize("headers", OWN_HEADERS, ids=str)
def test_each_sdks_own_header_gets_in(gateway: RunningGateway, headers: dict[str, str]) -> None:
    answer = httpx.post(f"{gateway.url}/v1/feedback", json={"trace_id": "t", "value": 1}, headers=headers)
    assert answer.status_code == 200


REFUSED = [
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Basic not base64"},
    {"Authorization": "Bearer"},
    {"x-portkey-api-key": "wrong", "Authorization": f"Bearer {A}"},
    {"Authorization": f"Bearer {A}x"},
    {"Authorization": f"Bearer {sha256(A.encode()).hexdigest()}"},
]


@pytest.mark.parametrize("headers", REFUSED, ids=str)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/models"),
        ("POST", "/v1/feedback"),
        ("GET", "/v1/feedback"),
        ("GET", "/v1/traces"),
        ("GET", "/v1/logs"),
        ("GET", "/v1/feedback-tasks"),
        ("GET", "/v1/export/feedback"),
        ("POST", "/v4/feedback"),
        ("POST", "/v5/evaluators/log"),
        ("POST", "/v1/annotations"),
        ("POST", "/api/3.0/mlflow/traces/t/assessments"),
        ("GET", "/api/v1/feedback_task"),
    ],
)
def test_nothing_is_served_without_a_key_that_is_known(
    gateway: RunningGateway, upstream: WireUpstream, method: str, path: str, headers: dict[str, str]
) -> None:
    rows, requests = gateway.rows.count("exchange"), len(upstream.requests)
    answer = httpx.request(method, f"{gateway.url}{path}", content=b"{}", headers=headers)
    assert answer.status_code == 401
    assert "Invalid API key" in answer.text
    assert A not in answer.text
    assert answer.headers["x-request-id"]
    assert (gateway.rows.count("exchange"), len(upstream.requests)) == (rows, requests)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_what_tells_nothing_needs_no_key(gateway: RunningGateway, path: str) -> None:
    assert httpx.get(f"{gateway.url}{path}").status_code == 200


@pytest.mark.parametrize(
    ("headers", "forwarded"),
    [
        ({"authorization": f"Bearer {A}"}, []),
        ({"x-api-key": A}, []),
        ({"api-key": A}, []),
        ({"x-portkey-api-key": A, "authorization": f"Bearer {PROVIDER}"}, [f"Bearer {PROVIDER}"]),
        ({"x-portkey-api-key": A, "authorization": f"Basic {BASIC}"}, []),
        ({"authorization": f"Basic {BASIC}", "x-api-key": A}, []),
        ({"x-api-key": A, "confident-api-key": A, "x-log10-token": A}, []),
    ],
    ids=str,
)
def test_a_key_of_the_gateway_stays_here(
    gateway: RunningGateway, upstream: WireUpstream, headers: dict[str, str], forwarded: list[str]
) -> None:
    assert chat(gateway, {"x-trace-id": "kept", **headers}).status_code == 200
    sent = upstream.requests[-1]
    assert sent.all("authorization") == forwarded
    assert A.encode() not in sent.raw_head
    assert BASIC.encode() not in sent.raw_head


def test_an_upstreams_own_key_takes_the_place_of_the_gateways(upstream: WireUpstream) -> None:
    config = {
        "keys": {"team-a": {"key": A}},
        "upstreams": {"up": {"base_url": upstream.base_url, "api_key": PROVIDER}},
    }
    with run_gateway(config) as gateway:
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=A, max_retries=0)
        client.models.with_raw_response.list()
        assert upstream.requests[-1].all("authorization") == [f"Bearer {PROVIDER}"]


def test_two_keys_may_use_one_trace_id_and_never_meet(gateway: RunningGateway) -> None:
    a, b = {"authorization": f"Bearer {A}"}, {"authorization": f"Bearer {B}"}
    for headers, value in ((a, 5), (b, -5)):
        assert chat(gateway, {"x-trace-id": "shared", **headers}).status_code == 200
        feedback = {"trace_id": "shared", "value": value}
        assert httpx.post(f"{gateway.url}/v1/feedback", json=feedback, headers=headers).status_code == 200
    for headers, value in ((a, 5), (b, -5)):
        trace = httpx.get(f"{gateway.url}/v1/traces/shared", headers=headers).json()
        assert trace["exchange_count"] == 1
        assert [item["value"] for item in trace["feedback_items"]] == [value]
        [log] = httpx.get(f"{gateway.url}/v1/logs?trace_id=shared", headers=headers).json()["data"]
        other = b if headers is a else a
        assert httpx.get(f"{gateway.url}/v1/logs/{log['id']}", headers=other).status_code == 404


def test_an_idempotency_key_belongs_to_its_key(gateway: RunningGateway) -> None:
    answers = [
        httpx.post(
            f"{gateway.url}/v1/feedback",
            json={"trace_id": "once", "value": 1},
            headers={"authorization": f"Bearer {key}", "idempotency-key": "one"},
        ).json()["feedback_ids"]
        for key in (A, B, A)
    ]
    assert answers[0] == answers[2] != answers[1]


def test_keys_are_in_no_row_no_log_and_no_page(gateway: RunningGateway) -> None:
    chat(gateway, {"x-trace-id": "secret", "authorization": f"Bearer {A}"})
    assert gateway.rows.the_exchange("secret")["key_id"] == "team-a"
    store = b"".join(
        path.read_bytes() for path in gateway.rows.path.parent.glob(f"{gateway.rows.path.name}*")
    )
    for secret in (A, sha256(A.encode()).hexdigest(), B):
        assert secret.encode() not in store
        assert secret not in gateway.log
        assert secret not in httpx.get(f"{gateway.url}/readyz").text
