"""What a route and a request together ask of the cache."""

from __future__ import annotations

import pytest

from gateway.config.schema import CacheUse
from gateway.errors import InvalidHeader
from gateway.routing.cacheuse import Use, cache_use

DAY_MS = 86_400_000


def use(plan: CacheUse | None = None, *, by_header: bool = True, **headers: str) -> Use | None:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return cache_use(plan, fields, by_header=by_header)


def test_without_asking_there_is_no_cache() -> None:
    assert use() is None
    assert use(cache_control="max-age=60") is None
    assert use(x_portkey_cache_force_refresh="true", x_portkey_cache_namespace="n") is None


@pytest.mark.parametrize("word", ["simple", "Simple", "true", " simple "])
def test_a_request_may_ask_for_it(word: str) -> None:
    assert use(x_portkey_cache=word) == Use(DAY_MS, DAY_MS, None, refresh=False, share_in_flight=False)


def test_a_request_may_not_ask_where_only_routes_decide() -> None:
    assert use(x_portkey_cache="simple", by_header=False) is None
    assert use(x_portkey_cache="nonsense", by_header=False) is None
    assert use(CacheUse(max_age_s=60), by_header=False) == Use(60_000, 60_000, None, False, False)


def test_a_route_asks_for_all_its_requests() -> None:
    plan = CacheUse(max_age_s=60, namespace="n", share_in_flight=True)
    assert use(plan) == Use(60_000, 60_000, "n", refresh=False, share_in_flight=True)


def test_a_request_may_ask_for_less_than_its_route() -> None:
    plan = CacheUse(max_age_s=60)
    assert use(plan, x_portkey_cache="false") is None
    assert use(plan, x_portkey_cache="disabled", by_header=False) is None
    assert use(plan, cache_control="no-store") is None
    assert use(plan, cache_control="public, max-age=5")[:2] == (5_000, 60_000)
    assert use(plan, cache_control="max-age=9999999").max_age_ms == 60_000


@pytest.mark.parametrize(
    "headers",
    [
        {"x_portkey_cache_force_refresh": "true"},
        {"x_portkey_cache_force_refresh": "True"},
        {"cache_control": "no-cache"},
        {"cache_control": "max-age=0"},
    ],
)
def test_a_request_may_have_its_answer_asked_for_anew(headers: dict[str, str]) -> None:
    assert use(CacheUse(), **headers).refresh
    assert not use(CacheUse(), x_portkey_cache_force_refresh="false").refresh


def test_a_request_names_its_own_namespace() -> None:
    assert use(CacheUse(namespace="n"), x_portkey_cache_namespace="user 123").namespace == "user 123"
    assert use(CacheUse(namespace="n"), x_portkey_cache_namespace="").namespace == "n"


@pytest.mark.parametrize(
    ("header", "value", "message"),
    [
        ("x_portkey_cache", "yes please", "use simple or false"),
        ("x_portkey_cache_force_refresh", "maybe", "use true, or leave the header out"),
        ("x_portkey_cache_namespace", "n" * 257, "this one has 257"),
        ("x_portkey_cache_namespace", "ü", "visible ASCII"),
        ("cache_control", "max-age=soon", "send e.g. max-age=3600"),
        ("cache_control", "max-age=-1", "send e.g. max-age=3600"),
    ],
)
def test_a_value_nobody_can_read_is_refused_with_a_remedy(header: str, value: str, message: str) -> None:
    with pytest.raises(InvalidHeader, match=message) as raised:
        use(CacheUse(), **{header: value})
    assert raised.value.param == header.replace("_", "-")


@pytest.mark.parametrize("value", ["max-age=soon", "max-age:1000", "stale-if-error=5", ",,=,", ""])
def test_a_cache_control_is_not_read_where_the_cache_is_off(value: str) -> None:
    assert use(cache_control=value) is None
    assert use(CacheUse(), cache_control=value.replace("max-age=soon", "")) is not None
