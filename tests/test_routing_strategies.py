"""Strategies of routes in a running gateway: which upstream gets the request, and what of it is changed."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness import RunningGateway, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"
BAD = b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n"
GONE = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


def conditional(*conditions: tuple[dict[str, Any], str], default: str | None = None) -> dict[str, Any]:
    asked = [{"query": query, "then": then} for query, then in conditions]
    return {"mode": "conditional", "conditions": asked, "default": default}


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, WireUpstream]]:
    with WireUpstream() as a, WireUpstream() as b, WireUpstream() as c:
        yield {"a": a, "b": b, "c": c}


@pytest.fixture(scope="module")
def gateway(upstreams: dict[str, WireUpstream]) -> Iterator[RunningGateway]:
    a, b, c = ({"name": name, "upstream": name} for name in "abc")
    routes = [
        {"models": ["spare"], "strategy": {"mode": "fallback", "on": [503, 404]}, "targets": [a, b]},
        {
            "models": ["nested"],
            "strategy": "fallback",
            "targets": [{"name": "in", "strategy": {"mode": "fallback", "on": [404]}, "targets": [a, b]}, c],
        },
        {
            "models": ["shared"],
            "strategy": "loadbalance",
            "targets": [a | {"weight": 3}, b | {"weight": 1}, c | {"weight": 0}],
        },
        {
            "models": ["sticky"],
            "strategy": {"mode": "loadbalance", "sticky_by": "user"},
            "targets": [a, b, c],
        },
        {
            "models": ["ask-*"],
            "strategy": conditional(
                ({"metadata.tier": {"$in": ["paid", "trial"]}, "params.n": {"$gte": 2}}, "a"),
                ({"$or": [{"url.pathname": {"$regex": "/embeddings$"}}, {"params.model": "ask-b"}]}, "b"),
                default="c",
            ),
            "targets": [a, b, c],
        },
        {"models": ["strict"], "strategy": conditional(({"metadata.x": 1}, "a")), "targets": [a]},
        {
            "models": ["changed"],
            "headers": {"x-team": "red", "accept": "application/json"},
            "override_params": {"temperature": None, "extra": {"deep": 1}},
            "strategy": "fallback",
            "targets": [b | {"model": "real"}, c],
        },
        {"models": ["plain"], "target": {"upstream": "a"}},
    ]
    config = {
        "upstreams": {
            name: {"base_url": server.base_url, "rest_after_failures": 0}
            for name, server in upstreams.items()
        },
        "routes": routes,
    }
    with run_gateway(config) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(upstreams: dict[str, WireUpstream]) -> None:
    for server in upstreams.values():
        server.reset()


def ask(
    gateway: RunningGateway, model: str, path: str = "chat/completions", headers: Any = None, **params: Any
) -> httpx.Response:
    body = {"model": model, "messages": [], **params}
    return httpx.post(f"{gateway.url}/v1/{path}", json=body, headers=headers, timeout=20)


def asked(upstreams: dict[str, WireUpstream]) -> dict[str, int]:
    return {name: len(server.requests) for name, server in upstreams.items() if server.requests}


def test_a_fallback_hides_a_failure_it_is_for_and_records_both_attempts(
    gateway: RunningGateway, upstreams: dict[str, WireUpstream], trace: str
) -> None:
    upstreams["a"].answers(BUSY)
    answer = ask(gateway, "spare", headers={"x-trace-id": trace})

    assert (answer.status_code, answer.json()) == (200, {"fine": True})
    assert upstreams["a"].request().body == upstreams["b"].request().body
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["upstream"], row["target"]) == (200, "b", "b")
    assert row["attempt_count"] == 2
    assert "503" in row["attempts"]


def test_a_fallback_passes_on_what_it_is_not_for(
    gateway: RunningGateway, upstreams: dict[str, WireUpstream]
) -> None:
    upstreams["a"].answers(BAD)
    assert ask(gateway, "spare").status_code == 400
    assert asked(upstreams) == {"a": 1}


def test_the_last_targets_failure_is_the_answer(
    gateway: RunningGateway, upstreams: dict[str, WireUpstream]
) -> None:
    upstreams["a"].answers(GONE)
    upstreams["b"].answers(BUSY)
    answer = ask(gateway, "spare")
    assert (answer.status_code, answer.content) == (503, b"busy")


def test_a_failure_that_is_not_for_the_inner_fallback_is_the_outer_ones(
    gateway: RunningGateway, upstreams: dict[str, WireUpstream]
) -> None:
    upstreams["a"].answers(BUSY)
    assert ask(gateway, "nested").status_code == 200
    assert asked(upstreams) == {"a": 1, "c": 1}


def test_requests_are_shared_by_weight(gateway: RunningGateway, upstreams: dict[str, WireUpstream]) -> None:
    with httpx.Client(base_url=f"{gateway.url}/v1", timeout=20) as client:
        for _ in range(200):
            assert client.post("/chat/completions", json={"model": "shared"}).status_code == 200
    counts = asked(upstreams)
    assert set(counts) == {"a", "b"}
    assert abs(counts["a"] - 150) < 5 * (200 * 3 / 16) ** 0.5


def test_a_user_keeps_the_target(gateway: RunningGateway, upstreams: dict[str, WireUpstream]) -> None:
    homes: Counter[str] = Counter()
    for number in range(12):
        for server in upstreams.values():
            server.reset()
        for _ in range(3):
            ask(gateway, "sticky", user=f"user-{number}")
        [(home, count)] = asked(upstreams).items()
        assert count == 3
        homes[home] += 1
    assert len(homes) > 1


@pytest.mark.parametrize(
    ("model", "path", "metadata", "params", "upstream"),
    [
        ("ask-x", "chat/completions", {"tier": "paid"}, {"n": 2}, "a"),
        ("ask-x", "chat/completions", {"tier": "paid"}, {"n": 1}, "c"),
        ("ask-x", "chat/completions", {"tier": "free"}, {"n": 9}, "c"),
        ("ask-x", "embeddings", {}, {}, "b"),
        ("ask-b", "chat/completions", {}, {}, "b"),
        ("ask-b", "chat/completions", {"tier": "trial"}, {"n": 3}, "a"),
    ],
)
def test_conditions_choose(
    gateway: RunningGateway,
    upstreams: dict[str, WireUpstream],
    model: str,
    path: str,
    metadata: dict[str, str],
    params: dict[str, Any],
    upstream: str,
) -> None:
    answer = ask(gateway, model, path, {"x-metadata": json.dumps(metadata)}, **params)
    assert answer.status_code == 200
    assert asked(upstreams) == {upstream: 1}


def test_a_request_that_no_condition_takes_is_told_so(
    gateway: RunningGateway, upstreams: dict[str, WireUpstream]
) -> None:
    answer = ask(gateway, "strict")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "no_route"
    assert "no condition of the route holds" in answer.json()["error"]["message"]
    assert asked(upstreams) == {}


def test_a_target_changes_model_parameters_and_headers_and_nothing_else(
    gateway: RunningGateway, upstreams: dict[str, WireUpstream]
) -> None:
    upstreams["b"].answers(BUSY)
    params = {"temperature": 1, "extra": {"kept": [1, "ü"]}, "unknown": None}
    assert ask(gateway, "changed", headers={"accept": "*/*"}, **params).status_code == 200

    changed = {"messages": [], "extra": {"kept": [1, "ü"], "deep": 1}, "unknown": None}
    for name, model in (("b", "real"), ("c", "changed")):
        request = upstreams[name].request()
        assert json.loads(request.body) == {"model": model, **changed}
        assert request.header("content-length") == str(len(request.body))
        assert request.all("x-team") == ["red"]
        assert request.all("accept") == ["application/json"]


def test_without_a_change_the_body_goes_as_it_came(
    gateway: RunningGateway, upstreams: dict[str, WireUpstream]
) -> None:
    body = b'{ "model" : "plain",\n "x": 1.10, "x": 2 }'
    httpx.post(
        f"{gateway.url}/v1/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    assert upstreams["a"].request().body == body
