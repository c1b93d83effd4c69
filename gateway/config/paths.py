"""Where a setting is: the path of keys and indexes that leads to it, and how people read it.

Only naming. What is at a path is `gateway.config.outline`'s and the loader's business.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
"""Keys and list indexes from the top of the document, e.g. `("routes", 0, "target", "upstream")`."""

MAX_SHOWN_CHARS = 100

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_QUERY_KEY = re.compile(r"\$?[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,9}")


def dotted(path: Path) -> str:
    """The path as people write it: `routes[0].target.upstream`, `upstreams["a b"].base_url`.

    The keys of a condition's query are dotted themselves: `conditions[0].query.metadata.tier.$eq`.
    """
    text, plain = "", _PLAIN_KEY
    for place, part in enumerate(path):
        if part == "query" and "conditions" in path[:place]:
            plain = _QUERY_KEY
        if isinstance(part, int):
            text += f"[{part}]"
        elif plain.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{quoted(part)}]"
    return text


def quoted(text: str) -> str:
    """`text` in double quotes, on one line: control characters escaped, long text cut."""
    cut = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)
    return f'"{safe}"'
