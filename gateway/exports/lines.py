"""A line of a file: JSONL, and CSV (RFC 4180) that a spreadsheet does not take for formulas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.jsonio import JSON, dumps, dumps_text

_NEEDS_QUOTES = frozenset(',"\r\n')
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Source: https://owasp.org/www-community/attacks/CSV_Injection."""


def json_line(value: Mapping[str, Any]) -> bytes:
    """Raises TypeError for what is nested too deeply to be written."""
    return dumps(value) + b"\n"


def csv_line(cells: Iterable[JSON]) -> bytes:
    """Text as it is, None as nothing, everything else as JSON.

    Text that a spreadsheet would calculate, such as `=1+1` or `-1 for this`, gets a `'` in front: people open
    these files in one, and other people write what is in them. Numbers are numbers: -5 stays -5.
    """
    return ",".join(_cell(cell) for cell in cells).encode("utf-8", "replace") + b"\r\n"


def _cell(cell: JSON) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        return _quoted(dumps_text(cell))
    return _quoted(f"'{cell}" if cell.startswith(_STARTS_A_FORMULA) else cell)


def _quoted(text: str) -> str:
    if _NEEDS_QUOTES.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
