"""What two texts have in common and where they differ, word by word, within a bound on the work.

Myers' algorithm (An O(ND) Difference Algorithm, 1986). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

MAX_EDITS = 600
"""Words put in and taken out; texts that differ more are better read beside each other."""
MAX_CHARS = 200_000

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")

Kind = Literal["same", "removed", "added"]


@dataclass(slots=True, frozen=True)
class Piece:
    kind: Kind
    text: str


def compare(old: str, new: str, max_edits: int = MAX_EDITS) -> list[Piece] | None:
    """The pieces that make up both texts, in order; None when they differ too much, or are too long."""
    if len(old) + len(new) > MAX_CHARS:
        return None
    first, second = _WORDS.findall(old), _WORDS.findall(new)
    start = _common(first, second)
    end = _common(first[start:][::-1], second[start:][::-1])
    steps = _edits(first[start : len(first) - end], second[start : len(second) - end], max_edits)
    if steps is None:
        return None
    same: list[tuple[Kind, str]] = [("same", word) for word in first[:start]]
    rest: list[tuple[Kind, str]] = [("same", word) for word in first[len(first) - end :]]
    return [
        Piece(kind, "".join(word for _, word in words))
        for kind, words in groupby([*same, *steps, *rest], key=lambda step: step[0])
    ]


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def _edits(first: Sequence[str], second: Sequence[str], most: int) -> list[tuple[Kind, str]] | None:
    reached = {1: 0}
    history: list[dict[int, int]] = []
    for edits in range(min(len(first) + len(second), most) + 1):
        history.append(dict(reached))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1])
            x = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            y = x - diagonal
            while x < len(first) and y < len(second) and first[x] == second[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            if x >= len(first) and y >= len(second):
                return _path(first, second, history)
    return None


def _path(
    first: Sequence[str], second: Sequence[str], history: list[dict[int, int]]
) -> list[tuple[Kind, str]]:
    """The way back from the end of both texts, turned around."""
    steps: list[tuple[Kind, str]] = []
    x, y = len(first), len(second)
    for edits in range(len(history) - 1, -1, -1):
        reached, diagonal = history[edits], x - y
        down = diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1])
        before = diagonal + 1 if down else diagonal - 1
        start_x = reached[before]
        while x > (start_x if down else start_x + 1):
            x, y = x - 1, y - 1
            steps.append(("same", first[x]))
        if edits == 0:
            break
        if down:
            y -= 1
            steps.append(("added", second[y]))
        else:
            x -= 1
            steps.append(("removed", first[x]))
    return steps[::-1]
