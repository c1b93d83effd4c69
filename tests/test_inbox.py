"""The inbox of a feedback task: what nobody has graded, and claims that keep reviewers apart."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event

from gateway.errors import InvalidField
from gateway.jsonio import dumps_text
from gateway.records import Selector
from gateway.records.tasks import Claim
from gateway.store import inbox, selection, ungraded
from gateway.store.selection import matching
from tests.harness import Process, run_gateway
from tests.own_api import OwnAPI, lasting_api, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

PATH = "/v1/feedback-tasks"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path) as opened:
        yield opened


class Inbox:
    """A task of its own, and the calls on its inbox."""

    def __init__(self, api: OwnAPI, task_id: str) -> None:
        self.api = api
        self.task_id = task_id
        self.path = f"{PATH}/{task_id}/inbox"

    @classmethod
    async def of(cls, api: OwnAPI, **selector: Any) -> Inbox:
        response = await api.client.post(PATH, json={"name": "form", "schema": {}, "selector": selector})
        assert response.status_code == 200, response.text
        return cls(api, response.json()["id"])

    async def items(self, **params: Any) -> list[dict[str, Any]]:
        return list((await self.api.get(self.path, **params))["data"])

    async def ids(self, **params: Any) -> list[str]:
        return [item["id"] for item in await self.items(**params)]

    async def grade(self, **target: Any) -> str:
        [feedback_id] = await self.api.give({"task_id": self.task_id, "value": {"ok": True}, **target})
        return feedback_id

    async def claim(self, reviewer: str, **fields: Any) -> list[str]:
        response = await self.api.client.post(f"{self.path}/claims", json={"reviewer": reviewer, **fields})
        assert response.status_code == 200, response.text
        return [item["id"] for item in response.json()["data"]]

    async def release(self, reviewer: str, **params: Any) -> int:
        response = await self.api.client.delete(
            f"{self.path}/claims", params={"reviewer": reviewer, **params}
        )
        assert response.status_code == 200, response.text
        released: int = response.json()["released"]
        return released


async def exchanges(api: OwnAPI, *traces: str, tags: list[str] | None = None, **columns: Any) -> list[str]:
    stored = None if tags is None else dumps_text(tags)
    return [await api.exchange(trace, tags=stored, **columns) for trace in traces]


# --- what is in it ---


async def test_an_item_is_a_log_with_its_claim(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    [exchange] = await exchanges(api, "t1", tags=["a"])
    [item] = await tray.items()
    assert item.pop("claim") is None
    log = await api.get(f"/v1/logs/{exchange}")
    assert item == {name: log[name] for name in item}
    assert item.keys() == (await api.get("/v1/logs"))["data"][0].keys()


async def test_it_is_oldest_first_and_pages_with_after(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, *(f"t{n}" for n in range(5)))
    page = await api.get(tray.path, limit=2)
    assert [item["id"] for item in page["data"]] == made[:2]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == (
        "list",
        made[0],
        made[1],
        True,
    )
    assert await tray.ids(limit=2, after=made[1]) == made[2:4]
    page = await api.get(tray.path, limit=2, after=made[3])
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (made[4:], False)
    wrong = await api.client.get(tray.path, params={"after": "nowhere"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "after")


async def test_a_cursor_that_was_graded_meanwhile_still_leads_on(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, "t0", "t1", "t2")
    await tray.grade(request_id=made[0])
    assert await tray.ids(after=made[0]) == made[1:]


async def test_an_exchange_that_began_early_and_was_stored_late_is_not_passed_over(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    [first] = await exchanges(api, "t1")
    assert await tray.ids() == [first]
    [slow] = await exchanges(api, "t2", started_at_ms=1)
    assert await tray.ids(after=first) == [slow]
    assert await tray.ids() == [first, slow]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({}, "abcde"),
        ({"tags": ["x"]}, "abd"),
        ({"tags": ["x", "y"]}, "bd"),
        ({"tags": ["y", "x"]}, "bd"),
        ({"tags": ["x", "z"]}, ""),
        ({"tags": [" x "]}, "abd"),
        ({"metadata": {"_user": "ann"}}, "ab"),
        ({"metadata": {"_user": "ann", "_environment": "prod"}}, "a"),
        ({"metadata": {"stars": 5}}, "ac"),
        ({"metadata": {"stars": "5"}}, "ac"),
        ({"metadata": {"done": True}}, "a"),
        ({"metadata": {"done": None}}, "c"),
        ({"metadata": {"_user": "ann", "stars": 5}, "tags": ["x"]}, "a"),
        ({"metadata": {"_user": "nobody"}}, ""),
    ],
)
@pytest.mark.parametrize("few", [20_000, 0], ids=["looked up", "walked"])
async def test_the_selector_says_which_exchanges_are_in_it(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch, selector: Any, found: str, few: int
) -> None:
    monkeypatch.setattr(selection, "FEW_ROWS", few)  # none are few: as with a million rows
    made = {
        "a": {"meta_user": "ann", "meta_environment": "prod", "metadata": '{"stars":5,"done":true}'},
        "b": {"meta_user": "ann"},
        "c": {"metadata": '{"stars":"5","done":null}'},
        "d": {},
        "e": {},
    }
    tags = {"a": ["x"], "b": ["x", "y"], "c": [], "d": ["y", "x"], "e": ["z"]}
    names = {}
    for name, columns in made.items():
        [exchange] = await exchanges(api, f"trace-{name}", tags=tags[name], **columns)
        names[exchange] = name
    await exchanges(api, "foreign", tags=["x", "y"], meta_user="ann", key_id="other", metadata='{"stars":5}')
    tray = await Inbox.of(api, **selector)
    assert "".join(names[exchange] for exchange in await tray.ids()) == found


async def test_a_new_selector_is_a_new_inbox(api: OwnAPI) -> None:
    tray = await Inbox.of(api, tags=["x"])
    [x] = await exchanges(api, "t1", tags=["x"])
    [y] = await exchanges(api, "t2", tags=["y"])
    assert await tray.ids() == [x]
    await api.client.put(f"{PATH}/{tray.task_id}", json={"selector": {"tags": ["y"]}})
    assert await tray.ids() == [y]
    await api.client.put(f"{PATH}/{tray.task_id}", json={"selector": {}})
    assert await tray.ids() == [x, y]


# --- what is graded ---


async def test_an_exchange_leaves_when_it_is_graded(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, "t1", "t1", "t2")
    await tray.grade(request_id=made[0])
    assert await tray.ids() == made[1:]


async def test_a_graded_trace_takes_all_its_exchanges_along(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, "t1", "t1", "t2")
    await tray.grade(trace_id="t1")
    assert await tray.ids() == made[2:]
    await exchanges(api, "t1")
    assert await tray.ids() == made[2:]


async def test_feedback_by_tag_grades_what_it_matched(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    tagged = await exchanges(api, "t1", "t2", tags=["x"])
    others = await exchanges(api, "t2", "t3")
    await tray.grade(tags=["x"])
    assert await tray.ids() == others
    assert tagged


async def test_feedback_that_came_before_its_exchange_grades_it(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    await tray.grade(trace_id="early")
    await tray.grade(request_id="01a3185c-0000-7000-8000-000000000001")
    await exchanges(api, "early")
    await exchanges(api, "other", id="01a3185c-0000-7000-8000-000000000001")
    [left] = await exchanges(api, "other")
    assert await tray.ids() == [left]


async def test_other_feedback_grades_nothing(api: OwnAPI) -> None:
    tray, other = await Inbox.of(api), await Inbox.of(api)
    made = await exchanges(api, "t1", "t2")
    await api.give({"trace_id": "t1", "value": 5}, {"request_id": made[1], "comment": "fine"})
    await other.grade(trace_id="t1")
    assert await tray.ids() == made
    assert await other.ids() == made[1:]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_grade_that_is_taken_back_brings_the_exchange_back(api: OwnAPI, whole: bool) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, "t1", "t2", "t3")
    grades = [
        await tray.grade(**({"trace_id": f"t{n}"} if whole else {"request_id": made[n - 1]})) for n in (1, 2)
    ]
    assert await tray.ids() == made[2:]
    await api.client.delete(f"/v1/feedback/{grades[0]}")
    assert await tray.ids() == [made[0], made[2]]
    again = await tray.grade(request_id=made[0])
    assert await tray.ids() == made[2:]
    await api.client.delete(f"/v1/feedback/{again}")
    await api.client.delete(f"/v1/feedback/{grades[1]}")
    assert await tray.ids() == made


async def test_one_grade_of_two_taken_back_is_still_a_grade(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    [exchange] = await exchanges(api, "t1")
    first = await tray.grade(request_id=exchange)
    await tray.grade(trace_id="t1")
    await api.client.delete(f"/v1/feedback/{first}")
    assert await tray.ids() == []


async def test_an_overridden_grade_is_a_grade(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    [exchange] = await exchanges(api, "t1")
    first = await tray.grade(request_id=exchange)
    await tray.grade(request_id=exchange, overrides=first)
    assert await tray.ids() == []


async def test_an_archived_tasks_inbox_can_be_read_and_not_claimed(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, "t1")
    await api.client.delete(f"{PATH}/{tray.task_id}")
    assert await tray.ids() == made
    response = await api.client.post(f"{tray.path}/claims", json={"reviewer": "r"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "task_id")


# --- claims ---


async def test_a_claim_is_seen_by_all_and_kept_from_others(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, "t1", "t2", "t3")
    claimed = await api.client.post(f"{tray.path}/claims", json={"reviewer": "ann", "seconds": 60})
    page = claimed.json()
    assert (page["object"], page["has_more"]) == ("list", True)
    [item] = page["data"]
    assert item["id"] == made[0]
    assert item["claim"] == {"by": "ann", "until": "2027-01-15T08:01:00.005Z"}
    assert [shown["claim"] for shown in await tray.items()] == [item["claim"], None, None]
    assert await tray.ids(reviewer="ann") == made
    assert await tray.ids(reviewer="bob") == made[1:]
    assert await tray.ids(reviewer="bob", limit=1) == made[1:2]


async def test_claims_take_the_oldest_that_are_free(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, *(f"t{n}" for n in range(6)))
    await tray.grade(request_id=made[1])
    assert await tray.claim("ann", limit=2) == [made[0], made[2]]
    assert await tray.claim("bob") == [made[3]]
    assert await tray.claim("ann", limit=100) == made[4:]
    assert await tray.claim("cat", limit=100) == []
    assert await tray.ids(reviewer="cat") == []


async def test_a_claim_finds_free_ones_behind_many_that_are_taken(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, *(f"t{n}" for n in range(130)))
    assert await tray.claim("ann", limit=100) == made[:100]
    assert await tray.claim("bob", limit=29) == made[100:129]
    response = await api.client.post(f"{tray.path}/claims", json={"reviewer": "bob", "limit": 29})
    assert [item["id"] for item in response.json()["data"]] == made[129:]
    assert response.json()["has_more"] is False


async def test_a_claim_that_has_run_out_is_free_again(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, "t1", "t2")
    await tray.claim("ann", seconds=60)
    api.clock.ms += 59_000
    assert await tray.claim("bob", limit=5) == made[1:]
    api.clock.ms += 2_000
    assert (await tray.items())[0]["claim"] is None
    assert await tray.ids(reviewer="bob") == made
    assert await tray.claim("cat") == made[:1]
    assert await tray.claim("dan") == []


async def test_what_is_released_is_free_again(api: OwnAPI) -> None:
    tray, other = await Inbox.of(api), await Inbox.of(api)
    made = await exchanges(api, "t1", "t2", "t3")
    await tray.claim("ann", limit=2)
    await tray.claim("bob")
    await other.claim("ann")
    assert await tray.release("ann", request_id=made[1]) == 1
    assert await tray.ids(reviewer="cat") == [made[1]]
    assert await tray.release("bob", request_id=made[0]) == 0
    assert await tray.release("ann") == 1
    assert await tray.release("ann") == 0
    assert await tray.ids(reviewer="cat") == made[:2]
    assert [item["claim"] is None for item in await other.items()] == [False, True, True]


async def test_a_claim_that_has_run_out_is_not_counted_as_released(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    await exchanges(api, "t1")
    await tray.claim("ann", seconds=1)
    api.clock.ms += 2_000
    assert await tray.release("ann") == 0


async def test_grading_and_taking_it_back_leave_a_claim_as_it_was(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    [exchange] = await exchanges(api, "t1")
    await tray.claim("ann")
    grade = await tray.grade(request_id=exchange)
    assert await tray.ids() == []
    await api.client.delete(f"/v1/feedback/{grade}")
    assert [item["claim"]["by"] for item in await tray.items()] == ["ann"]


async def test_claims_that_have_run_out_do_not_pile_up(api: OwnAPI, tmp_path: Path) -> None:
    tray = await Inbox.of(api)
    await exchanges(api, *(f"t{n}" for n in range(10)))
    for _ in range(3):
        await tray.claim("ann", limit=10, seconds=1)
        api.clock.ms += 2_000
    await tray.claim("bob", seconds=1)
    with sqlite3.connect(tmp_path / "gateway.db") as raw:
        assert raw.execute("SELECT claimed_by FROM inbox_claim").fetchall() == [("bob",)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "reviewer"),
        ({"reviewer": None}, "reviewer"),
        ({"reviewer": " "}, "reviewer"),
        ({"reviewer": 5}, "reviewer"),
        ({"reviewer": "x" * 251}, "reviewer"),
        ({"reviewer": "r", "limit": 0}, "limit"),
        ({"reviewer": "r", "limit": 101}, "limit"),
        ({"reviewer": "r", "limit": True}, "limit"),
        ({"reviewer": "r", "limit": 1.5}, "limit"),
        ({"reviewer": "r", "seconds": 86_401}, "seconds"),
        ({"reviewer": "r", "seconds": "60"}, "seconds"),
        ({"reviewer": "r", "secs": 60}, "secs"),
    ],
)
async def test_a_bad_claim_is_refused_and_claims_nothing(api: OwnAPI, body: Any, param: str) -> None:
    tray = await Inbox.of(api)
    await exchanges(api, "t1")
    response = await api.client.post(f"{tray.path}/claims", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert (await tray.items())[0]["claim"] is None


@pytest.mark.parametrize(
    ("method", "query", "param"),
    [
        ("GET", "?reviewer=", "reviewer"),
        ("GET", "?limit=0", "limit"),
        ("GET", "?tag=x", "tag"),
        ("DELETE", "/claims", "reviewer"),
        ("DELETE", "/claims?reviewer=%20", "reviewer"),
        ("DELETE", "/claims?reviewer=r&limit=1", "limit"),
        ("POST", "/claims?reviewer=r", "reviewer"),
    ],
)
async def test_a_wrong_parameter_is_named(api: OwnAPI, method: str, query: str, param: str) -> None:
    tray = await Inbox.of(api)
    response = await api.client.request(method, tray.path + query)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_what_was_taken_or_graded_since_it_was_looked_at_is_not_claimed(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, "t1", "t2", "t3", "t4")
    await tray.grade(request_id=made[0])
    await tray.claim("bob")

    def claim(connection: Connection) -> list[str]:
        mine = Claim("ann", api.clock.ms + 60_000)
        return inbox.claim(
            connection, "default", tray.task_id, made, claim=mine, now_ms=api.clock.ms, limit=1
        )

    assert await api.database.write(claim) == [made[2]]
    await api.client.delete(f"{PATH}/{tray.task_id}")
    with pytest.raises(InvalidField, match="archived"):
        await api.database.write(claim)


# --- real concurrency ---


@pytest.mark.parametrize("workers", [1, 2])
def test_two_reviewers_never_get_the_same(fake_openai: Process, tmp_path: Path, workers: int) -> None:
    total, reviewers = 60, 12
    config = {"server": {"workers": workers}}
    with run_gateway(config, upstream=f"{fake_openai.url}/v1", directory=tmp_path) as gateway:
        completion = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            for n in range(total):
                headers = {"x-tags": "review", "x-trace-id": f"claims-{n}", "authorization": "Bearer x"}
                client.post("/v1/chat/completions", json=completion, headers=headers).raise_for_status()
            task = {"name": "race", "schema": {}, "selector": {"tags": ["review"]}}
            task_id = client.post(PATH, json=task).raise_for_status().json()["id"]
        taken: list[str] = []
        starting = threading.Barrier(reviewers)

        def review(reviewer: str) -> None:
            with httpx.Client(base_url=gateway.url, timeout=30) as client:
                starting.wait()
                while True:
                    body = {"reviewer": reviewer, "limit": 2}
                    answer = client.post(f"{PATH}/{task_id}/inbox/claims", json=body).raise_for_status()
                    items = answer.json()["data"]
                    assert {item["claim"]["by"] for item in items} <= {reviewer}
                    if not items:
                        return
                    taken.extend(item["id"] for item in items)

        threads = [threading.Thread(target=review, args=(f"reviewer-{n}",)) for n in range(reviewers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert max(Counter(taken).values()) == 1
        assert len(taken) == total
        assert gateway.rows.count("inbox_claim") == total


async def test_claims_and_grades_at_once_hand_nothing_out_twice(api: OwnAPI) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, *(f"t{n}" for n in range(40)))

    async def review(reviewer: str) -> list[str]:
        mine: list[str] = []
        while got := await tray.claim(reviewer, limit=3):
            mine += got
            for exchange in got:
                await tray.grade(request_id=exchange)
            await tray.release(reviewer)
        return mine

    shares = await asyncio.gather(*(review(f"r{n}") for n in range(8)))
    assert Counter(itertools.chain(*shares)) == Counter(made)
    assert await tray.ids() == []


# --- what is remembered ---


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number each walk through exchanges started behind; they find three at a time."""
    monkeypatch.setattr(ungraded, "_PORTION", 3)
    seen: list[int] = []
    oldest_first = ungraded.oldest_first

    def watched(*args: Any, after_seq: int) -> Any:
        seen.append(after_seq)
        return oldest_first(*args, after_seq=after_seq)

    monkeypatch.setattr(ungraded, "oldest_first", watched)
    return seen


async def test_what_is_graded_is_passed_once(api: OwnAPI, walks: list[int]) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, *(f"t{n}" for n in range(20)))
    for exchange in made[:10]:
        await tray.grade(request_id=exchange)
    assert await tray.ids(limit=1) == [made[10]]
    assert walks == [0]
    assert await tray.ids(limit=1) == [made[10]]
    assert walks == [0], "the next look begins where the last one ended"
    await tray.grade(request_id=made[11])
    assert await tray.ids(limit=3) == [made[10], made[12], made[13]]
    assert walks == [0, 13]
    assert await tray.ids() == [made[10], *made[12:]]
    assert await tray.ids() == [made[10], *made[12:]]
    assert walks.count(0) == 1


async def test_a_look_from_the_middle_is_not_taken_for_one_from_the_start(
    api: OwnAPI, walks: list[int]
) -> None:
    tray = await Inbox.of(api)
    made = await exchanges(api, *(f"t{n}" for n in range(12)))
    assert await tray.ids(after=made[6]) == made[7:]
    assert await tray.ids() == made
    assert await tray.ids(after=made[6], limit=2) == made[7:9]


async def test_nothing_left_is_remembered_too(api: OwnAPI, walks: list[int]) -> None:
    tray = await Inbox.of(api, tags=["x"])
    await exchanges(api, *(f"t{n}" for n in range(9)))
    assert await tray.ids() == []
    [new] = await exchanges(api, "late", tags=["x"])
    assert await tray.ids() == [new]
    assert walks == [0, 9]


async def test_more_than_can_be_remembered_is_walked(
    api: OwnAPI, walks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ungraded, "MAX_KNOWN", 6)
    tray = await Inbox.of(api)
    made = await exchanges(api, *(f"t{n}" for n in range(20)))
    for _ in range(2):
        assert await tray.ids() == made
    assert await tray.ids(limit=2, after=made[3]) == made[4:6]
    assert await tray.ids(limit=2, after=made[15]) == made[16:18]
    for exchange in made[:6]:
        await tray.grade(request_id=exchange)
    assert await tray.ids(limit=3) == made[6:9]
    walks.clear()
    assert await tray.ids(limit=3) == made[6:9]
    assert walks == []


EXAMPLES = itertools.count()
ACTS = st.one_of(
    st.tuples(st.just("exchange"), st.sampled_from("xyz"), st.sets(st.sampled_from("ab"))),
    st.tuples(st.just("grade exchange"), st.integers(0, 20)),
    st.tuples(st.just("grade trace"), st.sampled_from("xyz")),
    st.tuples(st.just("retract"), st.integers(0, 20)),
    st.tuples(st.just("look"), st.integers(1, 5)),
    st.tuples(st.just("select"), st.sets(st.sampled_from("ab"))),
)


@pytest.fixture(scope="module")
def lasting(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnAPI]:
    """One database for all examples: each has tags and traces of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ungraded, "_PORTION", 2)
        patch.setattr(ungraded, "MAX_KNOWN", 5)
        with lasting_api(runner, tmp_path_factory.mktemp("properties")) as opened:
            yield opened


@settings(max_examples=80, deadline=None)
@given(acts=st.lists(ACTS, max_size=15))
def test_the_inbox_is_what_a_recomputation_finds_after_any_sequence(
    runner: asyncio.Runner, lasting: OwnAPI, acts: list[Any]
) -> None:
    own = f"example-{next(EXAMPLES)}-"

    async def run() -> None:
        stored: list[tuple[str, str, set[str]]] = []  # id, trace, tags
        grades: dict[str, Callable[[str, str], bool]] = {}
        wanted = {"a"}
        tray = await Inbox.of(lasting, tags=[f"{own}{tag}" for tag in wanted])

        def expected() -> list[str]:
            return [
                exchange
                for exchange, trace, tags in stored
                if wanted <= tags and not any(grades_it(exchange, trace) for grades_it in grades.values())
            ]

        for act in acts:
            match act:
                case "exchange", trace, tags:
                    [made] = await exchanges(
                        lasting, own + trace, tags=[own, *(f"{own}{tag}" for tag in sorted(tags))]
                    )
                    stored.append((made, trace, tags))
                case "grade exchange", index if stored:
                    graded = stored[index % len(stored)][0]
                    grade = await tray.grade(request_id=graded)
                    grades[grade] = lambda exchange, _, graded=graded: exchange == graded
                case "grade trace", graded:
                    grade = await tray.grade(trace_id=own + graded)
                    grades[grade] = lambda _, trace, graded=graded: trace == graded
                case "retract", index if grades:
                    grade = list(grades)[index % len(grades)]
                    await lasting.client.delete(f"/v1/feedback/{grade}")
                    del grades[grade]
                case "select", wanted:
                    tags = [own, *(f"{own}{tag}" for tag in wanted)]
                    await lasting.client.put(f"{PATH}/{tray.task_id}", json={"selector": {"tags": tags}})
                case "look", limit:
                    assert await tray.ids(limit=limit) == expected()[:limit]
        found, after = [], {}
        while True:
            page = await lasting.get(tray.path, limit=2, **after)
            found += [item["id"] for item in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert found == expected()
        assert await tray.ids() == expected()

    runner.run(run())


# --- selectors for feedback ---


async def select(api: OwnAPI, limit: int = 100, **selector: Any) -> list[tuple[str, str]]:
    wanted = Selector(
        tags=tuple(selector.get("tags", ())),
        metadata=tuple(selector.get("metadata", {}).items()),
        ids_too=selector.get("ids_too", False),
    )
    return await api.database.read(lambda connection: matching(connection, "default", wanted, limit))


@pytest.mark.parametrize("few", [20_000, 0], ids=["looked up", "walked"])
async def test_matching_finds_ids_and_traces_oldest_first(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(selection, "FEW_ROWS", few)
    [a, b] = await exchanges(api, "t1", "t2", tags=["x"])
    [c] = await exchanges(api, "t1", tags=["y"])
    await exchanges(api, "t9", tags=["x"], key_id="other")
    assert await select(api, tags=["x"]) == [(a, "t1"), (b, "t2")]
    assert await select(api, tags=["x"], limit=1) == [(a, "t1")]
    assert await select(api) == [(a, "t1"), (b, "t2"), (c, "t1")]
    assert await select(api, tags=["t1"]) == []
    assert await select(api, tags=["t1"], ids_too=True) == [(a, "t1"), (c, "t1")]
    assert await select(api, tags=[b], ids_too=True) == [(b, "t2")]
    assert await select(api, tags=["x", "t1"], ids_too=True) == [(a, "t1")]
    assert await select(api, tags=["x", "t1", a], ids_too=True) == [(a, "t1")]
    assert await select(api, tags=["t9"], ids_too=True) == []


async def test_a_selector_has_a_limit(api: OwnAPI) -> None:
    with pytest.raises(InvalidField, match="selector: has 101 entries, the limit is 100"):
        await select(api, tags=[str(n) for n in range(101)])
    assert await select(api, tags=[str(n) for n in range(100)], ids_too=True) == []


@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("everything", {}),
        ("one tag", {"tags": ["x"]}),
        ("two tags", {"tags": ["x", "y"]}),
        ("a tag and metadata", {"tags": ["x"], "metadata": {"_user": "ann", "a": "1"}}),
        ("metadata", {"metadata": {"_user": "ann"}}),
    ],
)
async def test_a_walk_sorts_nothing_and_looks_up_what_it_checks(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch, name: str, selector: dict[str, Any]
) -> None:
    monkeypatch.setattr(selection, "FEW_ROWS", 0)  # as with a million rows
    tray = await Inbox.of(api, **selector)
    made = await exchanges(api, *(f"t{n}" for n in range(5)), tags=["x", "y"], meta_user="ann")
    await tray.grade(request_id=made[0])

    def plans(connection: Connection) -> list[str]:
        statements: list[Any] = []
        event.listen(
            connection.engine,
            "before_cursor_execute",
            lambda *args: statements.append(args[2:4]),
            named=False,
        )
        inbox.find(connection, "default", tray.task_id, known=ungraded.NOTHING_KNOWN, now_ms=1, limit=3)
        raw: Any = connection.connection.dbapi_connection
        rows = [raw.execute(f"EXPLAIN QUERY PLAN {sql}", params).fetchall() for sql, params in statements]
        return [row[3] for plan in rows for row in plan]

    plan = "\n".join(await api.database.read(plans))
    assert "TEMP B-TREE" not in plan, plan
    for table in ("feedback", "feedback_target", "exchange_tag", "inbox_claim", "trace"):
        assert f"SCAN {table}" not in plan, plan
    if "tags" in selector:
        assert "SCAN exchange" not in plan, plan
