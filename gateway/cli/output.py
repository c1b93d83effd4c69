"""How a command prints an answer: as JSON for programs, or as a table with the way to the next page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.failures import Failure
from gateway.cli.printable import json_text, printable
from gateway.cli.tables import Row, console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.table import Table


def print_json(value: Any, *, indent: bool = True) -> None:
    """The server's answer on stdout, as JSON that a terminal may show."""
    click.echo(json_text(value, indent=indent))


def print_page(page: Any, table: Callable[[Iterable[Row]], Table], *, as_json: bool, nothing: str) -> None:
    """A list of the API; `nothing` is what to say of an empty one."""
    rows = rows_of(page)
    if as_json:
        print_json(page)
        return
    if not rows:
        click.echo(nothing)
        return
    console().print(table(rows))
    if page.get("has_more"):
        click.echo(f"There are more: add --after {printable(str(page.get('last_id')))}", err=True)


def rows_of(page: Any) -> list[Row]:
    """The entries of an API list. Raises Failure for an answer that is none."""
    data = page.get("data") if isinstance(page, dict) else None
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise Failure("the answer is no list as a gateway gives it; check --url")
    return data
