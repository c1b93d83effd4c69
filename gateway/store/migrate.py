"""Bring a database to the schema this version needs.

A new one is given the tables as they are, which is quick; one with data takes the migrations in
`gateway/store/migrations/versions`, with Alembic. test_migrations.py holds that both end alike. A database
that is current costs one query.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
)

from gateway.store.hour_tables import metadata  # all tables: its own, and those it is made of

HEAD = "0007"
"""The newest revision. test_migrations.py holds it to the files."""

_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, as Alembic makes it."""


def migrate(connection: Connection) -> None:
    """Upgrade to HEAD in one transaction. Safe when several processes start at once."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    tables = inspect(connection).get_table_names()
    if not tables:
        _create(connection)
    elif _revision(connection, tables) != HEAD:
        _upgrade(connection)
    connection.commit()


def _create(connection: Connection) -> None:
    metadata.create_all(connection, checkfirst=False)
    _VERSION.create(connection, checkfirst=False)
    connection.execute(insert(_VERSION).values(version_num=HEAD))


def _revision(connection: Connection, tables: list[str]) -> str | None:
    return connection.execute(select(_VERSION)).scalar() if _VERSION.name in tables else None


def _upgrade(connection: Connection) -> None:
    # Imported here because a database that is current, the usual case, does not need Alembic in memory.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
