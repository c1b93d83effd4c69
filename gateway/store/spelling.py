"""SQL that SQLAlchemy spells ahead of time, so that a start need not load it: makes `gateway/store/sql.py`.

test_spelling.py fails when that is not current. Nothing that serves imports this module.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnElement,
    MetaData,
    PrimaryKeyConstraint,
    Select,
    String,
    Table,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.schema import CreateIndex, CreateTable

from gateway.store.hour_tables import metadata  # all tables: its own, and those it is made of
from gateway.store.tables import cached_answer, exchange, exchange_body, exchange_tag, trace, trace_model

COMMAND = "python -m gateway.store.spelling --write"

_HEAD = f'''"""SQL of the start and of every recorded request, as SQLAlchemy spells it.

Made by `gateway.store.spelling`; to change it: {COMMAND}
"""

from __future__ import annotations
'''

_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, as Alembic makes it."""

_ZERO: ColumnElement[int] = literal_column("0")
_EMPTY: ColumnElement[str] = literal_column("''")
_IS_NEW = exchange.c.seq > bindparam("last")


def module() -> str:
    """The text of `gateway/store/sql.py`."""
    return "\n".join([_HEAD, *_schema(), "", *_columns(), "", *_statements(), ""])


def _schema() -> Iterator[str]:
    yield "SCHEMA = ("
    for table in (*metadata.sorted_tables, _VERSION):
        yield f"    {_literal(_spelled(CreateTable(table)))},"
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield f"    {_literal(_spelled(CreateIndex(index)))},"
    yield ")"
    yield '"""What makes an empty database a new one, in this order."""'


def _columns() -> Iterator[str]:
    quote = sqlite.dialect().identifier_preparer.quote
    yield "COLUMNS = {"
    for table in (exchange, exchange_body, exchange_tag):
        yield f'    "{table.name}": ('
        yield from (f"        {_literal(quote(column.name))}," for column in table.columns)
        yield "    ),"
    yield "}"
    yield '"""Of the tables that a recorded request goes to, in the order of their rows."""'


def _statements() -> Iterator[str]:
    statements: dict[str, tuple[ClauseElement, str]] = {
        "COUNT_IN_TRACES": (_failing(_count_in_traces()), "qmark"),
        "NAME_MODELS": (_failing(_name_models()), "qmark"),
        "FIND_EXCHANGE": (select(exchange.c.seq).where(exchange.c.id == bindparam("id")), "qmark"),
        "FIND_ANSWER": (_find_answer(), "named"),
    }
    for name, (statement, paramstyle) in statements.items():
        yield f"{name} = {_literal(_spelled(statement, paramstyle))}"


def _spelled(element: ClauseElement, paramstyle: str = "qmark") -> str:
    text = str(element.compile(dialect=sqlite.dialect(paramstyle=paramstyle)))
    return "\n".join(line.rstrip().expandtabs(4) for line in text.strip().splitlines())


def _literal(text: str) -> str:
    """As ruff's formatter leaves it."""
    if "\n" in text:
        return f'"""\n{text}\n"""'
    return f"'{text}'" if '"' in text else f'"{text}"'


def _failing(statement: Insert) -> Insert:
    """OR FAIL: whoever meets an error rolls the whole transaction back, so that SQLite need not prepare to
    undo a statement that was half done.
    """
    return statement.prefix_with("OR FAIL")


def _count_in_traces() -> Insert:
    """Adds each exchange to its trace, which its first one makes."""
    new = exchange.c
    counted = {
        "key_id": new.key_id,
        "trace_id": new.trace_id,
        "first_at_ms": new.started_at_ms,
        "last_at_ms": new.started_at_ms,
        "exchange_count": literal_column("1"),
        "error_count": or_(new.status >= literal_column("400"), new.error_kind.is_not(None)),
        "prompt_tokens": func.coalesce(new.prompt_tokens, _ZERO),
        "completion_tokens": func.coalesce(new.completion_tokens, _ZERO),
        "cost_usd": new.cost_usd,
        "feedback_count": _ZERO,
    }
    made = insert(trace).from_select(list(counted), select(*counted.values()).where(_IS_NEW))
    old, add = trace.c, made.excluded
    return made.on_conflict_do_update(
        index_elements=[old.key_id, old.trace_id],
        set_={
            "first_at_ms": func.min(old.first_at_ms, add.first_at_ms),
            "last_at_ms": func.max(old.last_at_ms, add.last_at_ms),
            "exchange_count": old.exchange_count + add.exchange_count,
            "error_count": old.error_count + add.error_count,
            "prompt_tokens": old.prompt_tokens + add.prompt_tokens,
            "completion_tokens": old.completion_tokens + add.completion_tokens,
            "cost_usd": case(
                (add.cost_usd.is_(None), old.cost_usd),
                else_=func.coalesce(old.cost_usd, literal_column("0.0")) + add.cost_usd,
            ),
        },
    )


def _name_models() -> Insert:
    """Notes every model a trace asked for or was answered by."""
    new = exchange.c
    asked = select(new.key_id, new.trace_id, new.requested_model).where(
        _IS_NEW, new.requested_model != _EMPTY
    )
    answered = select(new.key_id, new.trace_id, new.answering_model).where(
        _IS_NEW, new.answering_model != _EMPTY, new.answering_model.is_distinct_from(new.requested_model)
    )
    named = asked.union_all(answered)
    return insert(trace_model).from_select(list(trace_model.columns), named).on_conflict_do_nothing()


def _find_answer() -> Select[tuple[str, bytes, int, int, int]]:
    answer = cached_answer.c
    return select(
        answer.headers, answer.body, answer.created_at_ms, answer.expires_at_ms, answer.used_at_ms
    ).where(
        answer.key == bindparam("key"),
        answer.created_at_ms >= bindparam("oldest_ms"),
        answer.expires_at_ms > bindparam("now_ms"),
    )


def main(arguments: list[str]) -> int:
    """Print the module, or write it where it belongs."""
    parser = argparse.ArgumentParser(prog="python -m gateway.store.spelling", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write gateway/store/sql.py")
    if parser.parse_args(arguments).write:
        Path(__file__).with_name("sql.py").write_text(module(), encoding="utf-8")
    else:
        sys.stdout.write(module())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
