"""What holds for every sequence of feedback calls, and for every body sent to them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jsonio import dumps, dumps_text
from gateway.records import KINDS, SIGNALS, SOURCE_TYPES
from tests.own_api import OwnAPI, lasting_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

EXAMPLES = itertools.count()
TRACES = ("a", "b", "c")
LATER = ("later-1", "later-2")
"""Ids that feedback may be given to before an exchange has them."""
TAG = "beta"
VALUES = st.integers(-10, 10)
WEIGHTS = st.sampled_from((0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0)) | st.floats(0, 1)
SAID = st.one_of(
    st.fixed_dictionaries({"value": VALUES, "weight": WEIGHTS}),
    st.fixed_dictionaries({"name": st.just("thumbs"), "value": st.booleans()}),
    st.fixed_dictionaries({"name": st.just("stars"), "value": st.integers(1, 5), "weight": WEIGHTS}),
    st.fixed_dictionaries({"comment": st.just("so-so")}),
)
INDEX = st.integers(0, 20)
TARGETS = st.one_of(
    st.sampled_from(TRACES).map(lambda trace: ("trace_id", trace)),
    st.sampled_from(LATER).map(lambda later: ("request_id", later)),
    INDEX.map(lambda index: ("exchange", index)),
    st.just(("tags", TAG)),
)
ITEMS = st.tuples(TARGETS, SAID)
CALLS = st.one_of(
    st.tuples(st.just("create"), st.lists(ITEMS, min_size=1, max_size=4)),
    st.tuples(st.just("override"), INDEX, ITEMS),
    st.tuples(st.just("update"), INDEX, VALUES, st.none() | WEIGHTS),
    st.tuples(st.just("delete"), INDEX),
    st.tuples(
        st.just("exchange"), st.sampled_from(TRACES), st.none() | st.sampled_from(LATER), st.booleans()
    ),
)


@dataclass
class Piece:
    """A piece of feedback as the model keeps it. A target is an id, or an exchange's."""

    targets: list[str]
    said: dict[str, Any]
    overrides: str | None
    live: bool = True

    @property
    def score(self) -> tuple[int, float] | None:
        is_score = "name" not in self.said and "value" in self.said
        return (self.said["value"], self.said.get("weight", 1.0)) if is_score else None


class Model:
    """What the gateway should know, kept the simplest way."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.given: list[str] = []
        self.pieces: dict[str, Piece] = {}
        self.exchanges: dict[str, str] = {}
        """Ids and traces."""
        self.tagged: list[str] = []

    def body(self, item: tuple[tuple[str, Any], dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        """What to post, and the ids that it is about."""
        (field, target), said = item
        if field == "tags":
            return {"tags": [self.prefix + target], "allow_unmatched": True, **said}, list(self.tagged)
        if field == "exchange":
            known = list(self.exchanges)
            field, target = ("request_id", known[target % len(known)]) if known else ("trace_id", self.prefix)
        else:
            target = self.prefix + target
        return {field: target, **said}, [target]

    def counted(self) -> list[Piece]:
        overridden = {piece.overrides for piece in self.pieces.values() if piece.live}
        return [piece for key, piece in self.pieces.items() if piece.live and key not in overridden]

    def on_trace(self, trace: str) -> list[Piece]:
        return [
            piece
            for piece in self.counted()
            if any(self.exchanges.get(target, target) == trace for target in piece.targets)
        ]

    def on_exchange(self, exchange: str) -> list[Piece]:
        ids = {exchange, self.exchanges[exchange]}
        return [piece for piece in self.counted() if ids & set(piece.targets)]


def summary(pieces: list[Piece]) -> dict[str, Any]:
    scores = [piece.score for piece in pieces if piece.score is not None]
    weights = sum((Fraction(weight) for _, weight in scores), Fraction())
    weighted = sum((value * Fraction(weight) for value, weight in scores), Fraction())
    return {
        "count": len(pieces),
        "score_count": len(scores),
        "pairs": [
            {"value": value, "weight": weight, "count": count}
            for (value, weight), count in sorted(Counter(scores).items())
        ],
        "sum_weight": pytest.approx(float(weights)),
        "weighted_mean": pytest.approx(float(weighted / weights)) if weights else None,
        "mean_weighted_value": pytest.approx(float(weighted / len(scores))) if scores else None,
    }


@pytest.fixture(scope="module")
def api(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnAPI]:
    """One database for all examples: each keeps to trace ids of its own."""
    with lasting_api(runner, tmp_path_factory.mktemp("properties")) as opened:
        yield opened


async def play(api: OwnAPI, model: Model, call: Any) -> None:
    match call:
        case "create", items:
            bodies = [model.body(item) for item in items]
            ids = await api.give(*(body for body, _ in bodies))
            for feedback_id, (_, targets), (_, said) in zip(ids, bodies, items, strict=True):
                model.given.append(feedback_id)
                model.pieces[feedback_id] = Piece(targets, said, None)
        case "override", index, item if model.given:
            old = model.given[index % len(model.given)]
            body, targets = model.body(item)
            response = await api.client.post("/v1/feedback", json={**body, "overrides": old})
            assert response.status_code == (200 if model.pieces[old].live else 400)
            if response.status_code == 200:
                [new] = response.json()["feedback_ids"]
                model.given.append(new)
                model.pieces[new] = Piece(targets, item[1], old)
        case "exchange", trace, later, is_tagged:
            wanted = {} if later is None else {"id": model.prefix + later}
            if wanted.get("id") in model.exchanges:
                return
            tags = dumps_text([model.prefix + TAG]) if is_tagged else None
            exchange = await api.exchange(model.prefix + trace, tags=tags, **wanted)
            model.exchanges[exchange] = model.prefix + trace
            model.tagged += [exchange] * is_tagged
        case "update", index, value, weight if model.given:
            piece = model.pieces[model.given[index % len(model.given)]]
            response = await api.client.put(
                f"/v1/feedback/{model.given[index % len(model.given)]}",
                json={"value": value, "weight": weight},
            )
            assert response.status_code == (200 if piece.live else 404)
            if piece.live:
                is_score = piece.score is not None
                old_weight = piece.said.get("weight", 1.0)
                name = {} if is_score else {"name": "a number"}
                piece.said = {**name, "value": value, "weight": old_weight if weight is None else weight}
        case "delete", index if model.given:
            feedback_id = model.given[index % len(model.given)]
            response = await api.client.delete(f"/v1/feedback/{feedback_id}")
            assert response.status_code == (200 if model.pieces[feedback_id].live else 404)
            model.pieces[feedback_id].live = False


async def assert_agrees(api: OwnAPI, model: Model) -> None:
    for name in (*TRACES, *LATER):
        trace = model.prefix + name
        expected = summary(model.on_trace(trace))
        exchanges = [key for key, its_trace in model.exchanges.items() if its_trace == trace]
        known = bool(exchanges) or expected["count"] > 0
        response = await api.client.get(f"/v1/traces/{trace}")
        assert response.status_code == (200 if known else 404)
        listed = (await api.get("/v1/traces", trace_id=trace))["data"]
        assert len(listed) == known
        if known:
            assert response.json()["feedback"] == listed[0]["feedback"] == expected
            assert response.json()["exchange_count"] == len(exchanges)
        rated = await api.ids("/v1/traces", trace_id=trace, min_weighted_mean=-10)
        assert len(rated) == (expected["weighted_mean"] is not None)
        with_feedback = await api.ids("/v1/logs", trace_id=trace, has_feedback="true")
        assert set(with_feedback) == {key for key in exchanges if model.on_exchange(key)}
    for exchange in model.exchanges:
        assert (await api.get(f"/v1/logs/{exchange}"))["feedback"] == summary(model.on_exchange(exchange))
    for feedback_id, piece in model.pieces.items():
        found = (await api.get(f"/v1/feedback/{feedback_id}/history"))["feedback"]
        places = {(target["trace_id"], target["request_id"]) for target in found["targets"]}
        assert places == {
            (model.exchanges[target], target) if target in model.exchanges else (target, None)
            for target in piece.targets
        }
        traces = set(model.exchanges.values())
        assert found["matched"] is any(
            target in model.exchanges or target in traces for target in piece.targets
        )
        if piece.live:
            for target in piece.targets:
                assert feedback_id in await api.ids("/v1/feedback", trace_id=target, limit=1000)
                assert feedback_id in await api.ids("/v1/feedback", request_id=target, limit=1000)


@settings(max_examples=60, deadline=None)
@given(calls=st.lists(CALLS, max_size=14))
def test_every_summary_equals_a_recomputation_for_any_sequence_of_calls(
    runner: asyncio.Runner, api: OwnAPI, calls: list[Any]
) -> None:
    model = Model(f"example-{next(EXAMPLES)}-")

    async def run() -> None:
        for call in calls:
            await play(api, model, call)
        await assert_agrees(api, model)

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
        "request_id": st.just("fuzz") | SCALARS,
        "tags": st.lists(st.text(), max_size=2) | SCALARS,
        "selector": st.fixed_dictionaries(
            {}, optional={"tags": st.lists(st.text()), "metadata": st.dictionaries(st.text(), SCALARS)}
        )
        | SCALARS,
        "allow_unmatched": st.booleans() | SCALARS,
        "name": st.sampled_from(("thumbs", "copied", "")) | SCALARS,
        "kind": st.sampled_from(KINDS) | SCALARS,
        "signal": st.sampled_from(SIGNALS) | SCALARS,
        "comment": SCALARS,
        "correction": ANY_JSON,
        "expected": ANY_JSON,
        "source_type": st.sampled_from(SOURCE_TYPES) | SCALARS,
        "source_id": SCALARS,
        "task_id": SCALARS,
        "overrides": SCALARS,
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
        (("POST", "/v1/feedback"), ("PUT", "/v1/feedback/{id}"), ("PUT", "/feedback/undefined"))
    ),
)
def test_any_body_is_answered_in_portkeys_shape(
    runner: asyncio.Runner, api: OwnAPI, body: bytes, call: tuple[str, str]
) -> None:
    method, path = call
    [known] = runner.run(api.give({"trace_id": "known", "value": 1}))
    response = runner.run(api.client.request(method, path.format(id=known), content=body))
    assert_portkeys_shape(response)
    assert runner.run(api.client.get("/v1/feedback", params={"include_retracted": "true"})).status_code == 200


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(
        ("since", "limit", "status", "user", "after", "metadata[k]", "min_value", "kind", "label")
    )
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
