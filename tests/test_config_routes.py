"""Routes and configs as they are written: what is taken, what is refused and with which sentence."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import parse_document
from gateway.config.load import build
from gateway.config.masked import masked_yaml
from gateway.config.schema import Settings
from gateway.errors import ConfigError

UPSTREAMS = {"a": {"base_url": "http://a"}, "b": {"base_url": "http://b"}, "c": {"base_url": "http://c"}}


def settings(plan: str, environ: dict[str, str] | None = None) -> Settings:
    """`plan` as the one route there is."""
    route = parse_document(plan, "test.yaml")
    return build({"upstreams": UPSTREAMS, "routes": [{"models": ["*"], **route}]}, environ or {}).settings


def problems(plan: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        settings(plan, environ)
    return refused.value.problems


def conditional(
    query: str, then: str = "x", targets: str = "{name: x, upstream: a}", more: str = "default: x"
) -> str:
    conditions = f"conditions: [{{query: {query}, then: {then}}}]"
    return f"{{strategy: {{mode: conditional, {conditions}, {more}}}, targets: [{targets}]}}"


class TestWhatMayBeWritten:
    def test_a_word_alone_is_a_strategy(self) -> None:
        [route] = settings("{strategy: fallback, targets: [{upstream: a}, {upstream: b}]}").routes
        assert route.strategy is not None
        assert route.strategy.mode == "fallback"

    def test_on_is_a_key_although_yaml_would_read_it_as_true(self) -> None:
        [route] = settings("{upstream: a, retry: {attempts: 2, on: [429, timeout]}}").routes
        assert route.retry is not None
        assert route.retry.on == (429, "timeout")

    def test_a_status_may_come_from_a_variable(self) -> None:
        [route] = settings('{upstream: a, retry: {on: ["${S}"]}}', {"S": "503"}).routes
        assert route.retry is not None
        assert route.retry.on == (503,)

    def test_one_target_is_enough_for_every_strategy(self) -> None:
        for mode in ("single", "fallback", "loadbalance"):
            assert settings(f"{{strategy: {mode}, targets: [{{upstream: a}}]}}")

    def test_sixteen_levels_of_targets_are_taken_and_seventeen_are_not(self) -> None:
        def nested(levels: int) -> dict[str, Any]:
            plan: dict[str, Any] = {"upstream": "a"}
            for _ in range(levels - 1):
                plan = {"targets": [plan]}
            return plan

        data = {"upstreams": UPSTREAMS, "configs": {"deep": nested(16)}, "routes": []}
        data["routes"] = [{"models": ["*"], "target": nested(16)}]
        assert build(data, {}).settings.configs["deep"].targets
        for levels in (17, 60):
            data["configs"] = {"deep": nested(levels)}
            with pytest.raises(ConfigError, match="nested deeper than 16 levels; flatten"):
                build(data, {})

    @pytest.mark.parametrize(
        "query",
        [
            "{metadata.tier: paid}",
            "{metadata.tier: {$eq: paid, $ne: free}, url.pathname: {$regex: ^/v1/chat}}",
            "{$or: [{params.model: {$in: [x, y]}}, {$and: [{params.max_tokens: {$gt: 5}}]}]}",
            "{params.response_format.type: {$nin: [text]}}",
            "{metadata.beta: true, metadata.gone: {$eq: null}}",
        ],
    )
    def test_queries_that_can_be_asked(self, query: str) -> None:
        assert settings(conditional(query))


HERE = "routes[0]"
QUERY = f"{HERE}.strategy.conditions[0].query"

BAD = [
    # where it leads
    ("{}", f"{HERE}.target: is missing; add it: where matching requests go; or targets and a strategy"),
    ("{upstream: a, targets: [{upstream: b}]}", f"{HERE}: has upstream and targets; give one of them"),
    ("{target: {upstream: a}, upstream: b}", f"{HERE}: has target and upstream; give one of them"),
    ("{targets: [{}]}", f"{HERE}.targets[0]: leads nowhere; give it an upstream, or targets and a strategy"),
    (
        "{targets: [{upstream: a}, {target: {upstream: b}}]}",
        f'{HERE}.targets[1].target: unknown key; did you mean "targets"?',
    ),
    ("{strategy: fallback, upstream: a}", f"{HERE}.strategy: has no targets to choose from; add targets"),
    (
        "{strategy: fallback, targets: [{strategy: fallback, targets: [{upstream: aa}]}]}",
        f'{HERE}.targets[0].targets[0].upstream: unknown upstream "aa"; did you mean "a"?',
    ),
    # strategies
    (
        "{strategy: fallbak, targets: [{upstream: a}]}",
        f'{HERE}.strategy.mode: "fallbak" is not one of single, fallback, loadbalance, conditional; did you',
    ),
    ("{strategy: 5, targets: [{upstream: a}]}", f"{HERE}.strategy: a number is not a mapping"),
    (
        "{targets: [{upstream: a}, {upstream: b}]}",
        f"{HERE}.targets: there are 2 and nothing says how to choose; add strategy: fallback, or loadbalance",
    ),
    (
        "{strategy: {mode: fallback, sticky_by: user}, targets: [{upstream: a}]}",
        f"{HERE}.strategy.sticky_by: belongs to mode loadbalance, this is fallback; remove it",
    ),
    (
        "{strategy: {mode: loadbalance, on: [429]}, targets: [{upstream: a}]}",
        f"{HERE}.strategy.on: belongs to mode fallback, this is loadbalance; remove it",
    ),
    (
        "{strategy: {mode: fallback, by_feedback: }, targets: [{weight: 5, upstream: a}], wieght: 1}",
        f'{HERE}.wieght: unknown key; did you mean "weight"?',
    ),
    (
        "{strategy: {mode: loadbalance, pick: least_in_flight, by_feedback: {}}, targets: [{upstream: a}]}",
        f"{HERE}.strategy.pick: least_in_flight leaves feedback nothing to decide; remove it, or by_feedback",
    ),
    (
        "{strategy: {mode: loadbalance, sticky_by: session}, targets: [{upstream: a}]}",
        f'{HERE}.strategy.sticky_by: "session" is not one of user, trace',
    ),
    (
        "{strategy: loadbalance, targets: [{upstream: a, weight: 0}, {upstream: b, weight: 0}]}",
        f"{HERE}.targets: every weight is 0, so there is nothing to choose; give one of them a weight",
    ),
    (
        "{strategy: loadbalance, targets: [{upstream: a, weight: -1}]}",
        f"{HERE}.targets[0].weight: -1 is too small; use 0 or more",
    ),
    (
        "{strategy: loadbalance, targets: [{upstream: a, weight: yes}]}",
        f'{HERE}.targets[0].weight: "true" is not a number',
    ),
    # failures and times
    (
        "{upstream: a, retry: {on: 429}}",
        f"{HERE}.retry.on: a number is not a list of failures; write [429, 503, timeout]",
    ),
    (
        "{upstream: a, retry: {on: [200]}}",
        f"{HERE}.retry.on[0]: 200 is no status from 300 to 599 and no cause, such as 429, connection",
    ),
    (
        "{strategy: {mode: fallback, on: [timeuot]}, targets: [{upstream: a}]}",
        f'{HERE}.strategy.on[0]: "timeuot" is no status from 300 to 599 and no cause; did you mean "timeout',
    ),
    ("{upstream: a, retry: {on: [yes]}}", f"{HERE}.retry.on[0]: true is no status from 300 to 599"),
    ("{upstream: a, retry: {attempts: 11}}", f"{HERE}.retry.attempts: 11 is too large; use 10 or less"),
    (
        "{upstream: a, attempts: 3}",
        f"{HERE}.attempts: unknown key; attempts belongs in routes[].targets[].retry",
    ),
    ("{upstream: a, idle_timeout_s: soon}", f'{HERE}.idle_timeout_s: "soon" is not a number'),
    ("{upstream: a, idle_timeout_s: yes}", f'{HERE}.idle_timeout_s: "true" is not a number'),
    ("{upstream: a, deadline_s: 0}", f"{HERE}.deadline_s: 0 is too small; use more than 0"),
    # what is changed
    ("{upstream: a, override_params: [x]}", f"{HERE}.override_params: a list is not a mapping"),
    (
        "{upstream: a, model: m, override_params: {model: n}}",
        f'{HERE}.override_params.model: "n" is there besides model; keep one of them',
    ),
    ("{upstream: a, headers: {x-a: 5}}", f"{HERE}.headers.x-a: **** is not text; put it in quotes"),
    ("{upstream: a, headers: {Host: h}}", f"{HERE}.headers: host is set by the gateway for every request"),
    ("{upstream: a, headers: {X-A: b, x-a: c}}", f"{HERE}.headers: x-a is there twice"),
    # names and conditions
    (
        "{strategy: fallback, targets: [{name: x, upstream: a}, {upstream: b}, {name: x, upstream: c}]}",
        f'{HERE}.targets[2].name: "x" is the name of targets[0] already; choose another',
    ),
    (
        "{strategy: conditional, targets: [{name: x, upstream: a}]}",
        f"{HERE}.strategy.conditions: is missing; add conditions, each with a query and a then",
    ),
    (
        conditional("{metadata.a: b}", then="z", more=""),
        f'{HERE}.strategy.conditions[0].then: "z" is the name of no target here; the targets are x',
    ),
    (
        conditional("{metadata.a: b}", more="default: xx"),
        f'{HERE}.strategy.default: "xx" is the name of no target here; did you mean "x"?',
    ),
    (
        conditional("{metadata.a: b}", targets="{name: x, upstream: a}, {upstream: b}"),
        f"{HERE}.targets[1].name: is missing; add it: conditions choose their target by its name",
    ),
    (
        "{strategy: {mode: conditional, conditions: [{then: x}]}, targets: [{upstream: a}]}",
        "query: is missing",
    ),
    # queries
    (conditional("{}"), f"{QUERY}: is empty and would hold for every request; use the strategy's default"),
    (conditional("text"), f"{QUERY}: text is not a mapping"),
    (
        conditional("{metadata.tier: {$foo: 1}}"),
        f"{QUERY}.metadata.tier.$foo: unknown operator; use $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin or",
    ),
    (
        conditional("{metadata.tier: {$equ: 1}}"),
        f'{QUERY}.metadata.tier.$equ: unknown operator; did you mean "$eq"?',
    ),
    (
        conditional("{metadata.tier: {eq: 1}}"),
        f'{QUERY}.metadata.tier.eq: unknown operator; did you mean "$eq"?',
    ),
    (conditional("{metadata.a: {$or: [1]}}"), f"{QUERY}.metadata.a.$or: takes whole queries; write $or: [{{"),
    (conditional("{metadata.a: {}}"), f"{QUERY}.metadata.a: has nothing to compare with; write a value"),
    (conditional("{metdata.tier: x}"), f'{QUERY}.metdata.tier: unknown field; did you mean "metadata.tier"?'),
    (
        conditional("{metadata: x}"),
        f"{QUERY}.metadata: unknown field; a query asks for metadata.<key>, params.",
    ),
    (conditional("{metadata.: x}"), f'{QUERY}["metadata."]: unknown field; a query asks for'),
    (conditional("{url.path: x}"), f'{QUERY}.url.path: unknown field; did you mean "url.pathname"?'),
    (conditional("{$eq: 1}"), f"{QUERY}.$eq: compares a field; write metadata.<key>: {{$eq: …}}"),
    (conditional("{$ro: [{metadata.a: b}]}"), f'{QUERY}.$ro: unknown operator; did you mean "$or"?'),
    (conditional("{$nor: []}"), f'{QUERY}.$nor: unknown operator; did you mean "$or"?'),
    (conditional("{$or: {metadata.a: b}}"), f"{QUERY}.$or: takes a list of queries; write - and a query"),
    (conditional("{$and: []}"), f"{QUERY}.$and: takes a list of queries"),
    (conditional("{$and: [5]}"), f"{QUERY}.$and[0]: 5 is not a query; write a mapping such as"),
    (
        conditional("{params.n: {$gt: [1]}}"),
        f"{QUERY}.params.n.$gt: a list has no order; compare with a number",
    ),
    (
        conditional("{params.n: {$gt: yes}}"),
        f"{QUERY}.params.n.$gt: true has no order; compare with a number",
    ),
    (conditional("{params.n: [1]}"), f"{QUERY}.params.n: a list is not a plain value; compare with text"),
    (
        conditional("{params.n: {$in: 5}}"),
        f"{QUERY}.params.n.$in: 5 is not a list; write $in: [first, second]",
    ),
    (conditional("{params.n: {$nin: [[1]]}}"), f"{QUERY}.params.n.$nin: has lists or mappings in it"),
    (
        conditional("{params.n: {$regex: 5}}"),
        f"{QUERY}.params.n.$regex: 5 is not a pattern; write it as text",
    ),
    (
        conditional("{params.n: {$regex: '('}}"),
        f'{QUERY}.params.n.$regex: "(" is no pattern that can be used; write a regular expression without',
    ),
    (conditional("{params.n: {$regex: '(?=a)'}}"), "write a regular expression without look-around"),
    (conditional("{params.n: {$regex: '(a{1000}){1000}'}}"), "and long repetitions"),
    (
        conditional(f"{{params.n: {{$regex: {'x' * 1001}}}}}"),
        "a pattern has at most 1000 characters; shorten it",
    ),
    (
        conditional("{$and: [" * 17 + "{metadata.a: b}" + "]}" * 17),
        "is nested deeper than 16 levels; flatten it",
    ),
    (
        conditional(f"{{$or: [{', '.join(['{metadata.a: b}'] * 501)}]}}"),
        f"{QUERY}: asks more than 500 things; use fewer",
    ),
]


class TestMistakes:
    @pytest.mark.parametrize(("plan", "sentence"), BAD, ids=[sentence[-60:] for _, sentence in BAD])
    def test_each_gets_one_sentence_with_path_value_and_remedy(self, plan: str, sentence: str) -> None:
        [problem] = problems(plan)
        assert sentence in problem
        assert "\n" not in problem
        assert "{value}" not in problem

    def test_of_one_query_are_reported_all_at_once(self) -> None:
        found = problems(
            conditional("{metadata.a: {$foo: 1, $in: 2}, $or: [{x: 1}, {url.pathname: {$gt: []}}]}")
        )
        assert [problem.split(": ")[0] for problem in found] == [
            f"{QUERY}.metadata.a.$foo", f"{QUERY}.metadata.a.$in", f"{QUERY}.$or[0].x",
            f"{QUERY}.$or[1].url.pathname.$gt",
        ]  # fmt: skip

    def test_in_configs_are_told_by_the_config(self) -> None:
        data = {"upstreams": UPSTREAMS, "routes": [{"models": ["*"], "target": {"upstream": "a"}}]}
        with pytest.raises(ConfigError) as refused:
            build(data | {"configs": {"x": {"strategy": "fallback", "targets": [{"upstream": "nope"}]}}}, {})
        assert refused.value.problems == [
            'configs.x.targets[0].upstream: unknown upstream "nope"; upstreams has a, b, c'
        ]

    def test_a_value_from_the_environment_is_named_not_shown(self) -> None:
        [problem] = problems('{upstream: a, retry: {on: ["${S}"]}}', {"S": "hunter2"})
        assert problem.startswith(f"{HERE}.retry.on[0]: the value of S is no status")
        [problem] = problems(conditional('{params.n: {$regex: "${S}"}}'), {"S": "(hunter2"})
        assert problem.startswith(f"{QUERY}.params.n.$regex: the value of S is no pattern")

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "$and",
                            "$or",
                            "$eq",
                            "$in",
                            "$regex",
                            "$gt",
                            "metadata.a",
                            "params.b.c",
                            "url.pathname",
                            "x",
                        ]
                    ),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=12,
        )
    )
    def test_whatever_is_written_as_a_query_ends_in_settings_or_in_sentences(self, query: Any) -> None:
        strategy = {"mode": "conditional", "conditions": [{"query": query, "then": "x"}]}
        plan = {"strategy": strategy, "targets": [{"name": "x", "upstream": "a"}]}
        found: list[str] = []
        try:
            build({"upstreams": UPSTREAMS, "routes": [{"models": ["*"], **plan}]}, {})
        except ConfigError as refused:
            found = refused.problems
        assert [problem for problem in found if not problem.startswith(QUERY)] == []

    def test_a_hostile_pattern_is_refused_or_taken_in_no_time(self) -> None:
        began = time.monotonic()
        for pattern in ("(a+)+$", "(a|a)*b", "(.*){500}x", "((((a{99}){99}){99}){99})"):
            with suppress(ConfigError):
                settings(conditional(f"{{params.n: {{$regex: '{pattern}'}}}}"))
        assert time.monotonic() - began < 5


class TestWhatIsShown:
    def test_only_what_is_set_is_shown_and_it_can_be_read_back(self) -> None:
        loaded = settings(
            """
            retry: {attempts: 2, on: [429]}
            deadline_s: 9
            strategy:
              mode: conditional
              conditions: [{query: {metadata.a: {$in: [b]}}, then: x}]
              default: y
            targets:
              - name: x
                strategy: {mode: loadbalance, by_feedback: {}}
                targets: [{upstream: a, weight: 0.5}]
              - name: y
                strategy: fallback
                targets: [{upstream: b}, {upstream: c, override_params: {n: null}}]
            """
        )
        effective = yaml.safe_load(masked_yaml(loaded))
        assert list(effective["routes"][0]) == ["models", "deadline_s", "retry", "strategy", "targets"]
        assert effective["routes"][0]["targets"][0]["targets"] == [{"upstream": "a", "weight": 0.5}]
        assert build(effective, {}).settings == loaded

    def test_credentials_in_a_targets_headers_are_masked_at_any_depth(self) -> None:
        plan = "targets: [{targets: [{upstream: a, headers: {X-Api-Key: hunter2, x-team: red}}]}]"
        text = masked_yaml(settings(plan))
        assert "hunter2" not in text
        assert "x-team: red" in text

    def test_what_came_from_the_environment_is_masked_where_a_secret_may_be(self) -> None:
        plan = {
            "targets": [{"upstream": "a", "headers": {"X-A": "${S}"}, "override_params": {"k": ["${S}"]}}]
        }
        route = {"models": ["*"], **plan}
        data = {"upstreams": UPSTREAMS, "routes": [route], "configs": {"c": plan}}
        loaded = build(data, {"S": "hunter2"})
        assert "hunter2" not in masked_yaml(loaded.settings, loaded.from_environment)
