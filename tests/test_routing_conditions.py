"""Conditions: whether a query holds for a request."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.pattern import matcher
from gateway.config.queries import parsed
from gateway.routing.conditions import holds
from gateway.routing.plan import Context

REQUEST = Context(
    path="/v1/chat/completions",
    metadata={
        "tier": "paid",
        "seats": "12",
        "beta": "true",
        "n": 5,
        "a.b": "dotted",
        "deep": {"er": "x"},
        "nil": None,
        "grouped": "1_000",
    },
    params={
        "model": "gpt-4o",
        "max_tokens": 1000,
        "temperature": 0.5,
        "stream": True,
        "messages": [{"role": "system"}, {"role": "user"}],
        "response_format": {"type": "json_schema"},
    },
    user="u",
    trace_id="t",
)


def asked(query: dict[str, Any], request: Context = REQUEST) -> bool:
    return holds(parsed(query), request)


TRUE = [
    {"metadata.tier": "paid"},
    {"metadata.tier": {"$eq": "paid"}},
    {"metadata.tier": {"$ne": "free"}},
    {"metadata.tier": {"$in": ["free", "paid"]}},
    {"metadata.tier": {"$nin": ["free"]}},
    {"metadata.tier": {"$regex": "^pa"}},
    {"metadata.tier": {"$regex": "ai"}},
    {"metadata.a.b": "dotted"},
    {"metadata.deep.er": "x"},
    {"params.model": {"$regex": "^gpt-4(o|\\.1)$"}},
    {"params.max_tokens": {"$gt": 999, "$lte": 1000}},
    {"params.temperature": {"$lt": 1}},
    {"params.temperature": {"$gte": "0.5"}},
    {"params.stream": True},
    {"params.messages.1.role": "user"},
    {"params.response_format.type": {"$in": ["json_object", "json_schema"]}},
    {"url.pathname": "/v1/chat/completions"},
    {"url.pathname": {"$regex": "/chat/"}},
    # text that is meant as a number or as true
    {"metadata.seats": {"$gt": 9}},
    {"metadata.seats": 12},
    {"metadata.seats": {"$in": [12, 13]}},
    {"metadata.seats": {"$gt": "9"}},
    {"metadata.n": "5"},
    {"metadata.beta": True},
    # other text by its letters
    {"metadata.tier": {"$gt": "free"}},
    # fields that are not there
    {"metadata.gone": {"$ne": "x"}},
    {"metadata.gone": {"$nin": ["x"]}},
    {"metadata.gone": None},
    {"metadata.nil": None},
    {"params.messages.9.role": {"$ne": "user"}},
    {"params.model.x": {"$ne": "y"}},
    # together
    {"metadata.tier": "paid", "params.stream": True},
    {"$and": [{"metadata.tier": "paid"}, {"params.stream": True}]},
    {"$or": [{"metadata.tier": "free"}, {"params.stream": True}]},
    {"$or": [{"metadata.tier": "free"}, {"$and": [{"params.stream": True}, {"metadata.n": {"$lt": 6}}]}]},
    {"metadata.tier": "paid", "$or": [{"params.stream": False}, {"metadata.n": 5}]},
]

FALSE = [
    {"metadata.tier": "free"},
    {"metadata.tier": "PAID"},
    {"metadata.tier": {"$ne": "paid"}},
    {"metadata.tier": {"$in": ["free"]}},
    {"metadata.tier": {"$in": []}},
    {"metadata.tier": {"$nin": ["paid"]}},
    {"metadata.tier": {"$gt": 5}},
    {"metadata.tier": {"$lt": 5}},
    {"metadata.n": {"$lt": "x"}},
    {"params.max_tokens": {"$gt": 1000}},
    {"params.max_tokens": {"$gt": 1, "$lt": 2}},
    {"params.max_tokens": {"$regex": "1"}},
    {"params.max_tokens": True},
    {"params.stream": 1},
    {"params.stream": {"$gt": 0}},
    {"params.messages": "user"},
    {"params.messages.-1.role": "user"},
    {"metadata.gone": "x"},
    {"metadata.gone": {"$gt": 1}},
    {"metadata.gone": {"$lt": 1}},
    {"metadata.gone": {"$regex": ""}},
    {"metadata.gone": {"$in": ["x"]}},
    {"metadata.gone": False},
    {"metadata.gone": 0},
    {"metadata.grouped": 1000},
    {"metadata.grouped": {"$gt": 5}},
    {"metadata.tier": "paid", "params.stream": False},
    {"$and": [{"metadata.tier": "paid"}, {"params.stream": False}]},
    {"$or": [{"metadata.tier": "free"}, {"params.stream": False}]},
]


@pytest.mark.parametrize("query", TRUE, ids=str)
def test_a_query_that_describes_the_request_holds(query: dict[str, Any]) -> None:
    assert asked(query)


@pytest.mark.parametrize("query", FALSE, ids=str)
def test_a_query_that_describes_another_request_does_not_hold(query: dict[str, Any]) -> None:
    assert not asked(query)


def test_a_request_without_metadata_and_body_has_no_fields() -> None:
    bare = Context("/v1/models", None, None, None, "t")
    assert asked({"metadata.a": {"$ne": 1}, "params.b.c": None}, bare)
    assert not asked({"$or": [{"metadata.a": 1}, {"params.b": {"$gt": 0}}]}, bare)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("9" * 5000),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
ORDERED = st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)


@given(VALUES, PLAIN, st.lists(PLAIN, max_size=3), ORDERED)
def test_a_test_and_its_opposite_never_agree(value: Any, operand: Any, listed: list[Any], limit: Any) -> None:
    request = REQUEST._replace(metadata={"x": value})
    assert asked({"metadata.x": {"$eq": operand}}, request) != asked(
        {"metadata.x": {"$ne": operand}}, request
    )
    assert asked({"metadata.x": {"$in": listed}}, request) != asked({"metadata.x": {"$nin": listed}}, request)
    assert not asked({"metadata.x": {"$gt": limit, "$lte": limit}}, request)
    assert not asked({"metadata.x": {"$lt": limit, "$gte": limit}}, request)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "^(a|a)*$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){12}$"]
)
def test_a_hostile_pattern_takes_no_longer_than_any_other(pattern: str) -> None:
    text = REQUEST._replace(params={"x": "a" * 9_000 + "!"})
    query = parsed({"params.x": {"$regex": pattern}})
    began = time.perf_counter()
    assert not holds(query, text)
    assert time.perf_counter() - began < 10  # a backtracking engine would take years


def test_of_a_long_text_only_the_start_is_looked_at() -> None:
    assert matcher("needle")("x" * 9_000 + "needle")
    assert not matcher("needle")("x" * 11_000 + "needle")


@given(st.text())
def test_any_text_can_be_looked_at(text: str) -> None:
    assert matcher("")(text)
    assert matcher("^x")("x" + text + "\ud800")


@given(st.text(max_size=30))
def test_any_pattern_is_taken_or_refused_in_words(pattern: str) -> None:
    try:
        found = matcher(pattern)
    except ValueError:
        with pytest.raises(ValueError, match="is no pattern that can be used"):
            matcher(pattern)
    else:
        assert found("some text") in (True, False)
