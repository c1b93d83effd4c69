"""What holds for every sequence of feedback calls, and for every body sent to them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jsonio import dumps
from tests.own_api import OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

EXAMPLES = itertools.count()
TRACES = ("a", "b", "c")
VALUES = st.integers(-10, 10)
WEIGHTS = st.sampled_from((0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0)) | st.floats(0, 1)
ITEMS = st.tuples(st.sampled_from(TRACES), VALUES, WEIGHTS)
CALLS = st.one_of(
    st.tuples(st.just("create"), st.lists(ITEMS, min_size=1, max_size=4)),
    st.tuples(st.just("update"), st.integers(0, 20), VALUES, st.none() | WEIGHTS),
    st.tuples(st.just("delete"), st.integers(0, 20)),
    st.tuples(st.just("exchange"), st.sampled_from(TRACES)),
)


class Model:
    """What the gateway should know, kept the simplest way."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.live: dict[str, tuple[str, int, float]] = {}
        self.exchanges: Counter[str] = Counter()

    def summary(self, trace: str) -> dict[str, Any]:
        scores = [(value, weight) for name, value, weight in self.live.values() if name == trace]
        weights = sum((Fraction(weight) for _, weight in scores), Fraction())
        weighted = sum((value * Fraction(weight) for value, weight in scores), Fraction())
        return {
            "count": len(scores),
            "pairs": [
                {"value": value, "weight": weight, "count": count}
                for (value, weight), count in sorted(Counter(scores).items())
            ],
            "sum_weight": pytest.approx(float(weights)),
            "weighted_mean": pytest.approx(float(weighted / weights)) if weights else None,
            "mean_weighted_value": pytest.approx(float(weighted / len(scores))) if scores else None,
        }


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture(scope="module")
def api(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnAPI]:
    """One database for all examples: each keeps to trace ids of its own."""
    context = own_api(tmp_path_factory.mktemp("properties"))
    yield runner.run(context.__aenter__())
    runner.run(context.__aexit__(None, None, None))


async def play(api: OwnAPI, model: Model, call: Any, prefix: str) -> None:
    match call:
        case "create", items:
            ids = await api.give(
                *(
                    {"trace_id": prefix + trace, "value": value, "weight": weight}
                    for trace, value, weight in items
                )
            )
            model.given += ids
            model.live |= dict(zip(ids, items, strict=True))
        case "exchange", trace:
            await api.exchange(prefix + trace)
            model.exchanges[trace] += 1
        case "update", index, value, weight if model.given:
            feedback_id = model.given[index % len(model.given)]
            response = await api.client.put(
                f"/v1/feedback/{feedback_id}", json={"value": value, "weight": weight}
            )
            assert response.status_code == (200 if feedback_id in model.live else 404)
            if feedback_id in model.live:
                trace, _, old = model.live[feedback_id]
                model.live[feedback_id] = (trace, value, old if weight is None else weight)
        case "delete", index if model.given:
            feedback_id = model.given[index % len(model.given)]
            response = await api.client.delete(f"/v1/feedback/{feedback_id}")
            assert response.status_code == (200 if model.live.pop(feedback_id, None) else 404)


async def assert_agrees(api: OwnAPI, model: Model, prefix: str) -> None:
    for trace in TRACES:
        expected = model.summary(trace)
        known = model.exchanges[trace] or expected["count"]
        response = await api.client.get(f"/v1/traces/{prefix}{trace}")
        assert response.status_code == (200 if known else 404)
        listed = (await api.get("/v1/traces", trace_id=prefix + trace))["data"]
        assert len(listed) == bool(known)
        if known:
            assert response.json()["feedback"] == listed[0]["feedback"] == expected
            assert response.json()["exchange_count"] == model.exchanges[trace]
        mean = expected["weighted_mean"]
        rated = await api.ids("/v1/traces", trace_id=prefix + trace, min_weighted_mean=-10)
        assert len(rated) == (mean is not None)
        matched = {
            item["matched"] for item in (await api.get("/v1/feedback", trace_id=prefix + trace))["data"]
        }
        assert matched <= {model.exchanges[trace] > 0}


@settings(max_examples=60, deadline=None)
@given(calls=st.lists(CALLS, max_size=12))
def test_the_summary_equals_a_recomputation_for_any_sequence_of_calls(
    runner: asyncio.Runner, api: OwnAPI, calls: list[Any]
) -> None:
    prefix, model = f"example-{next(EXAMPLES)}-", Model()

    async def run() -> None:
        for call in calls:
            await play(api, model, call, prefix)
        await assert_agrees(api, model, prefix)

    runner.run(run())


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "trace_id": st.just("fuzz") | SCALARS,
        "traceID": st.just("fuzz") | SCALARS,
        "value": VALUES | st.sampled_from(("5", "5.0", "", "1e1", 5.0)) | ANY_JSON,
        "weight": WEIGHTS | ANY_JSON,
        "metadata": st.dictionaries(st.text(), ANY_JSON) | st.text() | ANY_JSON,
        "feedback_id": SCALARS,
    },
)
BODIES = (
    ANY_JSON
    | NEARLY
    | st.lists(NEARLY, max_size=3)
    | st.dictionaries(st.integers(0, 10**30).map(str), NEARLY, max_size=3)
)


def assert_portkeys_shape(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    if response.status_code == 200:
        assert body.keys() == {"status", "message", "feedback_ids"}
        return
    assert body.keys() == {"status", "message", "error"}
    assert body["error"].keys() == {"message", "type", "code", "param"}
    assert body["message"] == body["error"]["message"]


@settings(max_examples=300, deadline=None)
@given(
    body=BODIES.map(dumps) | st.binary(),
    call=st.sampled_from(
        (("POST", "/v1/feedback"), ("PUT", "/v1/feedback/x"), ("PUT", "/feedback/undefined"))
    ),
)
def test_any_body_is_answered_in_portkeys_shape(
    runner: asyncio.Runner, api: OwnAPI, body: bytes, call: tuple[str, str]
) -> None:
    method, path = call
    response = runner.run(api.client.request(method, path, content=body))
    assert_portkeys_shape(response)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(("since", "limit", "status", "user", "after", "metadata[k]", "min_value"))
    | st.text(),
    value=st.text(),
    path=st.sampled_from(("/v1/feedback", "/v1/traces", "/v1/logs")),
)
def test_any_parameter_is_answered_without_a_server_error(
    runner: asyncio.Runner, api: OwnAPI, name: str, value: str, path: str
) -> None:
    response = runner.run(api.client.get(path, params={name: value}))
    assert response.status_code in (200, 400)
    assert response.headers["content-type"] == "application/json"
