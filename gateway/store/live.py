"""Whether anything has changed since the last look, without looking at what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection


def version(connection: Connection) -> tuple[int, Any]:
    """Another value after every commit, of any process. Each connection counts for itself, so two of them
    may differ where nothing changed; they never agree where something did.
    """
    number = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
    return id(connection.connection.dbapi_connection), number
