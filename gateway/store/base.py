"""The seam between the services and a database: two verbs, whatever the database.

`work` is a plain function over a SQLAlchemy connection. It runs on a thread that owns the connection, so
it must not touch the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


class Database(Protocol):
    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own; durable when this returns.

        What `work` raises is raised here after a rollback. Raises StoreUnavailable when the database fails.
        """
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one consistent snapshot.

        Raises StoreUnavailable when the database fails or the read takes longer than `store.read_timeout_s`.
        """
        ...
