"""JSON in and out: orjson with one set of options, and the strictness the whole gateway shares."""

from __future__ import annotations

import json
from typing import Any

import orjson

JSON = Any


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

    orjson refuses some text that RFC 8259 allows (escaped lone surrogates, nesting over 1,024 levels). A
    body is only refused here if no upstream could read it, so the standard library has the second word.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as first:
        try:
            return json.loads(data, parse_constant=_refuse_constant)
        except RecursionError:
            raise first from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
