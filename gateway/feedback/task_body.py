"""Bodies of the native task endpoints: bytes in, a draft, a change or a claim out, or what is wrong.

Only JSON types are looked at here; what a schema, a name or a selector may be is the service's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from gateway.errors import InvalidField, InvalidJSON
from gateway.feedback.item import json_type
from gateway.jsonio import dumps_text, loads
from gateway.records import Selector
from gateway.records.tasks import TaskChange, TaskDraft

DEFAULT_CLAIMS, MAX_CLAIMS = 1, 100
DEFAULT_CLAIM_S, MAX_CLAIM_S = 600, 86_400
MAX_REVIEWER_CHARS = 250

_NEVER_NULL = ("name", "schema", "json_schema", "reviewer")
_FIELDS = ("name", "schema", "json_schema", "instruction", "selector")


@dataclass(slots=True, frozen=True)
class ClaimRequest:
    reviewer: str
    limit: int = DEFAULT_CLAIMS
    seconds: int = DEFAULT_CLAIM_S


def parse_task(body: bytes) -> TaskDraft:
    """Raises InvalidJSON and InvalidField."""
    given = _task_fields(body)
    for name in ("name", "schema"):
        if name not in given:
            raise InvalidField(f"{name}: is required", param=name)
    return TaskDraft(**given)


def parse_task_change(body: bytes) -> TaskChange:
    """What is left out stays as it is. Raises InvalidJSON and InvalidField."""
    return TaskChange(**_task_fields(body))


def parse_claim(body: bytes) -> ClaimRequest:
    """Raises InvalidJSON and InvalidField."""
    fields = _object(body, ("reviewer", "limit", "seconds"))
    if "reviewer" not in fields:
        raise InvalidField("reviewer: is required; say who will grade what is claimed", param="reviewer")
    return ClaimRequest(
        reviewer=checked_reviewer(_text("reviewer", fields["reviewer"])),
        limit=_whole_number("limit", fields.get("limit", DEFAULT_CLAIMS), MAX_CLAIMS),
        seconds=_whole_number("seconds", fields.get("seconds", DEFAULT_CLAIM_S), MAX_CLAIM_S),
    )


def checked_reviewer(reviewer: str) -> str:
    """Raises InvalidField."""
    if not reviewer.strip() or len(reviewer) > MAX_REVIEWER_CHARS:
        raise InvalidField(f"reviewer: must have 1 to {MAX_REVIEWER_CHARS} characters", param="reviewer")
    return reviewer.strip()


def _task_fields(body: bytes) -> dict[str, Any]:
    fields = _object(body, _FIELDS)
    if "json_schema" in fields:
        if "schema" in fields:
            raise InvalidField(
                "json_schema: and schema are both given; they are two names for one field",
                param="json_schema",
            )
        fields["schema"] = fields.pop("json_schema")
    read: dict[str, Callable[[str, Any], Any]] = {
        "name": _text,
        "schema": lambda _, value: value,
        "instruction": _text,
        "selector": _selector,
    }
    return {name: read[name](name, value) for name, value in fields.items()}


def _object(body: bytes, known: tuple[str, ...]) -> dict[str, Any]:
    """The body's members, without those that may be null and are: that is as good as left out."""
    try:
        parsed = loads(body)
    except ValueError as error:
        raise InvalidJSON(f"the body is not JSON ({error}); send an object") from error
    if not isinstance(parsed, dict):
        raise InvalidField(f"the body must be an object, not {json_type(parsed)}")
    _check_names(parsed, known)
    return {name: value for name, value in parsed.items() if value is not None or name in _NEVER_NULL}


def _check_names(given: dict[str, Any], known: tuple[str, ...], place: str = "") -> None:
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            remedy = f'did you mean "{close[0]}"?' if close else f"known are {', '.join(known)}"
            raise InvalidField(f"{place}{name}: unknown field; {remedy}", param=f"{place}{name}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidField(f"{name}: must be a string, not {json_type(value)}", param=name)
    return value


def _whole_number(name: str, value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise InvalidField(f"{name}: must be an integer from 1 to {most}", param=name)
    return value


def _selector(name: str, value: Any) -> Selector:
    if not isinstance(value, dict):
        raise InvalidField(f"{name}: must be an object, not {json_type(value)}", param=name)
    _check_names(value, ("tags", "metadata"), "selector.")
    return Selector(tags=_tags(value.get("tags")), metadata=_pairs(value.get("metadata")))


def _tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidField(
            f"selector.tags: must be an array of strings, not {json_type(value)}", param="selector.tags"
        )
    return tuple(_text(f"selector.tags[{index}]", tag) for index, tag in enumerate(value))


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Metadata compares as text: a string as it is, a number, boolean or null as its JSON."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise InvalidField(
            f"selector.metadata: must be an object, not {json_type(value)}", param="selector.metadata"
        )
    for name, member in value.items():
        if isinstance(member, dict | list):
            raise InvalidField(
                f"selector.metadata.{name}: must be a string, a number or a boolean, not {json_type(member)}",
                param=f"selector.metadata.{name}",
            )
    return tuple(
        (name, member if isinstance(member, str) else dumps_text(member)) for name, member in value.items()
    )
