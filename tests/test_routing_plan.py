"""Plans: what a route or a config comes to once it is compiled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.config import routes as schema
from gateway.routing.plan import Fallback, LoadBalance, Plan, compile_plan


def plan(**settings: Any) -> Plan:
    return compile_plan(schema.Plan.model_validate(settings))


def test_one_upstream_is_a_plan_without_choices() -> None:
    made = plan(upstream="a")
    assert made.only is made.root
    assert made.leaves == (made.only,)
    assert made.is_plain
    assert (made.leaves[0].label, made.leaves[0].index) == ("a", "config")


def test_a_routes_target_is_the_root_itself() -> None:
    route = schema.Route.model_validate({"models": ["m"], "deadline_s": 5, "target": {"upstream": "a"}})
    made = compile_plan(route)
    assert made.only is not None
    assert made.only.index == "config"
    assert made.deadline_s == 5
    assert not made.is_plain


def test_indexes_are_written_as_portkey_writes_them() -> None:
    made = plan(
        strategy="fallback",
        targets=[
            {"upstream": "a"},
            {"strategy": "loadbalance", "targets": [{"upstream": "b"}, {"upstream": "c"}]},
        ],
    )
    assert [leaf.index for leaf in made.leaves] == [
        "config.targets[0]", "config.targets[1].targets[0]", "config.targets[1].targets[1]",
    ]  # fmt: skip
    assert isinstance(made.root, Fallback)
    assert isinstance(made.root.children[1], LoadBalance)


def test_a_single_target_is_its_groups_place_and_keeps_its_own_index() -> None:
    made = plan(retry={"attempts": 3}, targets=[{"targets": [{"upstream": "a"}]}])
    assert made.only is not None
    assert (made.only.index, made.only.retry.attempts) == ("config.targets[0].targets[0]", 3)


def test_a_target_is_called_by_its_name_or_by_where_it_leads() -> None:
    made = plan(
        strategy="fallback",
        targets=[{"name": "best", "upstream": "a"}, {"upstream": "a", "model": "m"}, {"upstream": "b"}],
    )
    assert [leaf.label for leaf in made.leaves] == ["best", "a/m", "b"]


def test_what_a_level_says_holds_below_it_unless_said_otherwise() -> None:
    made = plan(
        strategy="fallback",
        model="above",
        override_params={"temperature": 1, "a": {"b": 1, "c": 1}},
        headers={"x-one": "above", "x-two": "above"},
        idle_timeout_s=7,
        total_timeout_s=8,
        retry={"attempts": 2},
        targets=[
            {"upstream": "plain"},
            {
                "upstream": "own",
                "model": "own",
                "override_params": {"temperature": None, "a": {"b": 2}},
                "headers": {"x-two": "own"},
                "idle_timeout_s": 3,
                "retry": {"attempts": 5},
            },
        ],
    )
    plain, own = made.leaves
    assert (plain.model, plain.idle_timeout_s, plain.retry.attempts) == ("above", 7, 2)
    assert plain.override_params == {"temperature": 1, "a": {"b": 1, "c": 1}}
    assert (own.model, own.idle_timeout_s, own.total_timeout_s, own.retry.attempts) == ("own", 3, 8, 5)
    assert own.override_params == {"temperature": None, "a": {"b": 2, "c": 1}}
    assert own.headers == [(b"x-one", b"above"), (b"x-two", b"own")]


def test_a_target_without_a_retry_anywhere_is_tried_once() -> None:
    assert plan(upstream="a").leaves[0].retry.attempts == 1


def test_a_model_among_the_parameters_is_a_rename_as_well() -> None:
    made = plan(upstream="a", override_params={"model": "m", "n": 1})
    assert (made.leaves[0].model, made.leaves[0].override_params) == ("m", {"n": 1})
    assert made.leaves[0].label == "a/m"
    inner = plan(model="above", targets=[{"upstream": "a", "override_params": {"model": "m"}}])
    assert inner.leaves[0].model == "m"


@pytest.mark.parametrize(
    "more",
    [
        {"model": "m"}, {"headers": {"x-a": "b"}}, {"idle_timeout_s": 1}, {"retry": {"attempts": 2}},
        {"deadline_s": 1}, {"cache": {}}, {"sse_keepalive_s": 1}, {"override_params": {"a": 1}},
    ],
)  # fmt: skip
def test_whatever_a_plan_asks_for_makes_it_more_than_plain(more: dict[str, Any]) -> None:
    assert not plan(upstream="a", **more).is_plain


def test_a_leaf_can_be_dressed_with_what_came_with_the_request() -> None:
    target = schema.Plan.model_validate(
        {"strategy": "fallback", "targets": [{"upstream": "a"}, {"upstream": "b"}]}
    )
    made = compile_plan(
        target, lambda leaf: replace(leaf, api_key="k") if leaf.index == "config.targets[1]" else leaf
    )
    assert [leaf.api_key for leaf in made.leaves] == [None, "k"]
    assert isinstance(made.root, Fallback)
    assert made.root.children == made.leaves
    assert "api_key" not in repr(made)


def test_children_of_a_loadbalance_are_told_apart_by_name_else_by_where_they_lead() -> None:
    made = plan(
        strategy="loadbalance",
        targets=[{"name": "x", "upstream": "a", "weight": 0}, {"upstream": "b"}, {"upstream": "b"}],
    )
    assert isinstance(made.root, LoadBalance)
    assert len(set(made.root.seeds)) == 3
    assert made.root.choosable == (1, 2)
    moved = plan(strategy="loadbalance", targets=[{"upstream": "b"}, {"name": "x", "upstream": "c"}])
    assert isinstance(moved.root, LoadBalance)
    assert moved.root.seeds == (made.root.seeds[1], made.root.seeds[0])
