"""Rows read straight from the SQLite file, past every line of the gateway's own code."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]

_EXCHANGE = "SELECT e.*, b.* FROM exchange e LEFT JOIN exchange_body b ON b.exchange_seq = e.seq"


class Rows:
    """What a gateway has written to `path`. Every call opens the file anew and only reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def query(self, sql: str, *values: Any) -> list[Row]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, values)]

    def exchanges(self, trace_id: str | None = None) -> list[Row]:
        """Exchanges with their bodies, oldest first: of one trace, or all."""
        if trace_id is None:
            return self.query(f"{_EXCHANGE} ORDER BY e.seq")
        return self.query(f"{_EXCHANGE} WHERE e.trace_id = ? ORDER BY e.seq", trace_id)

    def the_exchange(self, trace_id: str, *, within_s: float = 5.0, settle_s: float = 0.05) -> Row:
        """The one exchange of the trace. Waits for it up to `within_s`; a second one is an AssertionError.

        `settle_s` is how long a second row gets to show itself: raise it where a double write is likely.
        """
        deadline = time.monotonic() + within_s
        while not self.exchanges(trace_id):
            assert time.monotonic() < deadline, f"no exchange for trace {trace_id!r} within {within_s} s"
            time.sleep(0.02)
        time.sleep(settle_s)
        found = self.exchanges(trace_id)
        assert len(found) == 1, f"{len(found)} exchanges for trace {trace_id!r}: {found}"
        return found[0]

    def feedback(self, trace_id: str) -> list[Row]:
        """Feedback of one trace, retracted included, oldest first."""
        return self.query(
            "SELECT f.* FROM feedback f JOIN feedback_target t ON t.feedback_seq = f.seq "
            "WHERE t.trace_id = ? ORDER BY f.seq",
            trace_id,
        )

    def count(self, table: str) -> int:
        return int(self.query(f'SELECT count(*) AS n FROM "{table}"')[0]["n"])

    def integrity(self) -> str:
        """`ok`, or what SQLite found broken. Opens for writing, so that a WAL left by a crash is read in."""
        with closing(sqlite3.connect(self.path, timeout=10)) as database:
            return str(database.execute("PRAGMA integrity_check").fetchone()[0])
