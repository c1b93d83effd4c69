"""The inbox over HTTP: tasks are made; exchanges are handed out one by one, graded, skipped, taken back."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.own_dashboard import Dashboard, asking, own_dashboard, token_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REVIEW = {
    "type": "object",
    "required": ["stars"],
    "properties": {
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "why": {"type": "string", "minLength": 5},
    },
}
HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
async def dashboard(tmp_path: Path) -> AsyncIterator[Dashboard]:
    async with own_dashboard(tmp_path) as opened:
        opened._csrf = token_in(await opened.page("/ui/tasks/new"))
        yield opened


async def make_task(dashboard: Dashboard, **fields: Any) -> str:
    body = {"name": "Review", "schema": REVIEW, **fields}
    response = await dashboard.api.client.post("/v1/feedback-tasks", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


async def begin(dashboard: Dashboard, task: str, by: str = "Ann") -> dict[str, str]:
    """Where a reviewer comes who begins: the parameters of the page."""
    return came_to(await dashboard.post("/ui/inbox", task=task, by=by))


def came_to(response: Any) -> dict[str, str]:
    assert response.status_code == 303, response.text
    location = urlsplit(response.headers["location"])
    assert location.path == "/ui/inbox/grade"
    return {name: values[0] for name, values in parse_qs(location.query).items()}


async def send(dashboard: Dashboard, at: dict[str, str], **fields: str) -> Any:
    about = {name: at.get(name, "") for name in ("task", "exchange", "done", "last")}
    return await dashboard.post("/ui/inbox/grade", **{"by": "Ann", **about, **fields})


async def test_without_a_task_the_page_says_how_to_make_one(dashboard: Dashboard) -> None:
    html = unescape(await dashboard.page("/ui/inbox"))
    assert "No task yet" in html
    assert "curl http://gateway/v1/feedback-tasks" in html


async def test_exchanges_come_one_after_another_until_none_is_left(dashboard: Dashboard) -> None:
    first = await dashboard.api.exchange("t1", bodies=asking("Why is the sky blue?", "It scatters light."))
    second = await dashboard.api.exchange("t2")
    task = await make_task(dashboard, instruction="Judge it.")
    at = await begin(dashboard, task)
    assert at == {"task": task, "exchange": first}
    html = await dashboard.page("/ui/inbox/grade", **at)
    for words in ("Why is the sky blue?", "It scatters light.", "Judge it.", "0 graded"):
        assert words in html

    at = came_to(await send(dashboard, at, action="save", **{"value/stars": "3", "comment": "fine"}))
    assert (at["exchange"], at["done"]) == (second, "1")
    [given] = (await dashboard.api.get("/v1/feedback", task_id=task))["data"]
    assert (given["value"], given["comment"], given["name"]) == ({"stars": 4}, "fine", "Review")
    assert given["targets"] == [{"trace_id": "t1", "request_id": first, "matched": True}]
    assert given["source"] == {"type": "HUMAN", "id": "Ann"}

    at = came_to(await send(dashboard, at, action="save", **{"value/stars": "0"}))
    assert "exchange" not in at
    assert "Nothing waits" in await dashboard.page("/ui/inbox/grade", **at)


async def test_an_answer_that_does_not_fit_is_shown_with_what_is_wrong_and_stores_nothing(
    dashboard: Dashboard,
) -> None:
    await dashboard.api.exchange("t1")
    task = await make_task(dashboard)
    at = await begin(dashboard, task)
    for fields, path, words in (
        ({"value/why": "because"}, "value/stars", "is missing; it is required"),
        ({"value/stars": "1", "value/why": "bad"}, "value/why", "shorter than 5 characters"),
    ):
        response = await send(dashboard, at, action="save", comment="kept & shown", **fields)
        assert response.status_code == 400
        assert words in unescape(response.text)
        assert "kept &amp; shown" in response.text
        if path == "value/why":
            assert re.search(r'name="value/why"[^>]*aria-invalid="true"', response.text)
            assert re.search(r'name="value/stars" value="1" checked', response.text)
    assert (await dashboard.api.get("/v1/feedback"))["data"] == []


async def test_two_reviewers_get_different_exchanges(dashboard: Dashboard) -> None:
    ids = {await dashboard.api.exchange(f"t{number}") for number in range(2)}
    task = await make_task(dashboard)
    taken = {(await begin(dashboard, task, by))["exchange"] for by in ("Ann", "Bob")}
    assert taken == ids
    assert "exchange" not in await begin(dashboard, task, "Cid")


async def test_who_comes_back_gets_what_they_left_open(dashboard: Dashboard) -> None:
    for number in range(3):
        await dashboard.api.exchange(f"t{number}")
    task = await make_task(dashboard)
    at = await begin(dashboard, task)
    assert await begin(dashboard, task) == at


async def test_what_is_skipped_is_not_handed_out_again_at_once(dashboard: Dashboard) -> None:
    first, second = [await dashboard.api.exchange(f"t{number}") for number in range(2)]
    task = await make_task(dashboard)
    at = await begin(dashboard, task)
    assert at["exchange"] == first
    at = came_to(await send(dashboard, at, action="skip"))
    assert at["exchange"] == second
    assert (await dashboard.api.get("/v1/feedback"))["data"] == []


async def test_who_stops_gives_back_what_they_claimed(dashboard: Dashboard) -> None:
    first = await dashboard.api.exchange("t1")
    task = await make_task(dashboard)
    at = await begin(dashboard, task)
    response = await send(dashboard, at, action="stop")
    assert (response.status_code, response.headers["location"]) == (303, "/ui/inbox")
    assert (await begin(dashboard, task, "Bob"))["exchange"] == first


async def test_the_last_answer_can_be_taken_back(dashboard: Dashboard) -> None:
    first = await dashboard.api.exchange("t1")
    task = await make_task(dashboard)
    at = await begin(dashboard, task)
    at = came_to(await send(dashboard, at, action="save", **{"value/stars": "3"}))
    assert 'value="undo"' in await dashboard.page("/ui/inbox/grade", **at)
    at = came_to(await send(dashboard, at, action="undo"))
    assert at["exchange"] == first
    assert "Taken back" in await dashboard.page("/ui/inbox/grade", **at)
    assert (await dashboard.api.get("/v1/feedback"))["data"] == []


@pytest.mark.parametrize("by", ["", " ", "x" * 101])
async def test_a_reviewer_has_a_name(dashboard: Dashboard, by: str) -> None:
    task = await make_task(dashboard)
    response = await dashboard.post("/ui/inbox", task=task, by=by)
    assert response.status_code == 400
    assert "Say who grades" in response.text


async def test_the_name_is_remembered_whatever_letters_it_has(dashboard: Dashboard) -> None:
    task = await make_task(dashboard)
    response = await dashboard.post("/ui/inbox", task=task, by="Zoë; <b>")
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert 'value="Zoë; &lt;b&gt;"' in await dashboard.page("/ui/inbox")


async def test_forms_need_their_token(dashboard: Dashboard) -> None:
    task = await make_task(dashboard)
    for path in ("/ui/inbox", "/ui/inbox/grade", "/ui/tasks/new", "/ui/tasks/archive"):
        response = await dashboard.client.post(path, data={"task": task, "by": "Ann", "name": "x"})
        assert response.status_code == 403, path
    assert [one["id"] for one in (await dashboard.api.get("/v1/feedback-tasks"))["data"]] == [task]


async def test_what_others_wrote_is_only_text(dashboard: Dashboard) -> None:
    await dashboard.api.exchange("t1", bodies=asking(HOSTILE, HOSTILE))
    schema = {"title": HOSTILE, "description": HOSTILE, "enum": [HOSTILE, {"x": HOSTILE}]}
    task = await make_task(dashboard, name=f"n{HOSTILE}", instruction=HOSTILE, schema=schema)
    for html in (
        await dashboard.page("/ui/inbox"),
        await dashboard.page("/ui/inbox/grade", **await begin(dashboard, task)),
    ):
        assert "<script>alert" not in html
        assert "\u202e" not in html


async def test_an_unknown_task_or_exchange_is_said_to_be_unknown(dashboard: Dashboard) -> None:
    await dashboard.page("/ui/inbox/grade", 404, task="none")
    task = await make_task(dashboard)
    await dashboard.page("/ui/inbox/grade", 404, task=task, exchange="none")


# --- making tasks ---


@pytest.mark.parametrize(
    ("fields", "schema"),
    [
        ({"kind": "yes-no"}, {"type": "boolean"}),
        ({"kind": "stars"}, {"type": "integer", "minimum": 1, "maximum": 5}),
        ({"kind": "labels", "labels": "good\n bad \n\ngood"}, {"enum": ["good", "bad"]}),
        ({"kind": "schema", "schema": '{"type": "number"}'}, {"type": "number"}),
    ],
)
async def test_a_task_is_made_from_a_form(
    dashboard: Dashboard, fields: dict[str, str], schema: dict[str, Any]
) -> None:
    response = await dashboard.post(
        "/ui/tasks/new",
        name="Tone",
        instruction="Look.",
        tags="beta\nchat",
        metadata="plan = pro",
        **fields,
    )
    assert (response.status_code, response.headers.get("location")) == (303, "/ui/inbox")
    [task] = (await dashboard.api.get("/v1/feedback-tasks"))["data"]
    assert (task["name"], task["instruction"], task["schema"]) == ("Tone", "Look.", schema)
    assert task["selector"] == {"tags": ["beta", "chat"], "metadata": {"plan": "pro"}}
    assert "Tone" in await dashboard.page("/ui/inbox")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "", "kind": "stars"}, "it needs 1 to 250"),
        ({"name": "x", "kind": ""}, "choose what an answer may be"),
        ({"name": "x", "kind": "labels"}, "write the labels"),
        ({"name": "x", "kind": "schema", "schema": "{"}, "is not JSON"),
        ({"name": "x", "kind": "schema", "schema": '{"type": "nonsense"}'}, "nonsense"),
        ({"name": "x", "kind": "stars", "metadata": "plan"}, "write a line as key=value"),
    ],
)
async def test_a_task_that_cannot_be_is_refused_and_what_was_typed_stays(
    dashboard: Dashboard, fields: dict[str, str], words: str
) -> None:
    response = await dashboard.post("/ui/tasks/new", instruction="stays & shown", **fields)
    assert response.status_code == 400
    assert words in unescape(response.text)
    assert "stays &amp; shown" in response.text
    assert (await dashboard.api.get("/v1/feedback-tasks"))["data"] == []


async def test_an_archived_task_leaves_the_inbox(dashboard: Dashboard) -> None:
    task = await make_task(dashboard)
    assert (await dashboard.post("/ui/tasks/archive", task=task)).status_code == 303
    assert "Review" not in await dashboard.page("/ui/inbox")
    assert "archived" in await dashboard.page("/ui/inbox", archived="yes")
