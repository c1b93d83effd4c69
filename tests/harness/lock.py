"""Another process holds the database's lock: this one, as a backup or a person with `sqlite3` would."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def lock_held(path: Path) -> Iterator[None]:
    """The one write lock of the database file, until the block ends."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            holder.execute("ROLLBACK")
