"""The route table: which plan a model name leads to, and which models it offers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.schema import Route
from gateway.errors import NoRoute
from gateway.routing.plan import Plan
from gateway.routing.table import RouteTable


def route(upstream: str, *models: str, **more: Any) -> Route:
    return Route.model_validate({"models": models, "target": {"upstream": upstream}, **more})


def upstream_of(plan: Plan) -> str:
    assert plan.only is not None
    return plan.only.upstream


def test_without_routes_everything_goes_to_the_only_upstream() -> None:
    table = RouteTable([], ["only"])
    assert upstream_of(table.choose("anything")) == "only"
    assert table.choose(None) is table.choose("anything")
    assert table.choose(None).is_plain


@pytest.mark.parametrize(
    ("model", "upstream"),
    [
        ("gpt-4o", "openai"),
        ("o3", "openai"),
        ("gpt-4o-special", "openai"),
        ("llama-3", "local"),
        (None, "local"),
    ],
)
def test_the_first_matching_route_wins(model: str | None, upstream: str) -> None:
    table = RouteTable(
        [route("openai", "gpt-*", "o[0-9]"), route("special", "gpt-4o-special"), route("local", "*")], []
    )
    assert upstream_of(table.choose(model)) == upstream


def test_a_model_that_no_route_takes_is_told_which_there_are() -> None:
    table = RouteTable([route("openai", "gpt-*")], [])
    with pytest.raises(NoRoute, match=r'no route for model "llama"; routes has gpt-\*'):
        table.choose("llama")
    with pytest.raises(NoRoute, match="add a route with models"):
        table.choose(None)


def test_a_route_is_compiled_once() -> None:
    table = RouteTable([route("a", "x", "y")], [])
    assert table.choose("x") is table.choose("y")
    assert table.plans == (table.choose("x"),)


def test_a_model_of_an_upstream_is_offered_where_choosing_it_leads_there_under_its_own_name() -> None:
    renamed = {"upstream": "c", "model": "other"}
    table = RouteTable(
        [
            Route.model_validate(
                {
                    "models": ["gpt-*"],
                    "strategy": "fallback",
                    "targets": [{"upstream": "b"}, {"upstream": "a"}, renamed, {"upstream": "b"}],
                }
            ),
            Route.model_validate({"models": ["chat"], "target": renamed}),
        ],
        [],
    )
    assert table.offered("gpt-4o") == ["b", "a"]
    assert table.offered("chat") == []
    assert table.offered("llama") == []
    assert RouteTable([], ["only"]).offered("anything") == ["only"]


def test_patterns_for_one_name_are_aliases() -> None:
    table = RouteTable([route("a", "chat", "gpt-*", "o[13]", "wh?t"), route("b", "chat", "writer")], [])
    assert table.aliases() == ("chat", "writer")
    assert RouteTable([], ["only"]).aliases() == ()
