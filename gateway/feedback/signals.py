"""How feedback came about, where its sender does not say: rated, done or written."""

from __future__ import annotations

from typing import Any

from gateway.records import Kind, Signal

IMPLICIT_NAMES = frozenset({"copied", "saved", "dismissed", "regenerated"})
"""What somebody does with an answer says something about it, too."""

FREE_FORM_NAMES = frozenset({"comment", "correction"})

MAX_LABEL_CHARS = 256
"""A longer text is nobody's label: it was written."""


def signal_of(name: str, kind: Kind, value: Any) -> Signal:
    """`implicit` by its name; `free_form` when it is only a comment or a correction, or a text too long for a
    label; else `explicit`."""
    if name in IMPLICIT_NAMES:
        return "implicit"
    if kind == "none" or name in FREE_FORM_NAMES:
        return "free_form"
    if kind == "text" and len(value) > MAX_LABEL_CHARS:
        return "free_form"
    return "explicit"
