"""Text that somebody else wrote, made safe to look at: escaped, and nothing in it hides or turns around.

Control characters and those that change the direction of text are shown by their name. Long text is cut; the
page says how long it was.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0 and C1 controls but tab and line feed, bidirectional controls (UAX #9), zero-width characters,
surrogates that stand alone, and tags."""


def visible(text: object) -> Markup:
    """`text` escaped, each hidden character as a small mark with its code point.

    A zero-width joiner stays where it joins emoji, since it is part of what was written.
    """
    plain = text if isinstance(text, str) else str(text)
    if _HIDDEN.search(plain) is None:
        return escape(plain)
    parts: list[Markup] = []
    end = 0
    for found in _HIDDEN.finditer(plain):
        if found[0] == "\r" and plain.startswith("\n", found.end()):
            parts.append(escape(plain[end : found.start()]))  # a line's end as HTTP and Windows write it
            end = found.end()
        elif not _joins(plain, found.start()):
            parts += (escape(plain[end : found.start()]), _mark(found[0]))
            end = found.end()
    return Markup("").join([*parts, escape(plain[end:])])


def one_line(text: str, limit: int = 120) -> str:
    """The beginning of `text` with its white space joined, for a cell of a table."""
    joined = " ".join(text[: limit * 4].split())
    return joined if len(joined) <= limit and len(text) <= limit * 4 else joined[:limit].rstrip() + "…"


def _joins(text: str, at: int) -> bool:
    if text[at] != "\u200d" or not 0 < at < len(text) - 1:
        return False
    return _is_symbol(text[at - 1]) and _is_symbol(text[at + 1])


def _is_symbol(char: str) -> bool:
    return unicodedata.category(char) in ("So", "Sk", "Mn")


def _mark(char: str) -> Markup:
    name = unicodedata.name(char, "control character" if ord(char) < 0xA0 else "hidden character")
    return Markup('<span class="hidden-char" title="{}">U+{:04X}</span>').format(name.lower(), ord(char))
