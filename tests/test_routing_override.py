"""Overrides: what a target changes of a request's body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.jsonio import loads
from gateway.routing.override import merged, merged_params

NAMES = st.sampled_from(["a", "b", "c", "model"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=4)


def test_objects_are_merged_and_all_else_is_replaced() -> None:
    body = {"model": "m", "a": {"b": 1, "c": [1, 2]}, "n": 1, "keep": None}
    params = {"a": {"c": [3], "d": {"e": 1}}, "n": {"x": 1}}
    assert loads(merged(body, None, params)) == {
        "model": "m", "a": {"b": 1, "c": [3], "d": {"e": 1}}, "n": {"x": 1}, "keep": None,
    }  # fmt: skip


def test_null_removes_what_is_there_at_any_depth() -> None:
    body = {"a": {"b": 1, "c": 2}, "n": 1}
    assert loads(merged(body, None, {"n": None, "a": {"b": None, "gone": None}, "x": {"y": None}})) == {
        "a": {"c": 2}, "x": {},
    }  # fmt: skip


def test_the_model_is_put_in_even_where_there_was_none() -> None:
    assert loads(merged({}, "m", {})) == {"model": "m"}
    assert loads(merged({"model": "old"}, "m", {"model": "other"})) == {"model": "m"}


def test_unicode_and_order_stay() -> None:
    assert merged({"b": "ü", "a": 1}, None, {"c": 2}) == '{"b":"ü","a":1,"c":2}'.encode()


def test_what_can_be_read_can_be_written_again_however_deep_it_is_nested() -> None:
    deep: Any = 2**70
    for _ in range(200):
        deep = {"x": [deep]}
    assert json.loads(merged({"deep": deep}, "m", {"a": 1})) == {"deep": deep, "a": 1, "model": "m"}
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply to be changed"):
        merged({"deep": deep}, "m", {})
    while isinstance(deep, list):  # else taking it apart would be as deep
        deep = deep[0]


@given(OBJECTS, OBJECTS)
def test_a_change_made_twice_is_the_change_made_once(body: dict[str, Any], params: dict[str, Any]) -> None:
    once = loads(merged(body, None, params))
    assert loads(merged(once, None, params)) == once


def replaces_more_than_it_says(above: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether `here` puts an object where `above` has none: that one cannot say to start from nothing."""
    return any(
        isinstance(change, dict)
        and name in above
        and (not isinstance(above[name], dict) or replaces_more_than_it_says(above[name], change))
        for name, change in here.items()
    )


@given(OBJECTS, OBJECTS, OBJECTS)
def test_two_levels_together_do_what_they_do_one_after_the_other(
    body: dict[str, Any], above: dict[str, Any], here: dict[str, Any]
) -> None:
    assume(not replaces_more_than_it_says(above, here))
    together = loads(merged(body, None, merged_params(above, here)))
    assert together == loads(merged(loads(merged(body, None, above)), None, here))


@given(OBJECTS, OBJECTS)
def test_the_requests_own_body_is_left_as_it_is(body: dict[str, Any], params: dict[str, Any]) -> None:
    before = merged(body, None, {})
    merged(body, "m", params)
    assert merged(body, None, {}) == before
    assert loads(before) == body


@given(OBJECTS, OBJECTS)
def test_nothing_but_what_is_named_changes(body: dict[str, Any], params: dict[str, Any]) -> None:
    after = loads(merged(body, None, params))
    for name in (body.keys() | after.keys()) - params.keys():
        assert after.get(name) == body.get(name)
