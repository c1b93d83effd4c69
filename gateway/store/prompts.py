"""Which answers to the same prompt were rated, while pairs are made of them.

In a file of its own, gone when it is closed, so that the prompts of a million exchanges take no memory.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple, Self


class RatedAnswer(NamedTuple):
    """An exchange by its `seq`."""

    rating: float
    seq: int


class PromptBook:
    """Of each prompt, by its digest: the answer rated lowest and the one rated highest so far."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA cache_size=-4096")
        self._database.execute(
            "CREATE TABLE prompt (digest BLOB PRIMARY KEY, lowest REAL, lowest_seq INTEGER, highest REAL, "
            "highest_seq INTEGER) WITHOUT ROWID"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def enter(self, digest: bytes, answer: RatedAnswer) -> RatedAnswer | None:
        """Add an answer. The earlier one to the same prompt whose rating is furthest from its own, None when
        there is none with another rating."""
        found = self._database.execute(
            "SELECT lowest, lowest_seq, highest, highest_seq FROM prompt WHERE digest = ?", (digest,)
        ).fetchone()
        if found is None:
            self._put(digest, answer, answer)
            return None
        lowest, highest = RatedAnswer(*found[:2]), RatedAnswer(*found[2:])
        if not lowest.rating <= answer.rating <= highest.rating:
            self._put(digest, min(lowest, answer), max(highest, answer))
        furthest = max(lowest, highest, key=lambda other: abs(other.rating - answer.rating))
        return None if furthest.rating == answer.rating else furthest

    def _put(self, digest: bytes, lowest: RatedAnswer, highest: RatedAnswer) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO prompt VALUES (?, ?, ?, ?, ?)", (digest, *lowest, *highest)
        )
