"""Fields of a vendor's JSON body: read one by one, with an error that knows which one and where it stood.

An error here has a place and a reason but no shape: what its client reads is in each vendor's own file, and
so is what a field means. `null` reads as a field left out; where it means more, look into `content`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from gateway.errors import InvalidField
from gateway.feedback.item import (
    MAX_DEPTH,
    MAX_METADATA_BYTES,
    MAX_VALUE_BYTES,
    finite_number,
    is_deeper,
    json_type,
)
from gateway.jsonio import dumps, loads

MAX_ID_CHARS = 1024
"""No vendor names a limit for ids, names and users; this one keeps them fit for a database's index."""

Place = tuple[str | int, ...]
"""Names and indexes from the top of a body to a part of it: `(1, "value")`, `("assessment", "feedback")`."""

Fault = Literal["json", "missing", "type", "value"]
"""Not JSON at all; left out; of another JSON type; of the right type and still no use."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR = 9998  # a zone's offset still fits behind it


class BadField(InvalidField):
    """A body that cannot be used. `problem` goes on where the field's name ends: `is required`."""

    def __init__(self, problem: str, *, place: Place, fault: Fault) -> None:
        path = dotted(place)
        super().__init__(f"{path or 'request body'} {problem}", param=path or None)
        self.problem = problem
        self.place = place
        self.fault = fault

    @property
    def local_message(self) -> str:
        """The message with the last name of the place only, for shapes that show the place beside it."""
        if not self.place:
            return self.message
        last = self.place[-1]
        return f"{last if isinstance(last, str) else f'item {last}'} {self.problem}"


def dotted(place: Place) -> str:
    """`[1].value`, `assessment.feedback.value`; empty for the body itself."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return "".join(steps).removeprefix(".")


def read_json(body: bytes) -> Any:
    """Any JSON value. Raises BadField for everything else, an empty body, NaN and 1e999 among it."""
    if not body.strip():
        raise BadField("is empty; send JSON", place=(), fault="json")
    try:
        return loads(body)
    except ValueError as error:
        raise BadField(f"is not JSON ({error})", place=(), fault="json") from error


def read_object(body: bytes) -> Fields:
    """A body that is one JSON object. Raises BadField."""
    return as_fields(read_json(body), ())


def as_fields(content: Any, place: Place) -> Fields:
    """The object at `place`. Raises BadField when it is none."""
    if isinstance(content, dict):
        return Fields(content, place)
    raise BadField(f"must be a JSON object, not {json_type(content)}", place=place, fault="type")


@dataclass(slots=True, frozen=True)
class Fields:
    """One JSON object of a body and where it stood. Every reader raises BadField for what it cannot take."""

    content: Mapping[str, Any]
    place: Place = ()

    def bad(self, name: str, problem: str, fault: Fault = "value") -> BadField:
        return BadField(problem, place=(*self.place, name), fault=fault)

    def missing(self, name: str, problem: str = "is required") -> BadField:
        return self.bad(name, problem, "missing")

    def wrong_type(self, name: str, wanted: str) -> BadField:
        return self.bad(name, f"must be {wanted}, not {json_type(self.content[name])}", "type")

    def has(self, name: str) -> bool:
        return self.content.get(name) is not None

    def text(self, name: str, *, max_chars: int | None = None) -> str | None:
        given = self.content.get(name)
        if given is None:
            return None
        if not isinstance(given, str):
            raise self.wrong_type(name, "a string")
        if max_chars is not None and len(given) > max_chars:
            raise self.bad(name, f"has {len(given)} characters, the limit is {max_chars}")
        return given

    def required_text(self, name: str, *, max_chars: int | None = None) -> str:
        """A string that is there and not empty."""
        given = self.text(name, max_chars=max_chars)
        if given is None:
            raise self.missing(name)
        if not given:
            raise self.bad(name, "must not be empty")
        return given

    def texts(self, name: str) -> tuple[str, ...] | None:
        given = self.content.get(name)
        if given is None:
            return None
        if not isinstance(given, list):
            raise self.wrong_type(name, "an array of strings")
        for index, entry in enumerate(given):
            if not isinstance(entry, str):
                raise BadField(
                    f"must be a string, not {json_type(entry)}",
                    place=(*self.place, name, index),
                    fault="type",
                )
        return tuple(given)

    def flag(self, name: str, *, default: bool) -> bool:
        given = self.content.get(name)
        if given is None:
            return default
        if not isinstance(given, bool):
            raise self.wrong_type(name, "true or false")
        return given

    def fields(self, name: str) -> Fields | None:
        """The object inside."""
        return as_fields(self.content[name], (*self.place, name)) if self.has(name) else None

    def required_fields(self, name: str) -> Fields:
        inside = self.fields(name)
        if inside is None:
            raise self.missing(name)
        return inside

    def value(self, name: str, *, max_bytes: int = MAX_VALUE_BYTES) -> Any:
        """Any JSON that is neither too deep nor too large to be stored; None when it is left out."""
        self.check_depth(name)
        given = self.content.get(name)
        size = len(dumps(given))
        if size > max_bytes:
            raise self.bad(name, f"has {size} bytes as compact JSON, the limit is {max_bytes}")
        return given

    def metadata(self, name: str = "metadata") -> dict[str, Any] | None:
        """An object that is kept beside the feedback."""
        if self.fields(name) is None:
            return None
        return dict(self.value(name, max_bytes=MAX_METADATA_BYTES))

    def check_depth(self, name: str) -> None:
        """Refuse a value that cannot be written as JSON again."""
        if is_deeper(self.content.get(name), MAX_DEPTH):
            raise self.bad(name, f"is nested deeper than {MAX_DEPTH} levels")

    def time_ms(self, name: str) -> int | None:
        """An ISO 8601 date-time in milliseconds since the epoch; one without a zone is UTC."""
        given = self.text(name)
        if given is None:
            return None
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            moment = None
        if moment is None or not _EPOCH.year <= moment.year <= _LAST_YEAR:
            raise self.bad(name, "must be an ISO 8601 date-time since 1970, such as 2026-01-02T03:04:05Z")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, (moment - _EPOCH) // timedelta(milliseconds=1))


def whole_number(given: Any) -> int | None:
    """The integer that a JSON number or a string spells (`4.0`, `"4"`); None for all else, booleans too."""
    number = finite_number(given)
    return int(number) if number is not None and number == int(number) else None
