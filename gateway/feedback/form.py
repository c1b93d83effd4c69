"""A JSON Schema made ready to check values, and what it finds in words: the only place for JSON Schema.

Imported by the first who has a schema: it takes 8 MB, and without feedback tasks nobody needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema_rs import RegexOptions, ValidationError, ValidationErrorKind, Validator, validator_for

from gateway.feedback.schema_cost import MAX_VALUE_DEPTH, BadSchema, looks, pointer
from gateway.jsonio import dumps, dumps_text

MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 128
"""jsonschema-rs itself stops at 255."""
MAX_VALUE_MEMBERS = 20_000
MAX_PROBLEMS = 10
MAX_PROBLEM_CHARS = 300

_MAX_EXPLAINING = 500_000
"""About a second. An error takes as long as 25 looks, and repeats the part of the schema it is from."""
_PATTERN_BYTES = 256 * 1024
_ENGINE = RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=_PATTERN_BYTES)
_Kind = ValidationErrorKind


class Form:
    """`looks` is how many parts of the schema look at one place of a value, `members` what it consists of."""

    def __init__(self, validator: Validator, *, looks: int, members: int) -> None:
        self._validator = validator
        self._cost_of_errors = max(25 * looks, members)

    @classmethod
    def of(cls, schema: Any) -> Form:
        """Raises BadSchema, which names the place in the schema and what is wrong there."""
        if not isinstance(schema, dict):
            raise BadSchema("", 'must be an object, such as {"type": "object", "properties": {…}}')
        members, depth = _measured(schema)
        if depth > MAX_SCHEMA_DEPTH:
            raise BadSchema("", f"nested deeper than {MAX_SCHEMA_DEPTH} levels; flatten it")
        size = len(dumps(schema))
        if size > MAX_SCHEMA_BYTES:
            raise BadSchema("", f"{size} bytes as compact JSON, the limit is {MAX_SCHEMA_BYTES}; shorten it")
        worst = looks(schema)
        try:
            validator = validator_for(schema, pattern_options=_ENGINE, offline=True)
        except ValidationError as error:
            raise _bad_schema(error, schema) from error
        except ValueError as error:
            raise BadSchema("", str(error)) from error
        return cls(validator, looks=worst, members=members)

    def problems(self, value: Any) -> Iterator[str]:
        """A sentence for each thing wrong with a JSON value, at most MAX_PROBLEMS; none for one that fits."""
        members, depth = _measured(value)
        if depth > MAX_VALUE_DEPTH:
            yield f"it is nested deeper than {MAX_VALUE_DEPTH} levels; flatten it"
        elif members > MAX_VALUE_MEMBERS:
            yield f"it has more than {MAX_VALUE_MEMBERS} members; shorten it"
        elif self._validator.is_valid(value):
            return
        elif members * self._cost_of_errors > _MAX_EXPLAINING:
            yield "it is too large to say where; check a part of it"
        else:
            # The library looks for all errors before it gives the first: this is the slow part.
            yield from islice(_sentences(self._validator.iter_errors(value)), MAX_PROBLEMS)


def _bad_schema(error: ValidationError, schema: Mapping[str, Any]) -> BadSchema:
    if isinstance(error.kind, _Kind.Referencing):
        # References were followed before; what is left is the draft.
        draft = _json(schema.get("$schema"))
        return BadSchema("/$schema", f"{draft} is not a draft of JSON Schema; leave it out for 2020-12")
    path = pointer(error.instance_path)
    if isinstance(error.kind, _Kind.Format) and error.kind.format == "regex":
        return BadSchema(
            path,
            f"{_json(error.instance)} cannot be used as a pattern; write a regular expression without "
            "look-around and back-references, and minLength and maxLength for long repetitions",
        )
    sentence = next(iter(_sentences([error])))
    return BadSchema(path, sentence.removeprefix(f"{path}: "))


def _sentences(errors: Iterable[ValidationError]) -> Iterator[str]:
    """What is wrong and where, the JSON Pointer first; without one it is the value as a whole."""
    for error in errors:
        path = error.instance_path
        match error.kind:
            case _Kind.Required(property=name):
                yield f"{pointer([*path, name])}: is missing; it is required"
            case _Kind.AdditionalProperties(unexpected=names) | _Kind.UnevaluatedProperties(unexpected=names):
                for name in names:
                    yield f"{pointer([*path, name])}: is not a property that the schema knows"
            case _Kind.Enum(options=options):
                yield _at(path, f"{_json(error.instance)} is not one of {_json(options)}")
            case _Kind.AnyOf(context=choices) | _Kind.OneOfNotValid(context=choices) if meant := _meant(
                choices, path
            ):
                yield from _sentences(meant)
            case _:
                yield _at(path, _shortened(error.message))


def _meant(choices: list[list[ValidationError]], path: list[str | int]) -> list[ValidationError]:
    """The errors under the one choice that takes values of this type at all; none if there are several."""
    fitting = [
        errors
        for errors in choices
        if not any(isinstance(error.kind, _Kind.Type) and error.instance_path == path for error in errors)
    ]
    return fitting[0] if len(fitting) == 1 else []


def _at(path: list[str | int], problem: str) -> str:
    return f"{pointer(path)}: {problem}" if path else problem


def _json(value: Any) -> str:
    return _shortened(dumps_text(value))


def _shortened(text: str) -> str:
    """The library's messages begin with the value and end with what was wrong with it."""
    if len(text) <= MAX_PROBLEM_CHARS:
        return text
    half = MAX_PROBLEM_CHARS // 2
    return f"{text[:half]} … {text[-half:]}"


def _measured(value: Any) -> tuple[int, int]:
    """How many values there are in a JSON value, itself among them, and how deep objects and arrays go."""
    members, depth = 0, 0
    level = [value]
    while level:
        members += len(level)
        inner = [one for one in level if isinstance(one, dict | list)]
        depth += bool(inner)
        level = [member for one in inner for member in (one.values() if isinstance(one, dict) else one)]
    return members, depth
