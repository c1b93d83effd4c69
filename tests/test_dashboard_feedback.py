"""Giving, changing and retracting feedback with forms, without a line of JavaScript."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from tests.own_dashboard import asking, own_dashboard
from tests.test_dashboard_logs import plain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.own_dashboard import Dashboard

SCHEMA = {
    "type": "object",
    "required": ["grade"],
    "properties": {
        "grade": {"enum": ["good", "bad"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 100},
    },
}


async def stored(dashboard: Dashboard, **params: Any) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await dashboard.api.get("/v1/feedback", **params))["data"]
    return data


@pytest.mark.parametrize(("thumb", "value"), [("up", 1), ("down", -1)])
async def test_a_thumb_is_one_click(tmp_path: Path, thumb: str, value: int) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        answer = await dashboard.post("/ui/feedback/give", trace="one", thumb=thumb)
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            "/ui/trace?id=one&done=given#feedback",
        )
        (item,) = await stored(dashboard)
        page = await dashboard.page(answer.headers["location"])
    assert (item["value"], item["weight"], item["source"]["type"]) == (value, 1.0, "HUMAN")
    assert "Your feedback is stored." in page


async def test_a_score_comes_with_all_that_was_written(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        exchange_id = await dashboard.api.exchange("one")
        await dashboard.post(
            "/ui/feedback/give",
            trace="one", value="-7", weight="0.25", comment="too long\r\nby far", correction="Short.",
            about=exchange_id, by="Ana",
        )  # fmt: skip
        (item,) = await stored(dashboard)
        words = plain(await dashboard.page("/ui/trace", id="one"))
    assert (item["value"], item["weight"], item["comment"]) == (-7, 0.25, "too long\nby far")
    assert (item["correction"], item["source"]) == ("Short.", {"type": "HUMAN", "id": "Ana"})
    assert item["targets"][0]["request_id"] == exchange_id
    assert "\u22127 :0.25 on request 1 A person \u00b7 Ana \u00b7 weight 0.25" in words


async def test_a_comment_alone_is_feedback(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        await dashboard.post("/ui/feedback/give", trace="one", value="", comment="just saying", weight="")
        (item,) = await stored(dashboard)
    assert (item["kind"], item["comment"]) == ("none", "just saying")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"value": "11"}, "Value must be an integer from -10 to 10"),
        ({"value": "5", "weight": "2"}, "Weight must be a number from 0 to 1"),
        ({"value": ""}, "Value is required"),
        ({"value": "5", "by": "x" * 300}, "Source_id has 300 characters"),
    ],
)
async def test_what_cannot_be_stored_is_said_and_stays_in_the_form(
    tmp_path: Path, fields: dict[str, str], problem: str
) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one", bodies=asking("hello"))
        answer = await dashboard.post("/ui/feedback/give", trace="one", **fields)
        assert await stored(dashboard) == []
    assert answer.status_code == 400
    assert problem in unescape(answer.text)
    if fields["value"]:
        assert f'value="{fields["value"]}"' in answer.text


async def test_a_task_asks_with_its_own_form(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        made = await dashboard.api.client.post(
            "/v1/feedback-tasks", json={"name": "quality", "schema": SCHEMA, "instruction": "Be strict."}
        )
        task_id = made.json()["id"]
        page = await dashboard.page("/ui/trace", id="one", task=task_id)
        assert "Be strict." in page
        names = re.findall(r'<(?:input|select|textarea)[^>]* name="(value[^"]*)"', page)
        bad = await dashboard.post(
            "/ui/feedback/give", trace="one", task=task_id, **{names[-1]: "900", names[0]: "0"}
        )
        assert bad.status_code == 400
        assert "900" in bad.text
        good = await dashboard.post(
            "/ui/feedback/give", trace="one", task=task_id, **{names[-1]: "4", names[0]: "0"}
        )
        assert good.status_code == 303, good.text
        (item,) = await stored(dashboard)
        edit = await dashboard.page("/ui/feedback", id=item["id"])
        assert 'value="4"' in edit
        changed = await dashboard.post(
            "/ui/feedback", id=item["id"], weight="1", **{names[-1]: "2", names[0]: "1"}
        )
        assert changed.status_code == 303
        (after,) = await stored(dashboard)
    assert (item["value"], item["name"], item["task"]["version"]) == (
        {"grade": "good", "stars": 4},
        "quality",
        1,
    )
    assert after["value"] == {"grade": "bad", "stars": 2}


async def test_feedback_is_changed_and_its_history_shown(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        (given,) = await dashboard.api.give({"trace_id": "one", "value": 3, "comment": "so so"})
        form = await dashboard.page("/ui/feedback", id=given)
        assert 'value="3"' in form
        answer = await dashboard.post(
            "/ui/feedback", id=given, value="8", weight="0.5", comment="", correction=""
        )
        assert answer.headers["location"] == "/ui/trace?id=one&done=changed#feedback"
        (item,) = await stored(dashboard)
        words = plain(await dashboard.page("/ui/trace", id="one"))
    assert (item["value"], item["weight"], item["comment"]) == (8, 0.5, None)
    assert "History (1)" in words
    assert "comment was so so" in words


@pytest.mark.parametrize(
    ("item", "text", "value"),
    [
        ({"value": True, "kind": "boolean"}, "false", False),
        ({"value": 2.5, "kind": "number"}, "3.5", 3.5),
        ({"value": "fine", "kind": "text"}, "better", "better"),
        ({"value": ["a"], "kind": "list"}, '["a","b"]', ["a", "b"]),
    ],
)
async def test_a_value_of_any_kind_keeps_its_kind(
    tmp_path: Path, item: dict[str, Any], text: str, value: Any
) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        (given,) = await dashboard.api.give({"trace_id": "one", "name": "n", "correction": {"a": 1}, **item})
        await dashboard.page("/ui/feedback", id=given)
        answer = await dashboard.post("/ui/feedback", id=given, value=text, weight="1", correction='{"a": 2}')
        assert answer.status_code == 303, answer.text
        (after,) = await stored(dashboard)
    assert (after["kind"], after["value"], after["correction"]) == (item["kind"], value, {"a": 2})


@pytest.mark.parametrize("fields", [{"value": "99"}, {"value": "5", "weight": "7"}, {"value": ""}])
async def test_a_change_that_makes_no_sense_changes_nothing(tmp_path: Path, fields: dict[str, str]) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        (given,) = await dashboard.api.give({"trace_id": "one", "value": 3})
        answer = await dashboard.post("/ui/feedback", id=given, **fields)
        (after,) = await stored(dashboard)
    assert answer.status_code == 400
    assert after["value"] == 3


async def test_feedback_is_retracted_and_stays_to_be_seen(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("one")
        (given,) = await dashboard.api.give({"trace_id": "one", "value": 3})
        answer = await dashboard.post("/ui/feedback/retract", id=given)
        assert answer.headers["location"] == "/ui/trace?id=one&done=retracted#feedback"
        assert await stored(dashboard) == []
        words = plain(await dashboard.page("/ui/trace", id="one"))
        again = await dashboard.post("/ui/feedback/retract", id=given)
    assert "+3 :1 retracted" in words
    assert "Feedback Count 0" in words
    assert again.status_code == 404


async def test_the_feedback_of_another_key_is_out_of_reach(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        assert (
            await dashboard.post("/ui/feedback", id="01a20325-0000-7000-8000-000000000000")
        ).status_code == 404
