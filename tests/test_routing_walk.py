"""Walks: which target a request gets first, and which after a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import routes as schema
from gateway.errors import NoRoute
from gateway.routing.plan import Context, Failure, Leaf, LoadBalance, Plan, compile_plan
from gateway.routing.walk import Walk


class State:
    """A gateway whose targets rest, are busy and are liked as the test says, by label."""

    def __init__(
        self,
        resting: Sequence[str] = (),
        badness: dict[str, float] | None = None,
        busy: dict[str, int] | None = None,
        liked: Sequence[float] | None = None,
    ) -> None:
        self.resting = set(resting)
        self._badness = badness or {}
        self._busy = busy or {}
        self._liked = liked

    def is_resting(self, leaf: Leaf) -> bool:
        return leaf.label in self.resting

    def badness(self, leaf: Leaf) -> float:
        return self._badness.get(leaf.label, 1.0)

    def in_flight(self, leaf: Leaf) -> int:
        return self._busy.get(leaf.label, 0)

    def shares(self, node: LoadBalance) -> Sequence[float] | None:
        return self._liked


HEALTHY = State()
BY_USER = {"mode": "loadbalance", "sticky_by": "user"}
CHOICES = {
    "mode": "conditional",
    "conditions": [
        {"query": {"metadata.tier": "paid"}, "then": "best"},
        {"query": {"params.n": {"$gt": 1}}, "then": "other"},
    ],
    "default": "cheap",
}


def plan(strategy: Any, *targets: Any, **more: Any) -> Plan:
    """A target is a name, which is its upstream's as well, or settings."""
    written = [
        {"name": target, "upstream": target} if isinstance(target, str) else target for target in targets
    ]
    return compile_plan(schema.Plan.model_validate({"strategy": strategy, "targets": written, **more}))


def group(name: str, strategy: Any, *targets: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "strategy": strategy,
        "targets": [{"name": target, "upstream": target} for target in targets],
        **more,
    }


def weighted(name: str, weight: float) -> dict[str, Any]:
    return {"name": name, "upstream": name, "weight": weight}


def context(
    user: str | None = None,
    trace_id: str = "t",
    metadata: Any = None,
    params: Any = None,
    path: str = "/v1/x",
) -> Context:
    return Context(path, metadata, params, user, trace_id)


def way(
    plan: Plan, *failures: Failure, state: State = HEALTHY, asked: Context | None = None, seed: int = 1
) -> list[str | None]:
    """The labels of the targets: the first, and that after each failure."""
    walk = Walk(plan, asked or context(), state, Random(seed))
    labels: list[str | None] = [walk.first().label]
    for failure in failures:
        leaf = walk.after(failure)
        labels.append(leaf.label if leaf else None)
    return labels


def shares_of(
    plan: Plan, count: int = 6000, state: State = HEALTHY, asked: Context | None = None
) -> dict[str, float]:
    rng = Random(7)
    seen = Counter(Walk(plan, asked or context(), state, rng).first().label for _ in range(count))
    return {label: times / count for label, times in seen.items()}


class TestFallback:
    def test_goes_on_in_order_until_there_is_none_left(self) -> None:
        assert way(plan("fallback", "a", "b", "c"), 500, "timeout", 503) == ["a", "b", "c", None]

    def test_goes_on_only_after_what_it_is_for(self) -> None:
        chosen = {"mode": "fallback", "on": [429, "connection"]}
        assert way(plan(chosen, "a", "b"), 500) == ["a", None]
        assert way(plan(chosen, "a", "b"), "timeout") == ["a", None]
        assert way(plan(chosen, "a", "b"), "connection") == ["a", "b"]

    def test_leaves_resting_targets_for_last(self) -> None:
        made = plan("fallback", "a", "b", "c")
        assert way(made, 500, 500, 500, state=State(["a"])) == ["b", "c", "a", None]

    def test_tries_the_least_bad_where_all_rest(self) -> None:
        state = State(["a", "b", "c"], badness={"a": 9, "b": 2, "c": 5})
        assert way(plan("fallback", "a", "b", "c"), 500, 500, state=state) == ["b", "c", "a"]

    def test_within_a_fallback_ends_before_the_outer_one_goes_on(self) -> None:
        made = plan("fallback", group("in", "fallback", "a", "b"), "c")
        assert way(made, 500, 500, 500) == ["a", "b", "c", None]

    def test_that_is_not_for_a_failure_leaves_it_to_the_outer_one(self) -> None:
        made = plan("fallback", group("in", {"mode": "fallback", "on": [429]}, "a", "b"), "c")
        assert way(made, 500, 500) == ["a", "c", None]

    def test_skips_a_group_of_which_all_rest_and_takes_one_of_which_some_do(self) -> None:
        made = plan("fallback", group("in", "fallback", "a", "b"), "c")
        assert way(made, state=State(["a", "b"])) == ["c"]
        assert way(made, state=State(["a"])) == ["b"]


class TestLoadbalance:
    def test_has_no_second_choice(self) -> None:
        assert way(plan("loadbalance", "a", "b"), 500)[1] is None

    def test_keeps_to_the_weights(self) -> None:
        made = plan("loadbalance", weighted("a", 6), weighted("b", 3), weighted("c", 1), weighted("never", 0))
        shares = shares_of(made)
        assert set(shares) == {"a", "b", "c"}
        # 4.5 standard deviations of a share at 6,000 draws
        for label, share in {"a": 0.6, "b": 0.3, "c": 0.1}.items():
            assert abs(shares[label] - share) < 4.5 * (share * (1 - share) / 6000) ** 0.5

    def test_shares_what_a_resting_target_would_have_had_by_weight(self) -> None:
        made = plan("loadbalance", weighted("a", 6), weighted("b", 3), weighted("c", 1))
        shares = shares_of(made, state=State(["a"]))
        assert set(shares) == {"b", "c"}
        assert abs(shares["b"] - 0.75) < 0.03

    def test_tries_the_least_bad_where_all_rest(self) -> None:
        state = State(["a", "b"], badness={"a": 2, "b": 1})
        assert way(plan("loadbalance", weighted("a", 100), "b"), state=state) == ["b"]

    def test_never_takes_a_target_without_weight_not_even_as_the_last_one(self) -> None:
        made = plan("loadbalance", weighted("a", 0), "b")
        assert way(made, state=State(["b"], badness={"a": 0, "b": 9})) == ["b"]

    def test_by_requests_in_flight_takes_the_least_busy(self) -> None:
        chosen = {"mode": "loadbalance", "pick": "least_in_flight"}
        made = plan(chosen, "a", "b", "c")
        assert way(made, state=State(busy={"a": 3, "b": 1, "c": 2})) == ["b"]
        assert way(made, state=State(["b"], busy={"a": 3, "b": 1, "c": 2})) == ["c"]

    def test_by_requests_in_flight_counts_all_of_a_group(self) -> None:
        chosen = {"mode": "loadbalance", "pick": "least_in_flight"}
        made = plan(chosen, group("in", "fallback", "a", "b"), "c")
        assert way(made, state=State(busy={"a": 1, "b": 2, "c": 2})) == ["c"]

    def test_of_equally_busy_targets_weight_decides(self) -> None:
        chosen = {"mode": "loadbalance", "pick": "least_in_flight"}
        made = plan(chosen, weighted("a", 3), weighted("b", 1), "c")
        shares = shares_of(made, state=State(busy={"c": 1}))
        assert set(shares) == {"a", "b"}
        assert abs(shares["a"] - 0.75) < 0.03

    def test_by_feedback_takes_the_weights_it_is_given_and_its_own_until_then(self) -> None:
        made = plan(
            {"mode": "loadbalance", "by_feedback": {}}, weighted("a", 1), weighted("b", 3), weighted("c", 0)
        )
        assert abs(shares_of(made, state=State(liked=[0.9, 0.1, 0.0]))["a"] - 0.9) < 0.02
        assert abs(shares_of(made)["a"] - 0.25) < 0.03
        assert way(made, state=State(["b"], liked=[0.0, 1.0, 0.0])) == ["a"]

    def test_without_by_feedback_nobody_is_asked_what_is_liked(self) -> None:
        assert shares_of(plan("loadbalance", "a", weighted("b", 0)), state=State(liked=[0.0, 1.0])) == {
            "a": 1.0
        }


class TestStickiness:
    def home(self, made: Plan, user: str, state: State = HEALTHY) -> str | None:
        homes = {way(made, asked=context(user=user), state=state, seed=seed)[0] for seed in range(3)}
        assert len(homes) == 1
        return homes.pop()

    def test_a_user_keeps_the_target_and_users_spread_by_weight(self) -> None:
        made = plan(BY_USER, weighted("a", 2), weighted("b", 1))
        homes = Counter(self.home(made, f"user-{number}") for number in range(1500))
        assert abs(homes["a"] / 1500 - 2 / 3) < 4.5 * (2 / 9 / 1500) ** 0.5

    def test_a_new_target_takes_users_from_the_others_and_moves_nobody_else(self) -> None:
        before, after = plan(BY_USER, "a", "b", "c"), plan(BY_USER, "d", "a", "b", "c")
        moved = 0
        for number in range(600):
            old, new = self.home(before, f"u{number}"), self.home(after, f"u{number}")
            assert new in (old, "d")
            moved += new == "d"
        assert 90 < moved < 210  # a quarter is 150

    def test_while_its_target_rests_a_user_has_another_one_and_then_returns(self) -> None:
        made = plan(BY_USER, "a", "b", "c")
        for number in range(50):
            home = self.home(made, f"u{number}")
            assert home is not None
            second = self.home(made, f"u{number}", State([home]))
            assert second != home
            for other in {"a", "b", "c"} - {home}:
                assert self.home(made, f"u{number}", State([other])) == home

    def test_requests_without_a_user_go_by_weight(self) -> None:
        shares = shares_of(plan(BY_USER, weighted("a", 3), weighted("b", 1)))
        assert abs(shares["a"] - 0.75) < 0.03

    def test_by_trace_the_user_does_not_matter(self) -> None:
        made = plan({"mode": "loadbalance", "sticky_by": "trace"}, "a", "b", "c", "d")
        for trace_id in ("t1", "t2", "t3"):
            asked = [context(user=user, trace_id=trace_id) for user in ("u1", "u2", "u3", None)]
            assert len({way(made, asked=one)[0] for one in asked}) == 1


class TestConditional:
    @pytest.mark.parametrize(
        ("asked", "label"),
        [
            (context(metadata={"tier": "paid"}, params={"n": 5}), "best"),
            (context(metadata={"tier": "free"}, params={"n": 5}), "other"),
            (context(), "cheap"),
        ],
    )
    def test_the_first_condition_that_holds_decides(self, asked: Context, label: str) -> None:
        assert way(plan(CHOICES, "cheap", "other", "best"), asked=asked) == [label]

    def test_there_is_no_other_choice_even_if_the_target_rests_or_fails(self) -> None:
        made = plan(CHOICES, "cheap", "other", "best")
        assert way(made, 500, state=State(["cheap"])) == ["cheap", None]

    def test_without_a_default_a_request_that_meets_no_condition_has_no_route(self) -> None:
        made = plan({**CHOICES, "default": None}, "other", "best")
        with pytest.raises(NoRoute, match="no condition of the route holds for this request"):
            way(made)

    def test_that_leads_nowhere_is_passed_over_within_another_strategy(self) -> None:
        nowhere = group("in", {**CHOICES, "default": None}, "other", "best")
        assert way(plan("fallback", nowhere, "a"), 500) == ["a", None]
        assert shares_of(plan("loadbalance", nowhere, "a"), count=50) == {"a": 1.0}
        with pytest.raises(NoRoute):
            way(plan("fallback", nowhere))

    def test_rests_where_the_target_it_leads_to_does(self) -> None:
        made = plan("fallback", group("in", CHOICES, "cheap", "other", "best"), "z")
        assert way(made, state=State(["cheap"])) == ["z"]
        assert way(made, state=State(["other", "best"])) == ["cheap"]


# --- any plan there can be ---


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = iter(f"t{number}" for number in range(100))

    def target(depth: int) -> dict[str, Any]:
        name, weight = next(names), draw(st.sampled_from([0, 1, 5]))
        made: dict[str, Any] = {"name": name, "weight": weight}
        if depth == 0 or draw(st.booleans()):
            return made | {"upstream": name}
        targets = [target(depth - 1) for _ in range(draw(st.integers(1, 3)))]
        mode = draw(st.sampled_from(["fallback", "loadbalance", "conditional"]))
        strategy: dict[str, Any] = {"mode": mode}
        if mode == "fallback":
            strategy["on"] = draw(st.lists(st.sampled_from([429, 500, "timeout"]), min_size=1))
        elif mode == "loadbalance":
            targets[0]["weight"] = 1
            strategy["pick"] = draw(st.sampled_from(["weight", "least_in_flight"]))
            strategy["sticky_by"] = draw(st.sampled_from([None, "user", "trace"]))
        else:
            strategy["conditions"] = [
                {"query": {"metadata.n": place}, "then": one["name"]} for place, one in enumerate(targets)
            ]
            strategy["default"] = draw(st.sampled_from([None, targets[-1]["name"]]))
        return made | {"strategy": strategy, "targets": targets}

    return compile_plan(schema.Plan.model_validate(target(3)))


FAILURES = st.sampled_from([429, 500, 404, "timeout", "connection"])


@given(
    plans(),
    st.sets(st.integers(0, 40)),
    st.integers(0, 3),
    st.lists(FAILURES, max_size=60),
    st.integers(0, 2**32),
)
def test_a_walk_ends_and_comes_to_no_target_twice(
    plan: Plan, resting: set[int], n: int, failures: list[Failure], seed: int
) -> None:
    state = State([f"t{number}" for number in resting])
    walk = Walk(plan, context(user="u", metadata={"n": n}), state, Random(seed))
    try:
        visited = [walk.first()]
    except NoRoute:
        return
    for failure in failures:
        leaf = walk.after(failure)
        if leaf is None:
            assert walk.after(failure) is None
            break
        visited.append(leaf)
    assert len(set(visited)) == len(visited) <= len(plan.leaves)
    assert set(visited) <= set(plan.leaves)


@given(
    st.permutations(["a", "b", "c", "d"]), st.sets(st.sampled_from(["a", "b", "c", "d"])), st.integers(0, 99)
)
def test_a_resting_target_is_taken_only_where_all_that_are_left_rest(
    names: list[str], resting: set[str], seed: int
) -> None:
    state = State(list(resting))
    for strategy in ("fallback", "loadbalance"):
        [first] = way(plan(strategy, *names), state=state, seed=seed)
        assert first not in resting or resting == set(names)
    inner = plan("fallback", group("in", "loadbalance", *names[:2]), group("out", "fallback", *names[2:]))
    walked = way(inner, 500, 500, 500, state=state, seed=seed)
    assert walked[0] not in resting or resting == set(names)


@given(plans(), st.integers(0, 3), st.integers(0, 99))
def test_with_all_healthy_a_fallback_begins_with_its_first(plan: Plan, n: int, seed: int) -> None:
    """Down to the first loadbalance or conditional."""
    node: Any = plan.root
    while type(node).__name__ == "Fallback":
        node = node.children[0]
    try:
        first = Walk(plan, context(metadata={"n": n}), HEALTHY, Random(seed)).first()
        Walk(Plan(node, (), None, None, None, None), context(metadata={"n": n}), HEALTHY, Random(0)).first()
    except NoRoute:
        return  # a conditional there leads nowhere
    assert first in ((node,) if isinstance(node, Leaf) else node.leaves)
