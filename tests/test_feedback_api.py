"""The feedback endpoints: Portkey's two calls on the wire, and ours to read and to take back."""

from __future__ import annotations

import asyncio
import gzip
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.errors import StoreUnavailable
from gateway.store.sqlite import SqliteDatabase
from tests.own_api import IDEMPOTENCY_TTL_S, OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POST_PATHS = ["/v1/feedback", "/v1/feedback/", "/feedback", "/feedback/"]
NOWHERE = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path, max_body_bytes=100_000) as opened:
        yield opened


def assert_portkey_error(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert body.keys() == {"status", "message", "error"}
    assert body["status"] == "failure"
    assert body["error"].keys() == {"message", "type", "code", "param"}
    assert body["error"]["message"] == body["message"]
    assert body["error"]["code"] == code
    assert body["error"]["type"] == ("invalid_request_error" if status < 500 else "server_error")
    return body


# --- POST ---


@pytest.mark.parametrize("path", POST_PATHS)
async def test_feedback_is_saved_on_every_spelling_of_the_path(api: OwnAPI, path: str) -> None:
    response = await api.client.post(path, json={"trace_id": "t1", "value": -10, "weight": 0.5})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["status"] == "success"
    assert body["message"] == "Feedback successfully saved"
    [feedback_id] = body["feedback_ids"]
    assert str(uuid.UUID(feedback_id)) == feedback_id


async def test_what_was_saved_can_be_read(api: OwnAPI) -> None:
    metadata = {"text": "title was irrelevant", "_user": "fef653", "n": [1, None]}
    [feedback_id] = await api.give({"trace_id": "t1", "value": -10, "weight": 0.5, "metadata": metadata})
    assert await api.get(f"/v1/feedback/{feedback_id}") == {
        "object": "feedback",
        "id": feedback_id,
        "trace_id": "t1",
        "targets": [{"trace_id": "t1", "request_id": None, "matched": False}],
        "name": "feedback",
        "kind": "score",
        "signal": "explicit",
        "value": -10,
        "weight": 0.5,
        "comment": None,
        "correction": None,
        "source": {"type": "API", "id": "fef653"},
        "task": None,
        "metadata": metadata,
        "overrides": None,
        "valid": True,
        "created_at": "2027-01-15T08:00:00.001Z",
        "updated_at": None,
        "retracted_at": None,
        "matched": False,
    }


async def test_ids_come_back_in_input_order(api: OwnAPI) -> None:
    ids = await api.give(*({"trace_id": f"t{n}", "value": n} for n in range(10)))
    for n, feedback_id in enumerate(ids):
        assert (await api.get(f"/v1/feedback/{feedback_id}"))["value"] == n


async def test_nodes_batch_of_numeric_keys_is_saved(api: OwnAPI) -> None:
    response = await api.client.post(
        "/v1/feedback", json={"0": {"traceID": "t1", "value": 1}, "1": {"traceID": "t2", "value": -1}}
    )
    assert len(response.json()["feedback_ids"]) == 2


async def test_a_batch_with_one_bad_item_saves_none(api: OwnAPI) -> None:
    response = await api.client.post(
        "/v1/feedback", json=[{"trace_id": "t1", "value": 1}, {"trace_id": "t1", "value": 11}]
    )
    body = assert_portkey_error(response, 400, "033")
    assert body["error"]["param"] == "[1].value"
    assert body["message"] == (
        "Invalid request body: item 1: value must be an integer from -10 to 10. Error code: 033"
    )
    assert await api.ids("/v1/feedback") == []
    assert await api.ids("/v1/traces") == []


async def test_a_body_over_the_limit_is_too_large(api: OwnAPI) -> None:
    response = await api.client.post("/v1/feedback", content=b"x" * 100_001)
    assert_portkey_error(response, 413, "too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 10_000

    assert_portkey_error(await api.client.post("/v1/feedback", content=chunks()), 413, "too_large")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/feedback"), ("POST", "/feedback"), ("PUT", f"/v1/feedback/{NOWHERE}")]
)
async def test_a_compressed_body_is_refused_as_what_it_is(api: OwnAPI, method: str, path: str) -> None:
    body, headers = gzip.compress(b'{"trace_id": "t1", "value": 1}'), {"content-encoding": "gzip"}
    response = await api.client.request(method, path, content=body, headers=headers)
    refused = assert_portkey_error(response, 415, "unsupported_encoding")
    assert refused["message"] == "content-encoding 'gzip': send the body uncompressed"
    assert response.headers["accept-encoding"] == "identity"


async def test_an_encoding_that_changes_nothing_is_none(api: OwnAPI) -> None:
    body, headers = {"trace_id": "t1", "value": 1}, {"content-encoding": "Identity"}
    assert (await api.client.post("/v1/feedback", json=body, headers=headers)).status_code == 200


async def test_a_body_that_stops_coming_times_out(tmp_path: Path) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.sleep(30)

    async with own_api(tmp_path, body_timeout_s=0.05) as api:
        response = await api.client.post("/v1/feedback", content=stalled())
    assert_portkey_error(response, 408, "request_timeout")


# --- Idempotency-Key ---


async def test_a_retry_storm_leaves_one_row(api: OwnAPI) -> None:
    def post() -> Any:
        return api.client.post(
            "/v1/feedback", json={"trace_id": "t1", "value": 1}, headers={"idempotency-key": "k1"}
        )

    answers = await asyncio.gather(*(post() for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(await api.ids("/v1/feedback")) == 1
    assert (await api.get("/v1/traces/t1"))["feedback"]["count"] == 1


async def test_an_alias_of_the_path_is_the_same_call(api: OwnAPI) -> None:
    answers = [
        await api.client.post(path, json={"trace_id": "t1", "value": 1}, headers={"idempotency-key": "k1"})
        for path in POST_PATHS
    ]
    assert len({answer.content for answer in answers}) == 1


async def test_the_same_key_with_another_body_is_a_422(api: OwnAPI) -> None:
    headers = {"idempotency-key": "k1"}
    await api.client.post("/v1/feedback", json={"trace_id": "t1", "value": 1}, headers=headers)
    response = await api.client.post("/v1/feedback", json={"trace_id": "t1", "value": 2}, headers=headers)
    assert_portkey_error(response, 422, "idempotency_conflict")
    assert len(await api.ids("/v1/feedback")) == 1


async def test_a_refused_create_does_not_use_up_its_key(api: OwnAPI) -> None:
    headers = {"idempotency-key": "k1"}
    bad = await api.client.post("/v1/feedback", json={"trace_id": "t1", "value": 99}, headers=headers)
    good = await api.client.post("/v1/feedback", json={"trace_id": "t1", "value": 9}, headers=headers)
    assert (bad.status_code, good.status_code) == (400, 200)


async def test_a_key_is_forgotten_after_its_time(api: OwnAPI) -> None:
    headers = {"idempotency-key": "k1"}
    body = {"trace_id": "t1", "value": 1}
    first = await api.client.post("/v1/feedback", json=body, headers=headers)
    api.clock.ms += int(IDEMPOTENCY_TTL_S * 1000)
    second = await api.client.post("/v1/feedback", json=body, headers=headers)
    assert second.status_code == 200
    assert first.content != second.content


async def test_an_idempotency_key_over_the_limit_is_refused(api: OwnAPI) -> None:
    response = await api.client.post(
        "/v1/feedback", json={"trace_id": "t1", "value": 1}, headers={"idempotency-key": "k" * 256}
    )
    assert_portkey_error(response, 400, "invalid_header")


# --- PUT ---


@pytest.mark.parametrize("path", ["/v1/feedback/{}", "/v1/feedback/{}/", "/feedback/{}", "/feedback/{}/"])
async def test_an_update_changes_what_it_names(api: OwnAPI, path: str) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1, "weight": 0.5, "metadata": {"a": 1}})
    response = await api.client.put(path.format(feedback_id), json={"value": 7})
    assert response.status_code == 200
    assert response.json() == {
        "status": "success",
        "message": "Feedback successfully updated",
        "feedback_ids": [feedback_id],
    }
    stored = await api.get(f"/v1/feedback/{feedback_id}")
    assert (stored["value"], stored["weight"], stored["metadata"]) == (7, 0.5, {"a": 1})
    assert stored["created_at"] == "2027-01-15T08:00:00.001Z"
    assert stored["updated_at"] == "2027-01-15T08:00:00.002Z"


async def test_an_update_replaces_weight_and_metadata_when_given(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1, "metadata": {"_user": "u1"}})
    await api.client.put(
        f"/v1/feedback/{feedback_id}", json={"value": 1, "weight": 0, "metadata": {"_user": "u2"}}
    )
    stored = await api.get(f"/v1/feedback/{feedback_id}")
    assert (stored["weight"], stored["metadata"]) == (0.0, {"_user": "u2"})
    assert await api.ids("/v1/feedback", user="u2") == [feedback_id]
    assert await api.ids("/v1/feedback", user="u1") == []
    await api.client.put(f"/v1/feedback/{feedback_id}", json={"value": 1, "metadata": {}})
    assert (await api.get(f"/v1/feedback/{feedback_id}"))["metadata"] == {}
    assert await api.ids("/v1/feedback", user="u2") == []


async def test_an_update_does_not_move_the_item_to_another_trace(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1})
    await api.client.put(f"/v1/feedback/{feedback_id}", json={"value": 1, "trace_id": "t2"})
    assert (await api.get(f"/v1/feedback/{feedback_id}"))["trace_id"] == "t1"


async def test_the_path_id_undefined_means_the_bodys_id(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1})
    response = await api.client.put("/v1/feedback/undefined", json={"feedback_id": feedback_id, "value": 3})
    assert response.json()["feedback_ids"] == [feedback_id]
    other = await api.client.put(f"/v1/feedback/{NOWHERE}", json={"feedback_id": feedback_id, "value": 3})
    assert other.status_code == 404


@pytest.mark.parametrize("feedback_id", [NOWHERE, "NOT_GIVEN", "undefined", "a%2Fb"])
async def test_an_update_of_what_is_not_there_says_so(api: OwnAPI, feedback_id: str) -> None:
    body = assert_portkey_error(
        await api.client.put(f"/v1/feedback/{feedback_id}", json={"value": 1}), 404, "not_found"
    )
    assert body["message"] == "Invalid Feedback Id passed. Nothing to update"


async def test_an_update_with_more_than_one_item_is_refused(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1})
    path = f"/v1/feedback/{feedback_id}"
    assert_portkey_error(await api.client.put(path, json=[{"value": 1}, {"value": 2}]), 400, "031")
    assert (await api.client.put(path, json=[{"value": 2}])).status_code == 200


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], "it is empty; send an object with value, or what else is to be changed"),
        ({}, "it is empty; send an object with value, or what else is to be changed"),
        ([1], "item 0: must be an object with value, or what else is to be changed"),
    ],
)
async def test_an_update_with_nothing_in_it_asks_for_nothing_that_it_ignores(
    api: OwnAPI, body: Any, problem: str
) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1})
    refused = assert_portkey_error(await api.client.put(f"/v1/feedback/{feedback_id}", json=body), 400, "032")
    assert refused["message"] == f"Invalid request body: {problem}. Error code: 032"


async def test_other_vendors_spellings_of_an_id_reach_the_same_feedback(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1})
    plain = feedback_id.replace("-", "")
    for spelling in (f"ann_{plain}", f"a-{plain}"):
        assert (await api.get(f"/v1/feedback/{spelling}"))["id"] == feedback_id


# --- DELETE ---


async def test_deleted_feedback_is_seen_by_nobody(api: OwnAPI) -> None:
    await api.exchange("t1")
    kept, gone = await api.give({"trace_id": "t1", "value": 1}, {"trace_id": "t1", "value": -5})
    response = await api.client.delete(f"/v1/feedback/{gone}")
    assert response.json() == {"object": "feedback.deleted", "id": gone, "deleted": True}
    assert await api.ids("/v1/feedback") == [kept]
    trace = await api.get("/v1/traces/t1")
    assert trace["feedback"]["pairs"] == [{"value": 1, "weight": 1.0, "count": 1}]
    assert [item["id"] for item in trace["feedback_items"]] == [kept]
    for method in ("GET", "DELETE"):
        assert_portkey_error(await api.client.request(method, f"/v1/feedback/{gone}"), 404, "not_found")
    assert_portkey_error(await api.client.put(f"/v1/feedback/{gone}", json={"value": 1}), 404, "not_found")


async def test_a_trace_of_feedback_alone_disappears_with_it(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1})
    assert await api.ids("/v1/traces") == ["t1"]
    await api.client.delete(f"/v1/feedback/{feedback_id}")
    assert await api.ids("/v1/traces") == []
    assert (await api.client.get("/v1/traces/t1")).status_code == 404


# --- reading ---


async def test_feedback_is_unmatched_until_its_exchange_comes(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1})
    assert (await api.get(f"/v1/feedback/{feedback_id}"))["matched"] is False
    await api.exchange("t1")
    assert (await api.get(f"/v1/feedback/{feedback_id}"))["matched"] is True


async def test_the_list_is_newest_first_and_pages_with_after(api: OwnAPI) -> None:
    given = [(await api.give({"trace_id": "t1", "value": n}))[0] for n in range(5)]
    page = await api.get("/v1/feedback", limit=2)
    assert [item["id"] for item in page["data"]] == given[:2:-1]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == (
        "list",
        given[4],
        given[3],
        True,
    )
    page = await api.get("/v1/feedback", limit=2, after=page["last_id"])
    page = await api.get("/v1/feedback", limit=2, after=page["last_id"])
    assert [item["id"] for item in page["data"]] == [given[0]]
    assert page["has_more"] is False


async def test_an_empty_list_has_no_ids(api: OwnAPI) -> None:
    assert await api.get("/v1/feedback") == {
        "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"trace_id": "t1"}, "a"),
        ({"user": "ann"}, "a"),
        ({"organisation": "acme"}, "ab"),
        ({"prompt": "p1"}, "b"),
        ({"environment": "prod"}, "a"),
        ({"metadata[stars]": "5"}, "a"),
        ({"metadata[stars]": "4.5"}, "b"),
        ({"metadata[done]": "true"}, "a"),
        ({"metadata[done]": "null"}, "b"),
        ({"metadata[big]": "1e100"}, ""),
        ({"metadata[empty]": ""}, "a"),
        ({"metadata[_user]": "ann"}, "a"),
        ({'metadata[odd "key" \\]': 'odd "value"'}, "b"),
        ({"metadata[ключ]": "значение"}, "b"),
        ({"metadata[stars]": "5", "organisation": "acme"}, "a"),
        ({"metadata[stars]": "5", "user": "bob"}, ""),
        ({"min_value": 1}, "a"),
        ({"max_value": 0}, "b"),
        ({"min_value": 0, "max_value": 5}, "ab"),
        ({"since": "2027-01-15T08:00:00.002Z"}, "b"),
        ({"until": "2027-01-15T08:00:00.002Z"}, "a"),
        ({"since": "2027-01-15T10:00:00.002+02:00"}, "b"),
        ({"since": "1800000000.002"}, "b"),
        ({"since": "2027-01-15", "until": "2027-01-16T00:00"}, "ab"),
        ({"since": "2027-01-16"}, ""),
        ({"user": "nobody"}, ""),
    ],
)
async def test_filters_find_what_they_name(api: OwnAPI, params: dict[str, Any], found: str) -> None:
    a = {
        "_user": "ann",
        "_organisation": "acme",
        "_environment": "prod",
        "stars": 5,
        "done": True,
        "empty": "",
    }
    b = {"_user": "bob", "_organisation": "acme", "_prompt": "p1", "stars": 4.5, "done": None,
         'odd "key" \\': 'odd "value"', "ключ": "значение"}  # fmt: skip
    [id_a] = await api.give({"trace_id": "t1", "value": 5, "metadata": a})
    [id_b] = await api.give({"trace_id": "t2", "value": 0, "metadata": b})
    names = {id_a: "a", id_b: "b"}
    assert "".join(sorted(names[item] for item in await api.ids("/v1/feedback", **params))) == found


@pytest.mark.parametrize(
    ("query", "param", "says"),
    [
        ("users=x", "users", 'did you mean "user"?'),
        ("zzz=x", "zzz", "known are trace_id"),
        ("metadata=x", "metadata", "metadata[key]"),
        ("metadata[]=x", "metadata[]", "unknown parameter"),
        ("limit=0", "limit", "from 1 to 1000"),
        ("limit=1001", "limit", "from 1 to 1000"),
        ("limit=ten", "limit", "from 1 to 1000"),
        ("limit=1&limit=2", "limit", "given more than once"),
        ("metadata[a]=1&metadata[a]=2", "metadata[a]", "given more than once"),
        ("user=", "user", "is empty"),
        ("min_value=1e3", "min_value", "a number such as"),
        ("max_value=nan", "max_value", "a number such as"),
        ("kind=stars", "kind", "score, boolean, number"),
        ("source_type=human", "source_type", "HUMAN, LLM_JUDGE"),
        ("include_retracted=1", "include_retracted", "not true or false"),
        ("min_value=5&max_value=1", "min_value", "swap"),
        ("since=yesterday", "since", "2026-01-31T12:00:00Z"),
        ("since=1800000000000", "since", "milliseconds"),
        ("since=-5", "since", "seconds"),
        ("since=253402300799.00003", "since", "seconds"),
        ("since=20&until=10", "since", "swap"),
        ("after=nothing", "after", "not in this list"),
        ("user=%FF", None, "percent-encoded"),
        ("&".join(f"metadata[k{n}]=1" for n in range(11)), "metadata", "the limit is 10"),
        ("&".join(f"metadata[k{n}]=1" for n in range(101)), None, "more than 100"),
    ],
)
async def test_a_wrong_parameter_is_named_with_its_remedy(
    api: OwnAPI, query: str, param: str | None, says: str
) -> None:
    response = await api.client.get(f"/v1/feedback?{query}")
    body = assert_portkey_error(response, 400, "invalid_field")
    assert body["error"]["param"] == param
    assert says in body["message"]


async def test_a_plus_sign_that_was_not_encoded_is_understood(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 1})
    response = await api.client.get("/v1/feedback?since=2027-01-15T10:00:00+02:00")
    assert [item["id"] for item in response.json()["data"]] == [feedback_id]


# --- methods and failures ---


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/feedback", "GET, HEAD, POST"),
        ("DELETE", "/feedback/", "GET, HEAD, POST"),
        ("PATCH", "/v1/feedback", "GET, HEAD, POST"),
        ("POST", "/v1/feedback/x", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/feedback/x/", "DELETE, GET, HEAD, PUT"),
    ],
)
async def test_another_method_is_a_405_with_allow(api: OwnAPI, method: str, path: str, allow: str) -> None:
    response = await api.client.request(method, path)
    body = assert_portkey_error(response, 405, "01")
    assert response.headers["allow"] == allow
    assert body["message"].endswith("Error code: 01")


async def test_head_answers_as_get_without_the_body(api: OwnAPI) -> None:
    response = await api.client.head("/v1/feedback")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/v1/feedback/a/b", "/feedback/a/b/c", "/v1/feedback/a%0Ab/c"])
async def test_a_path_below_feedback_that_is_none_is_a_404(api: OwnAPI, path: str) -> None:
    response = await api.client.get(path)
    assert response.status_code == 404
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/feedback"), ("PUT", f"/v1/feedback/{NOWHERE}")])
@pytest.mark.parametrize("failure", [StoreUnavailable("locked"), RuntimeError("a bug")])
async def test_a_failure_inside_is_a_500_that_sdks_do_not_repeat(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch, failure: Exception, method: str, path: str
) -> None:
    async def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(SqliteDatabase, "write", fail)
    response = await api.client.request(method, path, json={"trace_id": "t1", "value": 1})
    body = assert_portkey_error(response, 500, "internal")
    assert body["message"] == "Something went wrong"
    assert response.headers["x-portkey-request-id"]


async def test_a_store_that_cannot_answer_a_read_is_a_503(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable("the store cannot do this right now")

    monkeypatch.setattr(SqliteDatabase, "read", fail)
    response = await api.client.get("/v1/feedback")
    assert_portkey_error(response, 503, "store_unavailable")
    assert response.headers["x-portkey-request-id"]
