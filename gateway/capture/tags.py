"""Tags of an exchange: short words to find it by, from the `x-tags` header or `tags` in its metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.errors import InvalidHeader

MAX_TAGS = 64
MAX_TAG_CHARS = 256


def parse_tags(value: bytes) -> tuple[str, ...]:
    """The tags of an `x-tags` header: separated by commas, trimmed, each once. Raises InvalidHeader."""
    try:
        tags = _distinct(value.decode("utf-8").split(","))
    except UnicodeDecodeError as error:
        raise InvalidHeader("x-tags: not UTF-8; send its tags as UTF-8 text", param="x-tags") from error
    if len(tags) > MAX_TAGS:
        raise InvalidHeader(
            f"x-tags: {len(tags)} tags, the limit is {MAX_TAGS}; send those you look for", param="x-tags"
        )
    for tag in tags:
        if len(tag) > MAX_TAG_CHARS:
            raise InvalidHeader(
                f"x-tags: a tag of {len(tag)} characters ({tag[:32]}…), the limit is {MAX_TAG_CHARS}",
                param="x-tags",
            )
    return tags


def all_tags(header: tuple[str, ...], *metadata: Any) -> tuple[str, ...]:
    """The header's tags and those of metadata objects: a list of texts, or a text separated by commas.

    Metadata is for whatever an application likes, so what is no tag there is passed over, not refused.
    """
    found = list(header)
    for some in metadata:
        given = some.get("tags") if isinstance(some, dict) else None
        if isinstance(given, str):
            found += given.split(",")
        elif isinstance(given, list):
            found += [tag for tag in given if isinstance(tag, str)]
    if len(found) == len(header):
        return header
    return tuple(tag for tag in _distinct(found) if len(tag) <= MAX_TAG_CHARS)[:MAX_TAGS]


def _distinct(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for tag in map(str.strip, tags) if tag))
