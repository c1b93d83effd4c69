"""Bring a database to the schema this version needs.

A new one is given the tables as they are, which is quick; one with data takes the migrations in
`gateway/store/migrations/versions`, with Alembic. test_migrations.py holds that both end alike. A database
that is current costs two queries.
"""

from __future__ import annotations

import sqlite3

from gateway.store import sql
from gateway.store.transaction import immediate

HEAD = "0007"
"""The newest revision. test_migrations.py holds it to the files."""

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


def migrate(connection: sqlite3.Connection) -> None:
    """Upgrade to HEAD in one transaction. Safe when several processes start at once.

    `connection` begins no transaction by itself. Raises sqlite3.Error; then nothing has changed.
    """
    with immediate(connection):
        tables = {name for (name,) in connection.execute(_TABLES)}
        if not tables:
            _create(connection)
        elif _revision(connection, tables) != HEAD:
            _upgrade(connection)


def _create(connection: sqlite3.Connection) -> None:
    for statement in sql.SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))


def _revision(connection: sqlite3.Connection, tables: set[str]) -> str | None:
    if "alembic_version" not in tables:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _upgrade(connection: sqlite3.Connection) -> None:
    from gateway.store.upgrade import upgrade  # noqa: PLC0415 - Alembic, for who has an older database

    upgrade(connection)
