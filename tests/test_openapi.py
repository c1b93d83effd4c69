"""The OpenAPI document is true: schemathesis finds no server error and no undocumented answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway.api.openapi import document
from tests.own_api import NO_BODIES, OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.harness import RunningGateway


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
    described = {"$ref": f"#/components/schemas/{schema}", **document()}
    jsonschema_rs.validator_for(described).validate(answer)
    required = document()["components"]["schemas"][schema]["required"]
    assert set(answer) == set(required), "every member is documented"
