"""Reading a vendor's JSON fields: what passes, and what an error knows about what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat.fields import BadField, Fields, as_fields, dotted, read_json, read_object, whole_number
from gateway.feedback.item import MAX_METADATA_BYTES
from gateway.jsonio import dumps

if TYPE_CHECKING:
    from collections.abc import Callable


def refused(read: Callable[[], Any]) -> BadField:
    with pytest.raises(BadField) as raised:
        read()
    return raised.value


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ((), ""),
        (("value",), "value"),
        ((1, "value"), "[1].value"),
        (("assessment", "feedback", "value"), "assessment.feedback.value"),
        ((0, "value", 3), "[0].value[3]"),
    ],
)
def test_a_place_reads_as_a_path(place: Any, path: str) -> None:
    assert dotted(place) == path


def test_an_error_tells_the_whole_path_and_the_last_name_of_it() -> None:
    fields = as_fields({"value": 5}, (1, "feedback"))
    error = refused(lambda: fields.text("value"))

    assert error.message == "[1].feedback.value must be a string, not a number"
    assert error.local_message == "value must be a string, not a number"
    assert (error.param, error.fault, error.status) == ("[1].feedback.value", "type", 400)


def test_an_error_about_an_entry_tells_which() -> None:
    error = refused(lambda: Fields({"tags": ["a", None]}).texts("tags"))

    assert (error.message, error.local_message) == (
        "tags[1] must be a string, not null",
        "item 1 must be a string, not null",
    )


def test_an_error_about_the_body_has_no_path() -> None:
    error = refused(lambda: read_object(b"[]"))

    assert (error.message, error.local_message, error.param) == (
        "request body must be a JSON object, not an array",
        "request body must be a JSON object, not an array",
        None,
    )


@pytest.mark.parametrize("body", [b"", b" \n", b"{", b"NaN", b"[1e999]", b"-Infinity", b'"\\ud800"', b"\xff"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert refused(lambda: read_json(body)).fault == "json"


def test_null_counts_as_left_out() -> None:
    fields = Fields({"x": None})

    assert not fields.has("x")
    assert [
        fields.text("x"),
        fields.texts("x"),
        fields.fields("x"),
        fields.metadata("x"),
        fields.time_ms("x"),
    ] == [None] * 5
    assert fields.flag("x", default=True) is True
    assert refused(lambda: fields.required_text("x")).fault == "missing"
    assert refused(lambda: fields.required_fields("x")).fault == "missing"


def test_a_limit_on_characters_names_both_numbers() -> None:
    fields = Fields({"user": "x" * 11})

    assert fields.text("user", max_chars=11) == "x" * 11
    assert refused(lambda: fields.text("user", max_chars=10)).message == (
        "user has 11 characters, the limit is 10"
    )


@pytest.mark.parametrize("given", [0, 1, "true", [], {}])
def test_only_true_and_false_are_flags(given: Any) -> None:
    assert refused(lambda: Fields({"unset": given}).flag("unset", default=False)).fault == "type"


@pytest.mark.parametrize(
    ("given", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0015Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-01-02T03:04:05", 1_767_323_045_000),
        ("2026-01-02 03:04:05.678+00:00", 1_767_323_045_678),
        ("20260102T030405Z", 1_767_323_045_000),
    ],
)
def test_a_time_is_milliseconds_since_the_epoch(given: str, time_ms: int) -> None:
    assert Fields({"created_at": given}).time_ms("created_at") == time_ms


@pytest.mark.parametrize(
    "given",
    [
        "", "now", "1767323045", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ],
)  # fmt: skip
def test_what_is_no_time_or_out_of_reach_is_refused(given: str) -> None:
    assert refused(lambda: Fields({"created_at": given}).time_ms("created_at")).fault == "value"


@given(st.datetimes(timezones=st.none() | st.timezones()))
def test_any_time_is_read_or_refused(moment: Any) -> None:
    fields = Fields({"created_at": moment.isoformat()})
    if 1970 < moment.year < 9999:
        time_ms = fields.time_ms("created_at")
        assert time_ms is not None
        assert time_ms >= 0
    elif moment.year < 1970 or moment.year > 9998:
        refused(lambda: fields.time_ms("created_at"))


@pytest.mark.parametrize(
    ("given", "number"), [(4, 4), (4.0, 4), ("4", 4), ("4.0", 4), ("+4e0", 4), ("-1", -1), (-0.0, 0)]
)
def test_whole_numbers_come_in_many_spellings(given: Any, number: int) -> None:
    assert whole_number(given) == number
    assert type(whole_number(given)) is int


@pytest.mark.parametrize(
    "given", [None, True, False, 4.5, "4.5", "", "four", " 4", "٤", "1e999", "9" * 101, [4], {}]
)
def test_all_else_is_no_whole_number(given: Any) -> None:
    assert whole_number(given) is None


def test_metadata_has_a_limit_on_bytes_and_on_depth() -> None:
    full = {"a": "ü" * ((MAX_METADATA_BYTES - len('{"a":""}')) // 2)}
    deep: Any = {}
    for _ in range(99):
        deep = {"a": deep}

    assert len(dumps(full)) == MAX_METADATA_BYTES
    assert Fields({"metadata": full}).metadata() == full
    assert Fields({"metadata": deep}).metadata() == deep
    assert "limit is 16384" in refused(lambda: Fields({"metadata": {**full, "b": 1}}).metadata()).message
    assert "100 levels" in refused(lambda: Fields({"metadata": {"a": deep}}).metadata()).message
