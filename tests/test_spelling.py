"""The SQL that is spelled ahead of time: current, and what SQLAlchemy would have said."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert

from gateway.store import exchanges, spelling, sql
from gateway.store.tables import metadata


def test_the_sql_is_what_the_tables_say() -> None:
    assert Path(sql.__file__).read_text(encoding="utf-8") == spelling.module(), f"run: {spelling.COMMAND}"


def test_without_write_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert spelling.main([]) == 0
    assert capsys.readouterr().out == spelling.module()


@pytest.mark.parametrize("name", sql.COLUMNS)
def test_rows_are_inserted_as_sqlalchemy_would(name: str) -> None:
    table = metadata.tables[name]
    statement = insert(table).values(dict.fromkeys(table.columns.keys())).prefix_with("OR FAIL")
    ours = exchanges._Insert(name, sql.COLUMNS[name])
    assert ours._sizes[-1] == (len(table.columns), str(statement.compile(dialect=sqlite.dialect())))
