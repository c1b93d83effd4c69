"""JSON in and out: orjson with one set of options, and the strictness the whole gateway shares."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from math import isinf
from typing import Any

import orjson

JSON = Any

_DECODER = json.JSONDecoder()


def dumps(value: JSON) -> bytes:
    """Compact UTF-8 JSON. Keys that are not strings are a TypeError; NaN becomes null."""
    return orjson.dumps(value)


def dumps_text(value: JSON) -> str:
    return orjson.dumps(value).decode()


def loads(data: bytes | str) -> JSON:
    """Parse JSON text (RFC 8259). Raises ValueError for anything else, NaN and deep nesting included."""
    return orjson.loads(data)


def loads_lenient(data: bytes) -> JSON:
    """Parse a downstream's body that is going upstream untouched. Raises ValueError.

    orjson refuses some text that RFC 8259 allows, escaped lone surrogates above all, which JavaScript writes
    for a cut emoji. So the standard library has the second word; a lone surrogate is then read as "?", since
    nothing can store it. Nesting of more than about a thousand levels is refused by both.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as first:
        try:
            parsed = json.loads(data, parse_constant=_refuse_constant)
            return json.loads(json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace"))
        except RecursionError:
            raise first from None


def loads_exact(data: bytes) -> JSON:
    """Parse UTF-8 JSON so that nothing is lost of what it says.

    Raises ValueError, also where readers differ in what a text says: a key twice in one object, a number
    beyond a double.

    The order of keys is kept, and integers are exact, however long. Slower than `loads`.
    """
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_each_key_once,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def dumps_exact(value: JSON) -> bytes:
    """What `loads_exact` gave, as compact ASCII: other bytes for anything that differs, order included."""
    return json.dumps(value, separators=(",", ":")).encode()


def loads_start(text: str) -> JSON:
    """The JSON value that `text` begins with, whatever follows it. Raises ValueError."""
    try:
        return _DECODER.raw_decode(text)[0]
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def iso_time(time_ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601 in UTC, 2026-01-31T12:00:00.000, for the zone to follow."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}"


def readable(text: str) -> str:
    """`text` with lone surrogates spelled out: a message quotes what was sent, and JSON is UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _each_key_once(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text} is beyond a double")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
