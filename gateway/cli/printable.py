"""Text from models, users and files made safe for a terminal: nothing it prints can move, colour or hide.

Characters that are not printable (escape sequences, other control characters, bidirectional overrides) are
shown as their code. No layout here.
"""

from __future__ import annotations

from typing import Any

import orjson


def printable(text: str) -> str:
    """`text` on one line, with everything that is not printable spelled out: `\\x1b`, `\\n`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _code(char) for char in text)


def printable_lines(text: str) -> str:
    """As `printable`, but line breaks and tabs stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else _code(char) for char in text)


def json_text(value: Any, *, indent: bool = True) -> str:
    """JSON for programs that is safe to print: the same value, unprintable characters as `\\uXXXX`."""
    return printable_json(orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode())


def printable_json(text: str) -> str:
    """JSON text with the same meaning that is safe to print."""
    return "".join(char if char.isprintable() or char == "\n" else _json_code(char) for char in text)


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _json_code(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
