"""Native feedback bodies: Portkey's, row by row of docs/wire/portkey.md, and what else they take."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import InvalidFeedback, InvalidField
from gateway.feedback.body import MAX_ITEMS, fits, parse_create, parse_update, refused
from gateway.feedback.item import MAX_VALUE_BYTES
from gateway.feedback.service import canonical_id
from gateway.feedback.signals import signal_of
from gateway.jsonio import dumps
from gateway.records import (
    UNSET,
    Feedback,
    FeedbackChange,
    FeedbackDraft,
    Kind,
    SelectedTargets,
    Selector,
    Signal,
    TargetId,
)

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
    assert parse_create(dumps(MINIMAL)) == [
        FeedbackDraft(
            targets=(TargetId("t1", first="trace"),),
            name="feedback",
            kind="score",
            signal="explicit",
            value=1,
            weight=1.0,
            source_type="API",
        )
    ]


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
    assert parse_create(dumps({name: "t9", "value": 1}))[0].targets == (TargetId("t9"),)


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
        ({"value": 7}, FeedbackChange(value=7)),
        ({"value": "7", "weight": 0.2}, FeedbackChange(value=7, weight=0.2)),
        ({"value": 0, "weight": None, "metadata": {}}, FeedbackChange(value=0, metadata={})),
        ([{"value": 7}], FeedbackChange(value=7)),
        ({"value": 7, "trace_id": "elsewhere"}, FeedbackChange(value=7)),
        ({"value": 7, "comment": "fine"}, FeedbackChange(value=7, comment="fine")),
        ({"comment": None}, FeedbackChange(comment=None)),
        ({"comment": ""}, FeedbackChange(comment=None)),
        ({"correction": ["a"]}, FeedbackChange(correction=["a"])),
        ({"expected": "Paris"}, FeedbackChange(correction="Paris")),
        ({"correction": None}, FeedbackChange(correction=None)),
        ({"source_id": "ann", "weight": 1}, FeedbackChange(source_id="ann", weight=1.0)),
        ({"name": "thumbs", "signal": "implicit"}, FeedbackChange(name="thumbs", signal="implicit")),
        ({"name": "thumbs", "value": True}, FeedbackChange(name="thumbs", value=True, kind="boolean")),
        ({"name": "stars", "value": 4.5}, FeedbackChange(name="stars", value=4.5)),
        ({"kind": "score", "value": "3"}, FeedbackChange(kind="score", value=3)),
        ({"kind": "none", "correction": "x"}, FeedbackChange(kind="none", value=None, correction="x")),
        ({"name": None}, FeedbackChange()),
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
        (b'{"value": true}', "033"),
        (b'{"value": 4.5}', "033"),
        (b'{"value": 11, "weight": 2}', "033"),
        (b'{"kind": "score"}', "032"),
        (b'{"kind": "boolean", "value": 1}', "036"),
        (b'{"kind": "stars", "value": 1}', "036"),
        (b'{"name": ""}', "036"),
        (b'{"comment": 5}', "036"),
        (b'{"signal": "loud"}', "036"),
        (b'{"correction": 1, "expected": 2}', "036"),
    ],
)
def test_an_update_that_cannot_be_done_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidFeedback) as caught:
        parse_update(body)
    assert caught.value.code == code


# --- what Portkey has not ---


def draft_of(**fields: Any) -> FeedbackDraft:
    [draft] = parse_create(dumps({"trace_id": "t1", **fields}))
    return draft


@pytest.mark.parametrize(
    ("fields", "kind", "value", "signal"),
    [
        ({"value": 5, "comment": "good"}, "score", 5, "explicit"),
        ({"value": "5", "source_id": "ann"}, "score", 5, "explicit"),
        ({"name": "thumbs", "value": True}, "boolean", True, "explicit"),
        ({"name": "stars", "value": 4}, "number", 4, "explicit"),
        ({"name": "stars", "value": 99.5}, "number", 99.5, "explicit"),
        ({"name": "stars", "kind": "score", "value": 4}, "score", 4, "explicit"),
        ({"kind": "number", "value": 1e300}, "number", 1e300, "explicit"),
        ({"kind": "boolean", "value": False}, "boolean", False, "explicit"),
        ({"name": "mood", "value": "good"}, "text", "good", "explicit"),
        ({"name": "mood", "value": "x" * 257}, "text", "x" * 257, "free_form"),
        ({"name": "issues", "value": ["a", 1]}, "list", ["a", 1], "explicit"),
        ({"name": "form", "value": {"a": None}}, "object", {"a": None}, "explicit"),
        ({"task_id": "t", "value": {}}, "object", {}, "explicit"),
        ({"task_id": "t", "value": 0}, "number", 0, "explicit"),
        ({"name": "copied", "value": True}, "boolean", True, "implicit"),
        ({"name": "regenerated", "value": 2}, "number", 2, "implicit"),
        ({"name": "comment", "value": "well done"}, "text", "well done", "free_form"),
        ({"comment": "well done"}, "none", None, "free_form"),
        ({"name": "mood", "comment": "well done"}, "none", None, "free_form"),
        ({"correction": {"a": 1}}, "none", None, "free_form"),
        ({"expected": "Paris", "value": None}, "none", None, "free_form"),
        ({"expected": "Paris", "value": ""}, "none", None, "free_form"),
        ({"kind": "none", "comment": "x"}, "none", None, "free_form"),
        ({"name": "saved", "comment": "x"}, "none", None, "implicit"),
        ({"value": 1, "signal": "implicit"}, "score", 1, "implicit"),
        ({"name": None, "kind": None, "value": 1, "signal": None}, "score", 1, "explicit"),
    ],
)
def test_the_kind_and_the_signal_follow_from_what_was_sent(
    fields: dict[str, Any], kind: str, value: Any, signal: str
) -> None:
    draft = draft_of(**fields)
    assert (draft.kind, draft.value, draft.signal) == (kind, value, signal)
    assert type(draft.value) is type(value)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"kind": "stars", "value": 1}, "036", "kind"),
        ({"kind": 5, "value": 1}, "036", "kind"),
        ({"kind": ["score"], "value": 1}, "036", "kind"),
        ({"kind": "boolean", "value": 1}, "036", "value"),
        ({"kind": "number", "value": True}, "036", "value"),
        ({"kind": "number", "value": "5"}, "036", "value"),
        ({"kind": "text", "value": 5}, "036", "value"),
        ({"kind": "list", "value": {}}, "036", "value"),
        ({"kind": "object", "value": []}, "036", "value"),
        ({"kind": "none", "value": 1, "comment": "x"}, "036", "value"),
        ({"kind": "none"}, "032", "value"),
        ({"kind": "text", "value": ""}, "032", "value"),
        ({"kind": "score", "value": 11}, "033", "value"),
        ({"value": True, "comment": "x"}, "033", "value"),
        ({"name": "x"}, "032", "value"),
        ({"task_id": "x"}, "032", "value"),
        ({"comment": ""}, "032", "value"),
        ({"name": "", "value": 1}, "036", "name"),
        ({"name": "x" * 251, "value": 1}, "036", "name"),
        ({"name": 5, "value": 1}, "036", "name"),
        ({"value": 1, "comment": ["x"]}, "036", "comment"),
        ({"value": 1, "comment": "x" * (MAX_VALUE_BYTES + 1)}, "036", "comment"),
        ({"correction": 1, "expected": 1}, "036", "expected"),
        ({"correction": "x" * MAX_VALUE_BYTES}, "036", "correction"),
        ({"expected": nested(101)}, "036", "expected"),
        ({"name": "x", "value": "x" * MAX_VALUE_BYTES}, "036", "value"),
        ({"name": "x", "value": nested(101)}, "036", "value"),
        ({"value": 1, "signal": "loud"}, "036", "signal"),
        ({"value": 1, "source_type": "human"}, "036", "source_type"),
        ({"value": 1, "source_id": 7}, "036", "source_id"),
        ({"value": 1, "source_id": "x" * 251}, "036", "source_id"),
        ({"value": 1, "task_id": {}}, "036", "task_id"),
        ({"value": 1, "overrides": 7}, "036", "overrides"),
        ({"value": 1, "request_id": "r1"}, "036", "request_id"),
        ({"value": 1, "tags": ["a"]}, "036", "tags"),
        ({"value": 1, "selector": {"tags": ["a"]}}, "036", "selector"),
        ({"value": 1, "allow_unmatched": "yes"}, "036", "allow_unmatched"),
        ({"value": 1, "max_matched": 0}, "036", "max_matched"),
        ({"value": 1, "max_matched": 1001}, "036", "max_matched"),
        ({"value": 1, "max_matched": True}, "036", "max_matched"),
        ({"trace_id": None, "request_id": "", "value": 1}, "036", "request_id"),
        ({"trace_id": None, "request_id": "a b", "value": 1}, "036", "request_id"),
        ({"trace_id": None, "request_id": 5, "value": 1}, "036", "request_id"),
        ({"trace_id": None, "request_id": "r1", "tags": ["a"], "value": 1}, "036", "tags"),
        ({"trace_id": None, "tags": "a", "value": 1}, "036", "tags"),
        ({"trace_id": None, "tags": [], "value": 1}, "036", "tags"),
        ({"trace_id": None, "tags": [""], "value": 1}, "036", "tags[0]"),
        ({"trace_id": None, "tags": ["a", 5], "value": 1}, "036", "tags[1]"),
        ({"trace_id": None, "tags": ["a" * 257], "value": 1}, "036", "tags[0]"),
        ({"trace_id": None, "tags": ["a"] * 51, "value": 1}, "036", "tags"),
        ({"trace_id": None, "selector": [], "value": 1}, "036", "selector"),
        ({"trace_id": None, "selector": {}, "value": 1}, "036", "selector"),
        ({"trace_id": None, "selector": {"tag": ["a"]}, "value": 1}, "036", "selector.tag"),
        ({"trace_id": None, "selector": {"tags": [None]}, "value": 1}, "036", "selector.tags[0]"),
        ({"trace_id": None, "selector": {"metadata": []}, "value": 1}, "036", "selector.metadata"),
        ({"trace_id": None, "selector": {"metadata": {"a": []}}, "value": 1}, "036", "selector.metadata.a"),
        (
            {"trace_id": None, "selector": {"metadata": {str(n): 1 for n in range(11)}}, "value": 1},
            "036",
            "selector.metadata",
        ),
        ({"trace_id": None, "request_id": None, "tags": None, "value": 1}, "032", "trace_id"),
    ],
)
def test_a_field_of_ours_that_cannot_be_used_is_refused_by_its_name(
    fields: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(InvalidFeedback) as caught:
        parse_create(dumps({"trace_id": "t1", **fields}))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)
    with pytest.raises(InvalidFeedback) as caught:
        parse_create(dumps([MINIMAL, {"trace_id": "t1", **fields}]))
    assert caught.value.param == f"[1].{param}"
    assert caught.value.message.startswith("Invalid request body: item 1: ")


def test_an_exchange_is_a_target_of_its_own() -> None:
    [draft] = parse_create(dumps({"request_id": "r1", "value": 1}))
    assert draft.targets == (TargetId("r1", first="exchange"),)


def test_tags_and_a_selector_are_one_selector() -> None:
    selector = {"tags": ["b", "a"], "metadata": {"_user": "ann", "n": 5, "x": 1.5, "on": True, "no": None}}
    body = {"tags": ["a"], "selector": selector, "max_matched": 7, "allow_unmatched": True, "value": 1}
    [draft] = parse_create(dumps(body))
    assert draft.targets == SelectedTargets(
        Selector(
            tags=("a", "b"),
            metadata=(("_user", "ann"), ("n", "5"), ("x", "1.5"), ("on", "true"), ("no", "null")),
        ),
        limit=7,
        allow_unmatched=True,
    )


def test_a_hundred_matches_are_allowed_and_one_is_needed_when_nothing_is_said() -> None:
    [draft] = parse_create(dumps({"tags": ["a"], "value": 1}))
    assert draft.targets == SelectedTargets(Selector(tags=("a",)), limit=100, allow_unmatched=False)


def test_every_other_field_is_kept_as_it_was_sent() -> None:
    draft = draft_of(
        name="judged", value=1, comment=" why ", correction=0, source_type="LLM_JUDGE", source_id="gpt-4o",
        overrides="a-3f0c6d1e7a524a0e9d5e0f7c2b9b1a44", metadata={"_user": "ann"},
    )  # fmt: skip
    assert (draft.comment, draft.correction, draft.source_type, draft.source_id, draft.overrides) == (
        " why ", 0, "LLM_JUDGE", "gpt-4o", "a-3f0c6d1e7a524a0e9d5e0f7c2b9b1a44",
    )  # fmt: skip


@pytest.mark.parametrize(("user", "source"), [("ann", "ann"), (5, None), ("", None), (None, None)])
def test_the_user_in_the_metadata_is_the_source_when_no_other_is_named(user: Any, source: str | None) -> None:
    assert draft_of(value=1, metadata={"_user": user}).source_id == source
    assert draft_of(value=1, metadata={"_user": user}, source_id="bob").source_id == "bob"


@pytest.mark.parametrize("field", ["comment", "correction", "expected", "source_id", "task_id", "overrides"])
def test_null_is_a_field_left_out(field: str) -> None:
    assert draft_of(value=1, **{field: None}) == draft_of(value=1)


@pytest.mark.parametrize(
    ("name", "kind", "value", "signal"),
    [
        ("dismissed", "boolean", True, "implicit"),
        ("thumbs", "boolean", False, "explicit"),
        ("correction", "text", "x", "free_form"),
        ("mood", "text", "x" * 256, "explicit"),
        ("mood", "text", "x" * 257, "free_form"),
        ("mood", "none", None, "free_form"),
    ],
)
def test_signals(name: str, kind: Kind, value: Any, signal: Signal) -> None:
    assert signal_of(name, kind, value) == signal


def stored(**fields: Any) -> Feedback:
    plain: dict[str, Any] = dict.fromkeys(Feedback.__dataclass_fields__)
    return Feedback(**{**plain, "kind": "score", "value": 1, "targets": (), **fields})


@pytest.mark.parametrize(
    ("record", "change", "code"),
    [
        (stored(), FeedbackChange(value=11), "033"),
        (stored(), FeedbackChange(value=1.5), "033"),
        (stored(), FeedbackChange(value=None, kind="none"), "032"),
        (stored(kind="none", value=None, comment="x"), FeedbackChange(comment=None), "032"),
        (stored(kind="none", value=None, correction=1), FeedbackChange(correction=None), "032"),
    ],
)
def test_a_change_that_leaves_no_sense_behind_is_refused(
    record: Feedback, change: FeedbackChange, code: str
) -> None:
    with pytest.raises(InvalidFeedback) as caught:
        fits(change)(record)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("record", "change"),
    [
        (stored(), FeedbackChange(value=-10)),
        (stored(), FeedbackChange(value=2.0)),
        (stored(), FeedbackChange(value=99, kind="number")),
        (stored(kind="number"), FeedbackChange(value=99)),
        (stored(kind="text", value="x"), FeedbackChange(value=99)),
        (stored(), FeedbackChange(value=None, kind="none", comment="x")),
        (stored(comment="x"), FeedbackChange(comment=None)),
        (stored(kind="none", value=None), FeedbackChange(name="a judge's error keeps its place")),
    ],
)
def test_a_change_that_makes_sense_passes(record: Feedback, change: FeedbackChange) -> None:
    fits(change)(record)


def test_what_the_store_refuses_is_said_of_the_item_it_is_about() -> None:
    error = InvalidField("no exchange matches tag 'a'", param="selector")
    error.item = 1
    bodies = [
        ({"0": MINIMAL, "7": {"tags": ["a"], "value": 1}}, "[7].tags"),
        ([MINIMAL, {"selector": {"tags": ["a"]}, "value": 1}], "[1].selector"),
    ]
    for body, param in bodies:
        told = refused(error, dumps(body))
        assert (told.code, told.param) == ("036", param)
        assert "no exchange matches tag 'a'" in told.message


def test_unset_is_not_none() -> None:
    assert FeedbackChange().value is UNSET


@pytest.mark.parametrize(
    "spelling", [UUID, UUID.upper(), f"ann_{UUID.replace('-', '')}", f"a-{UUID.replace('-', '')}"]
)
def test_every_vendors_spelling_of_an_id_is_the_same_id(spelling: str) -> None:
    assert canonical_id(spelling) == UUID


@pytest.mark.parametrize("text", ["", "undefined", "NOT_GIVEN", f"x{UUID}", f"{UUID}\n"])
def test_what_is_no_id_stays_as_it_is(text: str) -> None:
    assert canonical_id(text) == text
