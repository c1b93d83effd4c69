"""Ids: UUIDv7 that sort by time, and what may be a trace id."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidTraceId
from gateway.ids import check_trace_id, new_id, trace_id_from_traceparent

TIMES_NS = st.integers(0, 2**48 * 1_000_000 - 1)


@given(TIMES_NS)
def test_an_id_is_a_uuid_of_version_7_that_carries_its_time(time_ns: int) -> None:
    text = new_id(time_ns)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == time_ns // 1_000_000


@given(TIMES_NS, st.integers(250, 10**15))
def test_ids_sort_by_the_time_they_were_made(time_ns: int, later_ns: int) -> None:
    if time_ns + later_ns < 2**48 * 1_000_000:
        assert new_id(time_ns) < new_id(time_ns + later_ns)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(1_800_000_000_000_000_000) for _ in range(10_000)}) == 10_000


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=256))
def test_visible_ascii_is_a_trace_id(value: str) -> None:
    assert check_trace_id(value, "x-trace-id") == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty"),
        ("a" * 257, "has 257"),
        ("a b", "contains ' '"),
        ("a\tb", "contains"),
        ("é", "contains 'é'"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(value: str, said: str) -> None:
    with pytest.raises(InvalidTraceId) as raised:
        check_trace_id(value, "x-trace-id")
    assert said in raised.value.message
    assert raised.value.param == "x-trace-id"


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-brings", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE[:-1]}-00f067aa0ba902b7-01", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_traceparent_gives_its_trace_id_only_when_it_is_valid(header: str, trace_id: str | None) -> None:
    assert trace_id_from_traceparent(header) == trace_id
