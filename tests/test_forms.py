"""Forms of JSON Schemas: what is asked, what a posted form says, and where problems are shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dashboard.forms import Field, form_of, value_of
from gateway.records import UNSET

REVIEW: dict[str, Any] = {
    "type": "object",
    "required": ["stars", "safe"],
    "properties": {
        "stars": {
            "type": "integer",
            "minimum": 1,
            "maximum": 5,
            "title": "Stars",
            "description": "5 is best",
        },
        "safe": {"type": "boolean"},
        "tone": {"enum": ["warm", "cold", None]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "why": {"type": "string"},
        "short": {"type": "string", "maxLength": 20},
        "issues": {"type": "array", "items": {"enum": ["wrong", "rude", "long"]}},
        "detail": {
            "type": "object",
            "properties": {"a/b~c": {"type": "string", "maxLength": 9}, "n": {"type": "integer"}},
        },
        "raw": {"type": "array", "items": {"type": "number"}},
    },
}


class Sent:
    def __init__(self, *fields: tuple[str, str]) -> None:
        self.fields = fields

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


def by_path(root: Field) -> dict[str, Field]:
    return {each.path: each for each in root}


def sent_back(root: Field) -> Sent:
    """The form as a browser posts it: what is chosen and what is in the text fields."""
    fields = []
    for each in root:
        if each.widget in ("radio", "select", "checks"):
            fields += [(each.name, option.name) for option in each.options if option.chosen]
        elif each.widget not in ("group", "constant"):
            fields.append((each.name, each.text))
    return Sent(*fields)


def test_each_kind_of_schema_has_its_field() -> None:
    fields = by_path(form_of(REVIEW))
    assert {path: each.widget for path, each in fields.items()} == {
        "": "group",
        "/stars": "radio",
        "/safe": "radio",
        "/tone": "radio",
        "/score": "number",
        "/why": "long",
        "/short": "text",
        "/issues": "checks",
        "/detail": "group",
        "/detail/a~1b~0c": "text",
        "/detail/n": "number",
        "/raw": "json",
    }
    stars = fields["/stars"]
    assert (stars.label, stars.hint, stars.required) == ("Stars", "5 is best", True)
    assert [option.label for option in stars.options] == ["1", "2", "3", "4", "5"]
    assert (fields["/score"].low, fields["/score"].high, fields["/score"].whole) == (0, 1, False)
    assert fields["/short"].max_chars == 20
    assert fields["/why"].required is False
    assert fields["/detail/a~1b~0c"].label == "a/b~c"


def test_a_form_says_its_value() -> None:
    posted = Sent(
        ("value/stars", "3"),
        ("value/safe", "1"),
        ("value/tone", "2"),
        ("value/score", " 0.5 "),
        ("value/why", "it\r\nwas"),
        ("value/short", ""),
        ("value/issues", "0"),
        ("value/issues", "2"),
        ("value/detail/a~1b~0c", "x"),
        ("value/raw", "[1, 2.5]"),
    )
    assert value_of(REVIEW, posted) == (
        {
            "stars": 4,
            "safe": False,
            "tone": None,
            "score": 0.5,
            "why": "it\nwas",
            "issues": ["wrong", "long"],
            "detail": {"a/b~c": "x"},
            "raw": [1, 2.5],
        },
        [],
    )


def test_what_is_left_empty_is_left_out() -> None:
    assert value_of(REVIEW, Sent()) == ({}, [])
    assert value_of({"type": "integer"}, Sent(("value", " "))) == (UNSET, [])
    assert value_of({"enum": ["a"]}, Sent()) == (UNSET, [])
    needed = {
        "type": "object",
        "required": ["of"],
        "properties": {"of": {"type": "array", "items": {"enum": [1]}}},
    }
    assert value_of(needed, Sent()) == ({"of": []}, [])


def test_what_cannot_be_read_is_said_where_it_is_and_stays_as_it_was_typed() -> None:
    posted = Sent(
        ("value/score", "half"), ("value/detail/n", "1.5"), ("value/raw", "[1,"), ("value/stars", "9")
    )
    value, problems = value_of(REVIEW, posted)
    assert value == {}
    assert problems == [
        "/score: is not a number",
        "/detail/n: is not a whole number",
        "/raw: is not JSON",
    ]
    fields = by_path(form_of(REVIEW, posted=posted, problems=problems))
    assert (fields["/score"].text, fields["/score"].problem) == ("half", "is not a number")
    assert (fields["/detail/n"].text, fields["/detail/n"].problem) == ("1.5", "is not a whole number")


def test_problems_of_the_schema_are_shown_at_the_innermost_field_they_are_about() -> None:
    problems = [
        "/stars: is missing; it is required",
        "/issues/1: is twice",
        "/detail/other: is not a property that the schema knows",
        "has too few members",
    ]
    fields = by_path(form_of(REVIEW, problems=problems))
    assert fields["/stars"].problem == "is missing; it is required"
    assert fields["/issues"].problem == "/issues/1: is twice"
    assert fields["/detail"].problem.startswith("/detail/other: ")
    assert fields[""].problem == "has too few members"


@pytest.mark.parametrize(
    ("schema", "widget"),
    [
        ({"type": "string", "enum": ["a", "b"]}, "radio"),
        ({"enum": list(range(12))}, "select"),
        ({"oneOf": [{"const": 1, "title": "one"}, {"const": 2}]}, "radio"),
        ({"const": "x"}, "constant"),
        ({"type": ["string", "null"], "maxLength": 5}, "text"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "number"),
        ({"$ref": "#/$defs/tone", "$defs": {"tone": {"enum": ["a"]}}}, "radio"),
        ({"$ref": "#/$defs/loop", "$defs": {"loop": {"$ref": "#/$defs/loop"}}}, "json"),
        ({"$ref": "https://elsewhere/schema"}, "json"),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, "json"),
        ({"type": "object"}, "json"),
        ({"type": "object", "properties": {"a": {}}, "allOf": [{}]}, "json"),
        ({}, "json"),
        (True, "json"),
    ],
)
def test_what_fields_cannot_say_is_asked_for_as_json(schema: Any, widget: str) -> None:
    assert form_of(schema).widget == widget


def test_objects_are_only_fields_so_deep() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(6):
        schema = {"type": "object", "properties": {"in": schema}}
    widgets = [each.widget for each in form_of(schema)]
    assert widgets == ["group", "group", "group", "group", "json"]


def test_a_value_that_the_fields_cannot_say_is_asked_for_as_json() -> None:
    fields = by_path(form_of(REVIEW, value={"stars": 2, "detail": {"unknown": 1}, "why": 5}))
    assert [option.label for option in fields["/stars"].options if option.chosen] == ["2"]
    assert (fields["/detail"].widget, fields["/detail"].text) == ("json", '{"unknown":1}')
    assert (fields["/why"].widget, fields["/why"].text) == ("json", "5")
    posted = Sent(("value/detail", '{"unknown":2}'))
    assert value_of(REVIEW, posted)[0] == {"detail": {"unknown": 2}}


def test_names_and_ids_are_the_fields_own() -> None:
    fields = list(form_of(REVIEW, prefix="task 7"))
    assert len({each.id for each in fields}) == len(fields)
    assert all(each.id.replace("-", "").isalnum() for each in fields)
    assert fields[1].name == "task 7/stars"


SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5)
SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "integer"},
            {"type": "integer", "minimum": 1, "maximum": 5},
            {"type": "number"},
            {"type": "string"},
            {"type": "boolean"},
            {"enum": ["a", 1, None, True]},
            {"type": "array", "items": {"enum": ["x", "y", "z"]}},
            {"const": 3},
            {},
        ]
    ),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=4).map(
        lambda properties: {"type": "object", "properties": properties, "required": list(properties)}
    ),
    max_leaves=8,
)


@st.composite
def schemas_and_values(draw: st.DrawFn) -> tuple[Any, Any]:
    schema = draw(SCHEMAS)
    return schema, draw(values_of(schema))


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            return st.fixed_dictionaries({name: values_of(one) for name, one in schema["properties"].items()})
        case "integer":
            return st.integers(schema.get("minimum", -9), schema.get("maximum", 9))
        case "number":
            return st.floats(-9, 9) | st.integers(-9, 9)
        case "string":
            return st.text("abc ÄÖ<&\n", min_size=1).filter(str.strip)
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(st.sampled_from(schema["items"]["enum"]), unique=True).map(sorted)
    return st.dictionaries(st.text(max_size=3), SCALARS) | st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=200, deadline=None)
@given(schemas_and_values())
def test_a_form_that_is_filled_with_a_value_says_that_value(pair: tuple[Any, Any]) -> None:
    schema, value = pair
    assert value_of(schema, sent_back(form_of(schema, value=value))) == (value, [])


KEYWORDS = st.sampled_from(
    ["type", "properties", "enum", "items", "$ref", "anyOf", "oneOf", "const", "minimum", "maximum", "title"]
)
NONSENSE = st.recursive(
    SCALARS,
    lambda inner: st.dictionaries(
        KEYWORDS, inner | st.lists(inner, max_size=2) | st.sampled_from(["object", "string"]), max_size=4
    ),
)


@settings(max_examples=200, deadline=None)
@given(schema=SCHEMAS | NONSENSE, value=SCALARS | st.lists(SCALARS), texts=st.lists(st.text(), max_size=3))
def test_no_schema_value_or_form_breaks_it(schema: Any, value: Any, texts: list[str]) -> None:
    root = form_of(schema, value=value)
    posted = Sent(*((each.name, text) for each in root for text in texts))
    form_of(schema, posted=posted)
    value_of(schema, posted)
