"""GET /v1/feedback/summary and a trace's feedback by name: what the figures are, and that they add up."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.openapi import document
from tests.bench.fill import fill
from tests.harness import run_gateway
from tests.own_api import START_MS, OwnAPI, lasting_api, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.harness import RunningGateway

DAY_MS = 86_400_000


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path) as opened:
        yield opened


async def the_name(api: OwnAPI, name: str = "feedback", **params: Any) -> dict[str, Any]:
    """The summary of one name, overall."""
    [group] = (await api.get("/v1/feedback/summary", **params))["data"]
    [found] = [each for each in group["names"] if each["name"] == name]
    return found


async def groups(api: OwnAPI, group_by: str, **params: Any) -> dict[str | None, int]:
    found = await api.get("/v1/feedback/summary", group_by=group_by, **params)
    return {group["group"]: group["count"] for group in found["data"]}


# --- one name ---


async def test_nothing_is_a_group_of_nothing(api: OwnAPI) -> None:
    assert await api.get("/v1/feedback/summary") == {
        "object": "feedback.summary",
        "group_by": None,
        "data": [{"group": None, "count": 0, "names": [], "other_count": 0}],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


async def test_scores_have_a_distribution_and_all_three_means(api: OwnAPI) -> None:
    await api.give(
        {"trace_id": "a", "value": 5},
        {"trace_id": "a", "value": 5, "weight": 0.5},
        {"trace_id": "b", "value": -10, "weight": 0.5},
    )
    assert await the_name(api) == {
        "name": "feedback",
        "count": 3,
        "kinds": {"score": 3},
        "value_count": 3,
        "distribution": [
            {"value": 5, "count": 2, "share": pytest.approx(2 / 3)},
            {"value": -10, "count": 1, "share": pytest.approx(1 / 3)},
        ],
        "other_count": 0,
        "mean": 0.0,
        "min": -10,
        "max": 5,
        "weighted_mean": pytest.approx((5 + 2.5 - 5) / 2),
        "mean_weighted_value": pytest.approx((5 + 2.5 - 5) / 3),
        "agreement": None,
        "fields": {},
    }


async def test_booleans_and_labels_have_shares_and_no_mean(api: OwnAPI) -> None:
    thumbs = [{"trace_id": "a", "name": "thumbs", "value": value} for value in (True, True, True, False)]
    await api.give(*thumbs, {"trace_id": "a", "name": "tone", "value": "rude"})
    thumb, tone = await the_name(api, "thumbs"), await the_name(api, "tone")
    assert thumb["distribution"] == [
        {"value": True, "count": 3, "share": 0.75},
        {"value": False, "count": 1, "share": 0.25},
    ]
    assert tone["distribution"] == [{"value": "rude", "count": 1, "share": 1.0}]
    assert (thumb["mean"], thumb["weighted_mean"], tone["mean"]) == (None, None, None)


async def test_what_is_only_written_is_counted_and_has_no_value(api: OwnAPI) -> None:
    await api.give(
        {"trace_id": "a", "name": "note", "comment": "hm"}, {"trace_id": "a", "correction": "this"}
    )
    found = await the_name(api, "note")
    assert (found["count"], found["kinds"], found["value_count"]) == (1, {"none": 1}, 0)


async def test_a_list_counts_under_each_of_its_entries(api: OwnAPI) -> None:
    await api.give(
        {"trace_id": "a", "name": "issue", "value": ["tone", "facts", "tone"]},
        {"trace_id": "a", "name": "issue", "value": "tone"},
    )
    found = await the_name(api, "issue")
    assert (found["count"], found["value_count"]) == (2, 3)
    assert [(each["value"], each["count"]) for each in found["distribution"]] == [("tone", 2), ("facts", 1)]


async def test_an_object_has_the_figures_of_each_of_its_members(api: OwnAPI) -> None:
    forms = [
        {"helpful": True, "grade": 1, "why": {"deep": 1}},
        {"helpful": True, "grade": 4, "why": None},
        {"helpful": False, "grade": 2.5, "": "x"},
    ]
    await api.give(*({"trace_id": "a", "name": "form", "value": form} for form in forms))
    found = await the_name(api, "form")
    assert (found["count"], found["value_count"], found["distribution"]) == (3, 0, [])
    assert found["fields"].keys() == {"helpful", "grade", ""}
    assert found["fields"]["helpful"]["distribution"][0] == {
        "value": True,
        "count": 2,
        "share": pytest.approx(2 / 3),
    }
    grade = found["fields"]["grade"]
    assert (grade["mean"], grade["min"], grade["max"]) == (2.5, 1, 4)


async def test_rare_values_and_long_texts_are_others(api: OwnAPI) -> None:
    named = {"trace_id": "a", "name": "number"}
    await api.give(*({**named, "value": value} for value in range(30)), {**named, "value": "x" * 257})
    found = await the_name(api, "number")
    assert (len(found["distribution"]), found["other_count"], found["value_count"]) == (25, 6, 31)
    assert found["mean"] == 14.5


async def test_what_was_taken_back_or_overridden_does_not_count(api: OwnAPI) -> None:
    first, second = await api.give({"trace_id": "a", "value": 1}, {"trace_id": "a", "value": 2})
    await api.client.delete(f"/v1/feedback/{first}")
    await api.give({"trace_id": "a", "value": 9, "overrides": second})
    assert [each["value"] for each in (await the_name(api))["distribution"]] == [9]


# --- agreement ---


async def test_sources_agree_where_they_graded_the_same_thing(api: OwnAPI) -> None:
    """A worked example: three things by two reviewers each, who differ on one."""
    votes = {"t1": (True, True), "t2": (True, False), "t3": (False, False)}
    await api.give(
        *(
            {"trace_id": trace, "name": "ok", "value": value, "source_id": reviewer}
            for trace, values in votes.items()
            for reviewer, value in zip(("ann", "bob"), values, strict=True)
        ),
        {"trace_id": "t4", "name": "ok", "value": True, "source_id": "ann"},
        {"trace_id": "t1", "name": "ok", "value": False},
    )
    # Observed: 2 of 6 ordered pairs. Expected: 3 against 3 of 6 votes, 18 of 30 ordered pairs.
    assert (await the_name(api, "ok"))["agreement"] == {
        "n": 3,
        "votes": 6,
        "exact": pytest.approx(2 / 3),
        "alpha": pytest.approx(1 - (2 / 6) / (18 / 30)),
        "scale": "nominal",
    }


async def test_numbers_agree_the_more_the_closer_they_are(api: OwnAPI) -> None:
    for trace, values in {"t1": (1, 2), "t2": (4, 5)}.items():
        for reviewer, value in enumerate(values):
            await api.give({"trace_id": trace, "name": "stars", "value": value, "source_id": str(reviewer)})
    agreement = (await the_name(api, "stars"))["agreement"]
    assert (agreement["scale"], agreement["exact"]) == ("interval", 0.0)
    squares = [(one - two) ** 2 for one, two in itertools.permutations((1, 2, 4, 5), 2)]
    assert agreement["alpha"] == pytest.approx(1 - 1 / (sum(squares) / 12))


async def test_of_each_source_the_last_word_counts(api: OwnAPI) -> None:
    for value in (False, True):
        await api.give({"trace_id": "t", "name": "ok", "value": value, "source_id": "ann"})
    assert (await the_name(api, "ok"))["agreement"] is None
    await api.give({"trace_id": "t", "name": "ok", "value": True, "source_id": "bob"})
    agreement = (await the_name(api, "ok"))["agreement"]
    assert (agreement["n"], agreement["votes"], agreement["exact"], agreement["alpha"]) == (1, 2, 1.0, None)


async def test_a_judge_and_a_human_of_the_same_id_are_two(api: OwnAPI) -> None:
    for source_type in ("HUMAN", "LLM_JUDGE"):
        await api.give(
            {"trace_id": "t", "name": "ok", "value": 1, "source_type": source_type, "source_id": "default"}
        )
    assert (await the_name(api, "ok"))["agreement"]["votes"] == 2


async def test_a_trace_and_its_exchange_are_different_things(api: OwnAPI) -> None:
    exchange = await api.exchange("t")
    await api.give(
        {"trace_id": "t", "name": "ok", "value": True, "source_id": "ann"},
        {"request_id": exchange, "name": "ok", "value": False, "source_id": "bob"},
    )
    assert (await the_name(api, "ok"))["agreement"] is None


async def test_the_members_of_a_form_are_compared_one_by_one(api: OwnAPI) -> None:
    for reviewer, note in (("ann", "a"), ("bob", "b")):
        await api.give(
            {"trace_id": "t", "name": "form", "value": {"ok": True, "note": note}, "source_id": reviewer}
        )
    fields = (await the_name(api, "form"))["fields"]
    assert fields["ok"]["agreement"]["exact"] == 1.0
    assert fields["note"]["agreement"]["exact"] == 0.0


# --- groups ---


async def test_a_group_is_what_the_feedback_names_or_else_what_its_exchanges_do(api: OwnAPI) -> None:
    await api.exchange("t1", meta_user="ann")
    await api.exchange("t2", meta_user="bob")
    await api.exchange("t3")
    await api.give(
        {"trace_id": "t1", "value": 1},
        {"trace_id": "t2", "value": 1, "metadata": {"_user": "eve"}},
        {"trace_id": "t3", "value": 1},
        {"trace_id": "unmatched", "value": 1},
    )
    assert await groups(api, "user") == {"ann": 1, "eve": 1, None: 2}


async def test_feedback_on_a_trace_counts_once_for_each_model_of_it(api: OwnAPI) -> None:
    await api.exchange("t", answering_model="big")
    small = await api.exchange("t", answering_model=None, requested_model="small")
    await api.exchange("t", answering_model="big")
    await api.give({"trace_id": "t", "value": 1}, {"request_id": small, "value": 1})
    assert await groups(api, "model") == {"small": 2, "big": 1}


async def test_feedback_with_several_targets_counts_once_in_a_group(api: OwnAPI) -> None:
    for trace, prompt in (("t1", "p"), ("t2", "p"), ("t3", "q"), ("t4", None)):
        exchange = await api.exchange(trace, meta_prompt=prompt, tags='["beta"]')
        assert exchange
    await api.give({"tags": ["beta"], "value": 1})
    assert await groups(api, "prompt") == {"p": 1, "q": 1, None: 1}
    assert (await the_name(api))["count"] == 1


async def test_names_tasks_and_days_are_groups_too(api: OwnAPI) -> None:
    task = (await api.client.post("/v1/feedback-tasks", json={"name": "form", "schema": {}})).json()["id"]
    await api.give({"trace_id": "t", "task_id": task, "value": "x"})
    api.clock.ms += 2 * DAY_MS
    await api.give({"trace_id": "t", "value": 1}, {"trace_id": "t", "value": 2})
    assert await groups(api, "name") == {"feedback": 2, "form": 1}
    assert await groups(api, "task") == {task: 1, None: 2}
    assert list(await groups(api, "day")) == ["2027-01-17", "2027-01-15"]


async def test_groups_come_in_pages_the_largest_first(api: OwnAPI) -> None:
    sizes = {"a": 1, "b": 3, "c": 1, "d": 2}
    items = [
        {"trace_id": "t", "value": 1, "metadata": {"_user": user}}
        for user, count in sizes.items()
        for _ in range(count)
    ]
    await api.give(*items, {"trace_id": "t", "value": 1})
    seen: list[str | None] = []
    after: dict[str, str] = {}
    while True:
        page = await api.get("/v1/feedback/summary", group_by="user", limit=2, **after)
        seen += [group["group"] for group in page["data"]]
        assert all(sum(name["count"] for name in group["names"]) == group["count"] for group in page["data"])
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert seen == ["b", "d", "a", "c", None]


async def test_filters_are_those_of_the_list(api: OwnAPI) -> None:
    await api.give(
        {"trace_id": "t1", "value": 1, "source_id": "ann", "metadata": {"team": "x"}},
        {"trace_id": "t2", "name": "stars", "value": 4, "source_type": "LLM_JUDGE"},
        {"trace_id": "t2", "value": -3},
    )
    counts = {}
    for filters in (
        {"trace_id": "t2"}, {"name": "stars"}, {"kind": "score"}, {"source_type": "LLM_JUDGE"},
        {"source_id": "ann"}, {"min_value": "2"}, {"max_value": "0"}, {"metadata[team]": "x"},
        {"since": START_MS // 1000 + 60}, {"label": "x"},
    ):  # fmt: skip
        [group] = (await api.get("/v1/feedback/summary", **filters))["data"]
        counts[next(iter(filters))] = group["count"]
    assert counts == {
        "trace_id": 2, "name": 1, "kind": 2, "source_type": 1, "source_id": 1, "min_value": 1, "max_value": 1,
        "metadata[team]": 1, "since": 0, "label": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("group_by=modell", "group_by"),
        ("group_by=user&after=nobody", "after"),
        ("limit=0", "limit"),
        ("include_retracted=true", "include_retracted"),
        ("group_by=day&after=yesterday", "after"),
    ],
)
async def test_what_cannot_be_meant_is_refused_in_the_shape_of_feedback(
    api: OwnAPI, query: str, param: str
) -> None:
    response = await api.client.get(f"/v1/feedback/summary?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert response.json()["status"] == "failure"


@pytest.mark.parametrize("path", ["/v1/feedback/summary", "/feedback/summary/", "/v1/feedback/summary/"])
async def test_the_path_is_no_feedback_id(api: OwnAPI, path: str) -> None:
    assert (await api.client.get(path)).json()["object"] == "feedback.summary"
    refused = await api.client.delete(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_a_trace_shows_its_feedback_by_name(api: OwnAPI) -> None:
    exchange = await api.exchange("t")
    await api.give(
        {"trace_id": "t", "value": 1},
        {"request_id": exchange, "name": "thumbs", "value": True},
        {"trace_id": "other", "value": 9},
    )
    shown = (await api.get("/v1/traces/t"))["feedback_by_name"]
    assert [(each["name"], each["count"]) for each in shown] == [("feedback", 1), ("thumbs", 1)]
    assert shown[0] == await the_name(api, trace_id="t")


async def test_a_summary_has_the_documented_shape(api: OwnAPI) -> None:
    for reviewer, grade in (("ann", 1), ("bob", 2)):
        await api.give(
            {"trace_id": "t", "value": grade, "source_id": reviewer},
            {"trace_id": "t", "name": "form", "value": {"grade": grade}, "source_id": reviewer},
        )
    described = {"$ref": "#/components/schemas/FeedbackFigures", **document()}
    validator = jsonschema_rs.validator_for(described)
    for params in ({}, {"group_by": "day"}):
        validator.validate(await api.get("/v1/feedback/summary", **params))


@pytest.mark.soak
@pytest.mark.parametrize("group_by", ["", "model", "prompt", "user", "name", "task", "day"])
def test_a_summary_of_very_much_feedback_takes_seconds(much: RunningGateway, group_by: str) -> None:
    started = time.monotonic()
    query = {"group_by": group_by} if group_by else {}
    answer = httpx.get(f"{much.url}/v1/feedback/summary", params=query, timeout=60)
    print(f"\n{group_by or 'overall'}: {time.monotonic() - started:.1f} s")
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def much() -> Iterator[RunningGateway]:
    """200,000 pieces of feedback on 1,000,000 exchanges, half of them by two people on the same thing."""
    with run_gateway(upstream="http://127.0.0.1:9/v1") as gateway:
        assert gateway.database is not None
        fill(gateway.database, 1_000_000, graded_every=7, mixed=True)
        yield gateway


# --- any feedback at all ---

NUMBERS = itertools.count()
EXCHANGES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(("m1", "m2")), st.sampled_from((None, "p1", "p2"))),
    max_size=4,
)
VALUES = st.one_of(
    st.tuples(st.just("feedback"), st.just("score"), st.integers(-3, 3)),
    st.tuples(st.just("mixed"), st.just("number"), st.sampled_from((0.1, 0.2, 0.5, 3))),
    st.tuples(st.sampled_from(("thumbs", "mixed")), st.just("boolean"), st.booleans()),
    st.tuples(
        st.sampled_from(("tone", "mixed")), st.just("text"), st.sampled_from(("x", "true", "long" * 80))
    ),
    st.tuples(
        st.just("tone"), st.just("list"), st.lists(st.sampled_from(("x", "y", 1, None, [1])), max_size=3)
    ),
    st.tuples(
        st.just("form"),
        st.just("object"),
        st.dictionaries(st.sampled_from("fg"), st.sampled_from((1, 2, True, "x", None, [])), max_size=2),
    ),
)
SOURCES = st.tuples(st.sampled_from(("HUMAN", "LLM_JUDGE")), st.sampled_from((None, "ann", "bob", "eve")))
ITEMS = st.tuples(
    st.sampled_from(("a", "b", "c", "tag", 0, 1, 2, 3)),
    VALUES,
    st.sampled_from((0.0, 0.25, 1.0)),
    SOURCES,
    st.sampled_from((None, "p1", "own")),
    st.sampled_from(("live", "live", "live", "retracted", "overridden")),
)


class Given:
    """A piece of feedback as the test knows it."""

    def __init__(self, item: Any, targets: list[tuple[str, int | None]]) -> None:
        _, (self.name, self.kind, self.value), self.weight, self.source, self.prompt, _ = item
        self.targets = targets

    def values(self) -> list[tuple[str | None, Any]]:
        """Fields and values that it gives."""
        if self.kind == "object":
            return [(field, value) for field, value in self.value.items() if is_atom(value)]
        if self.kind == "list":
            return [(None, value) for value in {repr(v): v for v in self.value if is_atom(v)}.values()]
        return [(None, self.value)]


def is_atom(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def spelled(value: Any) -> str:
    """Tells true from 1 and 1 from "1"; 1 and 1.0 are the same."""
    return f"number {float(value)}" if is_number(value) else f"{type(value).__name__} {value}"


def expected_groups(
    feedback: list[Given], exchanges: list[Any], group_by: str | None
) -> dict[str | None, list[Given]]:
    found: dict[str | None, list[Given]] = defaultdict(list)
    for each in feedback:
        names: set[str | None] = set()
        for trace, index in each.targets or [("", None)]:
            at = [exchange for number, exchange in enumerate(exchanges) if index in (None, number)]
            at = [exchange for exchange in at if exchange[0] == trace]
            said = {exchange[1 if group_by == "model" else 2] for exchange in at} - {None}
            names |= said or {None}
        if group_by is None:
            names = {None}
        elif group_by == "name":
            names = {each.name}
        elif group_by == "prompt" and each.prompt is not None:
            names = {each.prompt}
        for name in names:
            found[name].append(each)
    return found


def expected_values(feedback: list[Given], field: str | None, shown: dict[str, Any]) -> dict[str, Any]:
    values = [value for each in feedback for at, value in each.values() if at == field]
    short = Counter(spelled(value) for value in values if not (isinstance(value, str) and len(value) > 256))
    numbers = [value for value in values if is_number(value)]
    distribution = {spelled(each["value"]): each["count"] for each in shown["distribution"]}
    assert distribution == dict(short), "the examples have fewer values than are shown"
    assert [each["count"] for each in shown["distribution"]] == sorted(short.values(), reverse=True)
    assert sum(each["share"] for each in shown["distribution"]) <= 1 + 1e-9
    return {
        "value_count": len(values),
        "other_count": len(values) - sum(short.values()),
        "mean": pytest.approx(sum(numbers) / len(numbers)) if numbers else None,
        "min": min(numbers, default=None),
        "max": max(numbers, default=None),
        "agreement": expected_agreement(feedback, field),
    }


def expected_agreement(feedback: list[Given], field: str | None) -> Any:
    """By the definition, pair by pair."""
    votes: dict[Any, dict[Any, Any]] = defaultdict(dict)
    for each in feedback:
        if each.source[1] is None or each.kind == "list":
            continue
        for at, value in each.values():
            if at == field and not (isinstance(value, str) and len(value) > 256):
                for target in each.targets:
                    votes[target][each.source] = value
    graded = [list(by.values()) for by in votes.values() if len(by) > 1]
    everything = [value for values in graded for value in values]
    if not graded:
        return None
    numeric = all(is_number(value) for value in everything)

    def apart(pairs: Any) -> float:
        return float(sum((a - b) ** 2 if numeric else spelled(a) != spelled(b) for a, b in pairs))

    observed = sum(apart(itertools.permutations(values, 2)) / (len(values) - 1) for values in graded)
    chance = apart(itertools.permutations(everything, 2)) / (len(everything) * (len(everything) - 1))
    alpha = 1 - observed / len(everything) / chance if chance else None
    return {
        "n": len(graded),
        "votes": len(everything),
        "exact": pytest.approx(sum(len(set(map(spelled, values))) == 1 for values in graded) / len(graded)),
        "alpha": None if alpha is None else pytest.approx(alpha, abs=1e-6),
        "scale": "interval" if numeric else "nominal",
    }


def assert_name(shown: dict[str, Any], feedback: list[Given]) -> None:
    assert shown["count"] == len(feedback)
    assert shown["kinds"] == Counter(each.kind for each in feedback)
    whole = expected_values(feedback, None, shown)
    assert {name: shown[name] for name in whole} == whole
    fields = {at for each in feedback for at, _ in each.values() if at is not None}
    assert shown["fields"].keys() == fields
    for field in fields:
        values = expected_values(feedback, field, shown["fields"][field])
        assert {name: shown["fields"][field][name] for name in values} == values
    scores = [each for each in feedback if each.kind == "score"]
    weighted, weight = sum(each.value * each.weight for each in scores), sum(each.weight for each in scores)
    assert shown["weighted_mean"] == (pytest.approx(weighted / weight) if weight else None)
    assert shown["mean_weighted_value"] == (pytest.approx(weighted / len(scores)) if scores else None)


@pytest.fixture(scope="module")
def shared(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnAPI]:
    """One database for all examples: each keeps to traces and metadata of its own."""
    with lasting_api(runner, tmp_path_factory.mktemp("summaries")) as opened:
        yield opened


async def store(api: OwnAPI, example: int, exchanges: list[Any], items: list[Any]) -> list[Given]:
    """The feedback of the example that counts."""
    ids = [
        await api.exchange(
            f"{example}-{trace}", answering_model=model, meta_prompt=prompt, tags=f'["example-{example}"]'
        )
        for trace, model, prompt in exchanges
    ]
    counting = []
    for item in items:
        at, (name, kind, value), weight, (source_type, source_id), prompt, fate = item
        metadata = {"example": example} | ({} if prompt is None else {"_prompt": prompt})
        body = {
            "name": name, "kind": kind, "value": value, "weight": weight, "source_type": source_type,
            "source_id": source_id, "metadata": metadata,
        }  # fmt: skip
        if at == "tag":
            body |= {"tags": [f"example-{example}"], "allow_unmatched": True}
            targets: list[tuple[str, int | None]] = [
                (each[0], number) for number, each in enumerate(exchanges)
            ]
        elif isinstance(at, int) and at < len(ids):
            body["request_id"] = ids[at]
            targets = [(exchanges[at][0], at)]
        else:
            body["trace_id"] = f"{example}-{at}"
            targets = [(str(at), None)]
        [feedback_id] = await api.give(body)
        if fate == "live":
            counting.append(Given(item, targets))
        elif fate == "retracted":
            await api.client.delete(f"/v1/feedback/{feedback_id}")
        else:
            await api.give({"trace_id": "elsewhere", "value": 0, "overrides": feedback_id})
    return counting


@settings(max_examples=60, deadline=None)
@given(
    exchanges=EXCHANGES,
    items=st.lists(ITEMS, max_size=12),
    group_by=st.sampled_from((None, "model", "prompt", "name")),
)
def test_a_summary_equals_a_recomputation(
    runner: asyncio.Runner, shared: OwnAPI, exchanges: list[Any], items: list[Any], group_by: str | None
) -> None:
    example = next(NUMBERS)

    async def ask() -> tuple[list[Given], Any]:
        counting = await store(shared, example, exchanges, items)
        by = {} if group_by is None else {"group_by": group_by}
        return counting, await shared.get(
            "/v1/feedback/summary", **{"metadata[example]": example, "limit": 1000, **by}
        )

    counting, answer = runner.run(ask())
    expected = expected_groups(counting, exchanges, group_by)
    if group_by is None:
        expected.setdefault(None, [])
    assert {group["group"]: group["count"] for group in answer["data"]} == {
        name: len(feedback) for name, feedback in expected.items()
    }
    for group in answer["data"]:
        by_name: dict[str, list[Given]] = defaultdict(list)
        for each in expected[group["group"]]:
            by_name[each.name].append(each)
        assert {name["name"] for name in group["names"]} == by_name.keys()
        assert group["other_count"] == 0
        for name in group["names"]:
            assert_name(name, by_name[name["name"]])
