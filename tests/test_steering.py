"""Weights that follow feedback: what counts for which target, what is said of it, and a store that fails."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import pytest
from pydantic import ValidationError

from gateway.api.openapi import document
from gateway.config.routes import Plan
from gateway.errors import StoreUnavailable
from gateway.feedback.steering import Steering
from gateway.routing.plan import LoadBalance, compile_plan
from gateway.store import steering as stored
from tests.harness import run_gateway
from tests.own_api import OwnAPI, own_api
from tests.own_dashboard import own_dashboard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.harness import Process

HOUR_S = 3600.0
BY_FEEDBACK: dict[str, Any] = {"name": "feedback", "half_life_s": HOUR_S, "explore": 0.1, "refresh_s": 0.1}


def plan(*targets: dict[str, Any], **by_feedback: Any) -> Plan:
    strategy = {"mode": "loadbalance", "by_feedback": BY_FEEDBACK | by_feedback}
    return Plan.model_validate({"strategy": strategy, "targets": targets})


def target(name: str, weight: float = 1.0) -> dict[str, Any]:
    return {"name": name, "upstream": "openai", "weight": weight}


ONE_OR_THE_OTHER = plan(target("one"), target("other"))


class FailingStore:
    """A database in front of the real one, which a test can take away."""

    def __init__(self, api: OwnAPI) -> None:
        self._database = api.database
        self.error: Exception | None = None

    async def read(self, work: Callable[..., Any]) -> Any:
        if self.error is not None:
            raise self.error
        return await self._database.read(work)

    async def write(self, work: Callable[..., Any]) -> Any:
        return await self._database.write(work)


@dataclass
class Gateway:
    """Our endpoints and what steers, over one store."""

    api: OwnAPI
    steering: Steering
    node: LoadBalance
    store: FailingStore
    seen: dict[str, Any] = field(default_factory=dict)

    async def look(self) -> dict[str, Any]:
        """The targets after another look at the feedback, by name, as the API shows them."""
        await self.steering.refresh()
        [strategy] = (await self.api.get("/v1/routing"))["steered"]
        self.seen = strategy
        return {each["target"]: each for each in strategy["targets"]}

    async def answered(self, trace: str, by: str, **columns: Any) -> str:
        return await self.api.exchange(trace, target=by, **columns)


@asynccontextmanager
async def steered(
    folder: Path, wanted: Plan = ONE_OR_THE_OTHER, key_ids: tuple[str, ...] = ("default",)
) -> AsyncIterator[Gateway]:
    opened: list[Steering] = []
    async with own_api(folder, steered=lambda: opened[0].report()) as api:
        compiled, store = compile_plan(wanted), FailingStore(api)
        steering = Steering({"routes[0]": compiled}, store, key_ids=key_ids, now_ms=api.clock)
        opened.append(steering)
        assert isinstance(compiled.root, LoadBalance)
        yield Gateway(api, steering, compiled.root, store)
        await steering.close()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with steered(tmp_path) as opened:
        yield opened


# --- what counts for whom ---


async def test_without_feedback_the_configured_weights_hold(tmp_path: Path) -> None:
    async with steered(tmp_path, plan(target("one", 3), target("other", 1), target("out", 0))) as gateway:
        assert gateway.steering.shares(gateway.node) is None
        found = await gateway.look()
        assert gateway.steering.shares(gateway.node) == pytest.approx([0.725, 0.275, 0.0])
        assert [each["share"] for each in found.values()] == pytest.approx([0.725, 0.275, 0.0])
        assert found["one"]["reason"] == "no feedback yet: shared out by weight"
        assert found["out"]["reason"] == "taken out: its weight is 0"


async def test_the_target_that_pleases_gets_more(gateway: Gateway) -> None:
    for number in range(12):
        await gateway.answered(f"good-{number}", by="one")
        await gateway.answered(f"bad-{number}", by="other")
        await gateway.api.give(
            {"trace_id": f"good-{number}", "value": 8}, {"trace_id": f"bad-{number}", "value": -4}
        )
    found = await gateway.look()
    assert found["one"]["share"] == pytest.approx(0.95, abs=0.001)
    assert found["other"]["share"] == pytest.approx(0.05, abs=0.001)
    assert gateway.steering.shares(gateway.node) == pytest.approx([0.95, 0.05], abs=0.001)
    assert (found["one"]["weighted_mean"], found["one"]["count"]) == (pytest.approx(8), 12)
    assert found["one"]["effective_count"] == pytest.approx(12, abs=0.001)
    assert found["one"]["reason"] == "thought best"
    assert found["other"]["reason"] == "thought worse: explored only"


async def test_feedback_on_a_trace_counts_once_for_each_target_that_answered_in_it(gateway: Gateway) -> None:
    await gateway.answered("both", by="one")
    await gateway.answered("both", by="one")
    await gateway.answered("both", by="other")
    await gateway.api.give({"trace_id": "both", "value": 5})
    found = await gateway.look()
    assert [each["count"] for each in found.values()] == [1, 1]


async def test_feedback_on_an_exchange_counts_for_its_target_alone(gateway: Gateway) -> None:
    first = await gateway.answered("both", by="one")
    await gateway.answered("both", by="other")
    await gateway.api.give({"request_id": first, "value": 5})
    found = await gateway.look()
    assert [each["count"] for each in found.values()] == [1, 0]
    assert found["other"]["reason"] == "no feedback of its own yet: may be better or worse"


async def test_feedback_that_came_before_its_exchange_counts_once_that_is_there(gateway: Gateway) -> None:
    await gateway.api.give({"trace_id": "early", "value": 5})
    assert (await gateway.look())["one"]["count"] == 0
    await gateway.answered("early", by="one")
    assert (await gateway.look())["one"]["count"] == 1


async def test_one_answer_about_several_traces_counts_in_each(gateway: Gateway) -> None:
    for trace in ("a", "b"):
        await gateway.answered(trace, by="one", tags='["nightly"]')
    await gateway.answered("b", by="other", tags='["nightly"]')
    given = {"selector": {"tags": ["nightly"]}, "value": 5}
    response = await gateway.api.client.post("/v1/feedback", json=given)
    assert response.status_code == 200, response.text
    found = await gateway.look()
    assert [each["count"] for each in found.values()] == [2, 1]


async def test_what_is_taken_back_or_changed_or_overridden_steers_no_more(gateway: Gateway) -> None:
    await gateway.answered("t", by="one")
    kept, gone = await gateway.api.give({"trace_id": "t", "value": 6}, {"trace_id": "t", "value": -6})
    assert (await gateway.look())["one"]["weighted_mean"] == pytest.approx(0)
    await gateway.api.client.delete(f"/v1/feedback/{gone}")
    found = await gateway.look()
    assert (found["one"]["count"], found["one"]["weighted_mean"]) == (1, pytest.approx(6))
    await gateway.api.client.put(f"/v1/feedback/{kept}", json={"value": 2})
    assert (await gateway.look())["one"]["weighted_mean"] == pytest.approx(2)
    await gateway.api.give({"trace_id": "t", "value": -9, "overrides": kept})
    found = await gateway.look()
    assert (found["one"]["count"], found["one"]["weighted_mean"]) == (1, pytest.approx(-9))


async def test_weight_counts_and_weight_nothing_does_not(gateway: Gateway) -> None:
    await gateway.answered("t", by="one")
    await gateway.api.give(
        {"trace_id": "t", "value": 10, "weight": 0.25},
        {"trace_id": "t", "value": -10, "weight": 0.75},
        {"trace_id": "t", "value": 10, "weight": 0},
    )
    found = await gateway.look()
    assert (found["one"]["count"], found["one"]["weighted_mean"]) == (2, pytest.approx(-5, abs=0.001))
    assert found["one"]["effective_count"] == pytest.approx(1, abs=0.001)


async def test_only_the_chosen_name_counts_and_only_what_rates(tmp_path: Path) -> None:
    async with steered(tmp_path, plan(target("one"), target("other"), name="helpful")) as gateway:
        await gateway.answered("t", by="one")
        await gateway.api.give(
            {"trace_id": "t", "name": "helpful", "value": True},
            {"trace_id": "t", "name": "helpful", "value": 0.5},
            {"trace_id": "t", "name": "helpful", "value": "very"},
            {"trace_id": "t", "name": "helpful", "comment": "thanks"},
            {"trace_id": "t", "name": "helpful", "correction": "this instead"},
            {"trace_id": "t", "name": "tone", "value": -1},
            {"trace_id": "t", "value": -10},
        )
        found = await gateway.look()
        assert (found["one"]["count"], found["one"]["weighted_mean"]) == (2, pytest.approx(0.75))


async def test_a_score_counts_half_after_its_half_life_and_nothing_after_ten(gateway: Gateway) -> None:
    await gateway.answered("t", by="one")
    await gateway.api.give({"trace_id": "t", "value": 10})
    gateway.api.clock.ms += int(HOUR_S * 1000)
    await gateway.api.give({"trace_id": "t", "value": -5})
    found = await gateway.look()
    assert found["one"]["effective_count"] == pytest.approx(1.5, abs=0.001)
    assert found["one"]["weighted_mean"] == pytest.approx(0, abs=0.01)
    gateway.api.clock.ms += int(9.5 * HOUR_S * 1000)
    found = await gateway.look()
    assert (found["one"]["count"], found["one"]["weighted_mean"]) == (1, pytest.approx(-5))


async def test_the_feedback_of_all_keys_counts_and_each_finds_its_own_traces(tmp_path: Path) -> None:
    async with steered(tmp_path, key_ids=("default", "team-a")) as gateway:
        await gateway.answered("t", by="one")
        await gateway.answered("t", by="other", key_id="team-a")
        await gateway.api.give({"trace_id": "t", "value": 5})
        found = await gateway.look()
        assert [each["count"] for each in found.values()] == [1, 0]


async def test_a_group_stands_for_the_targets_below_it(tmp_path: Path) -> None:
    def pair(name: str) -> dict[str, Any]:
        return {"name": name, "strategy": "fallback", "targets": [target(f"{name}-first"), target("backup")]}

    async with steered(tmp_path, plan(pair("one"), pair("other"))) as gateway:
        await gateway.answered("t", by="one-first")
        await gateway.answered("u", by="backup")
        await gateway.api.give({"trace_id": "t", "value": 5}, {"trace_id": "u", "value": -5})
        found = await gateway.look()
        # What the backup answered says nothing of either: both have it.
        assert found["one"]["labels"] == ["one-first"]
        assert (found["one"]["count"], found["other"]["count"]) == (1, 0)


async def test_targets_without_names_of_their_own_are_said_to_be_alike(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    twins = plan(
        {"strategy": "fallback", "targets": [target("a"), target("b")]},
        {"strategy": "fallback", "targets": [target("b"), target("a")]},
    )
    async with steered(tmp_path, twins) as gateway:
        gateway.steering.start()
        await gateway.answered("t", by="a")
        await gateway.api.give({"trace_id": "t", "value": 5})
        await gateway.steering.refresh()
        [strategy] = gateway.steering.report()
        assert {standing.reason for standing in strategy.standings} == {
            "feedback cannot tell it from the target beside it: give it a name"
        }
    assert "give each its own" in caplog.text


def test_two_targets_that_logs_call_the_same_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"targets\.1\.name\n +is missing; add it"):
        plan({"upstream": "openai"}, {"upstream": "openai", "override_params": {"temperature": 0}})
    plan({"upstream": "openai"}, {"upstream": "openai", "model": "gpt-4o"})


async def test_a_very_long_trace_says_nothing_of_a_single_target(gateway: Gateway) -> None:
    for _ in range(stored.MAX_EXCHANGES_OF_TRACE):
        await gateway.answered("long", by="one")
    await gateway.api.give({"trace_id": "long", "value": 5})
    assert (await gateway.look())["one"]["count"] == 1
    await gateway.answered("long", by="one")
    assert (await gateway.look())["one"]["count"] == 0


# --- how it is kept up to date ---


async def test_shares_are_worked_out_again_while_it_runs(gateway: Gateway) -> None:
    gateway.steering.start()
    await gateway.answered("t", by="one")
    await gateway.api.give(*[{"trace_id": "t", "value": 5}] * 3)
    async with asyncio.timeout(5):
        while gateway.steering.report()[0].standings[0].evidence.answers < 3:
            await asyncio.sleep(0.02)


async def test_a_store_that_fails_leaves_the_shares_as_they_were(gateway: Gateway) -> None:
    await gateway.answered("t", by="one")
    await gateway.answered("u", by="other")
    await gateway.api.give(*[{"trace_id": "t", "value": 5}] * 9, *[{"trace_id": "u", "value": -5}] * 9)
    before = await gateway.look()
    gateway.store.error = StoreUnavailable("the disk is gone")
    assert await gateway.look() == before
    assert (gateway.seen["failures"], gateway.seen["last_error"]) == (1, "the disk is gone")
    gateway.store.error = RuntimeError("nobody knows")
    await gateway.look()
    assert (gateway.seen["failures"], gateway.seen["last_error"]) == (2, "RuntimeError")
    gateway.store.error = None
    await gateway.look()
    assert (gateway.seen["failures"], gateway.seen["last_error"]) == (2, None)


async def test_a_plan_compiled_again_for_one_request_has_the_same_shares(gateway: Gateway) -> None:
    await gateway.look()
    again = compile_plan(ONE_OR_THE_OTHER).root
    other = compile_plan(plan(target("one"), target("another"))).root
    assert isinstance(again, LoadBalance)
    assert isinstance(other, LoadBalance)
    assert gateway.steering.shares(again) == gateway.steering.shares(gateway.node)
    assert gateway.steering.shares(other) is None


async def test_nothing_runs_where_nothing_steers(tmp_path: Path) -> None:
    plain = Plan.model_validate({"strategy": "loadbalance", "targets": [target("one"), target("other")]})
    async with steered(tmp_path, plain) as gateway:
        before = asyncio.all_tasks()
        gateway.steering.start()
        assert asyncio.all_tasks() == before
        assert (await gateway.api.get("/v1/routing")) == {"object": "routing", "steered": []}


# --- what is shown ---


async def test_what_is_answered_has_the_documented_shape(gateway: Gateway) -> None:
    schema = jsonschema_rs.validator_for({"$ref": "#/components/schemas/Routing", **document()})
    schema.validate(await gateway.api.get("/v1/routing"))
    await gateway.answered("t", by="one")
    await gateway.api.give({"trace_id": "t", "value": 5})
    await gateway.look()
    assert gateway.seen["place"] == "routes[0]"
    assert gateway.seen["refreshed_at"].startswith("2027-01-15T08:00:00.")
    schema.validate(await gateway.api.get("/v1/routing"))


async def test_the_status_page_shows_shares_and_reasons(tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    async with steered(tmp_path) as gateway:
        await gateway.answered("t", by="one")
        await gateway.api.give({"trace_id": "t", "value": 5})
        await gateway.look()
        async with own_dashboard(tmp_path / "shown", steered=gateway.steering.report) as dashboard:
            html = await dashboard.page("/ui/status")
            assert "routes[0]" in html
            assert "A score counts half after 1 hour; 10 % of the requests are spread evenly." in html
            assert "too little feedback to tell" in html
            assert "<strong>one</strong>" in html
            gateway.store.error = StoreUnavailable("the <disk> is gone")
            await gateway.steering.refresh()
            html = await dashboard.page("/ui/status")
            assert "shares stay as they were: the &lt;disk&gt; is gone (1 since the start)" in html


async def test_the_status_page_says_nothing_where_nothing_steers(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        assert "follows the feedback" not in await dashboard.page("/ui/status")


# --- at the wire ---


def test_a_running_gateway_follows_thumbs_and_follows_them_back(fake_openai: Process) -> None:
    route = {
        "models": ["chat"],
        "strategy": {
            "mode": "loadbalance",
            "by_feedback": {"name": "helpful", "half_life_s": 2, "explore": 0.1, "refresh_s": 0.1},
        },
        "targets": [
            {"name": "one", "upstream": "fake", "model": "gpt-4o"},
            {"name": "other", "upstream": "fake", "model": "gpt-4o-mini"},
        ],
    }
    config = {"upstreams": {"fake": {"base_url": f"{fake_openai.url}/v1"}}, "routes": [route]}
    with (
        run_gateway(config) as gateway,
        httpx.Client(base_url=gateway.url, timeout=10, headers={"authorization": "Bearer x"}) as http,
    ):

        def ask() -> tuple[str, str]:
            """The request id of an answer and the target that gave it."""
            body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
            answer = http.post("/v1/chat/completions", json=body).raise_for_status()
            request_id = answer.headers["x-request-id"]
            return request_id, http.get(f"/v1/logs/{request_id}").json()["target"]

        def shares() -> dict[str, float]:
            [strategy] = http.get("/v1/routing").raise_for_status().json()["steered"]
            return {each["target"]: each["share"] for each in strategy["targets"]}

        def judge_until_it_prefers(liked: str) -> None:
            deadline = time.monotonic() + 40
            while shares()[liked] < 0.8:
                assert time.monotonic() < deadline, http.get("/v1/routing").text
                request_id, target = ask()
                given = {"request_id": request_id, "name": "helpful", "value": target == liked}
                http.post("/v1/feedback", json=given).raise_for_status()

        assert shares() == {"one": 0.5, "other": 0.5}
        judge_until_it_prefers("one")
        judge_until_it_prefers("other")
        answered = [ask()[1] for _ in range(30)]
        assert answered.count("other") > answered.count("one")
