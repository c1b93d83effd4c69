"""JSON Schemas of feedback tasks: which are taken, what does not fit one, and what none of them can do."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidField
from gateway.feedback import schemas
from gateway.feedback.form import MAX_PROBLEMS, MAX_SCHEMA_DEPTH, MAX_VALUE_MEMBERS
from gateway.feedback.schema_cost import MAX_LOOKS, MAX_PARTS, MAX_PATTERNS, MAX_VALUE_DEPTH, BadSchema, looks
from gateway.feedback.schemas import Schemas, check_schema
from gateway.records import FeedbackTask, Selector
from tests.harness.process import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness import WireUpstream

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_6 = "http://json-schema.org/draft-06/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"

EMOJI = {
    "type": "object",
    "properties": {
        "feedback": {"type": "string", "enum": ["good", "bad"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["feedback"],
    "additionalProperties": False,
}


def task(schema: Any, *, task_id: str = "t1", version: int = 1) -> FeedbackTask:
    return FeedbackTask(task_id, "default", "emoji", version, schema, "", Selector(), 0, None, None)


def problems(schema: Any, value: Any) -> tuple[str, ...]:
    """What of `value` does not fit; the schema is one that is taken."""
    check_schema(schema)
    try:
        Schemas().check_value(task(schema), value)
    except schemas.UnfitValue as error:
        return error.problems
    return ()


# --- values ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"feedback": "good"}, ()),
        ({"feedback": "bad", "stars": 5}, ()),
        ({"feedback": "x"}, ('/feedback: "x" is not one of ["good","bad"]',)),
        ({}, ("/feedback: is missing; it is required",)),
        (
            {"feedback": "good", "stars": 0, "zz": 1},
            ("/stars: 0 is less than the minimum of 1", "/zz: is not a property that the schema knows"),
        ),
        ("good", ('"good" is not of type "object"',)),
        (None, ('null is not of type "object"',)),
        ([], ('[] is not of type "object"',)),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(value: Any, expected: tuple[str, ...]) -> None:
    assert problems(EMOJI, value) == expected


def test_the_error_names_the_task_and_its_version() -> None:
    with pytest.raises(schemas.UnfitValue) as raised:
        Schemas().check_value(task(EMOJI, version=3), {"feedback": "x", "stars": 9})
    assert raised.value.message == (
        "value: does not fit the schema of feedback task 'emoji' (version 3): "
        '/feedback: "x" is not one of ["good","bad"]; /stars: 9 is greater than the maximum of 5'
    )
    assert (raised.value.status, raised.value.code, raised.value.param) == (400, "invalid_field", "value")


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"items": {"properties": {"a": {"const": 1}}}}, [{"a": 1}, {"a": 2}], "/1/a: 1 was expected"),
        ({"properties": {"a/b~c": {"type": "null"}}}, {"a/b~c": 1}, '/a~1b~0c: 1 is not of type "null"'),
        ({"required": ["a/b"]}, {}, "/a~1b: is missing; it is required"),
        ({"unevaluatedProperties": False}, {"ü": 1}, "/ü: is not a property that the schema knows"),
        (
            {"properties": {"a": {"anyOf": [{"type": "object", "required": ["b"]}, {"type": "null"}]}}},
            {"a": {}},
            "/a/b: is missing; it is required",
        ),
        (
            {"oneOf": [{"type": "string", "maxLength": 1}, {"type": "integer"}]},
            "long",
            '"long" is longer than 1 character',
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            1,
            "1 is not valid under any of the schemas listed in the 'anyOf' keyword",
        ),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}, "1", '"1" is not of type "number"'),
        ({"not": {}}, 1, "{} is not allowed for 1"),
    ],
)
def test_a_path_leads_through_arrays_references_and_choices(schema: Any, value: Any, expected: str) -> None:
    assert problems(schema, value) == (expected,)


def test_all_problems_are_named_up_to_ten() -> None:
    schema = {"items": {"type": "string"}}
    assert len(problems(schema, list(range(7)))) == 7
    found = problems(schema, list(range(500)))
    assert len(found) == MAX_PROBLEMS == 10
    assert found[-1] == '/9: 9 is not of type "string"'


def test_a_long_value_is_not_repeated_whole() -> None:
    [problem] = problems({"maxLength": 10}, "x" * 60_000)
    assert len(problem) < 400
    assert problem.endswith("is longer than 10 characters")
    [problem] = problems({"enum": [f"choice {n}" for n in range(2_000)]}, "x")
    assert len(problem) < 700
    assert problem.startswith('"x" is not one of ["choice 0",')


@pytest.mark.parametrize(
    ("draft", "schema", "good", "bad"),
    [
        (DRAFT_4, {"minimum": 1, "exclusiveMinimum": True}, 2, 1),
        (DRAFT_6, {"exclusiveMinimum": 1}, 2, 1),
        (DRAFT_7, {"items": [{"type": "string"}]}, ["a"], [1]),
        (DRAFT_7, {"if": {"type": "string"}, "then": {"maxLength": 1}}, "a", "ab"),
        (DRAFT_2019, {"dependentRequired": {"a": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}),
        (DRAFT_2020, {"prefixItems": [{"type": "string"}]}, ["a"], [1]),
        (None, {"prefixItems": [{"type": "string"}]}, ["a"], [1]),
    ],
)
def test_the_draft_is_the_one_that_schema_names(draft: str | None, schema: Any, good: Any, bad: Any) -> None:
    schema = schema if draft is None else {"$schema": draft, **schema}
    assert problems(schema, good) == ()
    assert len(problems(schema, bad)) == 1


# --- schemas that are refused ---


@pytest.mark.parametrize(
    ("schema", "path", "says"),
    [
        ({"type": "foo"}, "/type", '"foo" is not one of ["array","boolean"'),
        ({"properties": {"a": {"type": "foo"}}}, "/properties/a/type", '"foo" is not one of'),
        ({"properties": {"a/b~": {"minLength": -1}}}, "/properties/a~1b~0/minLength", "minimum of 0"),
        ({"properties": {"a": {"minimum": "x"}}}, "/properties/a/minimum", 'not of type "number"'),
        ({"required": "a"}, "/required", 'not of type "array"'),
        ({"$defs": {"d": {"multipleOf": 0}}}, "/$defs/d/multipleOf", "minimum of 0"),
        ({"allOf": 5}, "/allOf", 'not of type "array"'),
        ({"properties": {"a": 5}}, "/properties/a", 'not of types "boolean", "object"'),
        ({"items": [{}]}, "/items", "not of types"),
        ({"properties": {"a": {"pattern": "["}}}, "/properties/a/pattern", "cannot be used as a pattern"),
        ({"patternProperties": {"(?=x)": {}}}, "/patternProperties/(?=x)", "without look-around"),
        ({"pattern": r"(a)\1"}, "/pattern", "back-references"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "/$schema", "is not a draft"),
        ({"$schema": "https://example.com/mine"}, "/$schema", "leave it out for 2020-12"),
        ({"$schema": 5}, "/$schema", 'not of type "string"'),
        ({"$ref": "#/$defs/no"}, "/$ref", "points at nothing"),
        ({"$ref": "#/enum/0", "enum": [1]}, "/$ref", "not a schema"),
        ({"items": {"$ref": "#anchor"}}, "/items/$ref", "the name of nothing"),
        ({"$defs": {"a": {"$id": "other"}}}, "/$defs/a/$id", "only the whole schema"),
        ({"x": {"$id": "o", "y": {}}, "$ref": "#/x/y"}, "/$ref", "an id of its own"),
        ({"$ref": "#"}, "", "leads back to itself"),
        ({"allOf": [{"anyOf": [{"$ref": "#"}]}]}, "/allOf/0/anyOf/0", "leads back to itself"),
        (True, "", "must be an object"),
        ([], "", "must be an object"),
        ("{}", "", "must be an object"),
        (None, "", "must be an object"),
    ],
)
def test_a_bad_schema_is_refused_with_the_path_in_it(schema: Any, path: str, says: str) -> None:
    with pytest.raises(BadSchema) as raised:
        check_schema(schema)
    assert raised.value.path == path
    assert raised.value.message.startswith(f"schema: {path}: " if path else "schema: ")
    assert says in raised.value.message
    assert (raised.value.status, raised.value.param) == (400, "schema")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        EMOJI,
        {"properties": {"$ref": {"type": "string"}}},
        {"const": {"$ref": "http://example.com/x"}},
        {"default": {"$id": "x"}, "examples": [{"$ref": "nowhere"}]},
        {"$id": "https://example.com/a", "$ref": "https://example.com/a#/$defs/d", "$defs": {"d": {}}},
        {"$schema": DRAFT_4, "id": "https://example.com/a", "properties": {"id": {"type": "string"}}},
        {"properties": {"a": {"$ref": "#name"}, "b": {"$anchor": "name"}}},
        {"$schema": DRAFT_7, "items": {"$ref": "#x"}, "definitions": {"x": {"$id": "#x"}}},
        {"$ref": "#/$defs/a%20b~1c", "$defs": {"a b/c": {"type": "string"}}},
        {"$ref": "#/prefixItems/1", "prefixItems": [{}, True]},
        {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
        {"$dynamicAnchor": "node", "items": {"$dynamicRef": "#node"}},
        {"$schema": DRAFT_2019, "items": {"$recursiveRef": "#"}},
        {"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}},
    ],
)
def test_what_only_looks_odd_is_taken(schema: Any) -> None:
    check_schema(schema)


# --- nothing is fetched ---


@pytest.mark.parametrize(
    "within",
    [
        lambda address: {"$ref": address},
        lambda address: {"$ref": f"{address}#/$defs/x"},
        lambda address: {"properties": {"a": {"$ref": address}}},
        lambda address: {"$defs": {"a": {"allOf": [{"$ref": address}]}}},
        lambda address: {"$ref": "#/hidden", "hidden": {"$ref": address}},
        lambda address: {"$dynamicRef": address},
        lambda address: {"$schema": DRAFT_2019, "$recursiveRef": address},
        lambda address: {"$schema": address},
        lambda address: {"$id": address, "$ref": "sibling.json"},
        lambda address: {"items": {"$id": address, "$ref": "sibling.json"}},
        lambda address: {"$schema": DRAFT_4, "id": address, "items": {"$ref": "sibling.json"}},
    ],
)
def test_a_schema_reaches_no_network_and_no_file(
    upstream: WireUpstream, tmp_path: Path, within: Callable[[str], Any]
) -> None:
    for name in ("schema.json", "sibling.json"):
        (tmp_path / name).write_text('{"type": "string"}')
    file = tmp_path / "schema.json"
    for address in (f"{upstream.base_url}/schema.json", file.as_uri(), str(file)):
        with pytest.raises(BadSchema):
            check_schema(within(address))
    assert upstream.connections == 0


# --- what checking costs ---


def doubling(levels: int, keyword: str) -> dict[str, Any]:
    """Each definition mentions the next one twice."""
    defs: dict[str, Any] = {
        f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{levels}": {"type": "string"}}}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_references_that_multiply_are_refused(keyword: str) -> None:
    assert problems(doubling(5, keyword), 1) != ()
    for levels in (9, 15):
        with pytest.raises(BadSchema, match=f"more than {MAX_LOOKS} of its parts"):
            check_schema(doubling(levels, keyword))
    with pytest.raises(BadSchema, match="subschemas inside each other"):
        check_schema(doubling(40, keyword))


def test_recursion_that_multiplies_is_refused_and_other_recursion_is_not() -> None:
    same_place_twice = [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]
    with pytest.raises(BadSchema, match=f"more than {MAX_LOOKS} of its parts"):
        check_schema({"anyOf": same_place_twice})
    two_places = {"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "type": "object"}
    assert looks(two_places) == 2
    assert problems(two_places, {"a": {"b": {"a": 1}}}) == ('/a/b/a: 1 is not of type "object"',)


def test_asking_what_was_seen_counts_more() -> None:
    def nested(levels: int) -> dict[str, Any]:
        schema: dict[str, Any] = {}
        for _ in range(levels):
            schema = {"anyOf": [schema], "unevaluatedProperties": False}
        return schema

    check_schema(nested(3))
    with pytest.raises(BadSchema, match="of its parts"):
        check_schema(nested(10))


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"enum": ["x" * 70_000]}, "bytes as compact JSON, the limit is 65536"),
        ({"allOf": [{"title": str(n)} for n in range(MAX_PARTS)]}, "subschemas"),
        ({"anyOf": [{"pattern": str(n)} for n in range(MAX_PATTERNS + 1)]}, "patterns"),
        ({"patternProperties": {str(n): {} for n in range(MAX_PATTERNS + 1)}}, "patterns"),
        ({"pattern": "(a{1000}){1000}"}, "cannot be used as a pattern"),
    ],
)
def test_a_schema_has_limits(schema: Any, says: str) -> None:
    with pytest.raises(BadSchema, match=says):
        check_schema(schema)


def nested(levels: int, keyword: str, innermost: Any) -> Any:
    for _ in range(levels):
        innermost = {keyword: innermost}
    return innermost


def test_a_schema_has_a_limit_on_its_depth() -> None:
    check_schema(nested(MAX_SCHEMA_DEPTH // 2, "properties", {}))
    with pytest.raises(BadSchema, match="nested deeper than 128 levels"):
        check_schema(nested(MAX_SCHEMA_DEPTH, "const", []))
    with pytest.raises(BadSchema, match="nested deeper"):
        check_schema(nested(50_000, "not", {}))
    with pytest.raises(BadSchema, match="subschemas inside each other"):
        check_schema(nested(40, "not", {}))


def test_a_value_has_limits() -> None:
    recursive = {"additionalProperties": {"$ref": "#"}}
    assert problems(recursive, nested(MAX_VALUE_DEPTH, "a", 1)) == ()
    for levels in (MAX_VALUE_DEPTH, 50_000):
        assert problems(recursive, nested(levels, "a", {})) == (
            "it is nested deeper than 32 levels; flatten it",
        )
    assert problems({}, [0] * (MAX_VALUE_MEMBERS - 1)) == ()
    assert problems({}, [0] * MAX_VALUE_MEMBERS) == ("it has more than 20000 members; shorten it",)


def test_the_deepest_that_is_taken_fits_a_small_stack() -> None:
    """A validator that runs out of stack takes the whole process with it."""
    deepest = []
    for keyword in ("allOf", "anyOf", "oneOf", "not", "$ref"):
        links: dict[str, Any] = {}
        for n in range(14):
            link = {"$ref": f"#/$defs/d{n + 1}"}
            links[f"d{n}"] = (
                link if keyword == "$ref" else nested(1, keyword, [link] if "Of" in keyword else link)
            )
        links["d14"] = {"type": "array", "items": {"$ref": "#/$defs/d0"}}
        deepest.append({"$ref": "#/$defs/d0", "$defs": links})
    value: Any = 5
    for _ in range(MAX_VALUE_DEPTH):
        value = [value]
    found: list[tuple[str, ...]] = []
    threading.stack_size(2 * 1024 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.extend(problems(schema, value) for schema in deepest))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(0)
    assert len(found) == len(deepest)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 50_000 + "b"),
        ({"pattern": "(x+x+)+y"}, "x" * 50_000),
        ({"pattern": "(.*)(.*)(.*)(.*)(.*)[ab]{20}c"}, "a" * 50_000),
        ({"patternProperties": {"^(a|a)*$": False}}, {"a" * 30_000 + "b": 1, "a" * 30_000: 1}),
        (doubling(6, "anyOf"), 1),
        ({"items": doubling(6, "anyOf")["$defs"]["d6"]}, [1] * 19_000),
        ({"allOf": [{"items": {"minLength": 3}} for _ in range(200)]}, ["a"] * 19_000),
        ({"items": {"enum": [[n] for n in range(9_000)]}}, [[-1]] * 9_000),
        ({"items": {"enum": [f"s{n}" for n in range(6_000)]}}, ["no"] * 9_000),
        ({"uniqueItems": True}, [[n // 2] for n in range(9_000)]),
        ({"uniqueItems": True}, [{"a": n // 2} for n in range(9_000)]),
        ({"additionalProperties": False}, {str(n): n for n in range(19_000)}),
    ],
)
def test_no_value_takes_long(schema: Any, value: Any) -> None:
    check_schema(schema)
    started = time.monotonic()
    assert problems(schema, value)
    assert time.monotonic() - started < 3


# --- kept schemas ---


def test_a_schema_is_made_ready_once_and_the_last_used_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    form_of = schemas.form_of
    monkeypatch.setattr(schemas, "form_of", lambda schema: made.append(schema) or form_of(schema))
    kept = Schemas(size=2)
    a, b, c = ({"const": name} for name in "abc")
    for schema, task_id in ((a, "a"), (b, "b"), (a, "a"), (c, "c"), (a, "a"), (b, "b")):
        kept.check_value(task(schema, task_id=task_id), task_id)
    assert made == [a, b, c, b]


def test_a_new_version_is_another_schema() -> None:
    kept = Schemas()
    kept.check_value(task({"const": 1}, version=1), 1)
    kept.check_value(task({"const": 2}, version=2), 2)
    with pytest.raises(schemas.UnfitValue, match="version 2"):
        kept.check_value(task({"const": 2}, version=2), 1)


def test_a_gateway_without_tasks_does_not_load_the_validator() -> None:
    loaded = "import sys, gateway.serving; print('jsonschema_rs' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", loaded], cwd=REPOSITORY).strip() == b"False"


# --- for all schemas and values ---

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
IN_MAPS = ("properties", "patternProperties", "dependentSchemas")
IN_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
ALONE = (
    "items", "contains", "not", "if", "then", "additionalProperties", "propertyNames",
    "unevaluatedProperties", "unevaluatedItems",
)  # fmt: skip
ASSERTIONS = st.sampled_from(
    (
        {}, {"type": "object"}, {"type": "array"}, {"type": "string"}, {"type": ["integer", "null"]},
        {"minLength": 1}, {"required": ["a"]}, {"enum": ["a", 1, None]}, {"minItems": 2},
    )
)  # fmt: skip
REFERENCES = st.sampled_from(("#", "#/$defs/x", "#/$defs/y"))


def around(keyword: str, inner: list[Any]) -> Any:
    """A keyword with subschemas, in the form that it takes them."""
    if keyword in IN_MAPS:
        return {keyword: dict(zip("ab", inner, strict=False))}
    return {keyword: inner if keyword in IN_LISTS else inner[0]}


KEYWORDS = st.sampled_from((*IN_MAPS, *IN_LISTS, *ALONE))
PARTS = st.recursive(
    st.booleans() | ASSERTIONS | REFERENCES.map(lambda reference: {"$ref": reference}),
    lambda inner: st.builds(
        lambda *some: {name: value for one in some for name, value in one.items()},
        ASSERTIONS,
        st.builds(around, KEYWORDS, st.lists(inner, min_size=1, max_size=2)),
        st.builds(around, KEYWORDS, st.lists(inner, min_size=1, max_size=2)),
    ),
    max_leaves=6,
)
SCHEMAS = st.builds(
    lambda root, x, y: {**(root if isinstance(root, dict) else {}), "$defs": {"x": x, "y": y}},
    PARTS,
    PARTS,
    PARTS,
)


def members(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(members(one) for one in inner)


def ticking(schema: Any) -> Any:
    """`schema` with a keyword in each of its parts that counts how often it is looked at."""
    if isinstance(schema, list):
        return [ticking(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    ticked = {
        name: {key: ticking(one) for key, one in value.items()} if name in (*IN_MAPS, "$defs")
        else value if name in ("enum", "required", "type") else ticking(value)
        for name, value in schema.items()
    }  # fmt: skip
    return {"tick": True, **ticked}


@settings(max_examples=200, deadline=None)
@given(schema=SCHEMAS, values=st.lists(VALUES, min_size=1, max_size=5))
def test_no_schema_is_looked_at_more_often_than_was_worked_out(schema: Any, values: list[Any]) -> None:
    try:
        most = looks(schema)
    except BadSchema:
        assume(False)
    count = 0

    class Tick:
        def __init__(self, *_: Any) -> None: ...

        def validate(self, _: Any) -> None:
            nonlocal count
            count += 1

    validator = jsonschema_rs.Draft202012Validator(ticking(schema), keywords={"tick": Tick}, offline=True)
    for value in values:
        count = 0
        validator.is_valid(value)
        # A property's name is a place of its own.
        assert count <= most * 2 * members(value)


@settings(max_examples=200, deadline=None)
@given(schema=SCHEMAS, values=st.lists(VALUES, min_size=1, max_size=5))
def test_a_value_is_refused_if_and_only_if_it_is_invalid(schema: Any, values: list[Any]) -> None:
    try:
        check_schema(schema)
    except BadSchema:
        assume(False)
    for value in values:
        assert (problems(schema, value) == ()) is jsonschema_rs.is_valid(schema, value)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text()
            | st.sampled_from(
                ("$ref", "$id", "$schema", "$defs", "allOf", "items", "properties", "pattern", "type")
            ),
            inner,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(schema=ANY_JSON, value=ANY_JSON)
def test_any_json_as_a_schema_is_taken_or_refused(schema: Any, value: Any) -> None:
    with suppress(InvalidField):
        check_schema(schema)
        Schemas().check_value(task(schema), value)
