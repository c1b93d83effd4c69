"""Feedback tasks on the wire: forms with a schema, their versions, and the answers held to them."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.openapi import document
from tests.harness import Process, run_gateway
from tests.own_api import IDEMPOTENCY_TTL_S, OwnAPI, lasting_api, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PATH = "/v1/feedback-tasks"
NOWHERE = "11111111-1111-1111-1111-111111111111"
EMOJI = {
    "type": "object",
    "properties": {"feedback": {"type": "string", "enum": ["good", "bad"]}},
    "required": ["feedback"],
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path, max_body_bytes=200_000) as opened:
        yield opened


async def create(api: OwnAPI, **fields: Any) -> dict[str, Any]:
    response = await api.client.post(PATH, json={"name": "emoji", "schema": EMOJI, **fields})
    assert response.status_code == 200, response.text
    created: dict[str, Any] = response.json()
    return created


async def change(api: OwnAPI, task: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = await api.client.put(f"{PATH}/{task['id']}", json=fields)
    assert response.status_code == 200, response.text
    changed: dict[str, Any] = response.json()
    return changed


async def answer(api: OwnAPI, task: dict[str, Any], value: Any, trace_id: str = "t1") -> httpx.Response:
    body = {"trace_id": trace_id, "task_id": task["id"], "value": value}
    return await api.client.post("/v1/feedback", json=body)


def assert_error(response: httpx.Response, status: int, param: str | None, says: str = "") -> None:
    """In OpenAI's shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert says in error["message"]


# --- create and read ---


async def test_a_task_is_stored_and_read(api: OwnAPI) -> None:
    selector = {"tags": ["a", "b"], "metadata": {"_user": "ann", "n": 1, "ok": True, "none": None}}
    task = await create(api, instruction="Say what you felt.", selector=selector)
    assert task == {
        "object": "feedback_task",
        "id": task["id"],
        "name": "emoji",
        "version": 1,
        "schema": EMOJI,
        "instruction": "Say what you felt.",
        "selector": {
            "tags": ["a", "b"],
            "metadata": {"_user": "ann", "n": "1", "ok": "true", "none": "null"},
        },
        "created_at": "2027-01-15T08:00:00.001Z",
        "updated_at": None,
        "archived_at": None,
    }
    assert await api.get(f"{PATH}/{task['id']}") == task
    assert (await api.get(PATH))["data"] == [task]


async def test_only_a_name_and_a_schema_are_needed(api: OwnAPI) -> None:
    response = await api.client.post(PATH, json={"name": " n ", "json_schema": {}, "selector": None})
    task = response.json()
    assert (task["name"], task["schema"], task["instruction"]) == ("n", {}, "")
    assert task["selector"] == {"tags": [], "metadata": {}}


async def test_a_schema_comes_back_as_it_was_sent(api: OwnAPI) -> None:
    schema = '{"b":{"$ref":"x"},"a":[1,1.5,null,"\\u00e9"],"type":["object","null"]}'
    body = f'{{"name":"n","schema":{schema}}}'
    response = await api.client.post(PATH, content=body.encode())
    assert json.dumps(json.loads(schema), ensure_ascii=False, separators=(",", ":")) in response.text


@pytest.mark.parametrize("slash", ["", "/"])
async def test_every_path_is_served_with_and_without_a_trailing_slash(api: OwnAPI, slash: str) -> None:
    created = await api.client.post(PATH + slash, json={"name": "n", "schema": {}})
    task = f"{PATH}/{created.json()['id']}"
    for method, path, body in (
        ("GET", PATH, None),
        ("GET", task, None),
        ("PUT", task, {"name": "m"}),
        ("GET", f"{task}/inbox", None),
        ("POST", f"{task}/inbox/claims", {"reviewer": "r"}),
        ("DELETE", f"{task}/inbox/claims?reviewer=r" if not slash else "", None),
        ("POST", f"{task}/archive", None),
        ("DELETE", task, None),
    ):
        if path:
            response = await api.client.request(method, path + slash, json=body)
            assert response.status_code == 200, (method, path, response.text)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", PATH, "GET, HEAD, POST"),
        ("POST", f"{PATH}/x", "DELETE, GET, HEAD, PUT"),
        ("GET", f"{PATH}/x/archive", "POST"),
        ("POST", f"{PATH}/x/inbox", "GET, HEAD"),
        ("GET", f"{PATH}/x/inbox/claims", "DELETE, POST"),
    ],
)
async def test_other_methods_are_a_405(api: OwnAPI, method: str, path: str, allow: str) -> None:
    response = await api.client.request(method, path)
    assert_error(response, 405, None)
    assert response.headers["allow"] == allow


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ("", None, "not JSON"),
        ("{", None, "not JSON"),
        ("NaN", None, "not JSON"),
        ("[]", None, "must be an object, not an array"),
        ({"schema": {}}, "name", "is required"),
        ({"name": None, "schema": {}}, "name", "must be a string, not null"),
        ({"name": 5, "schema": {}}, "name", "must be a string, not a number"),
        ({"name": "", "schema": {}}, "name", "needs 1 to 250"),
        ({"name": "  ", "schema": {}}, "name", "needs 1 to 250"),
        ({"name": "x" * 251, "schema": {}}, "name", "has 251 characters"),
        ({"name": "n"}, "schema", "is required"),
        ({"name": "n", "schema": None}, "schema", "must be an object"),
        ({"name": "n", "schema": True}, "schema", "must be an object"),
        ({"name": "n", "schema": "{}"}, "schema", "must be an object"),
        (
            {"name": "n", "schema": {"properties": {"a": {"type": "foo"}}}},
            "schema",
            '/properties/a/type: "foo" is not one of ["array",',
        ),
        ({"name": "n", "schema": {"$ref": "http://127.0.0.1:9/"}}, "schema", "nothing is ever fetched"),
        ({"name": "n", "schema": {}, "json_schema": {}}, "json_schema", "two names for one field"),
        ({"name": "n", "schema": {}, "instruction": 1}, "instruction", "must be a string"),
        ({"name": "n", "schema": {}, "instruction": "x" * 16_385}, "instruction", "the limit is 16384"),
        ({"name": "n", "schema": {}, "instructions": ""}, "instructions", 'did you mean "instruction"?'),
        ({"name": "n", "schema": {}, "zzz": 1}, "zzz", "known are name, schema"),
        ({"name": "n", "schema": {}, "selector": []}, "selector", "must be an object"),
        ({"name": "n", "schema": {}, "selector": {"tag": []}}, "selector.tag", 'did you mean "tags"?'),
        ({"name": "n", "schema": {}, "selector": {"tags": "a"}}, "selector.tags", "array of strings"),
        ({"name": "n", "schema": {}, "selector": {"tags": [1]}}, "selector.tags[0]", "must be a string"),
        ({"name": "n", "schema": {}, "selector": {"tags": ["a", " "]}}, "selector.tags", "[1]"),
        ({"name": "n", "schema": {}, "selector": {"tags": ["a"] * 51}}, "selector.tags", "limit is 50"),
        ({"name": "n", "schema": {}, "selector": {"metadata": []}}, "selector.metadata", "an object"),
        ({"name": "n", "schema": {}, "selector": {"metadata": {"a": []}}}, "selector.metadata.a", "a string"),
        (
            {"name": "n", "schema": {}, "selector": {"metadata": {str(n): "" for n in range(11)}}},
            "selector.metadata",
            "limit is 10",
        ),
    ],
)
async def test_a_bad_task_is_refused_and_nothing_is_stored(
    api: OwnAPI, body: Any, param: str | None, says: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    assert_error(await api.client.post(PATH, content=content.encode()), 400, param, says)
    assert (await api.get(PATH))["data"] == []


async def test_a_body_over_the_limit_is_too_large(api: OwnAPI) -> None:
    assert_error(await api.client.post(PATH, content=b" " * 200_001), 413, None)


async def test_a_compressed_body_is_refused_as_what_it_is(api: OwnAPI) -> None:
    response = await api.client.post(PATH, content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert_error(response, 415, None, "send the body uncompressed")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PUT", "", {"name": "n"}),
        ("DELETE", "", None),
        ("POST", "/archive", None),
        ("GET", "/inbox", None),
        ("POST", "/inbox/claims", {"reviewer": "r"}),
        ("DELETE", "/inbox/claims?reviewer=r", None),
    ],
)
async def test_an_unknown_task_is_a_404(api: OwnAPI, method: str, path: str, body: Any) -> None:
    response = await api.client.request(method, f"{PATH}/{NOWHERE}{path}", json=body)
    assert_error(response, 404, "task_id", f"there is no feedback task '{NOWHERE}'")


@pytest.mark.parametrize(
    "path", ["?zzz=1", "/{id}?zzz=1", "/{id}?version=0", "/{id}?version=x", "/{id}?limit=1", "/{id}?version="]
)
async def test_wrong_parameters_are_refused(api: OwnAPI, path: str) -> None:
    task = await create(api)
    response = await api.client.get(f"{PATH}{path}".replace("{id}", task["id"]))
    assert_error(response, 400, path.partition("?")[2].partition("=")[0])


# --- Idempotency-Key ---


async def test_a_repeated_create_gets_the_first_answer(api: OwnAPI) -> None:
    headers = {"idempotency-key": "k1"}
    body = {"name": "emoji", "schema": EMOJI}
    answers = await asyncio.gather(
        *(api.client.post(path, json=body, headers=headers) for path in (PATH, f"{PATH}/") * 10)
    )
    assert len({answer.content for answer in answers}) == 1
    assert len(await api.ids(PATH)) == 1
    other = await api.client.post(PATH, json={**body, "name": "other"}, headers=headers)
    assert_error(other, 422, "Idempotency-Key")
    api.clock.ms += int(IDEMPOTENCY_TTL_S * 1000)
    assert (await api.client.post(PATH, json=body, headers=headers)).json()["id"] != answers[0].json()["id"]


async def test_a_refused_create_does_not_use_up_its_key(api: OwnAPI) -> None:
    headers = {"idempotency-key": "k1"}
    bad = await api.client.post(PATH, json={"name": "n", "schema": {"type": 1}}, headers=headers)
    good = await api.client.post(PATH, json={"name": "n", "schema": {}}, headers=headers)
    assert (bad.status_code, good.status_code) == (400, 200)


async def test_the_same_key_on_feedback_is_another_key(api: OwnAPI) -> None:
    headers = {"idempotency-key": "k1"}
    await api.client.post("/v1/feedback", json={"trace_id": "t", "value": 1}, headers=headers)
    created = await api.client.post(PATH, json={"name": "n", "schema": {}}, headers=headers)
    assert created.json()["object"] == "feedback_task"


# --- lists ---


async def test_the_list_is_newest_first_and_pages_with_after(api: OwnAPI) -> None:
    made = [(await create(api, name=f"task {n}"))["id"] for n in range(5)]
    page = await api.get(PATH, limit=2)
    assert [task["id"] for task in page["data"]] == made[:2:-1]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == (
        "list",
        made[4],
        made[3],
        True,
    )
    assert await api.ids(PATH, limit=2, after=made[3]) == [made[2], made[1]]
    page = await api.get(PATH, limit=2, after=made[1])
    assert ([task["id"] for task in page["data"]], page["has_more"]) == ([made[0]], False)
    assert_error(await api.client.get(PATH, params={"after": NOWHERE}), 400, "after")


async def test_tasks_made_in_the_same_millisecond_are_paged_one_by_one(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(api.clock), "__call__", lambda clock: clock.ms)
    made = []
    for _ in range(4):
        made.append((await create(api))["id"])
    found, after = [], {}
    while len(found) < 4:
        page = await api.get(PATH, limit=1, **after)
        found += [task["id"] for task in page["data"]]
        after = {"after": page["last_id"]}
    assert found == made[::-1]
    assert page["has_more"] is False


async def test_another_keys_tasks_are_not_seen(api: OwnAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await create(api)
    monkeypatch.setattr("gateway.api.services.DEFAULT_KEY_ID", "another")
    assert await api.ids(PATH) == []
    for method, path in (("GET", ""), ("DELETE", ""), ("PUT", ""), ("GET", "/inbox")):
        body = {"name": "mine"} if method == "PUT" else None
        response = await api.client.request(method, f"{PATH}/{task['id']}{path}", json=body)
        assert_error(response, 404, "task_id")
    assert (await answer(api, task, {"feedback": "good"})).status_code in (400, 404)
    monkeypatch.undo()
    assert await api.get(f"{PATH}/{task['id']}") == task


# --- versions ---


async def test_a_change_makes_a_new_version_and_the_old_one_stays(api: OwnAPI) -> None:
    task = await create(api, instruction="old", selector={"tags": ["a"]})
    changed = await change(api, task, schema={"type": "integer"})
    assert changed == {
        **task,
        "version": 2,
        "schema": {"type": "integer"},
        "updated_at": "2027-01-15T08:00:00.002Z",
    }
    third = await change(api, task, instruction="new", selector={"metadata": {"_user": "ann"}})
    assert (third["version"], third["schema"], third["instruction"]) == (3, {"type": "integer"}, "new")
    assert third["selector"] == {"tags": [], "metadata": {"_user": "ann"}}
    assert await api.get(f"{PATH}/{task['id']}") == third
    assert await api.get(f"{PATH}/{task['id']}", version=1) == task
    assert await api.get(f"{PATH}/{task['id']}", version=2) == changed
    missing = await api.client.get(f"{PATH}/{task['id']}", params={"version": 4})
    assert_error(missing, 404, "version", "the newest is 3")
    assert [task["version"] for task in (await api.get(PATH))["data"]] == [3]


async def test_a_new_name_alone_is_no_new_version(api: OwnAPI) -> None:
    task = await create(api)
    assert await change(api, task, name="faces") == {**task, "name": "faces"}


async def test_a_change_to_what_is_there_changes_nothing(api: OwnAPI) -> None:
    task = await create(api, instruction="i", selector={"tags": ["a"], "metadata": {"b": "1"}})
    again = {name: task[name] for name in ("name", "schema", "instruction", "selector")}
    for _ in range(2):
        assert await change(api, task, **again) == task


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({}, None, "nothing to change"),
        ({"instruction": None}, None, "nothing to change"),
        ({"schema": {"type": 5}}, "schema", "/type"),
        ({"schema": None}, "schema", "must be an object"),
        ({"name": ""}, "name", "1 to 250"),
        ({"version": 2}, "version", "unknown field"),
    ],
)
async def test_a_bad_change_changes_nothing(api: OwnAPI, body: Any, param: str | None, says: str) -> None:
    task = await create(api)
    assert_error(await api.client.put(f"{PATH}/{task['id']}", json=body), 400, param, says)
    assert await api.get(f"{PATH}/{task['id']}") == task


# --- answers ---


async def test_an_answer_that_fits_is_stored_with_the_tasks_name_and_version(api: OwnAPI) -> None:
    task = await create(api)
    first = await answer(api, task, {"feedback": "good"})
    await change(api, task, name="faces", schema={"type": "string"})
    second = await answer(api, task, "smile")
    assert (first.status_code, second.status_code) == (200, 200), second.text
    newer, older = (await api.get("/v1/feedback", task_id=task["id"]))["data"]
    assert (older["name"], older["value"]) == ("emoji", {"feedback": "good"})
    assert older["task"] == {"id": task["id"], "version": 1}
    assert (newer["name"], newer["value"]) == ("faces", "smile")
    assert newer["task"] == {"id": task["id"], "version": 2}


async def test_an_answer_that_does_not_fit_is_refused_with_the_path(api: OwnAPI) -> None:
    task = await create(api)
    response = await answer(api, task, {"feedback": "x"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert '/feedback: "x" is not one of ["good","bad"]' in error["message"]
    assert error["param"] == "value"
    assert await api.ids("/v1/feedback") == []


async def test_a_batch_with_one_answer_that_does_not_fit_stores_none(api: OwnAPI) -> None:
    task = await create(api)
    items = [
        {"trace_id": "t1", "value": 1},
        {"trace_id": "t1", "task_id": task["id"], "value": {"feedback": "good"}},
        {"trace_id": "t1", "task_id": task["id"], "value": {}},
    ]
    response = await api.client.post("/v1/feedback", json=items)
    assert response.status_code == 400
    error = response.json()["error"]
    assert "item 2" in error["message"]
    assert "/feedback: is missing" in error["message"]
    assert error["param"] == "[2].value"
    assert await api.ids("/v1/feedback") == []


async def test_an_answer_for_an_unknown_task_is_refused(api: OwnAPI) -> None:
    response = await answer(api, {"id": NOWHERE}, {"feedback": "good"})
    assert response.status_code in (400, 404)
    assert response.json()["error"]["param"] == "task_id"
    assert NOWHERE in response.json()["message"]
    assert await api.ids("/v1/feedback") == []


# --- archive ---


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/archive")])
async def test_an_archived_task_takes_no_answers_and_stays_readable(
    api: OwnAPI, method: str, path: str
) -> None:
    task = await create(api)
    await answer(api, task, {"feedback": "good"})
    archived = await api.client.request(method, f"{PATH}/{task['id']}{path}")
    assert archived.status_code == 200
    assert archived.json()["archived_at"] is not None
    again = await api.client.request(method, f"{PATH}/{task['id']}{path}")
    assert again.json() == archived.json()

    refused = await answer(api, task, {"feedback": "good"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "task_id"
    assert "is archived" in refused.json()["message"]
    assert_error(await api.client.put(f"{PATH}/{task['id']}", json={"name": "n"}), 400, "task_id", "archived")

    assert await api.get(f"{PATH}/{task['id']}") == archived.json()
    assert (await api.get(f"{PATH}/{task['id']}", version=1))["schema"] == EMOJI
    assert len(await api.ids("/v1/feedback", task_id=task["id"])) == 1
    assert await api.ids(PATH) == []
    assert await api.ids(PATH, include_archived=False) == []
    assert await api.ids(PATH, include_archived=True) == [task["id"]]


# --- documented ---


@pytest.mark.parametrize(
    ("method", "path", "schema"),
    [
        ("GET", "", "FeedbackTaskList"),
        ("GET", "/{id}", "FeedbackTask"),
        ("GET", "/{id}/inbox", "Inbox"),
        ("POST", "/{id}/inbox/claims", "Inbox"),
        ("DELETE", "/{id}/inbox/claims?reviewer=r", "InboxReleased"),
        ("DELETE", "/{id}", "FeedbackTask"),
    ],
)
async def test_what_is_answered_has_the_documented_shape(
    api: OwnAPI, method: str, path: str, schema: str
) -> None:
    task = await create(api, instruction="i", selector={"tags": ["x"], "metadata": {"a": "1"}})
    await change(api, task, selector={})
    for trace in ("t1", "t2"):
        await api.exchange(trace, metadata='{"a":1}', tags='["x"]')
    claim = {"reviewer": "r"}
    await api.client.post(f"{PATH}/{task['id']}/inbox/claims", json=claim)
    response = await api.client.request(
        method, f"{PATH}{path}".replace("{id}", task["id"]), json=claim if method == "POST" else None
    )
    described = {"$ref": f"#/components/schemas/{schema}", **document()}
    jsonschema_rs.validator_for(described).validate(response.json())
    required = document()["components"]["schemas"][schema]["required"]
    assert set(response.json()) == set(required), "every member is documented"


# --- in a gateway ---


def test_a_task_and_its_answers_outlive_the_process(fake_openai: Process, tmp_path: Path) -> None:
    def good(task: dict[str, Any]) -> dict[str, Any]:
        return {"trace_id": "wire", "task_id": task["id"], "value": {"feedback": "good"}}

    with run_gateway(upstream=f"{fake_openai.url}/v1", directory=tmp_path) as gateway:
        task = httpx.post(gateway.url + PATH, json={"name": "emoji", "schema": EMOJI}).json()
        assert httpx.post(f"{gateway.base_url}/feedback", json=good(task)).status_code == 200
    with run_gateway(upstream=f"{fake_openai.url}/v1", directory=tmp_path) as gateway:
        assert httpx.get(f"{gateway.url}/v1//feedback-tasks//{task['id']}").json() == task
        bad = {**good(task), "value": {"feedback": 1}}
        assert httpx.post(f"{gateway.base_url}/feedback", json=bad).status_code == 400
        assert httpx.post(f"{gateway.base_url}/feedback", json=good(task)).status_code == 200
        rows = gateway.rows.query("SELECT * FROM feedback WHERE task_id = ?", task["id"])
        assert [(row["name"], row["task_version"]) for row in rows] == [("emoji", 1), ("emoji", 1)]
        assert [json.loads(row["value"]) for row in rows] == [{"feedback": "good"}] * 2
        [form] = gateway.rows.query("SELECT * FROM feedback_task_version WHERE task_id = ?", task["id"])
        assert json.loads(form["schema"]) == EMOJI


# --- for all bodies ---

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("n") | ANY_JSON,
        "schema": st.sampled_from(({}, {"type": "object"}, {"type": 5}, {"$ref": "x"})) | ANY_JSON,
        "json_schema": ANY_JSON,
        "instruction": st.text() | ANY_JSON,
        "selector": st.fixed_dictionaries({}, optional={"tags": ANY_JSON, "metadata": ANY_JSON}) | ANY_JSON,
        "reviewer": st.just("r") | ANY_JSON,
        "limit": st.just(1) | ANY_JSON,
        "seconds": st.just(1) | ANY_JSON,
    },
)
EXAMPLES = itertools.count()


@pytest.fixture(scope="module")
def lasting(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnAPI, str]]:
    """One database for all examples, and a task in it."""
    with lasting_api(runner, tmp_path_factory.mktemp("properties")) as api:
        yield api, runner.run(create(api))["id"]


@settings(max_examples=200, deadline=None)
@given(
    body=(NEARLY | ANY_JSON).map(json.dumps).map(str.encode) | st.binary(),
    call=st.sampled_from((("POST", ""), ("PUT", "/{id}"), ("POST", "/{id}/inbox/claims"))),
)
def test_any_body_is_answered_below_500_in_openais_shape(
    runner: asyncio.Runner, lasting: tuple[OwnAPI, str], body: bytes, call: tuple[str, str]
) -> None:
    api, task_id = lasting
    method, path = call
    response = runner.run(api.client.request(method, PATH + path.replace("{id}", task_id), content=body))
    assert response.status_code in (200, 400), response.text
    assert response.headers["content-type"] == "application/json"
    if response.status_code == 400:
        assert response.json()["error"].keys() == {"message", "type", "param", "code"}
