"""Portkey's feedback bodies, row by row of the table in wire/portkey.md."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import InvalidFeedback
from gateway.feedback.portkey import MAX_ITEMS, parse_create, parse_update
from gateway.feedback.service import canonical_id
from gateway.jsonio import dumps
from gateway.records import FeedbackChange, FeedbackDraft

MINIMAL = {"trace_id": "t1", "value": 1}
UUID = "3f0c6d1e-7a52-4a0e-9d5e-0f7c2b9b1a44"


def with_(**fields: Any) -> bytes:
    return dumps({**MINIMAL, **fields})


def without(field: str) -> bytes:
    return dumps({name: value for name, value in MINIMAL.items() if name != field})


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


REFUSED = [
    (b"", "03", None),
    (b"  \n", "03", None),
    (b"null", "03", None),
    (b"{", "03", None),
    (b"\xff\xfe", "03", None),
    (b'"text"', "03", None),
    (b"5", "03", None),
    (b"true", "03", None),
    (b'{"trace_id": "t1", "value": NaN}', "03", None),
    (b'{"trace_id": "t1", "value": Infinity}', "03", None),
    (b'{"trace_id": "t1", "value": 1e400}', "03", None),
    (b"[" * 5000, "03", None),
    (dumps([MINIMAL] * (MAX_ITEMS + 1)), "03", None),
    (dumps({str(index): MINIMAL for index in range(MAX_ITEMS + 1)}), "03", None),
    (b"[]", "032", None),
    (b"{}", "032", None),
    (without("trace_id"), "032", "trace_id"),
    (with_(trace_id=None), "032", "trace_id"),
    (with_(trace_id=""), "032", "trace_id"),
    (with_(trace_id=7), "032", "trace_id"),
    (with_(trace_id=["t1"]), "032", "trace_id"),
    (with_(trace_id="has space"), "032", "trace_id"),
    (with_(trace_id="é"), "032", "trace_id"),
    (with_(trace_id="x" * 257), "032", "trace_id"),
    (without("value"), "032", "value"),
    (with_(value=None), "032", "value"),
    (with_(value=""), "032", "value"),
    (b"[null]", "032", "[0]"),
    (b"[5]", "032", "[0]"),
    (dumps([MINIMAL, []]), "032", "[1]"),
    (dumps([MINIMAL, {"trace_id": "t"}]), "032", "[1].value"),
    (dumps({"0": MINIMAL, "7": {"value": 1}}), "032", "[7].trace_id"),
    (with_(value=11), "033", "value"),
    (with_(value=-11), "033", "value"),
    (with_(value=4.5), "033", "value"),
    (with_(value=1e300), "033", "value"),
    (with_(value=True), "033", "value"),
    (with_(value="abc"), "033", "value"),
    (with_(value="4.5"), "033", "value"),
    (with_(value="1_0"), "033", "value"),
    (with_(value="NaN"), "033", "value"),
    (with_(value="9" * 5000), "033", "value"),
    (with_(value="٣"), "033", "value"),
    (with_(value=[1]), "033", "value"),
    (dumps([MINIMAL, {"trace_id": "t", "value": 99}]), "033", "[1].value"),
    (dumps({"0": MINIMAL, "1": {"traceID": "t", "value": 99}}), "033", "[1].value"),
    (with_(weight=1.01), "034", "weight"),
    (with_(weight=-0.01), "034", "weight"),
    (with_(weight=True), "034", "weight"),
    (with_(weight=""), "034", "weight"),
    (with_(weight="much"), "034", "weight"),
    (with_(weight="Infinity"), "034", "weight"),
    (with_(weight={}), "034", "weight"),
    (with_(metadata=[]), "035", "metadata"),
    (with_(metadata=None), "035", "metadata"),
    (with_(metadata=5), "035", "metadata"),
    (with_(metadata="text"), "035", "metadata"),
    (with_(metadata="[1]"), "035", "metadata"),
    (with_(metadata='{"a": NaN}'), "035", "metadata"),
    (with_(metadata={"a": "x" * 16_377}), "035", "metadata"),
    (with_(metadata={"a": "é" * 8_190}), "035", "metadata"),
    (with_(metadata=nested(100)), "035", "metadata"),
    (with_(metadata=nested(200)), "035", "metadata"),
]


@pytest.mark.parametrize(("body", "code", "param"), REFUSED)
def test_a_body_that_cannot_be_stored_is_refused_with_the_vendors_code(
    body: bytes, code: str, param: str | None
) -> None:
    with pytest.raises(InvalidFeedback) as caught:
        parse_create(body)
    error = caught.value
    assert (error.status, error.code, error.param) == (400, code, param)
    assert error.message.startswith("Invalid request body: ")
    assert error.message.endswith(f". Error code: {code}")


def test_the_message_names_the_item_and_the_field() -> None:
    with pytest.raises(InvalidFeedback) as caught:
        parse_create(dumps([MINIMAL, {"trace_id": "t", "value": 99}]))
    assert caught.value.message == (
        "Invalid request body: item 1: value must be an integer from -10 to 10. Error code: 033"
    )


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (5, 5),
        (5.0, 5),
        ("5", 5),
        ("5.0", 5),
        ("-10", -10),
        ("+3", 3),
        ("1e1", 10),
        (0, 0),
        ("0", 0),
        (-0.0, 0),
    ],
)
def test_a_value_may_be_an_integer_in_any_spelling(given: Any, stored: int) -> None:
    [draft] = parse_create(with_(value=given))
    assert draft.value == stored
    assert type(draft.value) is int


@pytest.mark.parametrize(
    ("given", "stored"),
    [(0, 0.0), (1, 1.0), (0.25, 0.25), ("0.25", 0.25), (None, 1.0), (-0.0, 0.0), ("1", 1.0)],
)
def test_a_weight_may_be_a_number_a_numeric_string_or_null(given: Any, stored: float) -> None:
    [draft] = parse_create(with_(weight=given))
    assert str(draft.weight) == str(stored)


def test_weight_is_one_and_metadata_none_when_left_out() -> None:
    assert parse_create(dumps(MINIMAL)) == [FeedbackDraft(("t1",), 1, 1.0, None)]


@pytest.mark.parametrize(
    "metadata", [{}, {"a": None, "b": [1, {"c": 2.5}], "d": False}, {"a": "x" * 16_376}, nested(99)]
)
def test_metadata_is_kept_as_it_was_sent(metadata: dict[str, Any]) -> None:
    [draft] = parse_create(with_(metadata=metadata))
    assert draft.metadata == metadata
    [draft] = parse_create(with_(metadata=dumps(metadata).decode()))
    assert draft.metadata == metadata


@pytest.mark.parametrize("name", ["trace_id", "traceID", "traceId"])
def test_every_spelling_of_trace_id_is_read(name: str) -> None:
    assert parse_create(dumps({name: "t9", "value": 1}))[0].trace_ids == ("t9",)


def test_an_array_keeps_its_order() -> None:
    drafts = parse_create(dumps([{"trace_id": "b", "value": 1}, {"trace_id": "a", "value": 2}]))
    assert [draft.value for draft in drafts] == [1, 2]


def test_an_object_with_numeric_keys_is_a_list_in_the_order_of_the_numbers() -> None:
    drafts = parse_create(dumps({key: {"traceID": "t", "value": int(key)} for key in ("10", "0", "9")}))
    assert [draft.value for draft in drafts] == [0, 9, 10]


def test_a_key_of_thousands_of_digits_is_a_number_too() -> None:
    drafts = parse_create(
        dumps({"9" * 6000: {"trace_id": "b", "value": 2}, "1": {"trace_id": "a", "value": 1}})
    )
    assert [draft.value for draft in drafts] == [1, 2]


def test_a_thousand_items_pass() -> None:
    assert len(parse_create(dumps([MINIMAL] * MAX_ITEMS))) == MAX_ITEMS


def test_unknown_fields_are_ignored() -> None:
    assert parse_create(with_(surprise=1)) == parse_create(dumps(MINIMAL))


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ({"value": 7}, FeedbackChange(7, None, None)),
        ({"value": "7", "weight": 0.2}, FeedbackChange(7, 0.2, None)),
        ({"value": 0, "weight": None, "metadata": {}}, FeedbackChange(0, None, {})),
        ([{"value": 7}], FeedbackChange(7, None, None)),
        ({"value": 7, "trace_id": "elsewhere"}, FeedbackChange(7, None, None)),
    ],
)
def test_an_update_says_what_to_change(body: Any, change: FeedbackChange) -> None:
    assert parse_update(dumps(body)) == (change, None)


def test_an_update_hands_on_the_id_that_node_sends_in_the_body() -> None:
    assert parse_update(b'{"value": 1, "feedback_id": "f1"}')[1] == "f1"
    assert parse_update(b'{"value": 1, "feedback_id": 5}')[1] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "03"),
        (b"null", "03"),
        (dumps([{"value": 1}, {"value": 2}]), "031"),
        (b"[]", "032"),
        (b"{}", "032"),
        (b'{"weight": 1}', "032"),
        (b'{"value": 11}', "033"),
        (b'{"value": 1, "weight": 2}', "034"),
        (b'{"value": 1, "metadata": 2}', "035"),
    ],
)
def test_an_update_that_cannot_be_done_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidFeedback) as caught:
        parse_update(body)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "spelling", [UUID, UUID.upper(), f"ann_{UUID.replace('-', '')}", f"a-{UUID.replace('-', '')}"]
)
def test_every_vendors_spelling_of_an_id_is_the_same_id(spelling: str) -> None:
    assert canonical_id(spelling) == UUID


@pytest.mark.parametrize("text", ["", "undefined", "NOT_GIVEN", f"x{UUID}", f"{UUID}\n"])
def test_what_is_no_id_stays_as_it_is(text: str) -> None:
    assert canonical_id(text) == text
