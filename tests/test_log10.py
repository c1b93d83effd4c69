"""log10's feedback tasks and feedback at the wire: its recorded requests, every field its client reads.

The package itself needs an older openai, so it has no place in this environment; what its client and command
line read of an answer is done here again.
"""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.compat import log10 as vendor
from gateway.errors import GatewayError, InvalidKey, StoreUnavailable
from gateway.feedback.schemas import UnfitValue
from gateway.records import FeedbackTask, Selector
from gateway.store.sqlite import SqliteDatabase
from tests.harness import RawClient, run_gateway
from tests.harness.recorded import Recorded, recorded
from tests.own_api import own_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness import RunningGateway

TASKS, ROWS = "/api/v1/feedback_task", "/api/v1/feedback"
KEY = {"x-log10-token": "TOK", "x-log10-organization-id": "ORG"}
NOWHERE = str(uuid.UUID(int=0))
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"feedback": {"type": "string", "enum": ["good", "bad"]}},
    "required": ["feedback"],
}
CREATE_TASK, LIST_TASKS, GET_TASK, CREATE, LIST, GET, *_ = recorded("log10")


@pytest.fixture
def http(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, headers=KEY, timeout=30) as client:
        yield client


def answered(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def a_task(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    task: dict[str, Any] = answered(http.post(TASKS, json={"name": "emoji", "json_schema": SCHEMA} | fields))
    return task


def post(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post(ROWS, json={"json_values": {"feedback": "good"}} | fields)


def give(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = answered(post(http, **fields))
    return row


def record(http: httpx.Client, feedback_id: str) -> dict[str, Any]:
    """The record as our own API shows it."""
    found: dict[str, Any] = answered(http.get(f"/v1/feedback/{feedback_id}"))
    return found


def chat(http: httpx.Client, trace: str, tags: str = "") -> str:
    """Send a request through the gateway under `trace`; the exchange's id."""
    response = http.post(
        "/v1/chat/completions",
        json={"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]},
        headers={"x-trace-id": trace} | ({"x-tags": tags} if tags else {}),
    )
    assert response.status_code == 200, response.text
    return response.headers["x-request-id"]


def assert_error(response: httpx.Response, status: int, says: str) -> None:
    """The client reads `error` unguarded and shows it: text at the top of an object."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (response.status_code, set(body)) == (status, {"error"}), response.text
    assert says in body["error"]


def renamed(line: Recorded, **names: str) -> Recorded:
    """The request with recorded ids replaced: `t1="…"` for the task, `tag="…"` for the tag."""
    path, body = line.path, line.body
    if "t1" in names:
        path = path.replace("/t1?", f"/{names['t1']}?").replace("task_id=t1", f"task_id={names['t1']}")
        body = body.replace('"t1"', f'"{names["t1"]}"')
    if "f1" in names:
        path = path.replace("/f1?", f"/{names['f1']}?")
    for old in ("unique-tag", "b"):
        if old in names:
            body = body.replace(f'"{old}"', f'"{names[old]}"')
    return replace(line, path=path, body=body)


# --- recorded requests, byte for byte ---


@pytest.mark.parametrize("line", recorded("log10"), ids=str)
def test_a_recorded_request_is_answered_in_the_vendors_shape(gateway: RunningGateway, line: Recorded) -> None:
    for path in (line.path, line.with_slash()):
        answer = line.replay(gateway.port, path=path)
        assert answer.status == line.status, answer.body
        if answer.status != 200:
            assert isinstance(answer.json()["error"], str)


def test_a_recorded_task_has_what_the_client_needs(gateway: RunningGateway) -> None:
    task = CREATE_TASK.replay(gateway.port).json()
    assert uuid.UUID(task.pop("id"))
    created_at = datetime.fromisoformat(task["created_at"])
    assert task.pop("created_at").endswith("+00:00")
    assert created_at.timestamp() * 1000 == pytest.approx(task.pop("created_at_ms"))
    assert task == json.loads(CREATE_TASK.body)


def test_the_recorded_calls_for_a_known_task(gateway: RunningGateway, http: httpx.Client, trace: str) -> None:
    exchange = chat(http, trace)
    task_id = CREATE_TASK.replay(gateway.port).json()["id"]

    task = renamed(GET_TASK, t1=task_id).replay(gateway.port).json()
    assert (task["id"], task["organization_id"]) == (task_id, "ORG")

    selector = {"unique-tag": trace, "b": exchange}
    row = renamed(CREATE, t1=task_id, **selector).replay(gateway.port).json()
    created_at_ms = row.pop("created_at_ms")
    assert abs(created_at_ms - datetime.now(UTC).timestamp() * 1000) < 60_000
    assert row == {
        "id": row["id"],
        "task_id": task_id,
        "task_name": "emoji",
        "json_values": {"feedback": "a"},
        "matched_completion_ids": [exchange],
        "comment": "c",
        "completions_summary": "",
        "organization_id": "ORG",
    }

    row["created_at_ms"] = created_at_ms
    assert renamed(GET, f1=row["id"]).replay(gateway.port).json() == row
    assert renamed(LIST, t1=task_id).replay(gateway.port).json() == {"data": [row], "total": 1}


# --- tasks ---


def test_the_answer_is_a_whole_task(http: httpx.Client) -> None:
    task = a_task(
        http, instruction="Provide", completion_tags_selector=["unique-tag"], organization_id="any", more=[1]
    )
    assert uuid.UUID(task["id"])
    assert task.pop("created_at_ms") == datetime.fromisoformat(task.pop("created_at")).timestamp() * 1000
    assert task == {
        "id": task["id"],
        "name": "emoji",
        "instruction": "Provide",
        "completion_tags_selector": ["unique-tag"],
        "json_schema": SCHEMA,
        "organization_id": "any",
    }
    got = answered(http.get(f"{TASKS}/{task['id']}", params={"organization_id": "any"}))
    assert task.items() <= got.items()


@pytest.mark.parametrize(
    ("sent", "selector"),
    [
        ({}, []),
        ({"completion_tags_selector": None}, []),
        ({"completion_tags_selector": []}, []),
        ({"completion_tags_selector": ["a", " b ", "", "  ", "a"]}, ["a", "b"]),
    ],
)
def test_what_a_task_leaves_out_has_its_default(http: httpx.Client, sent: Any, selector: list[str]) -> None:
    task = a_task(http, **sent)
    assert (task["instruction"], task["completion_tags_selector"]) == ("", selector)
    assert task["organization_id"] == ""


@pytest.mark.parametrize(
    ("schema", "answered_with"),
    [
        ({}, {"required": []}),
        ({"type": "object"}, {"type": "object", "required": []}),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "required": ["a"]},
            {"$schema": "http://json-schema.org/draft-07/schema#", "required": ["a"]},
        ),
        (SCHEMA, SCHEMA),
    ],
)
def test_a_tasks_schema_always_has_required(http: httpx.Client, schema: Any, answered_with: Any) -> None:
    task = a_task(http, json_schema=schema)
    assert task["json_schema"] == answered_with
    native = answered(http.get(f"/v1/feedback-tasks/{task['id']}"))
    assert native["schema"] == schema


def test_draft_07_is_honoured(http: httpx.Client, trace: str) -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"stars": {"items": [{"type": "integer"}], "additionalItems": False}},
    }
    chat(http, trace)
    task_id = a_task(http, json_schema=schema)["id"]
    give(http, task_id=task_id, json_values={"stars": [1]}, completion_tags_selector=[trace])
    response = post(http, task_id=task_id, json_values={"stars": [1, 2]}, completion_tags_selector=[trace])
    assert_error(response, 400, "json_values do not match the task schema: /stars")


def test_tasks_are_listed_with_what_the_command_lines_table_needs(http: httpx.Client) -> None:
    made = [a_task(http, name=f"task {n}", json_schema={})["id"] for n in range(3)]
    total = answered(http.get(TASKS, params={"organization_id": "o"}))["total"]
    listed = []
    for offset in range(0, total, 10):
        page = answered(http.get(TASKS, params={"organization_id": "o", "offset": offset, "limit": 10}))
        assert page["total"] == total
        listed += page["data"]
    assert [task["id"] for task in listed][-3:] == made
    for task in listed:
        assert datetime.now(UTC) - datetime.fromisoformat(task["created_at"]) < timedelta(hours=1)
        assert ", ".join(task["json_schema"]["required"]) is not None
        assert isinstance(task["name"], str)
        assert isinstance(task["instruction"], str)
        assert task["organization_id"] == "o"


def test_ten_tasks_are_listed_unless_more_are_asked_for(http: httpx.Client) -> None:
    for _ in range(11):
        a_task(http)
    assert len(answered(http.get(TASKS))["data"]) == 10
    assert len(answered(http.get(TASKS, params={"limit": 11}))["data"]) == 11
    assert answered(http.get(TASKS, params={"offset": 10**30}))["data"] == []


def test_an_archived_task_leaves_the_list_and_can_be_read(http: httpx.Client, trace: str) -> None:
    task_id = a_task(http)["id"]
    answered(http.post(f"/v1/feedback-tasks/{task_id}/archive"))
    listed = answered(http.get(TASKS, params={"limit": 1000}))["data"]
    assert task_id not in [task["id"] for task in listed]
    assert answered(http.get(f"{TASKS}/{task_id}"))["id"] == task_id
    chat(http, trace)
    assert_error(post(http, task_id=task_id, completion_tags_selector=[trace]), 400, "archived")


def test_a_task_of_our_own_api_is_a_task_here(http: httpx.Client) -> None:
    native = answered(
        http.post("/v1/feedback-tasks", json={"name": "n", "schema": {}, "selector": {"tags": ["a"]}})
    )
    task = answered(http.get(f"{TASKS}/{native['id']}"))
    assert (task["name"], task["completion_tags_selector"]) == ("n", ["a"])


@pytest.mark.parametrize(
    ("schema", "shown"), [(True, {"required": []}), (False, {"not": {}, "required": []})]
)
def test_a_schema_that_is_a_boolean_is_shown_as_an_object(schema: bool, shown: Any) -> None:
    task = FeedbackTask("t", "k", "n", 1, schema, "", Selector(), 0, None, None)
    assert vendor.task_shape(task, "")["json_schema"] == shown


REFUSED_TASKS: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "request body is empty"),
    "not JSON": (b"{", "request body is not JSON"),
    "NaN": (b'{"name": "n", "json_schema": {"const": NaN}}', "request body is not JSON"),
    "an array": ([], "request body must be a JSON object"),
    "no schema": ({"name": "n"}, "json_schema is required"),
    "a null schema": ({"name": "n", "json_schema": None}, "json_schema is required"),
    "a schema of another type": ({"name": "n", "json_schema": []}, "json_schema must be a JSON object"),
    "a schema that is none": (
        {"name": "n", "json_schema": {"properties": {"a": {"type": "sting"}}}},
        "json_schema: /properties/a/type: ",
    ),
    "a remote reference": (
        {"name": "n", "json_schema": {"$ref": "http://127.0.0.1:9/schema.json"}},
        "json_schema: ",
    ),
    "a schema too deep": (
        {"name": "n", "json_schema": json.loads('{"not":' * 120 + "{}" + "}" * 120)},
        "json_schema is nested deeper than 100 levels",
    ),
    "no name": ({"json_schema": {}}, "name is required"),
    "an empty name": ({"name": "", "json_schema": {}}, "name must not be empty"),
    "a name of another type": ({"name": 1, "json_schema": {}}, "name must be a string, not a number"),
    "an instruction of another type": (
        {"name": "n", "json_schema": {}, "instruction": []},
        "instruction must be a string",
    ),
    "a tag that is too long": (
        {"name": "n", "json_schema": {}, "completion_tags_selector": ["a", "x" * 2_000]},
        "completion_tags_selector[1]: has 2000 characters",
    ),
    "a selector of another type": (
        {"name": "n", "json_schema": {}, "completion_tags_selector": "a"},
        "completion_tags_selector must be an array of strings, not a string",
    ),
    "a selector with another type inside": (
        {"name": "n", "json_schema": {}, "completion_tags_selector": ["a", 1]},
        "completion_tags_selector[1] must be a string, not a number",
    ),
}


@pytest.mark.parametrize("case", REFUSED_TASKS)
def test_a_bad_task_is_refused_and_nothing_is_stored(http: httpx.Client, case: str) -> None:
    body, says = REFUSED_TASKS[case]
    before = answered(http.get(TASKS))["total"]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert_error(http.post(TASKS, content=content), 400, says)
    assert answered(http.get(TASKS))["total"] == before


# --- feedback ---


def test_the_record_has_what_the_mapping_says(http: httpx.Client, trace: str) -> None:
    exchange = chat(http, trace)
    task_id = a_task(http)["id"]
    row = give(http, task_id=task_id, completion_tags_selector=[f" {trace} ", "", exchange], comment="c")
    kept = record(http, row["id"])
    assert kept["id"] == row["id"] == str(uuid.UUID(row["id"]))
    assert kept["targets"] == [{"trace_id": trace, "request_id": exchange, "matched": True}]
    expected = {
        "name": "emoji", "kind": "object", "signal": "explicit", "value": {"feedback": "good"},
        "weight": 1.0, "comment": "c", "task": {"id": task_id, "version": 1},
        "source": {"type": "HUMAN", "id": None}, "metadata": {"_tags": [trace, exchange]},
        "correction": None, "overrides": None, "retracted_at": None,
    }  # fmt: skip
    assert {name: kept[name] for name in expected} == expected


@pytest.mark.parametrize("comment", [{}, {"comment": ""}, {"comment": None}])
def test_an_empty_comment_is_none(http: httpx.Client, trace: str, comment: Any) -> None:
    chat(http, trace)
    row = give(http, task_id=a_task(http)["id"], completion_tags_selector=[trace], **comment)
    assert row["comment"] == ""
    assert record(http, row["id"])["comment"] is None


def test_the_name_is_the_tasks_at_the_time_of_the_call(http: httpx.Client, trace: str) -> None:
    chat(http, trace)
    task_id = a_task(http)["id"]
    row = give(http, task_id=task_id, completion_tags_selector=[trace])
    answered(http.put(f"/v1/feedback-tasks/{task_id}", json={"name": "renamed"}))
    assert answered(http.get(f"{ROWS}/{row['id']}"))["task_name"] == "emoji"
    assert give(http, task_id=task_id, completion_tags_selector=[trace])["task_name"] == "renamed"


def test_a_tag_matches_every_exchange_that_has_it(http: httpx.Client, trace: str) -> None:
    both = chat(http, f"{trace}-1", f"{trace}-a, {trace}-b")
    chat(http, f"{trace}-2", f"{trace}-a")
    task_id = a_task(http)["id"]
    row = give(http, task_id=task_id, completion_tags_selector=[f"{trace}-a"])
    assert len(row["matched_completion_ids"]) == 2
    row = give(http, task_id=task_id, completion_tags_selector=[f"{trace}-a", f" {trace}-b"])
    assert row["matched_completion_ids"] == [both]
    row = give(http, task_id=task_id, completion_tags_selector=[f"{trace}-a", f"{trace}-1"])
    assert row["matched_completion_ids"] == [both]


def test_an_entry_may_be_a_trace_or_an_exchange(http: httpx.Client, trace: str) -> None:
    exchanges = [chat(http, trace) for _ in range(3)]
    task_id = a_task(http)["id"]
    row = give(http, task_id=task_id, completion_tags_selector=[trace])
    assert sorted(row["matched_completion_ids"]) == sorted(exchanges)
    row = give(http, task_id=task_id, completion_tags_selector=[exchanges[1]])
    assert row["matched_completion_ids"] == [exchanges[1]]
    assert_error(
        post(http, task_id=task_id, completion_tags_selector=exchanges[:2]), 400, "no exchange matches"
    )


def test_matches_are_fixed_at_the_time_of_the_call(http: httpx.Client, trace: str) -> None:
    first = chat(http, trace)
    row = give(http, task_id=a_task(http)["id"], completion_tags_selector=[trace])
    chat(http, trace)
    assert answered(http.get(f"{ROWS}/{row['id']}"))["matched_completion_ids"] == [first]


def test_nothing_matched_is_refused_unless_it_is_allowed(http: httpx.Client, trace: str) -> None:
    task_id = a_task(http)["id"]
    for fields in ({"completion_tags_selector": [trace]}, {"completion_ids": [trace]}):
        assert_error(post(http, task_id=task_id, **fields), 400, "match")
        assert_error(post(http, task_id=task_id, **fields, allow_unmatched_feedback=False), 400, "match")
        row = give(http, task_id=task_id, **fields, allow_unmatched_feedback=True)
        assert row["matched_completion_ids"] == []
        assert record(http, row["id"])["targets"] == []
    assert answered(http.get(ROWS, params={"task_id": task_id}))["total"] == 2


def test_more_matches_than_allowed_are_refused(http: httpx.Client, trace: str) -> None:
    exchanges = [chat(http, trace) for _ in range(3)]
    task_id = a_task(http)["id"]
    for fields in ({"completion_tags_selector": [trace]}, {"completion_ids": exchanges}):
        assert_error(post(http, task_id=task_id, **fields, max_matched_completions=2), 400, "2")
        row = give(http, task_id=task_id, **fields, max_matched_completions=3)
        assert len(row["matched_completion_ids"]) == 3
    assert answered(http.get(ROWS, params={"task_id": task_id}))["total"] == 2


def test_a_hundred_matches_are_the_default_limit() -> None:
    body = {"task_id": "t", "json_values": {}, "completion_tags_selector": ["a"]}
    assert vendor.parse_feedback(json.dumps(body).encode()).draft.targets.limit == 100  # type: ignore[union-attr]


def test_completion_ids_are_exchanges_first_and_then_traces(http: httpx.Client, trace: str) -> None:
    exchange, other = chat(http, f"{trace}-1"), f"{trace}-2"
    chat(http, other)
    row = give(http, task_id=a_task(http)["id"], completion_ids=[exchange, f" {other} ", "", exchange])
    assert record(http, row["id"])["targets"] == [
        {"trace_id": f"{trace}-1", "request_id": exchange, "matched": True},
        {"trace_id": other, "request_id": None, "matched": True},
    ]
    assert row["matched_completion_ids"] == [exchange, other]
    assert record(http, row["id"])["metadata"] is None


@pytest.mark.parametrize("allowed", [True, False])
def test_completion_ids_that_match_nothing_are_left_out(
    http: httpx.Client, trace: str, allowed: bool
) -> None:
    exchange, later = chat(http, trace), f"{trace}-later"
    row = give(
        http, task_id=a_task(http)["id"], completion_ids=[later, exchange], allow_unmatched_feedback=allowed
    )
    assert row["matched_completion_ids"] == [exchange]
    chat(http, later)
    assert record(http, row["id"])["targets"] == [
        {"trace_id": trace, "request_id": exchange, "matched": True}
    ]


BAD_FIELDS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no task": ({"task_id": None}, 400, "task_id is required"),
    "an empty task": ({"task_id": ""}, 400, "task_id must not be empty"),
    "a task of another type": ({"task_id": 1}, 400, "task_id must be a string, not a number"),
    "an unknown task": ({"task_id": NOWHERE}, 404, NOWHERE),
    "no values": ({"json_values": None}, 400, "json_values is required"),
    "values of another type": ({"json_values": ["good"]}, 400, "json_values must be a JSON object"),
    "a value that does not fit": (
        {"json_values": {"feedback": "x"}},
        400,
        'json_values do not match the task schema: /feedback: "x" is not one of ["good","bad"]',
    ),
    "a value that is missing": (
        {"json_values": {}},
        400,
        "json_values do not match the task schema: /feedback",
    ),
    "values too large": ({"json_values": {"more": "x" * 70_000}}, 400, "json_values has 7"),
    "neither": ({"completion_tags_selector": None}, 400, "exactly one of completion_tags_selector and"),
    "both": ({"completion_ids": ["x"]}, 400, "exactly one of completion_tags_selector and completion_ids"),
    "an empty selector": ({"completion_tags_selector": []}, 400, "completion_tags_selector has no tags"),
    "a selector of blanks": (
        {"completion_tags_selector": ["", "  "]},
        400,
        "completion_tags_selector has no",
    ),
    "a selector of another type": (
        {"completion_tags_selector": "a"},
        400,
        "completion_tags_selector must be an array of strings",
    ),
    "a selector with another type inside": (
        {"completion_tags_selector": [None]},
        400,
        "completion_tags_selector[0] must be a string, not null",
    ),
    "empty ids": (
        {"completion_ids": [], "completion_tags_selector": None},
        400,
        "completion_ids has no ids",
    ),
    "ids of another type": (
        {"completion_ids": {"a": 1}, "completion_tags_selector": None},
        400,
        "completion_ids must be an array of strings",
    ),
    "a comment of another type": ({"comment": 1}, 400, "comment must be a string, not a number"),
    "a flag of another type": ({"allow_unmatched_feedback": "yes"}, 400, "allow_unmatched_feedback must be"),
    "a limit of another type": ({"max_matched_completions": "5"}, 400, "max_matched_completions must be"),
    "a limit that is a boolean": ({"max_matched_completions": True}, 400, "max_matched_completions must be"),
    "a limit of none": ({"max_matched_completions": 0}, 400, "max_matched_completions must be an integer"),
    "a limit beyond all": ({"max_matched_completions": 10**9}, 400, "max_matched_completions must be"),
    "a selector that is too large": (
        {"completion_tags_selector": [f"{n:040}" for n in range(400)]},
        400,
        "completion_tags_selector has 17",
    ),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_bad_feedback_is_refused_and_nothing_is_stored(http: httpx.Client, trace: str, case: str) -> None:
    fields, status, says = BAD_FIELDS[case]
    chat(http, trace)
    task_id = a_task(http)["id"]
    body = {"task_id": task_id, "completion_tags_selector": [trace]} | fields
    assert_error(post(http, **body), status, says)
    assert answered(http.get(ROWS, params={"task_id": task_id}))["total"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"task_id": NaN}'])
def test_a_body_that_is_no_object_is_refused(http: httpx.Client, body: bytes) -> None:
    assert_error(http.post(ROWS, content=body), 400, "request body")


# --- lists and pages ---


@pytest.fixture(scope="module")
def five(gateway: RunningGateway) -> dict[str, Any]:
    """A task with five pieces of feedback, oldest first."""
    with httpx.Client(base_url=gateway.url, timeout=30) as http:
        trace = f"trace-{uuid.uuid4().hex}"
        chat(http, trace)
        task = a_task(http)
        return {"task": task["id"], "rows": [
            give(http, task_id=task["id"], completion_tags_selector=[trace], comment=str(n)) for n in range(5)
        ]}  # fmt: skip


def download(http: httpx.Client, *, offset: int, limit: int, task_id: str) -> tuple[list[Any], int]:
    """What `log10 feedback download` does, and how many requests it takes: none may be the last for ever."""
    fetched: list[Any] = []
    total = 0
    for requests in range(1, 20):
        page = answered(
            http.get(
                ROWS,
                params={
                    "organization_id": "ORG",
                    "offset": offset,
                    "limit": limit - len(fetched) if limit else 50,
                    "task_id": task_id,
                },
            )
        )
        total = total or page["total"]
        limit = limit or total
        fetched += page["data"]
        offset += len(page["data"])
        if len(fetched) >= limit or len(fetched) >= total:
            return fetched, requests
    raise AssertionError("the client would ask for ever")


@pytest.mark.parametrize("offset", [0, 1, 2, 4, 5, 6, 1000])
@pytest.mark.parametrize("limit", [0, 1, 2, 5, 25])
def test_a_download_ends_with_every_row_from_the_offset(
    http: httpx.Client, five: dict[str, Any], offset: int, limit: int
) -> None:
    fetched, requests = download(http, offset=offset, limit=limit, task_id=five["task"])
    wanted = five["rows"][offset : offset + limit if limit else None]
    assert [row["id"] for row in fetched] == [row["id"] for row in wanted]
    assert requests == 1


def test_total_counts_from_the_offset(http: httpx.Client, five: dict[str, Any]) -> None:
    for offset, total in ((0, 5), (2, 3), (5, 0), (6, 0), (10**40, 0)):
        page = answered(http.get(ROWS, params={"task_id": five["task"], "offset": offset, "limit": 1}))
        assert (page["total"], len(page["data"])) == (total, min(1, total))


def test_a_row_of_a_list_is_the_row_of_its_id(http: httpx.Client, five: dict[str, Any]) -> None:
    page = answered(http.get(ROWS, params={"task_id": five["task"], "organization_id": "o"}))
    assert page["data"] == [{**row, "organization_id": "o"} for row in five["rows"]]
    for row in five["rows"]:
        assert answered(http.get(f"{ROWS}/{row['id']}")) == row
        json.dumps(row["json_values"], ensure_ascii=False)
        assert ",".join(row["matched_completion_ids"])


def test_a_page_is_never_larger_than_its_limit_nor_than_a_thousand() -> None:
    assert vendor.paging({}, 50) == (0, 50)
    assert vendor.paging({"offset": "7", "limit": "1"}, 50) == (7, 1)
    assert vendor.paging({"limit": "1000000"}, 50) == (0, 1000)
    assert vendor.paging({"limit": "9" * 5000}, 50) == (0, 1000)


def test_a_download_in_steps_gets_each_row_once(http: httpx.Client, trace: str) -> None:
    chat(http, trace)
    task_id = a_task(http)["id"]
    ids = [give(http, task_id=task_id, completion_tags_selector=[trace])["id"] for _ in range(51)]
    fetched, requests = download(http, offset=0, limit=0, task_id=task_id)
    assert [row["id"] for row in fetched] == ids
    assert requests == math.ceil(51 / 50)


def test_any_spelling_of_an_id_is_accepted(http: httpx.Client, five: dict[str, Any]) -> None:
    row = five["rows"][0]
    for prefix in ("a-", "ann_"):
        spelled = prefix + uuid.UUID(row["id"]).hex
        assert answered(http.get(f"{ROWS}/{spelled}", params={"organization_id": ""})) == row


def test_retracted_feedback_leaves_the_lists(http: httpx.Client, trace: str) -> None:
    chat(http, trace)
    task_id = a_task(http)["id"]
    row = give(http, task_id=task_id, completion_tags_selector=[trace])
    answered(http.delete(f"/v1/feedback/{row['id']}"))
    assert answered(http.get(ROWS, params={"task_id": task_id})) == {"data": [], "total": 0}
    assert_error(http.get(f"{ROWS}/{row['id']}"), 404, row["id"])


def test_rows_are_filtered_by_completion(http: httpx.Client, trace: str) -> None:
    first, second = chat(http, trace), chat(http, trace)
    task_id = a_task(http)["id"]
    ids = {x: give(http, task_id=task_id, completion_ids=[x])["id"] for x in (first, second, trace)}
    for completion_id, feedback_id in ids.items():
        page = answered(http.get(ROWS, params={"completion_id": completion_id, "task_id": task_id}))
        assert ([row["id"] for row in page["data"]], page["total"]) == ([feedback_id], 1)


def test_an_empty_task_id_means_all(http: httpx.Client, five: dict[str, Any]) -> None:
    page = answered(http.get(f"{ROWS}?organization_id=&offset=0&limit=1000&task_id="))
    assert {row["id"] for row in five["rows"]} <= {row["id"] for row in page["data"]}


def test_feedback_of_others_is_a_row_too(http: httpx.Client, trace: str) -> None:
    bodies: list[tuple[dict[str, Any], Any]] = [
        ({"value": 5}, {"feedback": 5}),
        ({"name": "quality", "kind": "object", "value": {"a": 1}}, {"a": 1}),
        ({"name": "thumbs", "value": True, "correction": "Paris"}, {"thumbs": True, "correction": "Paris"}),
        ({"name": "remark", "comment": "too long"}, {}),
    ]
    for body, values in bodies:
        [feedback_id] = answered(http.post("/v1/feedback", json={"trace_id": trace} | body))["feedback_ids"]
        row = answered(http.get(f"{ROWS}/{feedback_id}"))
        assert (row["json_values"], row["task_name"]) == (values, body.get("name", "feedback"))
        assert (row["task_id"], row["matched_completion_ids"]) == ("", [])
        assert row["comment"] == body.get("comment", "")


@pytest.mark.parametrize("path", [TASKS, ROWS])
@pytest.mark.parametrize(
    "query",
    [
        "offset=-1",
        "offset=x",
        "offset=1.5",
        "offset=",
        "limit=0",
        "limit=-1",
        "limit=all",
        "limit=",
        "limit=%C2%B2",
    ],
)
def test_a_bad_page_is_refused(http: httpx.Client, path: str, query: str) -> None:
    assert_error(http.get(f"{path}?{query}"), 400, f"{query.partition('=')[0]} must be an integer from")


# --- errors, paths and repeats ---


@pytest.mark.parametrize("path", [TASKS, ROWS])
def test_an_unknown_id_is_a_404(http: httpx.Client, path: str) -> None:
    for unknown in (NOWHERE, "t1"):
        assert_error(http.get(f"{path}/{unknown}"), 404, unknown)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", TASKS, "GET, HEAD, POST"),
        ("DELETE", f"{ROWS}/", "GET, HEAD, POST"),
        ("POST", f"{TASKS}/x", "GET, HEAD"),
        ("PATCH", f"{ROWS}/x", "GET, HEAD"),
        ("DELETE", f"{ROWS}/x/", "GET, HEAD"),
    ],
)
def test_another_method_is_a_405_with_allow(http: httpx.Client, method: str, path: str, allow: str) -> None:
    response = http.request(method, path)
    assert_error(response, 405, method)
    assert response.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/api/v1/other", "/api/v1/feedback/a/b", "/api/completions/c1"])
def test_any_other_path_is_a_404_in_the_same_shape(http: httpx.Client, path: str) -> None:
    assert_error(http.get(path), 404, path)


@pytest.mark.parametrize("path", [TASKS, ROWS])
def test_a_body_over_the_limit_is_a_413(client: RawClient, path: str) -> None:
    client.send(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n".encode())
    answer = client.read_answer()
    assert (answer.status, list(answer.json())) == (413, ["error"])


def test_the_token_is_the_key_and_the_organization_selects_nothing() -> None:
    key = "key-of-the-team-0123456789"
    with run_gateway({"keys": {"team": {"key": key}}}, upstream="http://127.0.0.1:9/v1") as locked:
        for line in (CREATE_TASK, LIST_TASKS, GET_TASK, CREATE, LIST, GET):
            answer = line.replay(locked.port)
            assert (answer.status, list(answer.json())) == (401, ["error"])
            assert isinstance(answer.json()["error"], str)
        with httpx.Client(base_url=locked.url, headers={"x-log10-token": key}) as http:
            task_id = a_task(http, organization_id="one")["id"]
            found = answered(http.get(f"{TASKS}/{task_id}", params={"organization_id": "another"}))
            assert found["organization_id"] == "another"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InvalidKey("no such key"), 401, "no such key"),
        (GatewayError("Something went wrong"), 500, "Something went wrong"),
        (StoreUnavailable("the store is away"), 500, "the store is away"),
        (
            UnfitValue(
                FeedbackTask("t", "k", "n", 1, {}, "", Selector(), 0, None, None), ("/a: no", "/b: no")
            ),
            400,
            "json_values do not match the task schema: /a: no; /b: no",
        ),
    ],
)
def test_every_failure_is_a_text(error: GatewayError, status: int, message: str) -> None:
    refusal = vendor.render_error(error, "POST")
    assert (refusal.status, json.loads(refusal.body)) == (status, {"error": message})


@pytest.mark.parametrize(("method", "path"), [("POST", TASKS), ("GET", TASKS), ("POST", ROWS), ("GET", ROWS)])
@pytest.mark.parametrize("failure", [StoreUnavailable("locked"), RuntimeError("a bug")])
async def test_a_failure_inside_is_a_500(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, method: str, path: str
) -> None:
    async def fail(*_: object) -> None:
        raise failure

    bodies = {
        TASKS: {"name": "n", "json_schema": {}},
        ROWS: {"task_id": "t", "json_values": {}, "completion_ids": ["x"]},
    }
    async with own_api(tmp_path) as api:
        monkeypatch.setattr(SqliteDatabase, "write", fail)
        monkeypatch.setattr(SqliteDatabase, "read", fail)
        body = bodies[path] if method == "POST" else None
        assert_error(await api.client.request(method, path, json=body), 500, "")


def test_slashes_at_the_end_and_doubled_do_not_matter(http: httpx.Client, five: dict[str, Any]) -> None:
    for path in (
        f"{TASKS}/{five['task']}/",
        f"/{TASKS}/{five['task']}",
        f"/api//v1/feedback_task/{five['task']}",
    ):
        assert answered(http.get(f"{http.base_url}{path}"))["id"] == five["task"]
    assert answered(http.get(f"{ROWS}/", params={"task_id": five["task"]}))["total"] == 5


@pytest.mark.parametrize("path", [TASKS, ROWS])
def test_a_repeated_create_gets_the_first_answer(http: httpx.Client, trace: str, path: str) -> None:
    chat(http, trace)
    bodies: dict[str, dict[str, Any]] = {
        TASKS: {"name": "n", "json_schema": {}},
        ROWS: {
            "task_id": a_task(http)["id"],
            "json_values": {"feedback": "bad"},
            "completion_tags_selector": [trace],
        },
    }
    headers = {"idempotency-key": trace}
    first = answered(http.post(path, json=bodies[path], headers=headers))
    assert answered(http.post(f"{path}/", json=bodies[path], headers=headers)) == first
    other = http.post(path, json=bodies[path] | {"more": 1}, headers=headers)
    assert_error(other, 422, "Idempotency-Key")


def test_ids_that_match_nothing_and_a_repeat_go_together(http: httpx.Client, trace: str) -> None:
    exchange = chat(http, trace)
    task_id, headers = a_task(http)["id"], {"idempotency-key": trace}
    body = {
        "task_id": task_id,
        "json_values": {"feedback": "bad"},
        "completion_ids": [exchange, f"{trace}-2"],
    }
    first = answered(http.post(ROWS, json=body, headers=headers))
    assert answered(http.post(ROWS, json=body, headers=headers)) == first
    assert answered(http.get(ROWS, params={"task_id": task_id}))["total"] == 1
