"""SQLAlchemy Core over one SQLite connection.

Loading it takes a third of a second, so it is imported where it is first used, on a database's thread, and
never by what a forwarded request waits for. Whoever uses it meets errors of `sqlite3`, not of SQLAlchemy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

T = TypeVar("T")


class Core:
    """`raw` as SQLAlchemy sees it. To be made and used on the thread that owns `raw`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        # SQLAlchemy rolls back when it meets a connection for the first time, and that may be in the middle
        # of a transaction that began without it. So it leaves that to `run`.
        self._engine = create_engine(
            "sqlite://", creator=lambda: raw, poolclass=StaticPool, skip_autocommit_rollback=True
        )

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, and roll back what it did not commit. Raises sqlite3.Error, and what `work` raises."""
        try:
            with self._engine.connect() as connection:
                return work(connection)
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.Error):
                raise error.orig from None
            raise
        finally:
            if self._raw.in_transaction:
                self._raw.rollback()
