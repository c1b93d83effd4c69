"""Insights: what is counted by hour, and what is not yet, is what the rows add up to."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.records.insights import DIMENSIONS, HOUR_MS, FeedbackFigures, Figures, RequestFigures, Span
from gateway.store import exchange_hours, feedback_hours, hours, insights
from gateway.store import roller as roller_module
from gateway.store.roller import Roller
from tests.harness import Rows
from tests.own_api import START_MS, OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.records.insights import Dimension, Insights

FIRST = START_MS // HOUR_MS
SPAN = Span(FIRST, FIRST + 48, 6)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path) as opened:
        yield opened


async def look(
    api: OwnAPI, *, span: Span = SPAN, by: Dimension = "model", group: str | None = None
) -> Insights:
    return await api.database.read(
        lambda connection: insights.read(connection, "default", span, by=by, group=group)
    )


async def count_all(api: OwnAPI) -> None:
    await Roller(api.database).catch_up()


def later(hours_later: float) -> int:
    return START_MS + int(hours_later * HOUR_MS)


# --- what the figures say ---


async def test_a_store_without_anything_has_steps_of_nothing(api: OwnAPI) -> None:
    found = await look(api)
    assert list(found.steps) == list(range(FIRST, FIRST + 48, 6))
    assert found.total == Figures()
    assert (found.groups, found.rated) == ((), {"prompt": (), "model": ()})
    assert await api.database.read(lambda connection: insights.hours(connection, "default")) is None


@pytest.mark.parametrize("counted", [False, True])
async def test_requests_errors_tokens_and_cost_are_added_up_by_step(api: OwnAPI, counted: bool) -> None:
    await api.exchange("t1", started_at_ms=later(1), latency_ms=100.0)
    await api.exchange("t2", started_at_ms=later(5.9), latency_ms=300.0, status=500, cost_usd=None)
    await api.exchange("t3", started_at_ms=later(6), prompt_tokens=None)
    await api.exchange("t4", started_at_ms=later(48))
    await api.exchange("t5", started_at_ms=later(1), key_id="another")
    if counted:
        await count_all(api)
    found = await look(api)
    first, second = found.steps[FIRST].requests, found.steps[FIRST + 6].requests
    assert (first.requests, first.errors, first.error_share) == (2, 1, 0.5)
    assert (first.prompt_tokens, first.completion_tokens) == (20, 40)
    assert (first.priced, first.cost_usd) == (1, 0.25)
    assert (second.requests, second.prompt_tokens, second.completion_tokens) == (1, 0, 20)
    assert found.total.requests.requests == 3
    assert found.uncounted == found.stale_hours == 0
    assert await api.database.read(lambda connection: insights.hours(connection, "default")) == (
        FIRST + 1,
        FIRST + 48,
    )


async def test_latencies_are_right_to_within_a_tenth(api: OwnAPI) -> None:
    latencies = [random.Random(4).lognormvariate(5, 1.5) for _ in range(400)]
    for number, latency_ms in enumerate(latencies):
        await api.exchange(f"t{number}", latency_ms=latency_ms)
        if number == 200:
            await count_all(api)
    found = (await look(api)).total.requests
    latencies.sort()
    for share in (0.5, 0.9, 0.99):
        assert found.latency_ms(share) == pytest.approx(latencies[int(share * 400) - 1], rel=0.1)


async def test_a_mean_comes_with_its_spread_and_few_scores_are_marked(api: OwnAPI) -> None:
    await api.exchange("t1")
    await api.give({"trace_id": "t1", "value": 4, "weight": 0.5}, {"trace_id": "t1", "value": 10})
    await api.give({"trace_id": "t1", "comment": "no score"})
    feedback = (await look(api)).total.feedback
    assert (feedback.count, feedback.score_count, feedback.is_few) == (3, 2, True)
    assert feedback.weighted_mean == pytest.approx(8.0)
    assert feedback.spread == pytest.approx((((4 - 8) ** 2 * 0.5 + (10 - 8) ** 2) / 1.5) ** 0.5)
    assert {value: (one.count, one.weight) for value, one in feedback.scores.items()} == {
        4: (1, 0.5),
        10: (1, 1.0),
    }
    await api.give(*({"trace_id": "t1", "value": 1} for _ in range(18)))
    assert (await look(api)).total.feedback.is_few is False


async def test_scores_of_no_weight_have_no_mean(api: OwnAPI) -> None:
    await api.exchange("t1")
    await api.give({"trace_id": "t1", "value": 4, "weight": 0})
    feedback = (await look(api)).total.feedback
    assert (feedback.score_count, feedback.weighted_mean, feedback.spread) == (1, None, None)


@pytest.mark.parametrize("counted", [False, True])
async def test_groups_come_by_requests_with_those_that_only_have_feedback_behind(
    api: OwnAPI, counted: bool
) -> None:
    for number, prompt in enumerate(["a", "b", "b", None]):
        await api.exchange(f"t{number}", meta_prompt=prompt)
    await api.give({"trace_id": "nowhere", "value": 3, "metadata": {"_prompt": "c"}})
    await api.give({"trace_id": "t0", "value": -3})
    if counted:
        await count_all(api)
    found = await look(api, by="prompt")
    assert [
        (one.group, one.figures.requests.requests, one.figures.feedback.count) for one in found.groups
    ] == [
        ("b", 2, 0),
        (None, 1, 0),
        ("a", 1, 1),
        ("c", 0, 1),
    ]
    assert [one.group for one in found.rated["prompt"]] == ["c", "a"]
    of_one = await look(api, by="prompt", group="b")
    assert of_one.total.requests.requests == 2
    of_none = await look(api, by="prompt", group="")
    assert of_none.total.requests.requests == 1


async def test_the_best_and_worst_are_ranked_with_small_samples_behind(api: OwnAPI) -> None:
    for prompt, value, times in (("good", 5, 20), ("bad", -5, 25), ("lucky", 10, 1)):
        await api.exchange(prompt, meta_prompt=prompt)
        await api.give(*({"trace_id": prompt, "value": value} for _ in range(times)))
    rated = (await look(api)).rated["prompt"]
    assert [(one.group, one.figures.feedback.is_few) for one in rated] == [
        ("good", False),
        ("bad", False),
        ("lucky", True),
    ]
    assert [one.group for one in (await look(api)).rated["model"]] == ["gpt-4o-2024-08-06"]


# --- what is counted when ---


async def test_an_exchange_that_started_in_an_hour_long_counted_is_counted_too(api: OwnAPI) -> None:
    await api.exchange("t1", started_at_ms=later(5), latency_ms=10.0)
    await count_all(api)
    await api.exchange("t2", started_at_ms=later(5), latency_ms=10.0)
    assert (await look(api)).total.requests.requests == 2
    await count_all(api)
    found = (await look(api)).total.requests
    assert (found.requests, list(found.latency.values())) == (2, [2])


async def test_feedback_moves_to_the_group_of_an_exchange_that_came_later(api: OwnAPI) -> None:
    await api.give({"trace_id": "t1", "value": 3})
    await count_all(api)
    assert [one.group for one in (await look(api)).rated["model"]] == [None]
    await api.exchange("t1")
    for _ in range(2):
        rated = (await look(api)).rated["model"]
        assert [one.group for one in rated] == ["gpt-4o-2024-08-06"]
        await count_all(api)


async def test_what_is_changed_retracted_or_overridden_is_counted_anew(api: OwnAPI) -> None:
    await api.exchange("t1")
    one, two = await api.give({"trace_id": "t1", "value": 3}, {"trace_id": "t1", "value": -3})
    await count_all(api)
    await api.client.put(f"/v1/feedback/{one}", json={"value": 9})
    assert sorted((await look(api)).total.feedback.scores) == [-3, 9]
    await count_all(api)
    await api.client.delete(f"/v1/feedback/{two}")
    await count_all(api)
    assert sorted((await look(api)).total.feedback.scores) == [9]
    await api.give({"trace_id": "t1", "value": 1, "overrides": one})
    await count_all(api)
    assert sorted((await look(api)).total.feedback.scores) == [1]


async def test_an_hour_that_changes_while_it_is_counted_stays_stale(api: OwnAPI) -> None:
    await api.exchange("t1")
    await api.give({"trace_id": "t1", "value": 3})
    stale = await api.database.read(lambda connection: hours.next_stale(connection, "feedback"))
    assert stale is not None
    counted = await api.database.read(
        lambda connection: feedback_hours.count(connection, stale.key_id, stale.hour)
    )
    await api.give({"trace_id": "t1", "value": 4})
    assert not await api.database.write(lambda connection: feedback_hours.replace(connection, stale, counted))
    assert (await look(api)).total.feedback.count == 2


async def test_a_step_that_another_process_took_is_dropped(api: OwnAPI) -> None:
    await api.exchange("t1")
    step = await api.database.read(lambda connection: exchange_hours.next_step(connection, 10))
    assert step is not None
    took = [
        await api.database.write(lambda connection: exchange_hours.add(connection, step)) for _ in range(2)
    ]
    assert took == [True, False]
    assert (await look(api)).total.requests.requests == 1


async def test_what_is_too_much_to_count_at_once_is_said(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insights, "MAX_TAIL", 3)
    monkeypatch.setattr(insights, "MAX_LIVE", 4)
    for number in range(5):
        await api.exchange(f"t{number}", started_at_ms=later(number))
        await api.give({"trace_id": f"t{number}", "value": 3})
        api.clock.ms += HOUR_MS
    found = await look(api)
    assert found.uncounted == 2
    assert found.stale_hours == 3
    assert found.total.feedback.count == 2
    await count_all(api)
    found = await look(api)
    assert (found.uncounted, found.stale_hours, found.total.feedback.count) == (0, 0, 5)


async def test_everything_can_be_forgotten_and_counted_anew(api: OwnAPI) -> None:
    await api.exchange("t1")
    await api.give({"trace_id": "t1", "value": 3})
    await count_all(api)
    before = await look(api)
    await api.database.write(hours.forget)
    await count_all(api)
    assert await look(api) == before


async def test_the_roller_counts_when_it_is_woken(api: OwnAPI, tmp_path: Path) -> None:
    roller = Roller(api.database, pause_s=3600)
    roller.start()
    await api.exchange("t1")
    roller.wake()
    rows = Rows(tmp_path / "gateway.db")
    async with asyncio.timeout(10):
        while not rows.count("exchange_hour"):
            await asyncio.sleep(0.01)
    await roller.close()
    await Roller(api.database).close()


async def test_while_it_is_busy_counting_waits_until_too_much_does(
    api: OwnAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roller_module, "QUIET_PER_S", -1)  # every second is a busy one
    rows = Rows(tmp_path / "gateway.db")
    await api.exchange("t1")
    roller = Roller(api.database, pause_s=0.02)
    roller.start()
    await asyncio.sleep(0.3)
    assert rows.count("exchange_hour") == 0
    monkeypatch.setattr(roller_module, "MAX_WAITING", 0)
    async with asyncio.timeout(10):
        while not rows.count("exchange_hour"):
            await asyncio.sleep(0.01)
    await roller.close()


async def test_the_roller_counts_by_itself_when_it_is_quiet(api: OwnAPI, tmp_path: Path) -> None:
    await api.exchange("t1")
    roller = Roller(api.database, pause_s=0.05)
    roller.start()
    async with asyncio.timeout(10):
        while not Rows(tmp_path / "gateway.db").count("exchange_hour"):
            await asyncio.sleep(0.01)
    await roller.close()


async def test_of_many_groups_in_many_days_the_busiest_are_found(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insights, "MAX_GROUPS", 4)
    monkeypatch.setattr(insights, "MAX_CANDIDATES", 6)
    for day in range(3):
        for user, requests in (("busy", 3), ("often", 2), *((f"once-{day}-{n}", 1) for n in range(3))):
            for number in range(requests):
                await api.exchange(f"{day}-{user}-{number}", meta_user=user, started_at_ms=later(24 * day))
    span = Span(FIRST // 24 * 24, FIRST // 24 * 24 + 72, 24)
    for _ in range(2):
        found = await look(api, span=span, by="user")
        shown = [(one.group, one.figures.requests.requests) for one in found.groups]
        assert shown[:2] == [("busy", 9), ("often", 6)]
        assert found.more_groups
        await count_all(api)


# --- whatever happens, in whatever order ---

WORDS = st.sampled_from(["a", "b", None])
EXCHANGE = st.fixed_dictionaries(
    {
        "act": st.just("exchange"),
        "trace": st.sampled_from(["t1", "t2", "t3"]),
        "at": st.integers(0, 60),
        "status": st.sampled_from([200, 429]),
        "cost_usd": st.sampled_from([None, 0.5]),
        "latency_ms": st.sampled_from([0.2, 5.0, 80.0]),
        "answering_model": WORDS,
        "meta_prompt": WORDS,
        "meta_user": WORDS,
        "upstream": WORDS,
    }
)
GIVE = st.fixed_dictionaries(
    {
        "act": st.just("give"),
        "trace": st.sampled_from(["t1", "t2", "t3", "t4"]),
        "at": st.integers(0, 60),
        "value": st.sampled_from([-10, 0, 7, None]),
        "weight": st.sampled_from([0, 0.3, 1]),
        "user": WORDS,
        "on_exchange": st.booleans(),
    }
)
CHANGE = st.fixed_dictionaries(
    {"act": st.sampled_from(["change", "retract", "override", "step"]), "which": st.integers(0, 30)}
)


@settings(max_examples=40, deadline=None)
@given(
    acts=st.lists(EXCHANGE | GIVE | CHANGE, min_size=1, max_size=25),
    by=st.sampled_from(DIMENSIONS),
)
def test_the_figures_are_those_of_the_rows(acts: list[dict[str, Any]], by: Dimension) -> None:
    async def story() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with own_api(Path(folder)) as api:
                await play(api, acts)
                rows = Rows(Path(folder) / "gateway.db")
                expected = recomputed(rows, by)
                check(await look(api, by=by), expected)
                await count_all(api)
                check(await look(api, by=by), expected)
                group = next(iter(expected[1]), "")
                of_one = await look(api, by=by, group=group)
                same(of_one.total, expected[1].get(group, Figures()))

    asyncio.run(story())


async def play(api: OwnAPI, acts: list[dict[str, Any]]) -> None:
    roller, given, exchanges = Roller(api.database), [], defaultdict(list)
    for act in acts:
        if "at" in act:
            api.clock.ms = later(act["at"])
        match act["act"]:
            case "exchange":
                columns = {name: act[name] for name in act if name not in ("act", "trace", "at")}
                exchanges[act["trace"]].append(await api.exchange(act["trace"], **columns))
            case "give":
                known = exchanges[act["trace"]]
                target = (
                    {"request_id": known[-1]} if act["on_exchange"] and known else {"trace_id": act["trace"]}
                )
                said = {"comment": "well"} if act["value"] is None else {"value": act["value"]}
                metadata = {} if act["user"] is None else {"metadata": {"_user": act["user"]}}
                given += await api.give({**target, **said, **metadata, "weight": act["weight"]})
            case "step":
                await roller.step()
            case what if given:
                chosen = given[act["which"] % len(given)]
                if what == "change":
                    await api.client.put(f"/v1/feedback/{chosen}", json={"value": 2})
                elif what == "retract":
                    await api.client.delete(f"/v1/feedback/{chosen}")
                elif (await api.client.get(f"/v1/feedback/{chosen}")).status_code == 200:
                    given += await api.give({"trace_id": "t1", "value": 1, "overrides": chosen})


def recomputed(rows: Rows, by: Dimension) -> tuple[dict[int, Figures], dict[str, Figures]]:
    """By step and by group, from the rows, one at a time."""
    steps: defaultdict[int, Figures] = defaultdict(Figures)
    groups: defaultdict[str, Figures] = defaultdict(Figures)
    for row in rows.query("SELECT * FROM exchange"):
        step = SPAN.start_of(row["started_at_ms"] // HOUR_MS)
        if step >= SPAN.end:
            continue
        for figures in (steps[step].requests, groups[said_by(row, by) or ""].requests):
            one = RequestFigures(
                requests=1,
                errors=row["status"] >= 400,
                prompt_tokens=row["prompt_tokens"],
                completion_tokens=row["completion_tokens"],
                priced=row["cost_usd"] is not None,
                cost_usd=row["cost_usd"] or 0.0,
            )
            one.latency[exchange_hours.latency_bucket(row["latency_ms"])] = 1
            figures.add(one)
    live = "SELECT * FROM feedback WHERE retracted_at_ms IS NULL AND superseded = 0"
    for row in rows.query(live):
        step = SPAN.start_of(row["created_at_ms"] // HOUR_MS)
        if step >= SPAN.end:
            continue
        one = FeedbackFigures()
        if row["kind"] == "score":
            one.add_scores(int(row["number"]), 1, row["weight"])
        else:
            one.add_others(1)
        steps[step].feedback.add(one)
        about = rows.query(
            "SELECT e.* FROM exchange e JOIN feedback_target t ON t.trace_id = e.trace_id "
            "WHERE t.feedback_seq = ? AND (t.exchange_id = '' OR t.exchange_id = e.id)",
            row["seq"],
        )
        own = row.get(f"meta_{by}")
        said = {said_by(exchange, by) for exchange in about} - {None}
        for group in {own} if own is not None else said or {""}:
            groups[group].feedback.add(one)
    return steps, groups


def said_by(exchange: dict[str, Any], by: Dimension) -> str | None:
    if by == "model":
        return exchange["answering_model"] or exchange["requested_model"]
    return exchange["upstream" if by == "upstream" else f"meta_{by}"]


def check(found: Insights, expected: tuple[dict[int, Figures], dict[str, Figures]]) -> None:
    steps, groups = expected
    assert list(found.steps) == list(SPAN)
    for step, figures in found.steps.items():
        same(figures, steps.get(step, Figures()))
    assert {one.group or "" for one in found.groups} == set(groups)
    for one in found.groups:
        same(one.figures, groups[one.group or ""])


def same(found: Figures, expected: Figures) -> None:
    assert found.requests == expected.requests
    assert found.feedback.count == expected.feedback.count
    assert found.feedback.scores.keys() == expected.feedback.scores.keys()
    for value, one in found.feedback.scores.items():
        assert one.count == expected.feedback.scores[value].count
        assert one.weight == pytest.approx(expected.feedback.scores[value].weight)
    assert found.feedback.spread == pytest.approx(expected.feedback.spread)
