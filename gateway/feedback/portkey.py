"""Portkey's feedback bodies: bytes in, checked drafts out, or the error with the vendor's code.

Source of every rule and code: wire/portkey.md. Nothing is stored and nothing is answered here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from gateway.errors import InvalidFeedback, InvalidTraceId
from gateway.ids import check_trace_id
from gateway.jsonio import dumps, loads
from gateway.records import FeedbackChange, FeedbackDraft

MAX_ITEMS = 1_000
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 100
MAX_NUMBER_CHARS = 100
MIN_VALUE, MAX_VALUE = -10, 10
DEFAULT_WEIGHT = 1.0

MALFORMED = "03"
TOO_MANY_FOR_UPDATE = "031"
MISSING = "032"
BAD_VALUE = "033"
BAD_WEIGHT = "034"
BAD_METADATA = "035"

_TRACE_ID_SPELLINGS = ("trace_id", "traceID", "traceId")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", re.ASCII)


class _Item:
    """One object of the body and where it stood: errors name both."""

    def __init__(self, content: Any, index: str | None) -> None:
        self.index = index
        if not isinstance(content, dict):
            raise self.error(MISSING, "must be an object with trace_id and value")
        self.fields: Mapping[str, Any] = content

    def error(self, code: str, problem: str, field: str | None = None) -> InvalidFeedback:
        param = field
        if self.index is not None:
            place = f"[{self.index}]"
            problem = f"item {self.index}: {problem}"
            param = place if field is None else f"{place}.{field}"
        return _error(code, problem, param)


def parse_create(body: bytes) -> list[FeedbackDraft]:
    """The drafts of a POST body, in its order: one object, an array, or Node's object with numeric keys.

    Raises InvalidFeedback for the first thing wrong.
    """
    return [
        FeedbackDraft(
            trace_ids=(_trace_id(item),),
            value=_value(item),
            weight=DEFAULT_WEIGHT if (weight := _weight(item)) is None else weight,
            metadata=_metadata(item),
        )
        for item in _items(_parsed(body))
    ]


def parse_update(body: bytes) -> tuple[FeedbackChange, str | None]:
    """What a PUT body changes, and the `feedback_id` that Node sends in it, if it is a string.

    Raises InvalidFeedback.
    """
    items = _items(_parsed(body))
    if len(items) > 1:
        raise _error(
            TOO_MANY_FOR_UPDATE,
            f"an update changes one item, this body has {len(items)}; send one PUT for each",
        )
    item = items[0]
    change = FeedbackChange(value=_value(item), weight=_weight(item), metadata=_metadata(item))
    feedback_id = item.fields.get("feedback_id")
    return change, feedback_id if isinstance(feedback_id, str) else None


def _error(code: str, problem: str, param: str | None = None) -> InvalidFeedback:
    return InvalidFeedback(f"Invalid request body: {problem}. Error code: {code}", code=code, param=param)


def _parsed(body: bytes) -> Any:
    if not body.strip():
        raise _error(MALFORMED, "it is empty; send a JSON object or an array of them")
    try:
        return loads(body)
    except ValueError as error:
        raise _error(MALFORMED, f"not JSON ({error})") from error


def _items(parsed: Any) -> list[_Item]:
    if isinstance(parsed, list):
        members = [(str(index), content) for index, content in enumerate(parsed)]
    elif isinstance(parsed, dict):
        if not all(_is_index(key) for key in parsed):
            return [_Item(parsed, None)]
        members = sorted(parsed.items(), key=lambda member: _as_index(member[0]))
    else:
        raise _error(MALFORMED, f"must be an object or an array, not {_kind(parsed)}")
    if not members:
        raise _error(MISSING, "it has no items; trace_id and value are required")
    if len(members) > MAX_ITEMS:
        raise _error(
            MALFORMED, f"{len(members)} items, the limit is {MAX_ITEMS}; split them over several requests"
        )
    return [_Item(content, index) for index, content in members]


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit()


def _as_index(key: str) -> tuple[int, str]:
    """Sorts as the number does, without turning thousands of digits into one."""
    digits = key.lstrip("0")
    return len(digits), digits


def _trace_id(item: _Item) -> str:
    given = [item.fields[name] for name in _TRACE_ID_SPELLINGS if item.fields.get(name) not in (None, "")]
    if not given:
        raise item.error(MISSING, "trace_id is required", "trace_id")
    trace_id = given[0]
    if not isinstance(trace_id, str):
        raise item.error(MISSING, f"trace_id must be a string, not {_kind(trace_id)}", "trace_id")
    try:
        return check_trace_id(trace_id, "trace_id")
    except InvalidTraceId as error:
        reason = "trace_id must be 1 to 256 visible ASCII characters without spaces"
        raise item.error(MISSING, reason, "trace_id") from error


def _value(item: _Item) -> int:
    given = item.fields.get("value")
    if given is None or given == "":
        raise item.error(MISSING, "value is required", "value")
    number = _number(given)
    if number is None or not MIN_VALUE <= number <= MAX_VALUE or number != int(number):
        raise item.error(BAD_VALUE, f"value must be an integer from {MIN_VALUE} to {MAX_VALUE}", "value")
    return int(number)


def _weight(item: _Item) -> float | None:
    given = item.fields.get("weight")
    if given is None:
        return None
    number = _number(given)
    if number is None or not 0 <= number <= 1:
        raise item.error(BAD_WEIGHT, "weight must be a number from 0 to 1", "weight")
    return float(number) + 0.0  # -0.0 is a legal weight, and the same one as 0.0


def _number(given: Any) -> float | None:
    """A finite number, from a JSON number or a string that spells one. None for all else, booleans too."""
    if isinstance(given, str):
        is_number = len(given) <= MAX_NUMBER_CHARS and _NUMBER.fullmatch(given)
        given = float(given) if is_number else None
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        return None
    return given


def _metadata(item: _Item) -> dict[str, Any] | None:
    if "metadata" not in item.fields:
        return None
    given = item.fields["metadata"]
    if isinstance(given, str):
        try:
            given = loads(given)
        except ValueError:
            given = None
    if not isinstance(given, dict):
        raise item.error(
            BAD_METADATA, "metadata must be an object or a string that holds one as JSON", "metadata"
        )
    if _is_deeper(given, MAX_METADATA_DEPTH):
        raise item.error(
            BAD_METADATA, f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels", "metadata"
        )
    size = len(dumps(given))
    if size > MAX_METADATA_BYTES:
        problem = f"metadata has {size} bytes as compact JSON, the limit is {MAX_METADATA_BYTES}"
        raise item.error(BAD_METADATA, problem, "metadata")
    return given


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether `value` has more than so many objects and arrays inside each other."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    members = value.values() if isinstance(value, dict) else value
    return any(_is_deeper(member, levels - 1) for member in members)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return (
        "a string"
        if isinstance(value, str)
        else "an array"
        if isinstance(value, list)
        else ("an object" if isinstance(value, dict) else "a number")
    )
