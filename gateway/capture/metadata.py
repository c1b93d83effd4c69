"""Request metadata: the header's JSON object and the four special keys."""

from __future__ import annotations

from typing import Any

from gateway.errors import InvalidMetadata
from gateway.jsonio import dumps, loads
from gateway.records import SpecialKeys

MAX_METADATA_BYTES = 16 * 1024

_NO_KEYS = SpecialKeys(None, None, None, None)
_REMEDY = 'send a JSON object such as {"_user": "u1"} or leave the header out'


def parse_metadata(value: bytes, source: str) -> dict[str, Any]:
    """The JSON object in a metadata header; `source` is its name. Raises InvalidMetadata."""
    if len(value) > MAX_METADATA_BYTES:
        raise InvalidMetadata(
            f"{source}: {len(value)} bytes, the limit is {MAX_METADATA_BYTES}; shorten it", param=source
        )
    try:
        parsed = loads(value)
    except ValueError as error:
        raise InvalidMetadata(f"{source}: not JSON ({error}); {_REMEDY}", param=source) from error
    if not isinstance(parsed, dict):
        raise InvalidMetadata(f"{source}: not a JSON object; {_REMEDY}", param=source)
    try:
        dumps(parsed)
    except TypeError as error:
        raise InvalidMetadata(f"{source}: nested too deeply to be kept; flatten it", param=source) from error
    return parsed


def special_keys(metadata: dict[str, Any] | None) -> SpecialKeys:
    """The indexed keys. A number or a boolean counts as its JSON text, anything else as absent."""
    if not metadata:
        return _NO_KEYS
    return SpecialKeys(
        _text(metadata.get("_user")),
        _text(metadata.get("_organisation")),
        _text(metadata.get("_prompt")),
        _text(metadata.get("_environment")),
    )


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return dumps(value).decode()
    return None
