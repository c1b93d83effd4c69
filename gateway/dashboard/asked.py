"""What was asked, in one line: the first words of a user, from the beginning of a stored request."""

from __future__ import annotations

import re
from typing import Any

from gateway.jsonio import loads, loads_start

_TEXT_TYPES = ("text", "input_text")
_USER = re.compile(rb'"role"\s*:\s*"user"')
_CONTENT = re.compile(rb'"(?:content|text|input|prompt)"\s*:\s*(?=")')


def first_words(request: bytes | None) -> str | None:
    """The first message of a user, the input or the prompt; None where there is none to be read.

    `request` may be cut off: then what can be found in it is taken.
    """
    if not request:
        return None
    try:
        body = loads(request)
    except ValueError:
        return _from_cut(request)
    return _from_body(body) if isinstance(body, dict) else None


def _from_body(body: dict[str, Any]) -> str | None:
    for name in ("messages", "input"):
        items = body.get(name)
        if not isinstance(items, list):
            continue
        messages = [item for item in items if isinstance(item, dict)]
        said = [_words(item.get("content")) for item in messages if item.get("role") == "user"]
        if not said:
            said = [_words(item.get("content")) for item in messages]
        found = next((words for words in said if words), None)
        if found:
            return found
    for name in ("input", "prompt", "query"):
        found = _words(body.get(name))
        if found:
            return found
    return None


def _words(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [
        part if isinstance(part, str) else part.get("text")
        for part in content
        if isinstance(part, str) or (isinstance(part, dict) and part.get("type") in _TEXT_TYPES)
    ]
    plain = [text for text in texts if isinstance(text, str)]
    if plain:
        return " · ".join(plain)
    return "(an image or a file)" if any(isinstance(part, dict) for part in content) else None


def _from_cut(request: bytes) -> str | None:
    user = _USER.search(request)
    # The content usually follows its role; where it comes first, the first of all will do.
    found = (_CONTENT.search(request, user.end()) if user else None) or _CONTENT.search(request)
    if found is None:
        return None
    rest = request[found.end() :].decode("utf-8", "replace")
    try:
        value = loads_start(rest)
    except ValueError:
        value = rest[1:]
    return value if isinstance(value, str) else None
