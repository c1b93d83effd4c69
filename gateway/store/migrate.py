"""Bring a database to the schema this version needs, with Alembic.

The migrations are in `gateway/store/migrations/versions`. A database that is current costs one query.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "0001"
"""The newest revision. test_migrations.py holds it to the files."""


def migrate(connection: Connection) -> None:
    """Upgrade to HEAD in one transaction. Safe when several processes start at once."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    if _revision(connection) != HEAD:
        _upgrade(connection)
    connection.commit()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    # Imported here because a database that is current, the usual case, does not need Alembic in memory.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
