"""An older database takes the migrations, with Alembic. When, is decided in `gateway.store.migrate`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from gateway.store.core import Core


def upgrade(raw: sqlite3.Connection) -> None:
    """Take every migration that is missing, in the transaction that has begun, and commit it.

    Raises sqlite3.Error, and Alembic's CommandError for a revision that there is none of.
    """
    Core(raw).run(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    with connection.begin():
        command.upgrade(config, "head")
