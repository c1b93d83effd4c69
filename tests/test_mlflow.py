"""MLflow's assessments: the real SDK and command line against a gateway process, and the wire itself."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat import mlflow as vendor
from gateway.errors import GatewayError, IdempotencyConflict, InvalidKey, StoreUnavailable, UnknownPath
from gateway.store.sqlite import SqliteDatabase
from tests.harness import RawClient, run_gateway
from tests.harness.recorded import Recorded, recorded
from tests.own_api import own_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness import Answer, RunningGateway

TRACES = "/api/3.0/mlflow/traces"
RECORDED = recorded("mlflow")
TEAM_KEY = "key-of-the-team-0123456789"
NOWHERE = f"a-{uuid.UUID(int=0).hex}"


@pytest.fixture(scope="module")
def sdk(gateway: RunningGateway) -> Iterator[Any]:
    """The package `mlflow`, pointed at the gateway. Imported here: it takes two seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DO_NOT_TRACK", "true")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        patch.setenv("MLFLOW_TRACKING_TOKEN", "K")
        package = importlib.import_module("mlflow")
        package.set_tracking_uri(gateway.url)
        yield package


@pytest.fixture
def http(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        yield client


def log(http: httpx.Client, trace: str, **fields: Any) -> dict[str, Any]:
    """Create an assessment as curl would; the answer's. Without a value it is a thumbs up."""
    if not {"feedback", "expectation"} & fields.keys():
        fields["feedback"] = {"value": True}
    response = http.post(f"{TRACES}/{trace}/assessments", json={"assessment": fields})
    assert response.status_code == 200, response.text
    assessment: dict[str, Any] = response.json()["assessment"]
    return assessment


def patch(http: httpx.Client, trace: str, changed: str, mask: Any, **fields: Any) -> httpx.Response:
    """Change the assessment with the id `changed`; without a mask when that is None."""
    body = {"assessment": fields} | ({} if mask is None else {"update_mask": mask})
    return http.patch(f"{TRACES}/{trace}/assessments/{changed}", json=body)


def record(http: httpx.Client, assessment_id: str) -> dict[str, Any]:
    """The record as our own API shows it."""
    response = http.get(f"/v1/feedback/{assessment_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def records(http: httpx.Client, trace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get("/v1/feedback", params={"trace_id": trace}).json()["data"]
    return found


def chat(http: httpx.Client, trace: str) -> str:
    """Send a request through the gateway under `trace`; the exchange's id."""
    response = http.post(
        "/v1/chat/completions",
        json={"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]},
        headers={"x-trace-id": trace},
    )
    assert response.status_code == 200, response.text
    return response.headers["x-request-id"]


def assert_error(response: httpx.Response, status: int, code: str, says: str = "") -> None:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (response.status_code, body["error_code"]) == (status, code), body
    assert set(body) == {"error_code", "message"}
    assert says in body["message"]


# --- the SDK ---


@pytest.mark.parametrize(
    ("value", "kind", "stored"),
    [
        (True, "boolean", "true"),
        (False, "boolean", "false"),
        (1, "number", "1"),
        (0, "number", "0"),
        (0.9, "number", "0.9"),
        (1e300, "number", "1e+300"),
        ("good", "text", '"good"'),
        ("", "text", '""'),
        (["a", 1, None], "list", '["a", 1, null]'),
        ([], "list", "[]"),
        ({"b": "c", "a": 1.0, "deep": {"n": [2.5]}}, "object", '{"a": 1, "b": "c", "deep": {"n": [2.5]}}'),
    ],
)
def test_feedback_of_every_type_reads_back(
    sdk: Any, http: httpx.Client, trace: str, value: Any, kind: str, stored: str
) -> None:
    logged = sdk.log_feedback(trace_id=trace, name="quality", value=value, rationale="why", metadata={"k": 1})
    found = sdk.get_assessment(trace, logged.assessment_id)

    assert found == logged
    assert isinstance(found, sdk.entities.Feedback)
    assert (found.value, found.name, found.rationale, found.metadata) == (value, "quality", "why", {"k": "1"})
    assert (found.trace_id, found.valid, found.error) == (trace, True, None)
    kept = record(http, logged.assessment_id)
    assert (kept["kind"], json.dumps(kept["value"], sort_keys=True)) == (kind, stored)


@pytest.mark.parametrize(
    "value", [True, 42, 0.5, "Paris", "", [1, "a"], [1.0, 2], {"role": "assistant", "n": 3, "x": [None]}, []]
)
def test_an_expectation_of_every_type_reads_back(
    sdk: Any, http: httpx.Client, trace: str, value: Any
) -> None:
    logged = sdk.log_expectation(trace_id=trace, name="expected", value=value)
    found = sdk.get_assessment(trace, logged.assessment_id)

    assert isinstance(found, sdk.entities.Expectation)
    if isinstance(value, list | dict):
        assert json.dumps(found.value) == json.dumps(value)
    assert found.value == value  # a plain number is a float to the client
    kept = record(http, logged.assessment_id)
    assert (kept["kind"], kept["value"], kept["correction"]) == ("none", None, value)
    assert kept["signal"] == "free_form"


def test_log_assessment_takes_both(sdk: Any, trace: str) -> None:
    judge = sdk.entities.AssessmentSource("LLM_JUDGE", "gpt-4o-mini")
    feedback = sdk.entities.Feedback(name="faithfulness", value=0.9, source=judge, span_id="span-1")
    logged = sdk.log_assessment(trace, feedback)
    expected = sdk.log_assessment(trace, sdk.entities.Expectation(name="answer", value={"n": 42}))

    assert (logged.source.source_type, logged.source.source_id) == ("LLM_JUDGE", "gpt-4o-mini")
    assert logged.span_id == "span-1"
    assert expected.value == {"n": 42}
    assert expected.assessment_id != logged.assessment_id


def test_the_sdks_sources_are_code_and_human(sdk: Any, http: httpx.Client, trace: str) -> None:
    feedback = sdk.log_feedback(trace_id=trace, value=True)
    expectation = sdk.log_expectation(trace_id=trace, name="answer", value="x")

    assert (feedback.source.source_type, feedback.source.source_id) == ("CODE", "default")
    assert (expectation.source.source_type, expectation.source.source_id) == ("HUMAN", "default")
    assert record(http, feedback.assessment_id)["source"] == {"type": "CODE", "id": "default"}
    assert record(http, expectation.assessment_id)["source"] == {"type": "HUMAN", "id": "default"}


def test_a_judges_error_reads_back(sdk: Any, http: httpx.Client, trace: str) -> None:
    logged = sdk.log_feedback(trace_id=trace, name="faithfulness", error=ValueError("boom"))
    found = sdk.get_assessment(trace, logged.assessment_id)

    assert (found.value, found.error.error_code, found.error.error_message) == (None, "ValueError", "boom")
    assert "boom" in found.error.stack_trace
    assert found.metadata is None
    kept = record(http, logged.assessment_id)
    assert (kept["kind"], kept["value"]) == ("none", None)
    assert kept["metadata"]["_error"]["error_code"] == "ValueError"


def test_an_error_beside_a_value_keeps_both(sdk: Any, trace: str) -> None:
    error = sdk.entities.AssessmentError(error_code="PARTIAL")
    logged = sdk.log_feedback(trace_id=trace, value=0.5, error=error)
    found = sdk.get_assessment(trace, logged.assessment_id)
    assert (found.value, found.error.error_code, found.error.error_message) == (0.5, "PARTIAL", None)


def test_the_longest_stack_trace_of_the_client_is_kept(sdk: Any, trace: str) -> None:
    error = sdk.entities.AssessmentError("E", "m", "é" * 20_000)
    logged = sdk.log_feedback(trace_id=trace, error=error)
    found = sdk.get_assessment(trace, logged.assessment_id)
    assert len(found.error.stack_trace) == 10_000


def test_an_update_changes_what_it_names(sdk: Any, http: httpx.Client, trace: str) -> None:
    reviewer = sdk.entities.AssessmentSource("HUMAN", "ann")
    first = sdk.log_feedback(
        trace_id=trace, name="quality", value=False, rationale="no", source=reviewer, span_id="s",
        metadata={"a": "1", "b": "2"},
    )  # fmt: skip
    changed = sdk.update_assessment(
        trace,
        first.assessment_id,
        sdk.entities.Feedback(name="quality", value=0.5, metadata={"b": "3", "c": "4"}),
    )

    assert changed == sdk.get_assessment(trace, first.assessment_id)
    assert changed.assessment_id == first.assessment_id
    assert (changed.value, changed.name, changed.rationale) == (0.5, "quality", "no")
    assert changed.metadata == {"a": "1", "b": "3", "c": "4"}
    assert (changed.source, changed.span_id) == (first.source, "s")
    assert changed.create_time_ms == first.create_time_ms
    assert changed.last_update_time_ms >= first.last_update_time_ms
    assert record(http, first.assessment_id)["kind"] == "number"


def test_an_update_without_a_name_renames_to_the_classs_default(sdk: Any, trace: str) -> None:
    first = sdk.log_feedback(trace_id=trace, name="quality", value=True)
    changed = sdk.update_assessment(trace, first.assessment_id, sdk.entities.Feedback(value=False))
    assert (changed.name, changed.value) == ("feedback", False)


def test_an_update_without_a_value_is_refused(sdk: Any, trace: str) -> None:
    first = sdk.log_feedback(trace_id=trace, name="quality", value=True)
    with pytest.raises(sdk.exceptions.MlflowException) as raised:
        sdk.update_assessment(
            trace, first.assessment_id, sdk.entities.Feedback(name="other", metadata={"a": "1"})
        )
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "assessment.feedback.value is required" in raised.value.message
    assert sdk.get_assessment(trace, first.assessment_id) == first


def test_an_expectation_is_updated(sdk: Any, http: httpx.Client, trace: str) -> None:
    first = sdk.log_expectation(trace_id=trace, name="answer", value="Paris")
    changed = sdk.update_assessment(
        trace, first.assessment_id, sdk.entities.Expectation(name="answer", value=["Rome", 1])
    )
    assert changed.value == ["Rome", 1]
    assert record(http, first.assessment_id)["correction"] == ["Rome", 1]


def test_an_update_of_the_other_kind_is_refused(sdk: Any, trace: str) -> None:
    feedback = sdk.log_feedback(trace_id=trace, value=True)
    expectation = sdk.log_expectation(trace_id=trace, name="answer", value="Paris")
    for assessment_id, update, says in (
        (feedback.assessment_id, sdk.entities.Expectation(name="x", value=1), "this assessment is feedback"),
        (expectation.assessment_id, sdk.entities.Feedback(value=1), "this assessment is an expectation"),
    ):
        with pytest.raises(sdk.exceptions.MlflowException) as raised:
            sdk.update_assessment(trace, assessment_id, update)
        assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
        assert says in raised.value.message


def test_an_error_gives_way_to_a_value(sdk: Any, http: httpx.Client, trace: str) -> None:
    first = sdk.log_feedback(trace_id=trace, error="timeout", metadata={"a": "1"})
    changed = sdk.update_assessment(trace, first.assessment_id, sdk.entities.Feedback(value=1))

    assert (changed.value, changed.error, changed.metadata) == (1, None, {"a": "1"})
    kept = record(http, first.assessment_id)
    assert (kept["kind"], kept["signal"], kept["metadata"]) == ("number", "explicit", {"a": "1"})


def test_a_deleted_assessment_is_gone_and_deleting_it_again_is_no_error(
    sdk: Any, http: httpx.Client, trace: str
) -> None:
    logged = sdk.log_feedback(trace_id=trace, value=True)
    sdk.delete_assessment(trace, logged.assessment_id)
    with pytest.raises(sdk.exceptions.RestException) as raised:
        sdk.get_assessment(trace, logged.assessment_id)
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    sdk.delete_assessment(trace, logged.assessment_id)
    sdk.delete_assessment(trace, NOWHERE)

    with pytest.raises(sdk.exceptions.RestException) as raised:
        sdk.update_assessment(trace, logged.assessment_id, sdk.entities.Feedback(value=1))
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    history = http.get(f"/v1/feedback/{logged.assessment_id}/history").json()
    assert history["feedback"]["retracted_at"] is not None


def test_an_override_makes_the_old_one_invalid_until_it_is_deleted(
    sdk: Any, http: httpx.Client, trace: str
) -> None:
    judge = sdk.entities.AssessmentSource("LLM_JUDGE", "gpt-4")
    human = sdk.entities.AssessmentSource("HUMAN", "ann")
    old = sdk.log_feedback(trace_id=trace, name="relevance", value=0.6, source=judge, span_id="s1")
    new = sdk.override_feedback(
        trace_id=trace, assessment_id=old.assessment_id, value=0.9, rationale="better", source=human,
        metadata={"why": "judge was wrong"},
    )  # fmt: skip

    assert (new.name, new.span_id, new.overrides) == ("relevance", "s1", old.assessment_id)
    assert (new.value, new.valid) == (0.9, True)
    assert sdk.get_assessment(trace, old.assessment_id).valid is False
    assert sdk.get_assessment(trace, new.assessment_id).overrides == old.assessment_id
    assert record(http, new.assessment_id)["overrides"] == record(http, old.assessment_id)["id"]
    assert http.get(f"/v1/traces/{trace}").json()["feedback"]["count"] == 1

    sdk.delete_assessment(trace, new.assessment_id)
    assert sdk.get_assessment(trace, old.assessment_id).valid is True


def test_an_override_of_nothing_is_a_404(sdk: Any, http: httpx.Client, trace: str) -> None:
    elsewhere = sdk.log_feedback(trace_id=f"{trace}-2", value=True)
    for overridden in (NOWHERE, elsewhere.assessment_id, "anything"):
        with pytest.raises(sdk.exceptions.RestException) as raised:
            sdk.log_assessment(trace, sdk.entities.Feedback(value=1, overrides=overridden))
        assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert records(http, trace) == []
    assert sdk.get_assessment(f"{trace}-2", elsewhere.assessment_id).valid is True


def test_the_environment_alone_points_the_sdk_here(
    gateway: RunningGateway, http: httpx.Client, trace: str
) -> None:
    script = f"import mlflow; print(mlflow.log_feedback(trace_id={trace!r}, value=True).assessment_id)"
    environment = {
        "MLFLOW_TRACKING_URI": f"{gateway.url}/",
        "MLFLOW_TRACKING_USERNAME": "ann",
        "MLFLOW_TRACKING_PASSWORD": "K",
        "DO_NOT_TRACK": "true",
    }
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert record(http, ran.stdout.strip())["trace_id"] == trace


@pytest.mark.parametrize("prefix", ["", "my trace/", "ü-", "1:", "tr-"])
def test_trace_ids_may_be_any_text(sdk: Any, http: httpx.Client, trace: str, prefix: str) -> None:
    trace_id = prefix.replace("/", "") + trace
    logged = sdk.log_feedback(trace_id=trace_id, value=True)
    assert sdk.get_assessment(trace_id, logged.assessment_id).trace_id == trace_id
    assert record(http, logged.assessment_id)["trace_id"] == trace_id


# --- keys ---


@pytest.fixture(scope="module")
def locked() -> Iterator[RunningGateway]:
    """A gateway that asks for a key."""
    with run_gateway({"keys": {"team": {"key": TEAM_KEY}}}, upstream="http://127.0.0.1:9/v1") as running:
        yield running


@pytest.mark.parametrize(
    "credentials",
    [
        {"MLFLOW_TRACKING_TOKEN": TEAM_KEY},
        {
            "MLFLOW_TRACKING_USERNAME": "ann",
            "MLFLOW_TRACKING_PASSWORD": TEAM_KEY,
            "MLFLOW_TRACKING_TOKEN": "x",
        },
    ],
    ids=["bearer", "basic"],
)
def test_the_sdks_credentials_are_the_key(
    sdk: Any, gateway: RunningGateway, locked: RunningGateway, monkeypatch: pytest.MonkeyPatch,
    credentials: dict[str, str],
) -> None:  # fmt: skip
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    sdk.set_tracking_uri(locked.url)
    try:
        logged = sdk.log_feedback(trace_id="t", value=True)
        assert sdk.get_assessment("t", logged.assessment_id) == logged
    finally:
        sdk.set_tracking_uri(gateway.url)


@pytest.mark.parametrize("token", [None, "another"])
def test_without_the_key_every_call_is_unauthenticated(
    sdk: Any,
    gateway: RunningGateway,
    locked: RunningGateway,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    if token is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    sdk.set_tracking_uri(locked.url)
    try:
        for call in (
            lambda: sdk.log_feedback(trace_id="t", value=True),
            lambda: sdk.get_assessment("t", NOWHERE),
            lambda: sdk.update_assessment("t", NOWHERE, sdk.entities.Feedback(value=1)),
            lambda: sdk.delete_assessment("t", NOWHERE),
        ):
            with pytest.raises(sdk.exceptions.RestException) as raised:
                call()
            assert raised.value.error_code == "UNAUTHENTICATED"
    finally:
        sdk.set_tracking_uri(gateway.url)


# --- the command line ---


@pytest.fixture
def traces_cli(sdk: Any) -> Any:
    return importlib.import_module("mlflow.cli.traces").commands


def run(command: Any, *arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_the_command_line_logs_reads_changes_and_deletes_feedback(
    traces_cli: Any, http: httpx.Client, trace: str
) -> None:
    output = run(
        traces_cli, "log-feedback", "--trace-id", trace, "--name", "relevance", "--value", "0.9",
        "--source-type", "HUMAN", "--source-id", "ann@example.com", "--rationale", "good",
        "--metadata", '{"a": "1"}', "--span-id", "s1",
    )  # fmt: skip
    assessment_id = output.split("Assessment ID: ")[1].strip()
    assert assessment_id.startswith("a-")

    shown = json.loads(
        run(traces_cli, "get-assessment", "--trace-id", trace, "--assessment-id", assessment_id)
    )
    assert shown["feedback"] == {"value": 0.9}
    assert shown["source"] == {"source_type": "HUMAN", "source_id": "ann@example.com"}
    assert (shown["rationale"], shown["metadata"], shown["span_id"]) == ("good", {"a": "1"}, "s1")
    assert shown["create_time"].endswith("Z")

    run(traces_cli, "update-assessment", "--trace-id", trace, "--assessment-id", assessment_id,
        "--value", '{"accuracy": 0.98}', "--metadata", '{"b": "2"}')  # fmt: skip
    kept = record(http, assessment_id)
    assert (kept["value"], kept["name"], kept["comment"]) == ({"accuracy": 0.98}, "relevance", "good")
    assert kept["metadata"] == {"a": "1", "b": "2", "_span_id": "s1"}

    run(traces_cli, "delete-assessment", "--trace-id", trace, "--assessment-id", assessment_id)
    assert records(http, trace) == []


def test_the_command_line_logs_an_expectation_and_cannot_change_it(
    traces_cli: Any, http: httpx.Client, trace: str
) -> None:
    value = '{"answer": "42", "confidence": 0.95}'
    output = run(traces_cli, "log-expectation", "--trace-id", trace, "--name", "expected", "--value", value)
    assessment_id = output.split("Assessment ID: ")[1].strip()
    assert record(http, assessment_id)["correction"] == json.loads(value)

    result = CliRunner().invoke(
        traces_cli,
        ["update-assessment", "--trace-id", trace, "--assessment-id", assessment_id, "--value", "43"],
    )
    assert result.exit_code == 1
    assert record(http, assessment_id)["correction"] == json.loads(value)


# --- recorded requests, byte for byte ---


@pytest.mark.parametrize("line", [line for line in RECORDED if line.method == "POST"], ids=str)
def test_a_recorded_create_answers_every_field_the_client_reads(
    gateway: RunningGateway, line: Recorded
) -> None:
    answer = line.replay(gateway.port)

    assert answer.status == line.status
    sent, got = json.loads(line.body)["assessment"], answer.json()["assessment"]
    assert got.pop("assessment_id").startswith("a-")
    for name in ("create_time", "last_update_time"):
        assert got.pop(name).endswith("Z")
        sent.pop(name)
    assert got.pop("valid") is True
    sent.pop("valid", None)
    assert got == sent


@pytest.mark.parametrize("line", [line for line in RECORDED if line.method != "POST"], ids=str)
def test_a_recorded_call_for_an_unknown_id(gateway: RunningGateway, line: Recorded) -> None:
    answer = line.replay(gateway.port)
    assert answer.status == line.status
    if line.method == "DELETE":
        assert answer.body == b"{}"
    else:
        assert answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_the_recorded_calls_for_a_known_id(gateway: RunningGateway, http: httpx.Client, trace: str) -> None:
    assessment_id = log(http, trace, assessment_name="user_satisfaction")["assessment_id"]

    def answer_to(method: str) -> Answer:
        [line] = [line for line in RECORDED if line.method == method]
        path, body = (
            text.replace("tr-1", trace).replace("a-1", assessment_id) for text in (line.path, line.body)
        )
        return replace(line, path=path, body=body).replay(gateway.port)

    changed = answer_to("PATCH")
    assert changed.status == 200
    assessment = changed.json()["assessment"]
    assert (assessment["feedback"], assessment["rationale"]) == ({"value": False}, "chg")
    assert answer_to("GET").json() == changed.json()
    deleted = answer_to("DELETE")
    assert (deleted.status, deleted.body) == (200, b"{}")
    assert answer_to("GET").status == 404


# --- POST ---


def test_the_answer_is_a_whole_assessment(http: httpx.Client, trace: str) -> None:
    got = log(
        http, trace,
        assessment_name="user_satisfaction", trace_id="another", span_id="s1",
        source={"source_type": "HUMAN", "source_id": "user_123"},
        create_time="2026-01-02T03:04:05.678Z", last_update_time="2026-01-02T03:04:05.678Z",
        feedback={"value": True}, rationale="helpful", metadata={"k": "1"}, valid=False, unknown=[1],
    )  # fmt: skip
    assert uuid.UUID(got.pop("assessment_id").removeprefix("a-"))
    assert got.pop("create_time") == got.pop("last_update_time") > "2026-01-02T03:04:05.678Z"
    assert got == {
        "assessment_name": "user_satisfaction",
        "trace_id": trace,
        "span_id": "s1",
        "source": {"source_type": "HUMAN", "source_id": "user_123"},
        "feedback": {"value": True},
        "rationale": "helpful",
        "metadata": {"k": "1"},
        "valid": True,
    }


def test_the_record_has_what_the_mapping_says(http: httpx.Client, trace: str) -> None:
    got = log(
        http, trace, assessment_name="quality", source={"source_type": "LLM_JUDGE", "source_id": "gpt-4"},
        feedback={"value": 4.0}, rationale="fine", metadata={"k": "1", "_user": "ann"}, span_id="s1",
    )  # fmt: skip
    kept = record(http, got["assessment_id"])
    assert kept["id"] == str(uuid.UUID(got["assessment_id"].removeprefix("a-")))
    assert kept["targets"] == [{"trace_id": trace, "request_id": None, "matched": False}]
    expected = {
        "name": "quality", "kind": "number", "signal": "explicit", "value": 4, "comment": "fine",
        "correction": None, "weight": 1.0, "source": {"type": "LLM_JUDGE", "id": "gpt-4"}, "task": None,
        "metadata": {"k": "1", "_user": "ann", "_span_id": "s1"}, "overrides": None, "valid": True,
        "created_at": got["create_time"], "updated_at": None, "retracted_at": None,
    }  # fmt: skip
    assert {name: kept[name] for name in expected} == expected


def test_what_is_left_out_has_its_default(http: httpx.Client, trace: str) -> None:
    got = log(http, trace, feedback={"value": "ok"})
    assert got["assessment_name"] == "feedback"
    assert got["source"] == {"source_type": "SOURCE_TYPE_UNSPECIFIED", "source_id": "default"}
    assert not {"rationale", "metadata", "span_id", "overrides"} & got.keys()
    kept = record(http, got["assessment_id"])
    assert kept["source"] == {"type": "API", "id": "default"}
    assert (kept["comment"], kept["metadata"]) == (None, None)


def test_null_is_the_same_as_left_out(http: httpx.Client, trace: str) -> None:
    names = (
        "assessment_name",
        "source",
        "rationale",
        "metadata",
        "span_id",
        "overrides",
        "expectation",
        "issue",
    )
    got = log(http, trace, feedback={"value": 1, "error": None}, **dict.fromkeys(names))
    assert got["assessment_name"] == "feedback"


@pytest.mark.parametrize(
    ("given_type", "answered", "stored"),
    [
        ("HUMAN", "HUMAN", "HUMAN"),
        ("human", "HUMAN", "HUMAN"),
        ("Code", "CODE", "CODE"),
        ("llm_judge", "LLM_JUDGE", "LLM_JUDGE"),
        ("AI_JUDGE", "LLM_JUDGE", "LLM_JUDGE"),
        ("ai_judge", "LLM_JUDGE", "LLM_JUDGE"),
        ("SOURCE_TYPE_UNSPECIFIED", "SOURCE_TYPE_UNSPECIFIED", "API"),
        ("", "SOURCE_TYPE_UNSPECIFIED", "API"),
        (None, "SOURCE_TYPE_UNSPECIFIED", "API"),
    ],
)
def test_source_types(http: httpx.Client, trace: str, given_type: Any, answered: str, stored: str) -> None:
    got = log(http, trace, source={"source_type": given_type, "source_id": "x"})
    assert got["source"] == {"source_type": answered, "source_id": "x"}
    assert record(http, got["assessment_id"])["source"] == {"type": stored, "id": "x"}


def test_the_limits_are_within_the_limits(http: httpx.Client, trace: str) -> None:
    metadata = {"k": "x" * (16_384 - len('{"k":""}'))}
    got = log(
        http, trace, assessment_name="n.a-m e" + "é" * 243, span_id="s" * 50, metadata=metadata,
        source={"source_type": "HUMAN", "source_id": "i" * 250}, rationale="r" * 100_000,
    )  # fmt: skip
    assert len(got["assessment_name"]) == 250
    assert got["metadata"] == metadata
    assert len(got["span_id"]) == 50


@pytest.mark.parametrize(
    ("expectation", "value", "answered"),
    [
        ({"value": "Paris"}, "Paris", {"value": "Paris"}),
        ({"value": 42.0}, 42, {"value": 42}),
        ({"value": False}, False, {"value": False}),
        (
            {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '[1, "a", 2.0]'}},
            [1, "a", 2.0],
            {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '[1,"a",2.0]'}},
        ),
        (
            {"value": {"a": 1.0}},
            {"a": 1},
            {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '{"a":1}'}},
        ),
    ],
)
def test_an_expectation_has_two_forms(
    http: httpx.Client, trace: str, expectation: Any, value: Any, answered: Any
) -> None:
    got = log(http, trace, expectation=expectation)
    assert got["expectation"] == answered
    assert "feedback" not in got
    assert json.dumps(record(http, got["assessment_id"])["correction"]) == json.dumps(value)


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "request body is empty"),
    "not JSON": (b"{", "request body is not JSON"),
    "NaN": (b'{"assessment": {"feedback": {"value": NaN}}}', "request body is not JSON"),
    "infinity": (b'{"assessment": {"feedback": {"value": 1e999}}}', "request body is not JSON"),
    "an array": ([], "request body must be a JSON object, not an array"),
    "no assessment": ({}, "assessment is required"),
    "a null assessment": ({"assessment": None}, "assessment is required"),
    "an assessment of another type": ({"assessment": []}, "assessment must be a JSON object, not an array"),
    "neither": ({"assessment": {}}, "assessment must have exactly one of feedback and expectation"),
    "both": (
        {"assessment": {"feedback": {"value": 1}, "expectation": {"value": 1}}},
        "assessment must have exactly one of feedback and expectation",
    ),
    "an issue": ({"assessment": {"issue": {"issue_name": "x"}}}, "assessment.issue is not supported"),
    "an issue beside feedback": (
        {"assessment": {"feedback": {"value": 1}, "issue": {}}},
        "assessment.issue is not supported",
    ),
    "an expectation without a value": (
        {"assessment": {"expectation": {}}},
        "assessment.expectation.value is",
    ),
    "a null expectation": (
        {"assessment": {"expectation": {"value": None}}},
        "assessment.expectation.value is",
    ),
    "an expectation in both forms": (
        {
            "assessment": {
                "expectation": {
                    "value": 1,
                    "serialized_value": {"serialization_format": "JSON_FORMAT", "value": "1"},
                }
            }
        },
        "assessment.expectation.value does not go with serialized_value",
    ),
    "an expectation in another format": (
        {"assessment": {"expectation": {"serialized_value": {"serialization_format": "YAML", "value": "1"}}}},
        "assessment.expectation.serialized_value.serialization_format must be JSON_FORMAT",
    ),
}
BAD_SERIALIZED = {
    "[NaN]": "is not JSON",
    "[": "is not JSON",
    "null": "must not be null",
    "": "must not be empty",
}
BAD_FEEDBACK: dict[str, tuple[Any, str]] = {
    "no value": ({"feedback": {}}, "feedback.value is required"),
    "null": ({"feedback": {"value": None}}, "feedback.value is required"),
    "an error without a code": ({"feedback": {"value": 1, "error": {}}}, "feedback.error.error_code is"),
    "an error with no code": ({"feedback": {"error": {"error_code": ""}}}, "feedback.error.error_code must"),
    "an error of another type": ({"feedback": {"error": "boom"}}, "feedback.error must be a JSON object"),
    "an error message of another type": (
        {"feedback": {"error": {"error_code": "E", "error_message": 1}}},
        "feedback.error.error_message must be a string",
    ),
    "feedback of another type": ({"feedback": True}, "feedback must be a JSON object, not a boolean"),
    "a name of another type": ({"assessment_name": 1}, "assessment_name must be a string, not a number"),
    "an empty name": ({"assessment_name": ""}, "assessment_name must not be empty"),
    "a long name": ({"assessment_name": "x" * 251}, "assessment_name has 251 characters, the limit is 250"),
    "a source of another type": ({"source": "HUMAN"}, "source must be a JSON object"),
    "an unknown source": ({"source": {"source_type": "ROBOT"}}, "source.source_type must be HUMAN"),
    "a source type of another type": ({"source": {"source_type": 1}}, "source.source_type must be a string"),
    "a source id of another type": ({"source": {"source_id": 1}}, "source.source_id must be a string"),
    "a long source id": ({"source": {"source_id": "x" * 251}}, "source.source_id has 251 characters"),
    "a rationale of another type": ({"rationale": ["x"]}, "rationale must be a string, not an array"),
    "metadata of another type": ({"metadata": "x"}, "metadata must be a JSON object, not a string"),
    "a metadata value of another type": ({"metadata": {"k": 1}}, "metadata has a number at 'k'"),
    "a null in the metadata": ({"metadata": {"k": None}}, "metadata has null at 'k'"),
    "large metadata": ({"metadata": {"k": "x" * 16_377}}, "metadata has 16385 bytes as compact JSON"),
    "a reserved metadata key": ({"metadata": {"_error": "x"}}, "metadata has '_error'"),
    "the other reserved metadata key": ({"metadata": {"_span_id": "x"}}, "metadata has '_span_id'"),
    "a span id of another type": ({"span_id": 1}, "span_id must be a string"),
    "a long span id": ({"span_id": "x" * 51}, "span_id has 51 characters, the limit is 50"),
    "overrides of another type": ({"overrides": 1}, "overrides must be a string"),
    "a huge value": ({"feedback": {"value": "x" * 70_000}}, "feedback.value has 70002 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_create_is_refused_and_nothing_is_stored(http: httpx.Client, trace: str, case: str) -> None:
    body, says = REFUSED[case]
    assert_refused(http, trace, body, says)


@pytest.mark.parametrize("case", BAD_FEEDBACK)
def test_a_bad_field_is_named_and_nothing_is_stored(http: httpx.Client, trace: str, case: str) -> None:
    fields, says = BAD_FEEDBACK[case]
    assert_refused(http, trace, {"assessment": {"feedback": {"value": True}} | fields}, f"assessment.{says}")


@pytest.mark.parametrize("text", BAD_SERIALIZED)
def test_a_serialized_value_must_be_json(http: httpx.Client, trace: str, text: str) -> None:
    serialized = {"serialization_format": "JSON_FORMAT", "value": text}
    body = {"assessment": {"expectation": {"serialized_value": serialized}}}
    says = f"assessment.expectation.serialized_value.value {BAD_SERIALIZED[text]}"
    assert_refused(http, trace, body, says)


@pytest.mark.parametrize("where", ["feedback", "expectation"])
def test_a_value_too_deep_to_be_stored_is_refused(http: httpx.Client, trace: str, where: str) -> None:
    body = f'{{"assessment": {{"{where}": {{"value": {"[" * 300}{"]" * 300}}}}}}}'.encode()
    assert_refused(http, trace, body, f"assessment.{where}.value is nested deeper than 100 levels")


def assert_refused(http: httpx.Client, trace: str, body: Any, says: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = http.post(
        f"{TRACES}/{trace}/assessments", content=content, headers={"content-type": "application/json"}
    )
    assert_error(response, 400, "INVALID_PARAMETER_VALUE", says)
    assert records(http, trace) == []


def test_a_trace_id_of_too_many_characters_is_refused(http: httpx.Client) -> None:
    body = {"assessment": {"feedback": {"value": 1}}}
    response = http.post(f"{TRACES}/{'x' * 1025}/assessments", json=body)
    assert_error(response, 400, "INVALID_PARAMETER_VALUE", "trace_id has 1025 characters")


# --- targets ---


def test_an_exchange_is_found_by_its_id_and_by_its_span(http: httpx.Client, trace: str) -> None:
    exchange, other = chat(http, trace), chat(http, trace)
    by_id = log(http, exchange)
    by_span = log(http, trace, span_id=other[:50])
    by_unknown_span = log(http, trace, span_id="unknown")

    assert by_id["trace_id"] == exchange
    about = [record(http, got["assessment_id"])["targets"] for got in (by_id, by_span, by_unknown_span)]
    assert about == [
        [{"trace_id": trace, "request_id": exchange, "matched": True}],
        [{"trace_id": trace, "request_id": other, "matched": True}],
        [{"trace_id": trace, "request_id": None, "matched": True}],
    ]


def test_a_span_of_another_trace_does_not_decide_the_target(http: httpx.Client, trace: str) -> None:
    exchange = chat(http, f"{trace}-other")
    got = log(http, trace, span_id=exchange)
    [about] = record(http, got["assessment_id"])["targets"]
    assert (about["trace_id"], about["request_id"]) == (trace, None)
    assert got["span_id"] == exchange


def test_an_assessment_is_read_under_the_exchange_and_under_its_trace(http: httpx.Client, trace: str) -> None:
    exchange = chat(http, trace)
    assessment_id = log(http, exchange)["assessment_id"]
    for about in (exchange, trace):
        response = http.get(f"{TRACES}/{about}/assessments/{assessment_id}")
        assert response.json()["assessment"]["trace_id"] == about


def test_feedback_may_come_before_its_request(http: httpx.Client, trace: str) -> None:
    got = log(http, trace)
    assert record(http, got["assessment_id"])["matched"] is False
    chat(http, trace)
    assert record(http, got["assessment_id"])["matched"] is True


def test_any_spelling_of_an_id_is_accepted(http: httpx.Client, trace: str) -> None:
    spelled = log(http, trace)["assessment_id"]
    plain = record(http, spelled)["id"]
    for assessment_id in (spelled, plain, plain.upper(), spelled.replace("a-", "ann_"), spelled[2:]):
        response = http.get(f"{TRACES}/{trace}/assessments/{assessment_id}")
        assert response.json()["assessment"]["assessment_id"] == spelled
    overriding = log(http, trace, overrides=plain)
    assert overriding["overrides"] == spelled


# --- GET, PATCH, DELETE ---


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_an_assessment_of_another_trace_is_not_found(http: httpx.Client, trace: str, method: str) -> None:
    assessment_id = log(http, trace)["assessment_id"]
    body = {"assessment": {"rationale": "x"}, "update_mask": "rationale"}
    url = f"{TRACES}/{trace}-2/assessments/{assessment_id}"
    response = http.request(method, url, json=body if method == "PATCH" else None)
    assert_error(response, 404, "RESOURCE_DOES_NOT_EXIST", assessment_id)
    assert record(http, assessment_id)["comment"] is None


def test_a_delete_under_another_trace_deletes_nothing(http: httpx.Client, trace: str) -> None:
    assessment_id = log(http, trace)["assessment_id"]
    response = http.delete(f"{TRACES}/{trace}-2/assessments/{assessment_id}")
    assert (response.status_code, response.content) == (200, b"{}")
    assert record(http, assessment_id)["retracted_at"] is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"trace_id": "other", "assessment_id": "other"}'])
def test_the_path_wins_over_the_body_of_a_delete(http: httpx.Client, trace: str, body: bytes) -> None:
    assessment_id = log(http, trace)["assessment_id"]
    url = f"{TRACES}/{trace}/assessments/{assessment_id}"
    assert http.request("DELETE", url, content=body).content == b"{}"
    assert http.get(url).status_code == 404


def test_the_path_wins_over_the_query_of_a_get(http: httpx.Client, trace: str) -> None:
    assessment_id = log(http, trace)["assessment_id"]
    url = f"{TRACES}/{trace}/assessments/{assessment_id}?trace_id=other&assessment_id=other&more=1"
    assert http.get(url).json()["assessment"]["assessment_id"] == assessment_id


@pytest.mark.parametrize(
    ("mask", "changed"),
    [
        ("assessmentName", {"name": "b"}),
        ("assessment_name", {"name": "b"}),
        ("feedback", {"value": 2}),
        ("rationale", {"comment": "b"}),
        ("metadata", {"metadata": {"a": "1", "b": "2"}}),
        ("rationale,feedback,rationale", {"comment": "b", "value": 2}),
    ],
)
def test_an_update_changes_only_masked_fields(
    http: httpx.Client, trace: str, mask: str, changed: dict[str, Any]
) -> None:
    got = log(http, trace, assessment_name="a", feedback={"value": 1}, rationale="a", metadata={"a": "1"})
    before = record(http, got["assessment_id"])
    response = patch(
        http, trace, got["assessment_id"], mask,
        assessment_name="b", feedback={"value": 2.0}, rationale="b", metadata={"b": "2"},
        source={"source_type": "HUMAN", "source_id": "b"}, span_id="b", trace_id="b", assessment_id="b",
    )  # fmt: skip
    assert response.status_code == 200
    after = record(http, got["assessment_id"])
    assert after.pop("updated_at") is not None
    del before["updated_at"]
    assert after == before | changed


def test_an_empty_rationale_clears_it(http: httpx.Client, trace: str) -> None:
    got = log(http, trace, rationale="a")
    assert "rationale" not in patch(http, trace, got["assessment_id"], "rationale").json()["assessment"]


def test_masked_metadata_without_any_changes_nothing(http: httpx.Client, trace: str) -> None:
    got = log(http, trace, metadata={"a": "1"})
    answered = patch(http, trace, got["assessment_id"], "metadata").json()["assessment"]
    assert answered["metadata"] == {"a": "1"}


def test_merged_metadata_may_be_as_large_as_any(http: httpx.Client, trace: str) -> None:
    largest = {"k": "x" * (16_384 - len('{"k":""}'))}
    got = log(http, trace, metadata=largest, span_id="s" * 50)
    changed = patch(http, trace, got["assessment_id"], "metadata", metadata=largest)
    assert changed.json()["assessment"]["metadata"] == largest


def test_a_value_gives_way_to_an_error(http: httpx.Client, trace: str) -> None:
    got = log(http, trace, feedback={"value": 1}, span_id="s")
    error = {"error_code": "E", "error_message": "m"}
    changed = patch(http, trace, got["assessment_id"], "feedback", feedback={"value": None, "error": error})
    assert changed.json()["assessment"]["feedback"] == {"value": None, "error": error}
    assert changed.json()["assessment"]["span_id"] == "s"
    kept = record(http, got["assessment_id"])
    assert (kept["kind"], kept["value"]) == ("none", None)


@pytest.mark.parametrize(
    ("mask", "fields", "says"),
    [
        (None, {"feedback": {"value": 1}}, "update_mask is required"),
        ("", {"feedback": {"value": 1}}, "update_mask must not be empty"),
        (["feedback"], {"feedback": {"value": 1}}, "update_mask must be a string"),
        ("valid", {"valid": False}, "update_mask names 'valid'"),
        ("feedback,source", {"feedback": {"value": 1}}, "update_mask names 'source'"),
        ("spanId", {"span_id": "x"}, "update_mask names 'spanId'"),
        ("feedback.value", {"feedback": {"value": 1}}, "update_mask names 'feedback.value'"),
        ("feedback,", {"feedback": {"value": 1}}, "update_mask names ''"),
        ("issue", {"issue": {"issue_name": "x"}}, "assessment.issue is not supported"),
        ("feedback", {}, "assessment.feedback is required"),
        ("feedback", {"feedback": {"value": None}}, "assessment.feedback.value is required"),
        ("assessmentName", {}, "assessment.assessment_name is required"),
        ("assessmentName", {"assessment_name": ""}, "assessment.assessment_name must not be empty"),
        ("assessmentName", {"assessment_name": "x" * 251}, "assessment.assessment_name has 251 characters"),
        ("rationale", {"rationale": 1}, "assessment.rationale must be a string"),
        ("metadata", {"metadata": {"k": 1}}, "assessment.metadata has a number at 'k'"),
        ("metadata", {"metadata": {"_error": "x"}}, "assessment.metadata has '_error'"),
        ("metadata", {"metadata": {"k": "x" * 16_370}}, "assessment.metadata has 16394 bytes with what is"),
        ("expectation", {"expectation": {"value": 1}}, "assessment.expectation cannot be set"),
        (
            "feedback,expectation",
            {"feedback": {"value": 1}, "expectation": {"value": 1}},
            "update_mask names feedback and expectation",
        ),
    ],
)
def test_a_bad_update_is_refused_and_changes_nothing(
    http: httpx.Client, trace: str, mask: Any, fields: dict[str, Any], says: str
) -> None:
    assessment_id = log(http, trace, metadata={"first": "value"})["assessment_id"]
    before = record(http, assessment_id)
    response = patch(http, trace, assessment_id, mask, **fields)
    assert_error(response, 400, "INVALID_PARAMETER_VALUE", says)
    assert record(http, assessment_id) == before


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"update_mask": "feedback"}'])
def test_an_update_without_an_assessment_is_refused(http: httpx.Client, trace: str, body: bytes) -> None:
    assessment_id = log(http, trace)["assessment_id"]
    response = http.patch(f"{TRACES}/{trace}/assessments/{assessment_id}", content=body)
    assert_error(response, 400, "INVALID_PARAMETER_VALUE")


# --- records that others gave ---


def test_feedback_of_our_own_api_reads_as_an_assessment(sdk: Any, http: httpx.Client, trace: str) -> None:
    def read(**body: Any) -> Any:
        response = http.post("/v1/feedback", json={"trace_id": trace, **body})
        assert response.status_code == 200, response.text
        return sdk.get_assessment(trace, f"a-{uuid.UUID(response.json()['feedback_ids'][0]).hex}")

    score = read(value=5, metadata={"_user": "ann", "n": 3, "flags": [True, None], "nothing": None})
    assert (score.name, score.value) == ("feedback", 5)
    assert score.metadata == {"_user": "ann", "n": "3", "flags": "[true,null]", "nothing": "null"}
    assert (score.source.source_type, score.source.source_id) == ("SOURCE_TYPE_UNSPECIFIED", "ann")

    comment = read(name="remark", comment="too long")
    assert (comment.name, comment.value, comment.rationale) == ("remark", "too long", "too long")

    correction = read(name="fix", correction={"text": "Paris", "n": 1})
    assert isinstance(correction, sdk.entities.Expectation)
    assert correction.value == {"text": "Paris", "n": 1}

    both = read(name="thumbs", value=False, correction="Paris")
    assert (type(both), both.value) == (sdk.entities.Feedback, False)

    odd = read(name="odd", value=True, metadata={"_error": "text", "_span_id": 5})
    assert (odd.value, odd.error, odd.span_id) == (True, None, None)


def test_a_score_stays_a_score_while_it_can_be_one(http: httpx.Client, trace: str) -> None:
    [feedback_id] = http.post("/v1/feedback", json={"trace_id": trace, "value": 5}).json()["feedback_ids"]
    patch(http, trace, feedback_id, "feedback", feedback={"value": -3.0})
    assert (record(http, feedback_id)["kind"], record(http, feedback_id)["value"]) == ("score", -3)
    patch(http, trace, feedback_id, "feedback", feedback={"value": 0.5})
    assert record(http, feedback_id)["kind"] == "number"


# --- errors, paths and repeats ---


@pytest.mark.parametrize(
    "path",
    ["/traces", "/traces/t", "/traces/t/assessments/a/b", "/experiments/get", "/", "/traces/search"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_any_other_path_is_no_endpoint(http: httpx.Client, method: str, path: str) -> None:
    assert_error(http.request(method, f"/api/3.0/mlflow{path}"), 404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "t/assessments", "POST"),
        ("PUT", "t/assessments/", "POST"),
        ("POST", "t/assessments/a", "DELETE, GET, HEAD, PATCH"),
        ("PUT", "t/assessments/a", "DELETE, GET, HEAD, PATCH"),
    ],
)
def test_another_method_is_a_405_with_allow(http: httpx.Client, method: str, path: str, allow: str) -> None:
    response = http.request(method, f"{TRACES}/{path}")
    assert_error(response, 405, "BAD_REQUEST")
    assert response.headers["allow"] == allow


def test_a_body_over_the_limit_is_a_413(client: RawClient) -> None:
    client.send(
        f"POST {TRACES}/t/assessments HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n".encode()
    )
    answer = client.read_answer()
    assert (answer.status, answer.json()["error_code"]) == (413, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidKey("no such key"), 401, "UNAUTHENTICATED"),
        (UnknownPath("no such path"), 404, "ENDPOINT_NOT_FOUND"),
        (IdempotencyConflict("another body"), 422, "INVALID_PARAMETER_VALUE"),
        (GatewayError("Something went wrong"), 500, "INTERNAL_ERROR"),
        (StoreUnavailable("the store is away"), 500, "INTERNAL_ERROR"),
    ],
)
def test_every_failure_has_a_code_of_the_vendors_list(
    sdk: Any, error: GatewayError, status: int, code: str
) -> None:
    refusal = vendor.render_error(error, "POST")
    assert refusal.status == status
    assert json.loads(refusal.body) == {"error_code": code, "message": error.message}
    assert sdk.exceptions.RestException(json.loads(refusal.body)).error_code == code


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("GET", "/a-1"), ("DELETE", "/a-1")])
@pytest.mark.parametrize("failure", [StoreUnavailable("locked"), RuntimeError("a bug")])
async def test_a_failure_inside_is_a_500_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, method: str, path: str
) -> None:
    async def fail(*_: object) -> None:
        raise failure

    async with own_api(tmp_path) as api:
        with monkeypatch.context() as broken:
            broken.setattr(SqliteDatabase, "write", fail)
            broken.setattr(SqliteDatabase, "read", fail)
            response = await api.client.request(
                method, f"{TRACES}/t1/assessments{path}", json={"assessment": {"feedback": {"value": 1}}}
            )
        assert_error(response, 500, "INTERNAL_ERROR")
        assert response.headers["x-portkey-request-id"]
        assert await api.ids("/v1/feedback") == []


def test_updates_at_the_same_moment_are_all_kept(http: httpx.Client, trace: str) -> None:
    assessment_id = log(http, trace)["assessment_id"]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda n: patch(http, trace, assessment_id, "metadata", metadata={f"k{n}": "x"}).status_code,
            range(24),
        )
        assert set(answers) == {200}
    assert record(http, assessment_id)["metadata"] == {f"k{n}": "x" for n in range(24)}


def test_slashes_at_the_end_and_doubled_do_not_matter(
    gateway: RunningGateway, http: httpx.Client, trace: str
) -> None:
    body = {"assessment": {"feedback": {"value": 1}}}
    for path in (f"{TRACES}/{trace}/assessments/", f"/{TRACES}//{trace}/assessments"):
        response = http.post(f"{gateway.url}{path}", json=body)
        assert response.status_code == 200, response.text
    assessment_id = response.json()["assessment"]["assessment_id"]
    assert http.get(f"{TRACES}/{trace}/assessments/{assessment_id}/").status_code == 200


def test_a_repeated_create_gets_the_first_answer(http: httpx.Client, trace: str) -> None:
    url, headers = f"{TRACES}/{trace}/assessments", {"idempotency-key": trace}
    body = {"assessment": {"feedback": {"value": 1}}}
    first = http.post(url, json=body, headers=headers)
    assert http.post(url, json=body, headers=headers).json() == first.json()
    assert len(records(http, trace)) == 1
    other = http.post(url, json={"assessment": {"feedback": {"value": 2}}}, headers=headers)
    assert_error(other, 422, "INVALID_PARAMETER_VALUE", "Idempotency-Key")
    elsewhere = http.post(f"{TRACES}/{trace}-2/assessments", json=body, headers=headers)
    assert elsewhere.json()["assessment"]["trace_id"] == f"{trace}-2"


def test_a_repeated_override_gets_the_first_answer_whatever_came_after(
    http: httpx.Client, trace: str
) -> None:
    old = log(http, trace)["assessment_id"]
    url, headers = f"{TRACES}/{trace}/assessments", {"idempotency-key": trace}
    body = {"assessment": {"feedback": {"value": False}, "overrides": old}}
    first = http.post(url, json=body, headers=headers)
    assert first.json()["assessment"]["overrides"] == old
    http.delete(f"{url}/{old}")
    assert http.post(url, json=body, headers=headers).json() == first.json()


def test_a_create_without_a_key_is_a_new_one_each_time(http: httpx.Client, trace: str) -> None:
    log(http, trace)
    log(http, trace)
    assert len(records(http, trace)) == 2


# --- for all values ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(JSON.filter(lambda value: value is not None))
def test_any_value_is_stored_as_it_is(value: Any) -> None:
    body = json.dumps({"assessment": {"feedback": {"value": value}}}).encode()
    assert vendor.parse_create(body, "t").value == value


@given(JSON.filter(lambda value: value is not None))
def test_any_serialized_expectation_is_stored_to_the_letter(value: Any) -> None:
    serialized = {"serialization_format": "JSON_FORMAT", "value": json.dumps(value)}
    body = json.dumps({"assessment": {"expectation": {"serialized_value": serialized}}}).encode()
    assert repr(vendor.parse_create(body, "t").correction) == repr(value)
