"""Feedback of every kind, on every kind of target; and what becomes of it: changed, overridden, retracted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.errors import InvalidField, NotFound
from gateway.feedback.service import FeedbackService
from gateway.jsonio import dumps
from gateway.records import (
    Feedback,
    FeedbackChange,
    FeedbackDraft,
    FeedbackFilter,
    IdempotencyKey,
    Retraction,
    SelectedTargets,
    Selector,
    TargetId,
)
from tests.harness import CLOSE, RunningGateway, WireUpstream, run_gateway
from tests.own_api import OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

TAGS = '["beta","chat"]'
UUID = "3f0c6d1e-7a52-4a0e-9d5e-0f7c2b9b1a44"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path) as opened:
        yield opened


async def give(api: OwnAPI, **fields: Any) -> dict[str, Any]:
    """Post one piece of feedback; what it reads back as."""
    target = {} if {"trace_id", "request_id", "tags", "selector"} & fields.keys() else {"trace_id": "t1"}
    [feedback_id] = await api.give({**target, **fields})
    found: dict[str, Any] = await api.get(f"/v1/feedback/{feedback_id}")
    return found


async def refusal(api: OwnAPI, body: Any, *, code: str = "036") -> dict[str, Any]:
    """The error of a body that is refused; nothing was stored."""
    before = await api.ids("/v1/feedback", include_retracted="true")
    response = await api.client.post("/v1/feedback", json=body)
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == code
    assert await api.ids("/v1/feedback", include_retracted="true") == before
    return error


async def summary(api: OwnAPI, path: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(path))["feedback"]
    return found


async def counts(api: OwnAPI, path: str) -> tuple[int, int]:
    found = await summary(api, path)
    return found["count"], found["score_count"]


def ids(results: Sequence[Feedback | None]) -> bytes:
    return dumps([None if result is None else result.id for result in results])


# --- kinds: an example of each ---


@pytest.mark.parametrize(
    ("fields", "kind", "signal"),
    [
        ({"value": -10, "weight": 0.5}, "score", "explicit"),
        ({"name": "thumbs", "value": True}, "boolean", "explicit"),
        ({"name": "stars", "value": 4}, "number", "explicit"),
        ({"name": "stars", "value": 4.5}, "number", "explicit"),
        ({"name": "big", "value": 18446744073709551615}, "number", "explicit"),
        ({"name": "mood", "value": "gut 👍"}, "text", "explicit"),
        ({"name": "issues", "value": ["tone", {"line": 3}]}, "list", "explicit"),
        ({"name": "form", "value": {"ok": None, "a": [1.0, 2]}}, "object", "explicit"),
        ({"name": "copied", "value": True}, "boolean", "implicit"),
        ({"name": "saved", "value": True}, "boolean", "implicit"),
        ({"name": "dismissed", "value": True}, "boolean", "implicit"),
        ({"name": "regenerated", "value": 2}, "number", "implicit"),
        ({"comment": "the second line is wrong"}, "none", "free_form"),
        ({"correction": "Paris is the capital of France."}, "none", "free_form"),
        ({"correction": {"city": "Paris"}, "value": 3, "comment": "nearly"}, "score", "explicit"),
    ],
)
async def test_what_was_given_reads_back_as_it_was(
    api: OwnAPI, fields: dict[str, Any], kind: str, signal: str
) -> None:
    found = await give(api, **fields)
    assert (found["kind"], found["signal"]) == (kind, signal)
    for field in ("value", "comment", "correction"):
        assert found[field] == fields.get(field)
        assert type(found[field]) is type(fields.get(field))
    assert found["name"] == fields.get("name", "feedback")
    assert found["weight"] == fields.get("weight", 1.0)
    assert await api.ids("/v1/feedback") == [found["id"]]


async def test_who_said_it_is_kept(api: OwnAPI) -> None:
    found = await give(api, value=1, source_type="LLM_JUDGE", source_id="judge-3", metadata={"_user": "ann"})
    assert found["source"] == {"type": "LLM_JUDGE", "id": "judge-3"}
    found = await give(api, value=1, metadata={"_user": "ann"})
    assert found["source"] == {"type": "API", "id": "ann"}


async def test_only_scores_are_in_the_pairs_and_everything_is_in_the_count(api: OwnAPI) -> None:
    await give(api, value=4, weight=0.5)
    await give(api, name="thumbs", value=True)
    await give(api, name="stars", value=4)
    await give(api, comment="fine")
    assert await summary(api, "/v1/traces/t1") == {
        "count": 4,
        "score_count": 1,
        "pairs": [{"value": 4, "weight": 0.5, "count": 1}],
        "sum_weight": 0.5,
        "weighted_mean": 4.0,
        "mean_weighted_value": 2.0,
    }
    [trace] = await api.ids("/v1/traces", has_feedback="true")
    assert trace == "t1"


async def test_a_trace_with_nothing_but_comments_has_no_mean(api: OwnAPI) -> None:
    await give(api, comment="fine")
    found = await summary(api, "/v1/traces/t1")
    assert (found["count"], found["score_count"], found["weighted_mean"], found["mean_weighted_value"]) == (
        1, 0, None, None,
    )  # fmt: skip


# --- targets ---


async def test_an_id_of_either_kind_is_found_whatever_field_it_came_in(api: OwnAPI) -> None:
    exchange = await api.exchange("t1")
    of_trace = {"trace_id": "t1", "request_id": None, "matched": True}
    of_exchange = {"trace_id": "t1", "request_id": exchange, "matched": True}
    assert (await give(api, trace_id="t1", value=1))["targets"] == [of_trace]
    assert (await give(api, request_id="t1", value=1))["targets"] == [of_trace]
    assert (await give(api, trace_id=exchange, value=1))["targets"] == [of_exchange]
    assert (await give(api, request_id=exchange, value=1))["targets"] == [of_exchange]


async def test_an_id_that_is_both_means_what_its_field_says(api: OwnAPI) -> None:
    await api.exchange("both", id="both")
    assert (await give(api, trace_id="both", value=1))["targets"][0]["request_id"] is None
    assert (await give(api, request_id="both", value=1))["targets"][0]["request_id"] == "both"
    assert await counts(api, "/v1/logs/both") == (2, 2)


async def test_an_id_that_is_nothing_yet_is_kept_as_a_trace(api: OwnAPI) -> None:
    found = await give(api, request_id="later", value=1)
    assert found["targets"] == [{"trace_id": "later", "request_id": None, "matched": False}]
    assert (found["trace_id"], found["matched"]) == ("later", False)


async def test_feedback_is_found_under_the_id_it_was_given_to_and_under_its_trace(api: OwnAPI) -> None:
    exchange, other = await api.exchange("t1"), await api.exchange("t1")
    on_exchange = (await give(api, trace_id=exchange, value=1))["id"]
    on_trace = (await give(api, trace_id="t1", value=1))["id"]
    early = (await give(api, request_id="later", value=1))["id"]
    assert await api.ids("/v1/feedback", trace_id=exchange) == [on_exchange]
    assert await api.ids("/v1/feedback", request_id=exchange) == [on_exchange]
    assert await api.ids("/v1/feedback", request_id=other) == []
    assert await api.ids("/v1/feedback", trace_id="t1") == [on_trace, on_exchange]
    assert await api.ids("/v1/feedback", request_id="t1") == [on_trace]
    assert await api.ids("/v1/feedback", request_id="later") == [early]


async def test_feedback_on_an_exchange_is_not_said_of_its_neighbours(api: OwnAPI) -> None:
    first, second = await api.exchange("t1"), await api.exchange("t1")
    lonely = await api.exchange("t2")
    on_first = (await give(api, request_id=first, value=3))["id"]
    on_second = (await give(api, request_id=second, name="thumbs", value=True))["id"]
    on_trace = (await give(api, trace_id="t1", value=5))["id"]

    log = await api.get(f"/v1/logs/{first}")
    assert [item["id"] for item in log["feedback_items"]] == [on_trace, on_first]
    assert (log["feedback"]["count"], log["feedback"]["weighted_mean"]) == (2, 4.0)
    log = await api.get(f"/v1/logs/{second}")
    assert [item["id"] for item in log["feedback_items"]] == [on_trace, on_second]
    assert (log["feedback"]["count"], log["feedback"]["score_count"]) == (2, 1)
    trace = await api.get("/v1/traces/t1")
    assert [item["id"] for item in trace["feedback_items"]] == [on_trace, on_second, on_first]
    assert (trace["feedback"]["count"], trace["feedback"]["score_count"]) == (3, 2)
    assert {log["id"]: log["feedback"]["count"] for log in trace["exchanges"]} == {first: 2, second: 2}
    assert await counts(api, f"/v1/logs/{lonely}") == (0, 0)


async def test_one_answer_to_several_targets_counts_once_wherever_it_applies(api: OwnAPI) -> None:
    first, second = await api.exchange("t1"), await api.exchange("t1")
    targets = tuple(map(TargetId, ("t1", first, "t2", "t1")))
    await service(api).apply("default", [FeedbackDraft(targets=targets, value=2)], render=ids)
    [found] = (await api.get("/v1/feedback"))["data"]
    assert [(target["trace_id"], target["request_id"]) for target in found["targets"]] == [
        ("t1", None),
        ("t1", first),
        ("t2", None),
    ]
    for path in ("/v1/traces/t1", "/v1/traces/t2", f"/v1/logs/{first}", f"/v1/logs/{second}"):
        assert await counts(api, path) == (1, 1)
    for item_of in ("/v1/traces/t1", f"/v1/logs/{first}", f"/v1/logs/{second}"):
        assert [item["id"] for item in (await api.get(item_of))["feedback_items"]] == [found["id"]]


async def test_a_log_has_feedback_when_some_applies_to_it(api: OwnAPI) -> None:
    first, second, third = [await api.exchange(trace) for trace in ("t1", "t1", "t2")]
    [given] = await api.give({"request_id": first, "value": 1})
    assert await api.ids("/v1/logs", has_feedback="true") == [first]
    assert await api.ids("/v1/logs", has_feedback="false") == [third, second]
    await api.client.delete(f"/v1/feedback/{given}")
    assert await api.ids("/v1/logs", has_feedback="true") == []


async def test_a_selector_attaches_one_answer_to_every_exchange_that_fits(api: OwnAPI) -> None:
    one = await api.exchange("t1", metadata='{"plan":"pro","_user":"ann"}', meta_user="ann", tags=TAGS)
    two = await api.exchange("t1", metadata='{"plan":"pro"}', tags=TAGS)
    three = await api.exchange("t2", metadata='{"plan":"pro"}', tags=TAGS)
    await api.exchange("t3", tags='["beta"]')
    found = await give(api, tags=["beta"], selector={"tags": ["chat"], "metadata": {"plan": "pro"}}, value=4)
    assert found["targets"] == [
        {"trace_id": "t1", "request_id": one, "matched": True},
        {"trace_id": "t1", "request_id": two, "matched": True},
        {"trace_id": "t2", "request_id": three, "matched": True},
    ]
    assert await counts(api, "/v1/traces/t1") == (1, 1)
    assert await counts(api, "/v1/traces/t2") == (1, 1)
    assert (await api.client.get("/v1/traces/t3")).json()["feedback"]["count"] == 0
    found = await give(api, selector={"metadata": {"_user": "ann"}}, value=4)
    assert [target["request_id"] for target in found["targets"]] == [one]


async def test_a_selector_that_fits_too_many_or_none_is_refused_unless_that_is_allowed(api: OwnAPI) -> None:
    for number in range(3):
        await api.exchange(f"t{number}", tags='["beta"]')
    error = await refusal(
        api, [{"trace_id": "t", "value": 1}, {"tags": ["beta"], "max_matched": 2, "value": 1}]
    )
    assert error["param"] == "[1].tags"
    assert "more than 2 exchanges match tag 'beta'" in error["message"]
    error = await refusal(api, {"selector": {"tags": ["gamma"], "metadata": {"n": 5}}, "value": 1})
    assert error["param"] == "selector"
    assert "no exchange matches tag 'gamma' and metadata 'n' '5'" in error["message"]
    await give(api, tags=["beta"], max_matched=3, value=1)
    found = await give(api, tags=["gamma"], allow_unmatched=True, value=1)
    assert (found["targets"], found["trace_id"], found["matched"]) == ([], None, False)
    assert found["id"] in await api.ids("/v1/feedback")


# --- adoption ---


async def test_feedback_that_came_before_its_exchange_is_joined_to_it(api: OwnAPI) -> None:
    early = await give(api, request_id="r1", value=4)
    neighbour = await api.exchange("t1")
    await api.exchange("t1", id="r1")
    found = await api.get(f"/v1/feedback/{early['id']}")
    assert found["targets"] == [{"trace_id": "t1", "request_id": "r1", "matched": True}]
    assert (await api.client.get("/v1/traces/r1")).status_code == 404
    assert await counts(api, "/v1/traces/t1") == (1, 1)
    assert await counts(api, "/v1/logs/r1") == (1, 1)
    assert await counts(api, f"/v1/logs/{neighbour}") == (0, 0)
    assert await api.ids("/v1/feedback", trace_id="r1") == [early["id"]]
    await api.client.delete(f"/v1/feedback/{early['id']}")
    assert await counts(api, "/v1/traces/t1") == (0, 0)


async def test_feedback_on_a_trace_that_has_exchanges_stays_with_it(api: OwnAPI) -> None:
    await api.exchange("x")
    given = await give(api, trace_id="x", value=4)
    await api.exchange("t1", id="x")
    assert (await api.get(f"/v1/feedback/{given['id']}"))["targets"][0]["trace_id"] == "x"
    assert await counts(api, "/v1/traces/x") == (1, 1)


async def test_an_exchange_that_is_its_own_trace_takes_nothing_away(api: OwnAPI) -> None:
    given = await give(api, trace_id="r1", value=4)
    await api.exchange("r1", id="r1")
    found = await api.get(f"/v1/feedback/{given['id']}")
    assert found["targets"] == [{"trace_id": "r1", "request_id": None, "matched": True}]


async def test_what_was_retracted_or_superseded_is_adopted_without_being_counted(api: OwnAPI) -> None:
    retracted = await give(api, request_id="r1", value=4)
    await api.client.delete(f"/v1/feedback/{retracted['id']}")
    superseded = await give(api, request_id="r1", value=4)
    newer = await give(api, trace_id="elsewhere", value=5, overrides=superseded["id"])
    await api.exchange("t1", id="r1")
    assert await counts(api, "/v1/traces/t1") == (0, 0)
    await api.client.delete(f"/v1/feedback/{newer['id']}")
    assert await counts(api, "/v1/traces/t1") == (1, 1)


async def test_what_counted_for_nothing_when_its_exchange_came_is_joined_when_it_counts(api: OwnAPI) -> None:
    superseded = await give(api, request_id="r1", value=4)
    newer = await give(api, trace_id="elsewhere", value=5, overrides=superseded["id"])
    await api.exchange("t1", id="r1")
    await api.client.delete(f"/v1/feedback/{newer['id']}")
    found = await api.get(f"/v1/feedback/{superseded['id']}")
    assert found["targets"] == [{"trace_id": "t1", "request_id": "r1", "matched": True}]
    assert await counts(api, "/v1/traces/t1") == (1, 1)
    assert await api.ids("/v1/traces") == ["t1"]


# --- overriding ---


async def test_an_overridden_piece_no_longer_counts_and_is_still_there(api: OwnAPI) -> None:
    old = await give(api, value=-5)
    new = await give(api, value=5, overrides=f"a-{old['id'].replace('-', '')}", source_id="supervisor")
    assert new["overrides"] == old["id"]
    assert (new["valid"], (await api.get(f"/v1/feedback/{old['id']}"))["valid"]) == (True, False)
    assert (await summary(api, "/v1/traces/t1"))["pairs"] == [{"value": 5, "weight": 1.0, "count": 1}]
    assert await api.ids("/v1/feedback") == [new["id"], old["id"]]


async def test_it_counts_again_when_the_last_that_overrides_it_is_taken_back(api: OwnAPI) -> None:
    old = await give(api, value=-5)
    first = await give(api, value=1, overrides=old["id"])
    second = await give(api, value=2, overrides=old["id"])
    await api.client.delete(f"/v1/feedback/{first['id']}")
    assert (await api.get(f"/v1/feedback/{old['id']}"))["valid"] is False
    await api.client.delete(f"/v1/feedback/{second['id']}")
    assert (await api.get(f"/v1/feedback/{old['id']}"))["valid"] is True
    assert (await summary(api, "/v1/traces/t1"))["pairs"] == [{"value": -5, "weight": 1.0, "count": 1}]


async def test_what_overrides_may_itself_be_overridden(api: OwnAPI) -> None:
    a = await give(api, value=1)
    b = await give(api, value=2, overrides=a["id"])
    c = await give(api, value=3, overrides=b["id"])
    assert (await summary(api, "/v1/traces/t1"))["pairs"] == [{"value": 3, "weight": 1.0, "count": 1}]
    await api.client.delete(f"/v1/feedback/{c['id']}")
    assert (await summary(api, "/v1/traces/t1"))["pairs"] == [{"value": 2, "weight": 1.0, "count": 1}]


@pytest.mark.parametrize("which", ["unknown", "retracted"])
async def test_only_what_is_there_can_be_overridden(api: OwnAPI, which: str) -> None:
    gone = await give(api, value=1)
    await api.client.delete(f"/v1/feedback/{gone['id']}")
    overrides = UUID if which == "unknown" else gone["id"]
    error = await refusal(
        api, [{"trace_id": "t1", "value": 1}, {"trace_id": "t1", "value": 1, "overrides": overrides}]
    )
    assert error["param"] == "[1].overrides"
    assert overrides in error["message"]


async def test_a_retracted_piece_stays_out_when_what_overrode_it_goes(api: OwnAPI) -> None:
    old = await give(api, value=-5)
    new = await give(api, value=5, overrides=old["id"])
    await api.client.delete(f"/v1/feedback/{old['id']}")
    await api.client.delete(f"/v1/feedback/{new['id']}")
    assert (await api.client.get("/v1/traces/t1")).status_code == 404


# --- changing, and what it was before ---


async def test_every_field_can_be_changed_on_its_own(api: OwnAPI) -> None:
    old = await give(api, name="mood", value="good", comment="a", correction=1, source_id="ann", weight=0.5)
    for change in (
        {"name": "temper"},
        {"comment": "b"},
        {"comment": None},
        {"correction": [1]},
        {"correction": None},
        {"source_id": "bob"},
        {"signal": "implicit"},
        {"metadata": {"_user": "x"}, "comment": "c"},
        {"kind": "boolean", "value": False},
        {"name": "temper", "value": "bad"},
        {"name": "temper", "value": 3},
        {"kind": "list", "value": [1]},
        {"kind": "none"},
    ):
        response = await api.client.put(f"/v1/feedback/{old['id']}", json=change)
        assert response.status_code == 200, response.text
        new = await api.get(f"/v1/feedback/{old['id']}")
        expected = {**old, **change, "updated_at": new["updated_at"]}
        if "source_id" in change:
            expected["source"] = {"type": "API", "id": expected.pop("source_id")}
        if "value" in change and "kind" not in change:
            expected["kind"] = {str: "text", int: "number"}[type(change["value"])]
        if change.get("kind") == "none":
            expected["value"] = None
        assert new == expected
        old = new


async def test_a_number_stays_the_kind_of_number_it_was(api: OwnAPI) -> None:
    score, stars = await give(api, value=3), await give(api, name="stars", value=3)
    for found in (score, stars):
        await api.client.put(f"/v1/feedback/{found['id']}", json={"value": 4})
        assert (await api.get(f"/v1/feedback/{found['id']}"))["kind"] == found["kind"]
    assert await counts(api, "/v1/traces/t1") == (2, 1)
    response = await api.client.put(f"/v1/feedback/{score['id']}", json={"value": 44, "comment": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "033")
    response = await api.client.put(f"/v1/feedback/{stars['id']}", json={"value": 44, "comment": "x"})
    assert response.status_code == 200


async def test_a_change_of_kind_moves_the_counts(api: OwnAPI) -> None:
    given = await give(api, value=3)
    await api.client.put(f"/v1/feedback/{given['id']}", json={"kind": "boolean", "value": True})
    assert await counts(api, "/v1/traces/t1") == (1, 0)
    await api.client.put(f"/v1/feedback/{given['id']}", json={"kind": "score", "value": 3})
    assert await counts(api, "/v1/traces/t1") == (1, 1)


async def test_nothing_may_be_left_of_feedback(api: OwnAPI) -> None:
    given = await give(api, comment="only this")
    response = await api.client.put(f"/v1/feedback/{given['id']}", json={"comment": None})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "032")
    assert await api.get(f"/v1/feedback/{given['id']}") == given


async def test_the_history_tells_what_it_was_before_each_change(api: OwnAPI) -> None:
    given = await give(api, value=3, comment="a", metadata={"n": 1})
    changes = ({"value": 5}, {"value": 5}, {"comment": None, "metadata": {"n": 2}, "weight": 0.5})
    for change in changes:
        await api.client.put(f"/v1/feedback/{given['id']}", json=change)
    await api.client.delete(f"/v1/feedback/{given['id']}")
    history = await api.get(f"/v1/feedback/{given['id']}/history")
    assert (history["object"], history["id"]) == ("feedback.history", given["id"])
    assert [(entry["number"], entry["action"], entry["fields"]) for entry in history["data"]] == [
        (1, "changed", {"value": 3}),
        (2, "changed", {"comment": "a", "metadata": {"n": 1}, "weight": 1.0}),
        (3, "retracted", {}),
    ]
    assert [entry["changed_at"] for entry in history["data"]] == sorted(
        entry["changed_at"] for entry in history["data"]
    )
    assert history["feedback"]["value"] == 5
    assert history["feedback"]["retracted_at"] == history["data"][-1]["changed_at"]


@pytest.mark.parametrize("path", ["/v1/feedback", "/feedback"])
async def test_a_history_is_read_by_every_spelling_of_the_id(api: OwnAPI, path: str) -> None:
    given = await give(api, value=3)
    for spelling in (given["id"].upper(), f"ann_{given['id'].replace('-', '')}"):
        history = await api.get(f"{path}/{spelling}/history/")
        assert (history["id"], history["data"], history["feedback"]) == (given["id"], [], given)


async def test_there_is_no_history_of_what_never_was(api: OwnAPI) -> None:
    response = await api.client.get(f"/v1/feedback/{UUID}/history")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    response = await api.client.post(f"/v1/feedback/{UUID}/history")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


# --- lists ---


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"name": "thumbs"}, "b"),
        ({"name": "feedback"}, "aeg"),
        ({"kind": "score"}, "a"),
        ({"kind": "none"}, "eg"),
        ({"kind": "text"}, "d"),
        ({"signal": "implicit"}, "c"),
        ({"signal": "free_form"}, "eg"),
        ({"source_type": "LLM_JUDGE"}, "d"),
        ({"source_type": "API"}, "abcg"),
        ({"source_id": "ann"}, "ad"),
        ({"label": "good"}, "d"),
        ({"label": "true"}, "bf"),
        ({"label": "false"}, ""),
        ({"min_value": "4.5"}, "c"),
        ({"max_value": "1", "min_value": "1"}, "bf"),
        ({"max_value": "-1.5"}, "a"),
        ({"min_value": "-2"}, "abcf"),
        ({"kind": "boolean", "source_type": "HUMAN"}, "f"),
        ({"name": "thumbs", "source_id": "ann"}, ""),
        ({"include_retracted": "true", "name": "gone"}, "h"),
        ({"name": "gone"}, ""),
        ({"include_retracted": "false"}, "abcdefg"),
        ({"task_id": "none"}, ""),
    ],
)
async def test_filters_find_what_they_name(api: OwnAPI, params: dict[str, str], found: str) -> None:
    given = await api.give(
        {"trace_id": "t1", "value": -2, "metadata": {"_user": "ann"}},
        {"trace_id": "t1", "name": "thumbs", "value": True},
        {"trace_id": "t1", "name": "regenerated", "value": 5},
        {"trace_id": "t1", "name": "mood", "value": "good", "source_type": "LLM_JUDGE", "source_id": "ann"},
        {"trace_id": "t1", "comment": "x", "source_type": "HUMAN"},
        {"trace_id": "t1", "name": "ok", "value": True, "source_type": "HUMAN"},
        {"trace_id": "t1", "correction": "x"},
        {"trace_id": "t1", "name": "gone", "value": "x", "source_type": "CODE"},
    )
    await api.client.delete(f"/v1/feedback/{given[-1]}")
    names = dict(zip(given, "abcdefgh", strict=True))
    assert "".join(sorted(names[item] for item in await api.ids("/v1/feedback", **params))) == found


async def test_pages_go_on_behind_what_was_retracted_when_that_is_listed_too(api: OwnAPI) -> None:
    given = await api.give(*({"trace_id": "t1", "value": n} for n in range(4)))
    await api.client.delete(f"/v1/feedback/{given[2]}")
    listed: list[str] = []
    while page := await api.ids(
        "/v1/feedback", limit=1, include_retracted="true", **({"after": listed[-1]} if listed else {})
    ):
        listed += page
    assert listed == given[::-1]


async def test_a_filter_that_fits_many_or_few_finds_the_same(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        await give(api, trace_id=f"t{number % 2}", name="stars", value=number)
    params = {"name": "stars", "min_value": "2", "trace_id": "t1", "source_type": "API"}
    few = await api.ids("/v1/feedback", **params)
    monkeypatch.setattr("gateway.store.search.FEW_ROWS", 0)
    assert await api.ids("/v1/feedback", **params) == few
    assert len(few) == 2


# --- the service, as vendors' files call it ---


def service(api: OwnAPI) -> FeedbackService:
    async def nothing(_: str, draft: FeedbackDraft) -> FeedbackDraft:
        raise NotFound(f"there is no task {draft.task_id!r}", param="task_id")

    numbers = iter(range(1, 1000))
    return FeedbackService(
        api.database,
        now_ms=api.clock,
        make_id=lambda: f"00000000-0000-7000-8000-{next(numbers):012}",
        idempotency_ttl_s=60,
        validate=nothing,
    )


def draft(target: str = "t1", **fields: Any) -> FeedbackDraft:
    return FeedbackDraft(targets=(TargetId(target),), **{"value": 1, **fields})


async def test_acts_are_done_in_their_order_with_a_result_each(api: OwnAPI) -> None:
    answer = await service(api).apply(
        "default",
        [
            draft(name="mood", kind="text", value="good"),
            Retraction(target=TargetId("t1"), name="mood"),
            Retraction(target=TargetId("t1"), name="mood"),
            draft(name="mood", kind="text", value="bad"),
        ],
        render=ids,
    )
    first, second = (f"00000000-0000-7000-8000-{number:012}" for number in (1, 2))
    assert answer == dumps([first, first, None, second])
    assert await api.ids("/v1/feedback") == [second]


async def test_one_act_that_cannot_be_done_undoes_all_and_is_named(api: OwnAPI) -> None:
    await give(api, name="mood", value="good")
    acts = [
        draft(),
        Retraction(target=TargetId("t1"), name="mood"),
        FeedbackDraft(targets=SelectedTargets(Selector(tags=("none",))), value=1),
    ]
    with pytest.raises(InvalidField) as caught:
        await service(api).apply("default", acts, render=ids)
    assert caught.value.item == 2
    with pytest.raises(NotFound) as missing:
        await service(api).apply("default", [draft(), draft(task_id="x")], render=ids)
    assert (missing.value.item, missing.value.param) == (1, "task_id")
    assert [item["name"] for item in (await api.get("/v1/feedback"))["data"]] == ["mood"]
    assert await counts(api, "/v1/traces/t1") == (1, 0)


async def test_the_first_answer_is_given_again_with_the_ids_it_had(api: OwnAPI) -> None:
    once = IdempotencyKey(key="k", path="/v4/feedback", body_sha256="x")
    feedback = service(api)
    first = await feedback.apply("default", [draft()], render=ids, once=once)
    assert await feedback.apply("default", [draft()], render=ids, once=once) == first
    assert len(await api.ids("/v1/feedback")) == 1


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Retraction(target=TargetId("t1"), name="issue"), "abcd"),
        (Retraction(target=TargetId("t1"), name="issue", value="tone"), "ab"),
        (Retraction(target=TargetId("t1"), name="issue", value="tone", source_id="ann"), "a"),
        (Retraction(target=TargetId("t1"), name="issue", value=1), "c"),
        (Retraction(target=TargetId("t1"), name="issue", value=True), "d"),
        (Retraction(target=TargetId("t1"), name="correction", value="Paris"), "e"),
        (Retraction(target=TargetId("t1"), name="comment", value="fine"), "f"),
        (Retraction(target=TargetId("t1"), name="comment", value="bad"), ""),
        (Retraction(target=TargetId("t1"), name="comment", value=None), ""),
        (Retraction(target=TargetId("t2"), name="issue"), ""),
        (Retraction(target=TargetId("r1", first="exchange"), name="issue"), "g"),
        (Retraction(target=TargetId("r1", first="trace"), name="issue"), "g"),
    ],
)
async def test_a_retraction_takes_back_all_that_it_names(api: OwnAPI, wanted: Retraction, taken: str) -> None:
    await api.exchange("t9", id="r1")
    given = await api.give(
        {"trace_id": "t1", "name": "issue", "value": "tone", "source_id": "ann"},
        {"trace_id": "t1", "name": "issue", "value": "tone", "source_id": "bob"},
        {"trace_id": "t1", "name": "issue", "value": 1},
        {"trace_id": "t1", "name": "issue", "value": True},
        {"trace_id": "t1", "name": "correction", "correction": "Paris"},
        {"trace_id": "t1", "name": "comment", "comment": "fine"},
        {"request_id": "r1", "name": "issue", "value": "x"},
    )
    names = dict(zip(given, "abcdefg", strict=True))
    answer = await service(api).apply("default", [wanted], render=ids)
    left = {names[item] for item in await api.ids("/v1/feedback")}
    assert "".join(sorted(set(names.values()) - left)) == taken
    newest = next((item for item in reversed(given) if names[item] in taken), None)
    assert answer == dumps([newest])


async def test_other_keys_feedback_is_neither_seen_nor_touched(api: OwnAPI) -> None:
    given = await give(api, value=1)
    feedback = service(api)
    assert (await feedback.find("other", FeedbackFilter(), limit=9, after=None)).items == ()
    for call in (
        feedback.get("other", given["id"]),
        feedback.history("other", given["id"]),
        feedback.retract("other", given["id"]),
        feedback.change("other", given["id"], FeedbackChange(value=2)),
        feedback.apply("other", [draft(overrides=given["id"])], render=ids),
    ):
        with pytest.raises(NotFound):
            await call
    answer = await feedback.apply("other", [Retraction(target=TargetId("t1"), name="feedback")], render=ids)
    assert answer == dumps([None])
    await api.exchange("t1")
    await feedback.apply("other", [draft()], render=ids)
    assert await counts(api, "/v1/traces/t1") == (1, 1)


async def test_a_check_sees_what_is_stored_and_can_refuse(api: OwnAPI) -> None:
    given = await give(api, value=1, comment="mine")

    def refuse(stored: Feedback) -> None:
        assert (stored.id, stored.comment) == (given["id"], "mine")
        raise InvalidField("no")

    with pytest.raises(InvalidField):
        await service(api).change("default", given["id"], FeedbackChange(value=2), check=refuse)
    with pytest.raises(InvalidField):
        await service(api).retract("default", given["id"], check=refuse)
    assert await api.get(f"/v1/feedback/{given['id']}") == given


async def test_metadata_can_be_merged_key_by_key(api: OwnAPI) -> None:
    given = await give(api, value=1, metadata={"a": 1, "_user": "ann"})
    change = FeedbackChange(metadata={"b": 2, "_user": "bob"}, merge_metadata=True)
    changed = await service(api).change("default", given["id"], change)
    assert changed.metadata == {"a": 1, "b": 2, "_user": "bob"}
    assert await api.ids("/v1/feedback", user="bob") == [given["id"]]
    changed = await service(api).change("default", given["id"], FeedbackChange(metadata=None))
    assert changed.metadata is None


async def test_a_client_may_say_when_it_was_given(api: OwnAPI) -> None:
    await service(api).apply("default", [draft(created_at_ms=86_400_000)], render=ids)
    [found] = (await api.get("/v1/feedback"))["data"]
    assert found["created_at"] == "1970-01-02T00:00:00.000Z"


async def test_the_oldest_come_first_by_number_and_with_their_total(api: OwnAPI) -> None:
    given = await api.give(*({"trace_id": f"t{n % 2}", "name": "stars", "value": n} for n in range(5)))
    given += await api.give({"trace_id": "t0", "comment": "x"})
    await api.client.delete(f"/v1/feedback/{given[1]}")
    feedback = service(api)

    async def oldest(offset: int, limit: int, **filters: Any) -> tuple[list[int], int]:
        found, total = await feedback.oldest("default", FeedbackFilter(**filters), offset=offset, limit=limit)
        return [given.index(item.id) for item in found], total

    assert await oldest(0, 2) == ([0, 2], 5)
    assert await oldest(3, 9) == ([4, 5], 5)
    assert await oldest(9, 9) == ([], 5)
    assert await oldest(1, 1, name="stars") == ([2], 4)
    assert await oldest(0, 9, trace_id="t0", include_retracted=True) == ([0, 2, 4, 5], 4)
    assert await oldest(0, 9, include_retracted=True) == ([0, 1, 2, 3, 4, 5], 6)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (TargetId("t1", exchange_id="r1"), ("t1", "r1")),
        (TargetId("t1", exchange_id="r2"), ("t1", None)),
        (TargetId("t1", exchange_id="nothing"), ("t1", None)),
        (TargetId("r1", exchange_id="r1"), ("t1", "r1")),
        (TargetId("r3", exchange_id="r1"), ("t1", "r1")),
        (TargetId("nothing", exchange_id="r1"), ("nothing", None)),
        (TargetId("r2"), ("t2", "r2")),
        (TargetId("t2", first="exchange"), ("t2", None)),
    ],
)
async def test_a_trace_can_be_narrowed_to_an_exchange_of_it(
    api: OwnAPI, target: TargetId, place: tuple[str, str | None]
) -> None:
    for trace, exchange in (("t1", "r1"), ("t2", "r2"), ("t1", "r3")):
        await api.exchange(trace, id=exchange)
    await service(api).apply("default", [FeedbackDraft(targets=(target, target), value=1)], render=ids)
    [found] = (await api.get("/v1/feedback"))["data"]
    [shown] = found["targets"]
    assert (shown["trace_id"], shown["request_id"]) == place


# --- tasks ---


async def task(api: OwnAPI, schema: Any) -> str:
    response = await api.client.post("/api/v1/feedback_task", json={"name": "emoji", "json_schema": schema})
    assert response.status_code == 200, response.text
    task_id: str = response.json()["id"]
    return task_id


SCHEMA = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}


async def test_feedback_for_a_task_has_its_name_and_fits_its_schema(api: OwnAPI) -> None:
    task_id = await task(api, SCHEMA)
    found = await give(api, task_id=task_id, value={"mood": "good"})
    assert (found["name"], found["kind"], found["task"]) == ("emoji", "object", {"id": task_id, "version": 1})
    assert await api.ids("/v1/feedback", task_id=task_id) == [found["id"]]
    error = await refusal(
        api,
        [{"trace_id": "t1", "value": 1}, {"trace_id": "t1", "task_id": task_id, "value": {"mood": "meh"}}],
    )
    assert error["param"].startswith("[1]")
    assert "/mood" in error["message"]
    error = await refusal(api, {"trace_id": "t1", "task_id": UUID, "value": {}})
    assert error["param"] == "task_id"


async def test_a_changed_answer_fits_its_tasks_schema_too(api: OwnAPI) -> None:
    found = await give(api, task_id=await task(api, SCHEMA), value={"mood": "good"})
    path = f"/v1/feedback/{found['id']}"
    response = await api.client.put(path, json={"kind": "object", "value": {"mood": "meh"}})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "036")
    response = await api.client.put(path, json={"kind": "object", "value": {"mood": "bad"}})
    assert response.status_code == 200, response.text
    assert (await api.get(path))["value"] == {"mood": "bad"}
    response = await api.client.put(path, json={"comment": "sorry"})
    assert response.status_code == 200


# --- at a gateway's port ---


def test_feedback_given_while_the_answer_still_streams_is_joined_to_its_exchange(
    upstream: WireUpstream, trace: str
) -> None:
    rest = threading.Event()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    upstream.answers(head, b'data: {"choices":[]}\n\n', rest, b"data: [DONE]\n\n", CLOSE)
    with run_gateway(upstream=upstream.base_url) as gateway, httpx.Client(base_url=gateway.url) as client:
        chat = {"model": "gpt-4o", "messages": [], "stream": True}
        with client.stream(
            "POST", "/v1/chat/completions", json=chat, headers={"x-trace-id": trace}
        ) as answer:
            events = answer.iter_raw()
            next(events)
            request_id = answer.headers["x-request-id"]
            given = client.post(
                "/feedback/", json={"request_id": request_id, "name": "thumbs", "value": True}
            )
            [feedback_id] = given.json()["feedback_ids"]
            early = client.get(f"/v1//feedback/{feedback_id}").json()
            assert early["targets"] == [{"trace_id": request_id, "request_id": None, "matched": False}]
            rest.set()
            for _ in events:
                pass
        found = client.get(f"/v1/feedback/{feedback_id}").json()
        assert found["targets"] == [{"trace_id": trace, "request_id": request_id, "matched": True}]
        assert client.get(f"/v1/logs/{request_id}").json()["feedback"]["count"] == 1
        assert [item["id"] for item in client.get("/v1/traces").json()["data"]] == [trace]


def test_every_native_answer_carries_its_ids(gateway: RunningGateway, trace: str) -> None:
    with httpx.Client(base_url=gateway.url) as client:
        created = client.post("/v1/feedback", json={"trace_id": trace, "name": "stars", "value": 4})
        feedback_id = created.json()["feedback_ids"][0]
        answers = [
            created,
            client.get(f"/v1/feedback/{feedback_id}/history/"),
            client.put(f"/v1/feedback/{feedback_id}", json={"name": "stars", "value": "x" * 70_000}),
            client.patch(f"/v1/feedback/{feedback_id}"),
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 405]
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
