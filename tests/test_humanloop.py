"""Humanloop's two APIs at the wire: its recorded requests, every field its clients read, every error.

Source of the rules: the vendor's clients 0.4.17 and 0.7.35 (v4) and 0.8.38 (v5).
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.compat import humanloop
from gateway.errors import (
    GatewayError,
    IdempotencyConflict,
    MethodNotAllowed,
    PayloadTooLarge,
    SlowClient,
    StoreUnavailable,
)
from tests.harness.recorded import Recorded, recorded

if TYPE_CHECKING:
    from tests.harness import Answer, RunningGateway

V4, V5 = "/v4/feedback", "/v5/evaluators/log"
ANNOTATION_ID = re.compile(r"ann_[0-9a-f]{32}")
KEY = {"X-API-KEY": "K"}


def post(http: httpx.Client, path: str, body: Any, **headers: str) -> httpx.Response:
    return http.post(path, content=json.dumps(body), headers={**KEY, **headers})


def send(http: httpx.Client, path: str, body: Any) -> Any:
    """The answer to what must be taken."""
    response = post(http, path, body)
    assert response.status_code == 200, response.text
    return response.json()


def given(http: httpx.Client, target_id: str) -> list[dict[str, Any]]:
    """What is live under an id, oldest first, as our own list shows it."""
    listed = http.get("/v1/feedback", params={"trace_id": target_id})
    assert listed.status_code == 200, listed.text
    found: list[dict[str, Any]] = listed.json()["data"]
    return found[::-1]


def the_one(http: httpx.Client, target_id: str) -> dict[str, Any]:
    found = given(http, target_id)
    assert len(found) == 1, found
    return found[0]


def spelled(feedback_id: str) -> str:
    """The vendor's spelling of our id."""
    return f"ann_{uuid.UUID(feedback_id).hex}"


# --- what its clients read ---


def assert_v4_item(item: Any, sent: dict[str, Any]) -> None:
    """`type`, `value` and `id` are required by the vendor's schema; `user` is left out when there is none."""
    assert list(item) == [name for name in ITEM_FIELDS if name in item]
    assert item["type"] == sent["type"]
    assert item["data_id"] == sent["data_id"]
    assert ANNOTATION_ID.fullmatch(item["id"])
    assert item.get("user") == sent.get("user")
    assert ("user" in item) == ("user" in sent)
    if not sent.get("unset"):
        assert item["value"] == sent["value"]
        assert type(item["value"]) is type(sent["value"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", item["created_at"])


ITEM_FIELDS = ("type", "value", "data_id", "user", "created_at", "id")


def assert_details(response: httpx.Response | Answer) -> list[dict[str, Any]]:
    """The 422 that 0.8.38 reads into a model: `loc` of strings and integers, `msg` and `type` strings."""
    code = response.status_code if isinstance(response, httpx.Response) else response.status
    body = response.json()
    assert code == 422, body
    assert body.keys() == {"detail"}
    assert isinstance(body["detail"], list)
    assert body["detail"]
    for detail in body["detail"]:
        assert detail.keys() == {"loc", "msg", "type"}
        assert all(type(step) in (str, int) for step in detail["loc"])
        assert isinstance(detail["msg"], str)
        assert isinstance(detail["type"], str)
    found: list[dict[str, Any]] = body["detail"]
    return found


@pytest.mark.parametrize("request_", recorded("humanloop"), ids=str)
@pytest.mark.parametrize("slash", [False, True], ids=["plain", "with a slash"])
def test_a_recorded_request_is_answered_as_its_client_needs_it(
    gateway: RunningGateway, request_: Recorded, slash: bool
) -> None:
    answer = request_.replay(gateway.port, path=request_.with_slash() if slash else None)

    # A v4 client hands out bytes instead of JSON when the content type is another.
    assert (answer.header("content-type") or "").startswith("application/json")
    sent = json.loads(request_.body)
    if request_.status == 422:
        assert_details(answer)
    elif request_.path.startswith(V5):
        assert answer.status == 200, answer.body
        body = answer.json()
        assert body.keys() == {"id", "parent_id", "version_id"}
        assert ANNOTATION_ID.fullmatch(body["id"])
        assert body["parent_id"] == sent["parent_id"]
        assert body["version_id"] == f"evv_{sent.get('path') or sent['id']}"
    else:
        assert answer.status == 200, answer.body
        body = answer.json()
        assert isinstance(body, list) == isinstance(sent, list)
        items, wanted = (body, sent) if isinstance(sent, list) else ([body], [sent])
        for item, one in zip(items, wanted, strict=True):
            assert_v4_item(item, one)


# --- v4: what becomes of the fields ---


def test_a_rating_lands_in_the_record(gateway: RunningGateway, http: httpx.Client, trace: str) -> None:
    answer = send(
        http, V4,
        {"type": "rating", "value": "good", "data_id": trace, "user": "user_123456",
         "created_at": "2026-01-02T03:04:05.678901+00:00", "provider_api_keys": {"openai": "sk-secret"}},
    )  # fmt: skip

    stored = the_one(http, trace)
    assert answer == {
        "type": "rating", "value": "good", "data_id": trace, "user": "user_123456",
        "created_at": "2026-01-02T03:04:05.678000Z", "id": spelled(stored["id"]),
    }  # fmt: skip
    assert (stored["name"], stored["kind"], stored["value"], stored["weight"]) == (
        "rating", "text", "good", 1.0,
    )  # fmt: skip
    assert stored["source"] == {"type": "HUMAN", "id": "user_123456"}
    assert (stored["comment"], stored["correction"], stored["metadata"]) == (None, None, None)
    assert (stored["task"], stored["overrides"], stored["retracted_at"]) == (None, None, None)
    assert stored["created_at"].startswith("2026-01-02T03:04:05.678")
    assert "sk-secret" not in json.dumps(gateway.rows.feedback(trace))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("good", "text"), ("", "text"), (True, "boolean"), (False, "boolean"), (0, "number"), (4, "number"),
        (4.5, "number"), (-1e300, "number"), (2**64 - 1, "number"), ([], "list"),
        (["Inappropriate", "Too many emojis"], "list"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("path", [V4, V5])
def test_any_value_of_the_vendors_types_is_kept(
    http: httpx.Client, trace: str, path: str, value: Any, kind: str
) -> None:
    if path == V4:
        body = {"type": "my own name", "value": value, "data_id": trace}
        assert send(http, V4, body)["value"] == value
    else:
        send(http, V5, {"path": "my own name", "judgment": value, "parent_id": trace})

    stored = the_one(http, trace)
    assert (stored["name"], stored["kind"], stored["value"]) == ("my own name", kind, value)


@pytest.mark.parametrize(("name", "field"), [("correction", "correction"), ("comment", "comment")])
def test_words_are_kept_as_words_and_answered_as_the_value(
    http: httpx.Client, trace: str, name: str, field: str
) -> None:
    answer = send(http, V4, {"type": name, "value": "better so", "data_id": trace})

    stored = the_one(http, trace)
    assert answer["value"] == "better so"
    assert (stored["name"], stored["kind"], stored["value"]) == (name, "none", None)
    assert {"comment": None, "correction": None} | {field: "better so"} == {
        "comment": stored["comment"], "correction": stored["correction"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "signal"),
    [("rating", "explicit"), ("issue", "explicit"), ("stars", "explicit"), ("action", "implicit"),
     ("copied", "implicit"), ("correction", "free_form"), ("comment", "free_form")],
)  # fmt: skip
def test_each_type_says_how_it_came_about(http: httpx.Client, trace: str, name: str, signal: str) -> None:
    send(http, V4, {"type": name, "value": "copied", "data_id": trace})

    assert the_one(http, trace)["signal"] == signal


@pytest.mark.parametrize(
    ("created_at", "shown"),
    [
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02T03:04:05.250+02:00", "2026-01-02T01:04:05.250000Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
        ("9998-12-31T23:59:59.999999-23:00", "9999-01-01T22:59:59.999000Z"),
    ],
)
def test_a_time_without_a_zone_is_utc(http: httpx.Client, trace: str, created_at: str, shown: str) -> None:
    body = {"type": "rating", "value": "good", "data_id": trace, "created_at": created_at}

    assert send(http, V4, body)["created_at"] == shown


def test_an_array_of_one_stays_an_array_and_none_is_answered_with_none(
    http: httpx.Client, trace: str
) -> None:
    one = send(http, V4, [{"type": "rating", "value": "good", "data_id": trace}])

    assert [item["value"] for item in one] == ["good"]
    assert send(http, V4, []) == []


def test_an_array_is_answered_in_its_order(http: httpx.Client, trace: str) -> None:
    values = [f"label {number}" for number in range(20)]
    body = [{"type": "issue", "value": value, "data_id": trace} for value in values]
    answer = send(http, V4, body)

    stored = given(http, trace)
    assert [item["value"] for item in answer] == [item["value"] for item in stored] == values
    assert [item["id"] for item in answer] == [spelled(item["id"]) for item in stored]


def test_a_second_rating_by_the_same_user_is_one_more(http: httpx.Client, trace: str) -> None:
    for value in ("good", "bad"):
        send(http, V4, {"type": "rating", "value": value, "data_id": trace, "user": "ana"})

    assert [item["value"] for item in given(http, trace)] == ["good", "bad"]


@pytest.mark.parametrize("path", [V4, "/v1/feedback", "/feedback"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_same_body_is_taken_under_any_prefix(
    http: httpx.Client, trace: str, path: str, slash: str
) -> None:
    body = {"type": "comment", "value": "x", "data_id": trace, "provider_api_keys": {}}
    answer = send(http, path + slash, body)

    assert answer["id"] == spelled(the_one(http, trace)["id"])


# --- v4: taking back ---


def issue(trace: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "issue", "value": value, "data_id": trace, **more}


def unset(trace: str, name: str = "issue", **more: Any) -> dict[str, Any]:
    return {"type": name, "data_id": trace, "unset": True, **more}


def live(http: httpx.Client, trace: str) -> list[Any]:
    return [item["value"] for item in given(http, trace)]


def test_unset_takes_back_all_of_that_name_on_that_target(http: httpx.Client, trace: str) -> None:
    send(http, V4, [issue(trace, "a"), issue(trace, "b"), issue(f"{trace}-2", "a")])
    send(http, V4, {"type": "rating", "value": "good", "data_id": trace})
    newest = given(http, trace)[1]
    answer = send(http, V4, unset(trace))

    assert live(http, trace) == ["good"]
    assert live(http, f"{trace}-2") == ["a"]
    assert answer == {
        "type": "issue", "value": "b", "data_id": trace, "created_at": answer["created_at"],
        "id": spelled(newest["id"]),
    }  # fmt: skip


def test_unset_with_a_value_takes_back_that_label_only(http: httpx.Client, trace: str) -> None:
    send(http, V4, [issue(trace, "a"), issue(trace, "b"), issue(trace, ["a", "b"])])
    answer = send(http, V4, unset(trace, value="a"))

    assert live(http, trace) == ["b", ["a", "b"]]
    assert answer["value"] == "a"


def test_unset_tells_true_from_one(http: httpx.Client, trace: str) -> None:
    send(http, V4, [issue(trace, True), issue(trace, 1), issue(trace, "1")])
    send(http, V4, unset(trace, value=1))

    assert live(http, trace) == [True, "1"]


def test_unset_with_a_user_takes_back_that_users_only(http: httpx.Client, trace: str) -> None:
    send(http, V4, [issue(trace, "a", user="ana"), issue(trace, "b", user="ben"), issue(trace, "c")])
    answer = send(http, V4, unset(trace, user="ana"))

    assert live(http, trace) == ["b", "c"]
    assert (answer["user"], answer["value"]) == ("ana", "a")


@pytest.mark.parametrize("name", ["correction", "comment"])
def test_unset_finds_words_by_their_text(http: httpx.Client, trace: str, name: str) -> None:
    send(http, V4, [{"type": name, "value": text, "data_id": trace} for text in ("one", "two")])
    answer = send(http, V4, unset(trace, name, value="one"))

    assert [item[name] for item in given(http, trace)] == ["two"]
    assert answer["value"] == "one"


def test_unset_that_finds_nothing_is_no_error(http: httpx.Client, trace: str) -> None:
    answer = send(http, V4, unset(trace, value="never"))

    assert (answer["type"], answer["value"], answer["data_id"]) == ("issue", None, trace)
    assert ANNOTATION_ID.fullmatch(answer["id"])
    assert http.get(f"/v1/feedback/{answer['id']}").status_code == 404


def test_what_was_taken_back_is_not_taken_back_again(http: httpx.Client, trace: str) -> None:
    send(http, V4, issue(trace, "a"))
    first, second = send(http, V4, unset(trace)), send(http, V4, unset(trace))

    assert (first["value"], second["value"]) == ("a", None)
    assert first["id"] != second["id"]


def test_items_and_unsets_of_one_array_are_done_in_order(http: httpx.Client, trace: str) -> None:
    body = [issue(trace, "a"), unset(trace), issue(trace, "b"), issue(trace, "c"), unset(trace, value="b")]
    answer = send(http, V4, body)

    assert live(http, trace) == ["c"]
    assert [item["value"] for item in answer] == ["a", "a", "b", "c", "b"]
    assert (answer[1]["id"], answer[4]["id"]) == (answer[0]["id"], answer[2]["id"])


def test_unset_on_an_exchange_leaves_its_trace_alone(
    http: httpx.Client, trace: str, exchange_id: str
) -> None:
    send(http, V4, [issue(trace, "on the trace"), issue(exchange_id, "on the exchange")])
    send(http, V4, unset(exchange_id))

    assert live(http, trace) == ["on the trace"]


# --- v5 ---


def test_a_judgment_lands_in_the_record(http: httpx.Client, trace: str) -> None:
    metadata = {"run": {"n": 1}, "tags": ["a"], "long": "x" * 1000}
    answer = send(
        http, V5,
        {"path": "Team/Quality score", "parent_id": trace, "judgment": 0.75, "user": "ana",
         "metadata": metadata, "created_at": "2026-01-02T03:04:05.678901Z", "save": False, "output": "raw",
         "stdout": "x", "inputs": {"a": 1}, "spec": {"evaluator_type": "llm"}},
    )  # fmt: skip

    stored = the_one(http, trace)
    assert answer == {
        "id": spelled(stored["id"]), "parent_id": trace, "version_id": "evv_Team/Quality score",
    }  # fmt: skip
    assert (stored["name"], stored["kind"], stored["value"]) == ("Team/Quality score", "number", 0.75)
    assert stored["source"] == {"type": "LLM_JUDGE", "id": "ana"}
    assert (stored["metadata"], stored["weight"]) == (metadata, 1.0)
    assert (stored["comment"], stored["correction"], stored["task"], stored["overrides"]) == (None,) * 4
    assert stored["created_at"].startswith("2026-01-02T03:04:05.678")


def test_an_evaluators_id_is_the_name_when_there_is_no_path(http: httpx.Client, trace: str) -> None:
    by_id = send(http, V5, {"id": "ev_1", "parent_id": trace, "judgment": "good"})
    by_both = send(http, V5, {"id": "ev_1", "path": "rating", "parent_id": trace, "judgment": "good"})

    assert [item["name"] for item in given(http, trace)] == ["ev_1", "rating"]
    assert (by_id["version_id"], by_both["version_id"]) == ("evv_ev_1", "evv_rating")


@pytest.mark.parametrize(
    ("spec", "source_type"),
    [
        (None, "HUMAN"), ({}, "HUMAN"), ({"evaluator_type": "human"}, "HUMAN"),
        ({"evaluator_type": 5}, "HUMAN"), ({"evaluator_type": "llm"}, "LLM_JUDGE"),
        ({"evaluator_type": "python"}, "CODE"), ({"evaluator_type": "external"}, "API"),
        ({"evaluator_type": "human", "options": [{"name": "only this"}]}, "HUMAN"),
    ],
    ids=str,
)  # fmt: skip
def test_the_evaluators_type_says_who_judged(
    http: httpx.Client, trace: str, spec: Any, source_type: str
) -> None:
    send(http, V5, {"path": "rating", "parent_id": trace, "judgment": "good", "spec": spec})

    assert the_one(http, trace)["source"] == {"type": source_type, "id": None}


def test_a_correction_is_what_the_path_says(http: httpx.Client, trace: str) -> None:
    send(http, V5, {"path": "correction", "parent_id": trace, "judgment": "better so"})
    send(http, V5, {"path": "comment", "parent_id": trace, "judgment": "a label like any other"})

    correction, comment = given(http, trace)
    assert (correction["value"], correction["correction"], correction["kind"]) == (None, "better so", "none")
    assert (comment["value"], comment["comment"]) == ("a label like any other", None)


def test_null_takes_back_all_of_that_name_on_that_target(http: httpx.Client, trace: str) -> None:
    for judgment in ("good", "bad"):
        send(http, V5, {"path": "rating", "parent_id": trace, "judgment": judgment})
    send(http, V5, {"path": "other", "parent_id": trace, "judgment": "kept"})
    newest = given(http, trace)[1]
    answer = send(http, V5, {"path": "rating", "parent_id": trace, "judgment": None})

    assert live(http, trace) == ["kept"]
    assert answer == {"id": spelled(newest["id"]), "parent_id": trace, "version_id": "evv_rating"}


def test_null_with_a_user_takes_back_that_users_only(http: httpx.Client, trace: str) -> None:
    for user in ("ana", "ben"):
        send(http, V5, {"path": "rating", "parent_id": trace, "judgment": user, "user": user})
    send(http, V5, {"path": "rating", "parent_id": trace, "judgment": None, "user": "ana"})

    assert live(http, trace) == ["ben"]


def test_null_that_finds_nothing_has_a_new_id(http: httpx.Client, trace: str) -> None:
    answer = send(http, V5, {"path": "rating", "parent_id": trace, "judgment": None})

    assert ANNOTATION_ID.fullmatch(answer["id"])
    assert (answer["parent_id"], answer["version_id"]) == (trace, "evv_rating")
    assert given(http, trace) == []


def test_each_api_takes_back_what_the_other_gave(http: httpx.Client, trace: str) -> None:
    send(http, V4, {"type": "rating", "value": "good", "data_id": trace})
    send(http, V5, {"path": "rating", "parent_id": trace, "judgment": None})
    send(http, V5, {"path": "correction", "parent_id": trace, "judgment": "better so"})
    send(http, V4, unset(trace, "correction", value="better so"))

    assert given(http, trace) == []


@pytest.mark.parametrize("query", ["?version_id=evv_1", "?environment=production&version_id=x"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_query_is_ignored(http: httpx.Client, trace: str, query: str, slash: str) -> None:
    send(http, V5 + slash + query, {"path": "rating", "parent_id": trace, "judgment": True})

    assert live(http, trace) == [True]


@pytest.mark.parametrize(
    "name",
    ["output", "error", "start_time", "end_time", "stdout", "provider_latency", "log_id", "provider_request",
     "provider_response", "inputs", "source", "source_datapoint_id", "trace_parent_id", "environment",
     "log_status", "marked_completed", "output_message", "never heard of"],
)  # fmt: skip
def test_other_fields_are_accepted_and_not_stored(
    gateway: RunningGateway, http: httpx.Client, trace: str, name: str
) -> None:
    body = {"path": "rating", "parent_id": trace, "judgment": True, name: {"deep": ["secret text"]}}
    send(http, V5, body)

    assert "secret text" not in json.dumps(gateway.rows.feedback(trace))


# --- whom it is about ---


@pytest.mark.parametrize("path", [V4, V5])
def test_a_target_may_be_an_exchange_or_a_trace(
    http: httpx.Client, trace: str, exchange_id: str, path: str
) -> None:
    def targets(target_id: str) -> Any:
        named = {"type": "rating", "value": "x", "data_id": target_id}
        judged = {"path": "rating", "judgment": "x", "parent_id": target_id}
        feedback_id = send(http, path, named if path == V4 else judged)["id"]
        return http.get(f"/v1/feedback/{feedback_id}").json()["targets"]

    assert targets(exchange_id) == [{"trace_id": trace, "request_id": exchange_id, "matched": True}]
    assert targets(trace) == [{"trace_id": trace, "request_id": None, "matched": True}]
    assert targets(f"{trace} of later") == [
        {"trace_id": f"{trace} of later", "request_id": None, "matched": False}
    ]


# --- errors ---

RATED = {"type": "rating", "value": "good", "data_id": "ID"}
JUDGED = {"path": "rating", "judgment": "good", "parent_id": "ID"}
MISSING, TYPE, VALUE = "value_error.missing", "type_error", "value_error"


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


REFUSED: dict[str, tuple[str, Any, list[str | int], str]] = {
    "v4: a string": (V4, "x", ["body"], TYPE),
    "v4: null": (V4, None, ["body"], TYPE),
    "v4: an item that is a string": (V4, [RATED, "x"], ["body", 1], TYPE),
    "v4: an array in an array": (V4, [[RATED]], ["body", 0], TYPE),
    "v4: no type": (V4, without(RATED, "type"), ["body", "type"], MISSING),
    "v4: an empty type": (V4, {**RATED, "type": ""}, ["body", "type"], VALUE),
    "v4: a type that is a number": (V4, {**RATED, "type": 5}, ["body", "type"], TYPE),
    "v4: no value": (V4, without(RATED, "value"), ["body", "value"], MISSING),
    "v4: a value that is null": (V4, {**RATED, "value": None}, ["body", "value"], MISSING),
    "v4: no value and unset false": (
        V4, {**without(RATED, "value"), "unset": False}, ["body", "value"], MISSING,
    ),
    "v4: an object for a value": (V4, {**RATED, "value": {}}, ["body", "value"], TYPE),
    "v4: a number in the list": (V4, {**RATED, "value": ["a", 5]}, ["body", "value", 1], TYPE),
    "v4: a correction that is true": (
        V4, {**RATED, "type": "correction", "value": True}, ["body", "value"], TYPE,
    ),
    "v4: an empty comment": (V4, {**RATED, "type": "comment", "value": ""}, ["body", "value"], VALUE),
    "v4: no target": (V4, without(RATED, "data_id"), ["body", "data_id"], MISSING),
    "v4: an empty target": (V4, {**RATED, "data_id": ""}, ["body", "data_id"], VALUE),
    "v4: a target that is a number": (V4, {**RATED, "data_id": 5}, ["body", "data_id"], TYPE),
    "v4: a user that is a number": (V4, {**RATED, "user": 5}, ["body", "user"], TYPE),
    "v4: a day that is none": (V4, {**RATED, "created_at": "yesterday"}, ["body", "created_at"], VALUE),
    "v4: a day before 1970": (
        V4, {**RATED, "created_at": "0001-01-01T00:00:00+14:00"}, ["body", "created_at"], VALUE,
    ),
    "v4: a time that is a number": (V4, {**RATED, "created_at": 5}, ["body", "created_at"], TYPE),
    "v4: unset that is a word": (V4, {**RATED, "unset": "yes"}, ["body", "unset"], TYPE),
    "v4: unset of no target": (V4, {"type": "rating", "unset": True}, ["body", "data_id"], MISSING),
    "v4: the second of three": (V4, [RATED, without(RATED, "value"), RATED], ["body", 1, "value"], MISSING),
    "v4: too many": (V4, [RATED] * 1001, ["body"], VALUE),
    "v4: too many to take back": (V4, [RATED, *[{**RATED, "unset": True}] * 101], ["body"], VALUE),
    "v5: an array": (V5, [JUDGED], ["body"], TYPE),
    "v5: no target": (V5, without(JUDGED, "parent_id"), ["body", "parent_id"], MISSING),
    "v5: an empty target": (V5, {**JUDGED, "parent_id": ""}, ["body", "parent_id"], VALUE),
    "v5: a target that is a list": (V5, {**JUDGED, "parent_id": ["ID"]}, ["body", "parent_id"], TYPE),
    "v5: no name": (V5, without(JUDGED, "path"), ["body", "path"], MISSING),
    "v5: an empty name": (V5, {**JUDGED, "path": "", "id": ""}, ["body", "path"], MISSING),
    "v5: a path that is a number": (V5, {**JUDGED, "path": 5}, ["body", "path"], TYPE),
    "v5: no judgment": (V5, without(JUDGED, "judgment"), ["body", "judgment"], MISSING),
    "v5: a judgment that is an object": (V5, {**JUDGED, "judgment": {"a": 1}}, ["body", "judgment"], TYPE),
    "v5: a judgment with a null in it": (V5, {**JUDGED, "judgment": [None]}, ["body", "judgment", 0], TYPE),
    "v5: a correction that is a number": (
        V5, {**JUDGED, "path": "correction", "judgment": 1}, ["body", "judgment"], TYPE,
    ),
    "v5: a user that is true": (V5, {**JUDGED, "user": True}, ["body", "user"], TYPE),
    "v5: metadata that is a list": (V5, {**JUDGED, "metadata": []}, ["body", "metadata"], TYPE),
    "v5: too much metadata": (V5, {**JUDGED, "metadata": {"a": "x" * 16384}}, ["body", "metadata"], VALUE),
    "v5: a spec that is a word": (V5, {**JUDGED, "spec": "llm"}, ["body", "spec"], TYPE),
    "v5: save that is a word": (V5, {**JUDGED, "save": "no"}, ["body", "save"], TYPE),
    "v5: a day that is none": (V5, {**JUDGED, "created_at": "soon"}, ["body", "created_at"], VALUE),
}  # fmt: skip


def aimed(body: Any, target_id: str) -> Any:
    return json.loads(json.dumps(body).replace('"ID"', json.dumps(target_id)))


@pytest.mark.parametrize(("path", "body", "loc", "fault"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_a_422_that_says_where_and_stores_nothing(
    http: httpx.Client, trace: str, path: str, body: Any, loc: list[str | int], fault: str
) -> None:
    [detail] = assert_details(post(http, path, aimed(body, trace)))

    assert (detail["loc"], detail["type"]) == (loc, fault)
    if isinstance(loc[-1], str) and loc != ["body"]:
        assert detail["msg"].startswith(loc[-1])
    assert given(http, trace) == []


def test_the_words_of_a_missing_value_are_the_vendors(http: httpx.Client, trace: str) -> None:
    answer = post(http, V4, [aimed(RATED, trace), {"type": "rating", "data_id": trace}])

    assert answer.json() == {
        "detail": [
            {
                "loc": ["body", 1, "value"],
                "msg": "value is required unless unset is true",
                "type": "value_error.missing",
            }
        ]
    }


@pytest.mark.parametrize("path", [V4, V5])
@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"{", b'{"type": "rating", "value": NaN, "data_id": "d"}', b'{"judgment": Infinity}',
     b'{"type": "rating", "value": 1e999, "data_id": "d"}', b"\xff\xfe"],
    ids=str,
)  # fmt: skip
def test_what_is_no_json_is_a_422(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body, headers=KEY)

    [detail] = assert_details(answer)
    assert (detail["loc"], detail["type"]) == (["body"], "value_error.jsondecode")


@pytest.mark.parametrize("body", [b"[]", b"null", b"{}", b'{"type": "rating"}', b"{", b'["x"]'], ids=str)
def test_on_the_shared_path_the_key_header_picks_the_shape(http: httpx.Client, body: bytes) -> None:
    assert_details(http.post("/v1/feedback", content=body, headers=KEY))


def test_metadata_of_exactly_the_limit_is_kept(http: httpx.Client, trace: str) -> None:
    metadata = {"a": "x" * (16384 - len('{"a":""}'))}
    send(http, V5, {**aimed(JUDGED, trace), "metadata": metadata})

    assert the_one(http, trace)["metadata"] == metadata


@pytest.mark.parametrize("path", [V4, V5])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_another_method_is_a_405_with_the_methods_there_are(
    http: httpx.Client, path: str, slash: str, method: str
) -> None:
    answer = http.request(method, path + slash, headers=KEY)

    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", [V4, V5, "/v1/feedback"])
def test_too_large_a_body_is_a_413(http: httpx.Client, path: str) -> None:
    body = json.dumps({"type": "comment", "value": "x" * 17 * 1024 * 1024, "data_id": "d"})
    answer = http.post(path, content=body, headers=KEY)

    assert (answer.status_code, answer.json()) == (413, {"detail": "Request body too large"})


class _NoKey(GatewayError):
    status = 401


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (_NoKey("this key is unknown"), 401, "Invalid API key"),
        (MethodNotAllowed("no", allow=("POST",)), 405, "Method Not Allowed"),
        (PayloadTooLarge("17 MiB"), 413, "Request body too large"),
        (SlowClient("no more came"), 408, "no more came"),
        (StoreUnavailable("the disk is full"), 500, "Internal error"),
        (GatewayError("Something went wrong"), 500, "Internal error"),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, Exception) else "",
)
def test_every_failure_has_the_vendors_status_and_words(error: GatewayError, status: int, words: str) -> None:
    refusal = humanloop.render_error(error, "POST")

    assert refusal.status == status
    assert json.loads(refusal.body) == {"detail": words}


# --- repeats ---


@pytest.mark.parametrize("path", [V4, V5])
def test_a_repeat_with_the_same_idempotency_key_is_stored_once(
    http: httpx.Client, trace: str, path: str
) -> None:
    key = {"Idempotency-Key": f"key-{trace}"}
    body = aimed(RATED if path == V4 else JUDGED, trace)
    first, again = post(http, path, body, **key), post(http, f"{path}/", body, **key)
    other = post(http, path, {**body, "user": "somebody"}, **key)

    assert first.status_code == 200, first.text
    assert first.content == again.content
    assert len(given(http, trace)) == 1
    [detail] = assert_details(other)
    assert detail["loc"] == ["header", "Idempotency-Key"]


def test_the_conflict_of_two_bodies_fits_the_clients_model() -> None:
    refusal = humanloop.render_error(IdempotencyConflict("sent before with another body"), "POST")

    assert refusal.status == 422
    assert json.loads(refusal.body)["detail"][0]["msg"] == "sent before with another body"
