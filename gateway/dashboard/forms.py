"""Forms of JSON Schemas: the fields a schema asks for, and the value that a posted form says.

Pure: no request and no HTML. What a field cannot say (anything but objects, choices, numbers, texts, booleans
and lists of choices) is asked for as JSON. The value is not validated here, only read; the task's schema does
that, and its problems are shown at the fields they are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, Protocol

from gateway.jsonio import dumps_text, loads
from gateway.records import UNSET

Widget = Literal["text", "long", "number", "radio", "select", "checks", "group", "json", "constant"]

MAX_DEPTH = 4
"""Of objects in objects; deeper ones are asked for as JSON."""
MAX_FIELDS = 100
MAX_RADIO = 11
"""More choices are a list to select from."""
LONG_FROM_CHARS = 120

_Schema = Mapping[str, Any]
_JSON_ONLY = frozenset(
    {
        "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "patternProperties", "dependentSchemas",
        "dependentRequired", "dependencies", "propertyNames", "unevaluatedProperties", "$dynamicRef",
    }
)  # fmt: skip
_STEPS = frozenset({"multipleOf", "exclusiveMinimum", "exclusiveMaximum"})


class Posted(Protocol):
    """The fields of a form that was posted."""

    def all(self, name: str, /) -> Sequence[str]: ...


@dataclass(slots=True, frozen=True)
class Option:
    """`name` is what is posted: the number of the choice, since a choice may be any JSON."""

    name: str
    label: str
    value: Any
    chosen: bool = False


@dataclass(slots=True)
class Field:
    """One field. `name` is what it is posted as, `path` the JSON Pointer to what it says."""

    name: str
    path: str
    label: str
    widget: Widget
    hint: str = ""
    required: bool = False
    text: str = ""
    options: tuple[Option, ...] = ()
    whole: bool = False
    low: float | None = None
    high: float | None = None
    max_chars: int | None = None
    constant: Any = None
    fields: tuple[Field, ...] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """For `id` and `for`: the name, with what HTML ids cannot hold made plain."""
        return "".join(
            char if char.isascii() and char.isalnum() else f"-{ord(char):x}-" for char in self.name
        )

    @property
    def problem(self) -> str:
        return "; ".join(self.problems)

    def __iter__(self) -> Iterator[Field]:
        """This field and all inside it."""
        yield self
        for inner in self.fields:
            yield from inner


def form_of(
    schema: Any,
    *,
    prefix: str = "value",
    value: Any = UNSET,
    posted: Posted | None = None,
    problems: Iterable[str] = (),
) -> Field:
    """The form of a schema: empty, with a `value` in it, or as it was `posted`.

    `problems` are sentences, each after the JSON Pointer to what it is about, as in UnfitValue.
    """
    root = _Builder(schema if isinstance(schema, dict) else {}).form(prefix, value)
    if posted is not None:
        for each in root:
            _fill(each, posted)
    _place(root, problems)
    return root


def value_of(schema: Any, posted: Posted, *, prefix: str = "value") -> tuple[Any, list[str]]:
    """The value that a form says, UNSET for nothing; and what of it cannot be read, as `problems` above."""
    problems: list[str] = []
    root = _Builder(schema if isinstance(schema, dict) else {}).form(prefix, UNSET)
    return _read(root, posted, problems), problems


class _Builder:
    def __init__(self, schema: _Schema) -> None:
        self._schema = schema
        self._left = MAX_FIELDS

    def form(self, prefix: str, value: Any) -> Field:
        return self._field(self._schema, Field(prefix, "", "", "json", required=True), value, depth=0)

    def _field(self, schema: Any, empty: Field, value: Any, *, depth: int) -> Field:
        """`empty` has the name, the path, the key as its label, and whether it is required."""
        self._left -= 1
        schema, optional = _plain(self._schema, schema)
        empty.required = empty.required and not optional
        empty.label = _words(schema.get("title")) or empty.label
        empty.hint = _words(schema.get("description"))
        if value is UNSET and "default" in schema:
            value = schema["default"]
        if "const" in schema and _choices(schema) is None:
            empty.widget, empty.constant = "constant", schema["const"]
            empty.text = dumps_text(schema["const"])
            return empty
        choices = _choices(schema)
        if choices is not None:
            empty.widget = "radio" if len(choices) <= MAX_RADIO else "select"
            empty.options = _options(choices, () if value is UNSET else (value,))
            return empty
        if _JSON_ONLY & schema.keys() or self._left < 0:
            return _as_json(empty, value)
        return self._typed(schema, empty, value, depth)

    def _typed(self, schema: _Schema, empty: Field, value: Any, depth: int) -> Field:
        match schema.get("type"):
            case "object" if depth < MAX_DEPTH and _fits_group(schema, value):
                return self._group(schema, empty, value, depth)
            case "string" if value is UNSET or isinstance(value, str):
                longest = schema.get("maxLength")
                empty.max_chars = longest if isinstance(longest, int) else None
                is_short = isinstance(longest, int) and longest <= LONG_FROM_CHARS
                empty.widget = "text" if is_short or "format" in schema or "pattern" in schema else "long"
                empty.text = "" if value is UNSET else value
            case "integer" | "number" as kind if value is UNSET or _is_number(value):
                empty.widget, empty.whole = "number", kind == "integer"
                empty.low, empty.high = _number(schema.get("minimum")), _number(schema.get("maximum"))
                empty.text = "" if value is UNSET else dumps_text(value)
            case "array" if (choices := self._listed(schema)) is not None and (
                value is UNSET or (isinstance(value, list) and all(_holds(choices, one) for one in value))
            ):
                empty.widget = "checks"
                empty.options = _options(choices, () if value is UNSET else value)
            case _:
                return _as_json(empty, value)
        return empty

    def _listed(self, schema: _Schema) -> list[tuple[Any, str]] | None:
        """The choices of which an array holds some."""
        items, _ = _plain(self._schema, schema.get("items"))
        return _choices(items)

    def _group(self, schema: _Schema, empty: Field, value: Any, depth: int) -> Field:
        required = schema.get("required", ())
        given = value if isinstance(value, dict) else {}
        empty.widget = "group"
        empty.fields = tuple(
            self._field(
                inner,
                Field(
                    f"{empty.name}/{_escaped(key)}",
                    f"{empty.path}/{_escaped(key)}",
                    key,
                    "json",
                    required=key in required,
                ),
                given.get(key, UNSET),
                depth=depth + 1,
            )
            for key, inner in schema["properties"].items()
        )
        return empty


def _plain(root: _Schema, schema: Any) -> tuple[_Schema, bool]:
    """A schema without a reference or a null beside it; and whether null is one of its types."""
    optional = False
    for _ in range(MAX_DEPTH):
        if not isinstance(schema, dict):
            return {}, optional
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = _resolved(root, reference)
            if target is None:
                return {"not": {}}, optional
            rest = {name: member for name, member in schema.items() if name != "$ref"}
            schema = {**target, **rest}
            continue
        types = schema.get("type")
        if isinstance(types, list) and "null" in types and len(types) == 2:
            [kind] = [each for each in types if each != "null"]
            return {**schema, "type": kind}, True
        either = schema.get("anyOf")
        if isinstance(either, list) and len(either) == 2 and {"type": "null"} in either:
            [other] = [each for each in either if each != {"type": "null"}] or [{}]
            rest = {name: member for name, member in schema.items() if name != "anyOf"}
            schema = {**other, **rest} if isinstance(other, dict) else {}
            optional = True
            continue
        break
    return schema, optional


def _resolved(root: _Schema, reference: str) -> _Schema | None:
    """What a reference within the schema means; None for any other."""
    if not reference.startswith("#"):
        return None
    found: Any = root
    for part in reference.lstrip("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found if isinstance(found, dict) else None


def _choices(schema: _Schema) -> list[tuple[Any, str]] | None:
    """The values that a schema lists, with their labels; None where it lists none."""
    listed = schema.get("enum")
    if isinstance(listed, list) and listed:
        return [(value, _label(value)) for value in listed]
    named = schema.get("oneOf", schema.get("anyOf"))
    if isinstance(named, list) and named and all(isinstance(one, dict) and "const" in one for one in named):
        return [(one["const"], _words(one.get("title")) or _label(one["const"])) for one in named]
    if schema.get("type") == "boolean":
        return [(True, "Yes"), (False, "No")]
    low, high = schema.get("minimum"), schema.get("maximum")
    is_scale = schema.get("type") == "integer" and not _STEPS & schema.keys()
    if is_scale and type(low) is int and type(high) is int and 0 <= high - low < MAX_RADIO:
        return [(value, str(value)) for value in range(low, high + 1)]
    return None


def _options(choices: Sequence[tuple[Any, str]], chosen: Iterable[Any]) -> tuple[Option, ...]:
    said = [dumps_text(value) for value in chosen]
    return tuple(
        Option(str(number), label, value, dumps_text(value) in said)
        for number, (value, label) in enumerate(choices)
    )


def _holds(choices: Sequence[tuple[Any, str]], value: Any) -> bool:
    return dumps_text(value) in [dumps_text(one) for one, _ in choices]


def _fits_group(schema: _Schema, value: Any) -> bool:
    """Whether the fields of an object can say all of it."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return False
    return value is UNSET or (isinstance(value, dict) and value.keys() <= properties.keys())


def _as_json(empty: Field, value: Any) -> Field:
    empty.widget = "json"
    empty.text = "" if value is UNSET else dumps_text(value)
    return empty


def _fill(each: Field, posted: Posted) -> None:
    """What was typed stays typed."""
    if each.widget in ("radio", "select", "checks"):
        chosen = posted.all(each.name)
        each.options = tuple(
            Option(option.name, option.label, option.value, option.name in chosen) for option in each.options
        )
    elif each.widget == "group":
        if posted.all(each.name):  # it was asked for as JSON
            each.widget, each.fields, each.text = "json", (), _text(each, posted)
    elif each.widget != "constant":
        each.text = _text(each, posted)


def _read(each: Field, posted: Posted, problems: list[str]) -> Any:
    match each.widget:
        case "constant":
            return each.constant if each.required else UNSET
        case "radio" | "select":
            chosen = _chosen(each, posted)
            return chosen[0] if chosen else UNSET
        case "checks":
            chosen = _chosen(each, posted)
            return chosen if chosen or each.required else UNSET
        case "group" if not posted.all(each.name):
            said = {
                _key(inner): value
                for inner in each.fields
                if (value := _read(inner, posted, problems)) is not UNSET
            }
            return said if said or each.required else UNSET
    text = _text(each, posted)
    if not text.strip():
        return UNSET
    if each.widget in ("text", "long"):
        return text
    try:
        return _number_of(text, whole=each.whole) if each.widget == "number" else loads(text)
    except ValueError:
        kind = "JSON" if each.widget != "number" else "a whole number" if each.whole else "a number"
        problems.append(f"{each.path}: is not {kind}" if each.path else f"is not {kind}")
        return UNSET


def _text(each: Field, posted: Posted) -> str:
    return "".join(posted.all(each.name)[-1:]).replace("\r\n", "\n")


def _chosen(each: Field, posted: Posted) -> list[Any]:
    names = posted.all(each.name)
    return [option.value for option in each.options if option.name in names]


def _number_of(text: str, *, whole: bool) -> float:
    """Raises ValueError."""
    text = text.strip().replace("\u2212", "-")
    try:
        return int(text[:100])
    except ValueError:
        number = float(text)
    if not isfinite(number) or (whole and number != int(number)):
        raise ValueError(text)
    return number


def _place(root: Field, problems: Iterable[str]) -> None:
    """Each problem at the innermost field that its pointer leads into."""
    for problem in problems:
        best, words = root, problem
        for each in root:
            if each.path and problem.startswith((f"{each.path}: ", f"{each.path}/")):
                best = each
                words = problem.removeprefix(f"{each.path}: ")
        best.problems.append(words)


def _key(inner: Field) -> str:
    return inner.path.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _label(value: Any) -> str:
    return value if isinstance(value, str) and value.strip() else dumps_text(value)


def _words(given: Any) -> str:
    return given if isinstance(given, str) else ""


def _number(given: Any) -> float | None:
    return given if _is_number(given) else None


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)
