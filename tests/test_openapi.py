"""The OpenAPI document is true: schemathesis finds no server error and no undocumented answer."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway.api.openapi import document
from gateway.api.openapi_parts import SECURITY
from gateway.auth.keys import KEY_HEADERS
from tests.harness import run_gateway
from tests.own_api import NO_BODIES, OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.harness import Process, RunningGateway


API = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def filled(gateway: RunningGateway) -> RunningGateway:
    """A gateway that has something to show."""
    headers = {"x-trace-id": "t1", "x-metadata": '{"_user": "ann"}', "authorization": "Bearer x"}
    completion = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    httpx.post(f"{gateway.url}/v1/chat/completions", json=completion, headers=headers).raise_for_status()
    httpx.post(f"{gateway.url}/v1/feedback", json={"trace_id": "t1", "value": 1}).raise_for_status()
    return gateway


@API.parametrize()
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented(case: Any, filled: RunningGateway) -> None:
    # Whether an `after` or an Idempotency-Key is acceptable depends on the store, which no schema describes.
    case.call_and_validate(base_url=filled.url, excluded_checks=[positive_data_acceptance])


def test_the_served_document_is_this_one(gateway: RunningGateway) -> None:
    assert httpx.get(f"{gateway.url}/openapi.json").json() == document()


def test_the_document_is_valid_openapi() -> None:
    jsonschema_rs.validator_for({"$ref": "#/components/schemas/TraceDetail", **document()})


# --- every operation, with what only a look at all of them shows ---

METHODS = ("get", "post", "put", "delete")
OPERATIONS = [
    (method.upper(), path)
    for path, item in document()["paths"].items()
    for method in METHODS
    if method in item
]


def described(schema: str) -> Any:
    return jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{schema}", **document()})


def documented(method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path][method.lower()]
    return found


def called(gateway: RunningGateway, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    place = path.replace("{id}", "none").replace("{trace_id}", "none")
    return httpx.request(method, f"{gateway.url}{place}", headers=headers)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("name", ["x-trace-id", "x-portkey-trace-id"])
def test_a_bad_trace_id_is_no_reason_to_refuse_what_is_ours(
    gateway: RunningGateway, method: str, path: str, name: str
) -> None:
    answer, plain = called(gateway, method, path, {name: "a b"}), called(gateway, method, path, {})
    assert answer.status_code == plain.status_code
    assert "invalid_trace_id" not in answer.text
    assert answer.headers["x-trace-id"] == answer.headers["x-request-id"]


@pytest.fixture(scope="module")
def locked(fake_openai: Process) -> Iterator[RunningGateway]:
    """A gateway that has keys."""
    with run_gateway(
        {"keys": {"team": {"key": "key-of-the-team-0123"}}}, upstream=fake_openai.url
    ) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_that_asks_for_a_key_says_so(locked: RunningGateway, method: str, path: str) -> None:
    operation, answer = documented(method, path), called(locked, method, path, {})
    if operation.get("security", SECURITY) == []:
        assert answer.status_code < 400
        assert "401" not in operation["responses"]
        return
    assert answer.status_code == 401
    [content] = operation["responses"]["401"]["content"].values()
    described(content["schema"]["$ref"].rpartition("/")[2]).validate(answer.json())


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_that_takes_a_body_says_that_it_takes_none_compressed(
    gateway: RunningGateway, method: str, path: str
) -> None:
    operation = documented(method, path)
    assert ("415" in operation["responses"]) == ("requestBody" in operation)
    if "requestBody" in operation:
        answer = called(gateway, method, path, {"content-encoding": "gzip"})
        assert answer.status_code == 415


def test_every_header_that_may_hold_a_key_has_its_scheme(locked: RunningGateway) -> None:
    schemes = document()["components"]["securitySchemes"]
    assert [{}, *({name: []} for name in schemes)] == document()["security"]
    headers = {scheme.get("name", "authorization") for scheme in schemes.values()}
    assert headers == {name.decode() for name in KEY_HEADERS}
    for name, scheme in schemes.items():
        key = "key-of-the-team-0123"
        value = {"bearer": f"Bearer {key}", "basic": f"Basic {b64encode(f':{key}'.encode()).decode()}"}
        sent = {scheme.get("name", "authorization"): value.get(name, key)}
        assert called(locked, "GET", "/v1/traces", sent).status_code == 200, name


# --- with everything filled in, which a fuzzer rarely manages ---


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v1/traces", "TraceList"),
        ("/v1/traces/t1", "TraceDetail"),
        ("/v1/logs", "LogList"),
        ("/v1/logs/{exchange}", "LogDetail"),
        ("/v1/feedback", "FeedbackList"),
        ("/v1/feedback/{feedback}", "Feedback"),
        ("/v1/feedback/{feedback}/history", "FeedbackHistory"),
    ],
)
async def test_what_is_answered_has_the_documented_shape(api: OwnAPI, path: str, schema: str) -> None:
    bodies = NO_BODIES._replace(request_head=b"{}", response_head=b"\xff", response_tail=b"tail")
    exchange = await api.exchange(
        "t1", bodies=bodies, metadata='{"a":1}', error_kind="client_closed", error_message="it went away"
    )
    await api.exchange("t2", cost_usd=None, upstream=None, requested_model=None, first_byte_ms=None)
    [feedback, _] = await api.give(
        {"trace_id": "t1", "value": 1, "metadata": {"_user": "ann"}},
        {"trace_id": "t2", "value": 0, "weight": 0},
    )
    await api.client.put(f"/v1/feedback/{feedback}", json={"value": 2, "comment": "better"})
    await api.give(
        {"request_id": exchange, "name": "mood", "value": {"a": 1}, "correction": [1], "overrides": feedback},
        {"tags": ["none"], "allow_unmatched": True, "comment": "of nothing", "source_type": "HUMAN"},
    )
    answer = await api.get(path.format(exchange=exchange, feedback=feedback))
    described(schema).validate(answer)
    required = document()["components"]["schemas"][schema]["required"]
    assert set(answer) == set(required), "every member is documented"
