"""One object of a native feedback body: its fields read one by one, with errors that name item and field.

The codes are Portkey's, from the table in docs/wire/portkey.md; 036 is ours, for the fields Portkey has not.
What a body is made of, and which fields go together, is in `gateway.feedback.body`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from gateway.errors import InvalidFeedback, InvalidTraceId
from gateway.ids import check_trace_id
from gateway.jsonio import dumps, loads
from gateway.records import KINDS, MAX_SCORE, MIN_SCORE, Kind, kind_of

MAX_METADATA_BYTES = 16 * 1024
MAX_VALUE_BYTES = 64 * 1024
MAX_DEPTH = 100
MAX_NUMBER_CHARS = 100
MAX_NAME_CHARS = 250

MALFORMED = "03"
TOO_MANY_FOR_UPDATE = "031"
MISSING = "032"
BAD_VALUE = "033"
BAD_WEIGHT = "034"
BAD_METADATA = "035"
BAD_FIELD = "036"

NEEDED = "trace_id and value"

_TRACE_ID_SPELLINGS = ("trace_id", "traceID", "traceId")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", re.ASCII)
_FITS: Mapping[Kind, str] = {
    "boolean": "true or false",
    "number": "a number",
    "text": "a string that is not empty",
    "list": "an array",
    "object": "an object",
    "none": "left out",
}


def error_of(code: str, problem: str, param: str | None = None) -> InvalidFeedback:
    return InvalidFeedback(f"Invalid request body: {problem}. Error code: {code}", code=code, param=param)


class Item:
    """`index` is the item's place in a batch as its sender wrote it, None for a body that is one item.

    `needed` is what it must have, for the error where it is no object.
    """

    def __init__(self, content: Any, index: str | None, needed: str = NEEDED) -> None:
        self.index = index
        if not isinstance(content, dict):
            raise self.error(MISSING, f"must be an object with {needed}")
        self.fields: Mapping[str, Any] = content

    def error(self, code: str, problem: str, field: str | None = None) -> InvalidFeedback:
        param = field
        if self.index is not None:
            place = f"[{self.index}]"
            problem = f"item {self.index}: {problem}"
            param = place if field is None else f"{place}.{field}"
        return error_of(code, problem, param)

    def bad(self, field: str, problem: str) -> InvalidFeedback:
        return self.error(BAD_FIELD, f"{field} {problem}", field)

    def has(self, field: str) -> bool:
        """Whether the field says something: null counts as left out."""
        return self.fields.get(field) is not None

    # --- Portkey's fields ---

    def has_trace_id(self) -> bool:
        return any(self.fields.get(name) not in (None, "") for name in _TRACE_ID_SPELLINGS)

    def trace_id(self) -> str:
        given = [self.fields[name] for name in _TRACE_ID_SPELLINGS if self.fields.get(name) not in (None, "")]
        if not given:
            raise self.error(MISSING, "trace_id is required", "trace_id")
        trace_id = given[0]
        if not isinstance(trace_id, str):
            raise self.error(MISSING, f"trace_id must be a string, not {json_type(trace_id)}", "trace_id")
        return self._checked_id(trace_id, "trace_id", MISSING)

    def has_value(self) -> bool:
        return self.fields.get("value") not in (None, "")

    def score(self) -> int:
        if not self.has_value():
            raise self.error(MISSING, "value is required", "value")
        number = finite_number(self.fields["value"])
        if number is None or not MIN_SCORE <= number <= MAX_SCORE or number != int(number):
            raise self.error(BAD_VALUE, f"value must be an integer from {MIN_SCORE} to {MAX_SCORE}", "value")
        return int(number)

    def weight(self) -> float | None:
        given = self.fields.get("weight")
        if given is None:
            return None
        number = finite_number(given)
        if number is None or not 0 <= number <= 1:
            raise self.error(BAD_WEIGHT, "weight must be a number from 0 to 1", "weight")
        return float(number) + 0.0  # -0.0 is a legal weight, and the same one as 0.0

    def metadata(self) -> dict[str, Any] | None:
        if "metadata" not in self.fields:
            return None
        given = self.fields["metadata"]
        if isinstance(given, str):
            try:
                given = loads(given)
            except ValueError:
                given = None
        if not isinstance(given, dict):
            raise self.error(
                BAD_METADATA, "metadata must be an object or a string that holds one as JSON", "metadata"
            )
        if is_deeper(given, MAX_DEPTH):
            raise self.error(BAD_METADATA, f"metadata is nested deeper than {MAX_DEPTH} levels", "metadata")
        size = len(dumps(given))
        if size > MAX_METADATA_BYTES:
            problem = f"metadata has {size} bytes as compact JSON, the limit is {MAX_METADATA_BYTES}"
            raise self.error(BAD_METADATA, problem, "metadata")
        return given

    # --- ours ---

    def request_id(self) -> str:
        given = self.fields["request_id"]
        if not isinstance(given, str):
            raise self.bad("request_id", f"must be a string, not {json_type(given)}")
        return self._checked_id(given, "request_id", BAD_FIELD)

    def text(self, field: str, *, max_chars: int) -> str | None:
        """A string with something in it; null and the empty string count as left out."""
        given = self.fields.get(field)
        if given is None or given == "":
            return None
        if not isinstance(given, str):
            raise self.bad(field, f"must be a string, not {json_type(given)}")
        if len(given) > max_chars:
            raise self.bad(field, f"has {len(given)} characters, the limit is {max_chars}")
        return given

    def name(self) -> str | None:
        """A name that is there has 1 to 250 characters."""
        if self.fields.get("name") == "":
            raise self.bad("name", f"must have 1 to {MAX_NAME_CHARS} characters")
        return self.text("name", max_chars=MAX_NAME_CHARS)

    def choice(self, field: str, choices: tuple[str, ...]) -> Any:
        """One of `choices`, None when left out."""
        given = self.fields.get(field)
        if given is not None and given not in choices:
            raise self.bad(field, f"must be one of {', '.join(choices)}")
        return given

    def flag(self, field: str) -> bool:
        """False when left out."""
        given = self.fields.get(field)
        if given is not None and not isinstance(given, bool):
            raise self.bad(field, f"must be true or false, not {json_type(given)}")
        return bool(given)

    def whole_number(self, field: str, *, default: int, highest: int) -> int:
        given = self.fields.get(field)
        if given is None:
            return default
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= highest:
            raise self.bad(field, f"must be an integer from 1 to {highest}")
        return given

    def strings(self, place: str, given: Any, *, max_items: int, max_chars: int) -> tuple[str, ...]:
        """`given` as a list of strings, none of them empty; `place` is its path. None counts as empty."""
        if given is None:
            return ()
        if not isinstance(given, list):
            raise self.bad(place, f"must be an array of strings, not {json_type(given)}")
        if len(given) > max_items:
            raise self.bad(place, f"has {len(given)} entries, the limit is {max_items}")
        for index, entry in enumerate(given):
            if not isinstance(entry, str) or not 0 < len(entry) <= max_chars:
                raise self.bad(f"{place}[{index}]", f"must be a string of 1 to {max_chars} characters")
        return tuple(given)

    def kind(self) -> Kind | None:
        kind: Kind | None = self.choice("kind", KINDS)
        return kind

    def value(self, kind: Kind) -> Any:
        """The value, which must be of this kind: as it was sent, or the integer that a score spells."""
        given = self.fields.get("value")
        if kind == "none":
            if given is not None and given != "":
                raise self.bad("value", "must be left out for kind none")
            return None
        if not self.has_value():
            raise self.error(MISSING, "value is required", "value")
        if kind == "score":
            return self.score()
        if kind_of(given) != kind:
            raise self.bad("value", f"must be {_FITS[kind]} for kind {kind}, not {json_type(given)}")
        return self._checked_json("value", given)

    def json(self, field: str) -> Any:
        """Any JSON; None when left out or null."""
        return self._checked_json(field, self.fields.get(field))

    def _checked_json(self, field: str, given: Any) -> Any:
        if is_deeper(given, MAX_DEPTH):
            raise self.bad(field, f"is nested deeper than {MAX_DEPTH} levels")
        size = len(dumps(given))
        if size > MAX_VALUE_BYTES:
            raise self.bad(field, f"has {size} bytes as compact JSON, the limit is {MAX_VALUE_BYTES}")
        return given

    def _checked_id(self, given: str, field: str, code: str) -> str:
        try:
            return check_trace_id(given, field)
        except InvalidTraceId as error:
            reason = f"{field} must be 1 to 256 visible ASCII characters without spaces"
            raise self.error(code, reason, field) from error


def json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else "a number"


def finite_number(given: Any) -> float | None:
    """A finite number, from a JSON number or a string that spells one. None for all else, booleans too."""
    if isinstance(given, str):
        is_number = len(given) <= MAX_NUMBER_CHARS and _NUMBER.fullmatch(given)
        given = float(given) if is_number else None
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        return None
    return given


def is_deeper(value: Any, levels: int) -> bool:
    """Whether `value` has more than so many objects and arrays inside each other."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    members = value.values() if isinstance(value, dict) else value
    return any(is_deeper(member, levels - 1) for member in members)
