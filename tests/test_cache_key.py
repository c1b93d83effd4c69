"""When two requests are the same: no request is given the answer to another one."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import schema
from gateway.routing.cachekey import Asked, cache_key, is_cacheable, meant, plan_identity
from gateway.routing.plan import Context, compile_plan

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0}'
HEADERS = [(b"accept", b"*/*"), (b"authorization", b"Bearer sk-a"), (b"x-trace-id", b"t1")]
UPSTREAMS = {"one": ["https://one.example/v1"], "two": ["https://two.example/v1"]}


def asked(body: bytes = BODY, **changed: Any) -> Asked:
    plain = Asked(
        key_id="default",
        plan=b"plan",
        method="POST",
        target=b"/v1/chat/completions",
        headers=HEADERS,
        key_headers={b"accept", b"authorization"},
        body=body,
    )
    return plain._replace(**changed)


KEY = cache_key(asked())

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
objects = st.dictionaries(st.text(), values, max_size=5)


def written(body: Any, seed: int) -> bytes:
    """The same object as another client might write it: its fields in another order, other spacing."""
    chance = random.Random(seed)
    fields = list(body.items())
    chance.shuffle(fields)
    return json.dumps(
        dict(fields), indent=chance.choice([None, 2]), ensure_ascii=chance.random() < 0.5
    ).encode(errors="surrogatepass")


def exact(value: Any) -> str:
    """Values that are not the same JSON are not the same here: 1, 1.0 and true are three things."""
    return json.dumps(dict(sorted(value.items())))


@given(objects, st.integers(0, 99))
def test_order_of_fields_and_spacing_do_not_matter(body: dict[str, Any], seed: int) -> None:
    assert cache_key(asked(written(body, 0))) == cache_key(asked(written(body, seed)))


@given(objects, objects)
def test_other_bodies_have_other_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = exact(one) == exact(other)
    assert (
        cache_key(asked(json.dumps(one).encode())) == cache_key(asked(json.dumps(other).encode()))
    ) is same


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_what_is_no_json_is_compared_byte_for_byte(one: bytes, other: bytes) -> None:
    bodies = b"\xff" + one, b"\xff" + other
    assert (cache_key(asked(bodies[0])) == cache_key(asked(bodies[1]))) is (one == other)


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_no_header_runs_into_the_next(one: list[bytes], other: list[bytes]) -> None:
    keys = [
        cache_key(asked(headers=[(b"accept", value) for value in values], key_headers={b"accept"}))
        for values in (one, other)
    ]
    assert (keys[0] == keys[1]) is (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"seed":12345678901234567890123}', b'{"seed":12345678901234567890124}'),
        (b'{"seed":1}', b'{"seed":1.0}'),
        (b'{"seed":1}', b'{"seed":true}'),
        (b'{"x":1e400}', b'{"x":1e401}'),
        (b'{"model":"a","model":"b"}', b'{"model":"b"}'),
        (b'{"x":"\\ud800"}', b'{"x":"?"}'),
        (b'{"x":"1"}', b'{"x":1}'),
        (b'{"x":null}', b"{}"),
        (b'{"tools":[{"properties":{"a":1,"b":2}}]}', b'{"tools":[{"properties":{"b":2,"a":1}}]}'),
        (b'{"messages":["a","b"]}', b'{"messages":["b","a"]}'),
        (b"[" * 5000 + b"]" * 5000, b"[" * 5001 + b"]" * 5001),
        (b'{"x":' + b"9" * 5000 + b"}", b'{"x":' + b"9" * 5001 + b"}"),
    ],
)
def test_bodies_that_a_careless_reader_takes_for_the_same_are_not(one: bytes, other: bytes) -> None:
    assert cache_key(asked(one)) != cache_key(asked(other))


def test_the_order_of_a_messages_fields_does_not_matter() -> None:
    one, other = {"role": "user", "content": "hi"}, {"content": "hi", "role": "user"}
    bodies = [json.dumps({"messages": [message]}).encode() for message in (one, other)]
    assert cache_key(asked(bodies[0])) == cache_key(asked(bodies[1]))


@pytest.mark.parametrize(
    "changed",
    [
        {"key_id": "team-b"},
        {"plan": b"another"},
        {"target": b"/v1/chat/completions?api-version=2"},
        {"namespace": "tests"},
        {"namespace": ""},
        {"headers": [(b"accept", b"*/*"), (b"authorization", b"Bearer sk-b")]},
        {"headers": [*HEADERS, (b"accept-encoding", b"gzip")]},
    ],
)
def test_whose_it_is_and_where_it_goes_tell_requests_apart(changed: dict[str, Any]) -> None:
    assert cache_key(asked(**changed)) != KEY


@pytest.mark.parametrize(
    "headers",
    [
        [*HEADERS[:2], (b"x-trace-id", b"t2"), (b"user-agent", b"curl"), (b"x-request-id", b"1")],
        list(reversed(HEADERS)),
    ],
)
def test_headers_that_do_not_reach_the_model_do_not_count(headers: list[tuple[bytes, bytes]]) -> None:
    assert cache_key(asked(headers=headers)) == KEY


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"gzip, br", b"br,gzip", True),
        (b"gzip;q=1.0, br;q=0", b"gzip", True),
        (b"GZIP", b"gzip", True),
        (b"gzip", b"br", False),
        (b"identity", b"gzip", False),
        (b"gzip;q=0", b"gzip", False),
        (b"*", b"gzip", False),
    ],
)
def test_clients_that_read_the_same_encodings_share_answers(one: bytes, other: bytes, same: bool) -> None:
    keys = [cache_key(asked(headers=[(b"accept-encoding", value)])) for value in (one, other)]
    assert (keys[0] == keys[1]) is same


def test_a_key_does_not_hold_a_credential() -> None:
    assert len(KEY) == 32
    assert b"sk-a" not in KEY


def test_only_what_asks_for_an_answer_is_cached() -> None:
    assert is_cacheable("POST", "/v1/embeddings")
    assert not is_cacheable("GET", "/v1/chat/completions")
    assert not is_cacheable("POST", "/v1/files")
    assert not is_cacheable("POST", "/v1/images/generations")


# --- where a request goes ---


def identity(target: dict[str, Any], upstreams: dict[str, Any] = UPSTREAMS, **context: Any) -> bytes:
    plan = compile_plan(schema.Target.model_validate(target))
    told = Context("/v1/chat/completions", context.get("metadata"), None, None, "t")
    return plan_identity(meant(plan.root, told), upstreams)


PLAIN = identity({"upstream": "one"})


@pytest.mark.parametrize(
    "target",
    [
        {"upstream": "two"},
        {"upstream": "one", "model": "m"},
        {"upstream": "one", "override_params": {"temperature": 0}},
        {"upstream": "one", "headers": {"openai-beta": "x"}},
    ],
)
def test_what_a_target_changes_tells_its_answers_apart(target: dict[str, Any]) -> None:
    assert identity(target) != PLAIN


def test_answers_of_an_upstream_that_moved_are_not_given_any_more() -> None:
    assert identity({"upstream": "one"}, {"one": ["https://elsewhere.example/v1"]}) != PLAIN


def test_timeouts_weights_and_retries_change_no_answer() -> None:
    assert identity({"upstream": "one", "idle_timeout_s": 3, "retry": {"attempts": 3}, "weight": 2}) == PLAIN


def test_of_a_fallback_only_the_first_choice_is_meant() -> None:
    fallback = {"strategy": "fallback", "targets": [{"upstream": "one"}, {"upstream": "two"}]}
    assert identity(fallback) == PLAIN


def test_a_condition_keeps_the_answers_of_its_targets_apart() -> None:
    target = {
        "strategy": {
            "mode": "conditional",
            "conditions": [{"query": {"metadata.tier": {"$eq": "paid"}}, "then": "good"}],
            "default": "cheap",
        },
        "targets": [{"name": "good", "upstream": "two"}, {"name": "cheap", "upstream": "one"}],
    }
    assert identity(target) == identity(target, metadata={"tier": "free"}) == PLAIN
    assert identity(target, metadata={"tier": "paid"}) == identity({"upstream": "two"})


def test_where_no_condition_holds_nothing_is_meant() -> None:
    conditions = [{"query": {"metadata.tier": {"$eq": "paid"}}, "then": "good"}]
    plan = compile_plan(
        schema.Target.model_validate(
            {
                "strategy": {"mode": "conditional", "conditions": conditions},
                "targets": [{"name": "good", "upstream": "two"}],
            }
        )
    )
    assert not meant(plan.root, Context("/v1/x", None, None, None, "t"))
