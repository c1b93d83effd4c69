"""The filters that lists share: options named after the API's query parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gateway.cli.client import Command, Query

Option = Callable[[Command], Command]

METADATA = click.option(
    "--metadata", multiple=True, metavar="KEY=VALUE", help="Metadata has this value; may be repeated."
)

WHO: tuple[Option, ...] = (
    click.option("--trace-id", metavar="ID", help="Of this trace."),
    click.option("--user", help="Metadata _user."),
    click.option("--organisation", help="Metadata _organisation."),
    click.option("--prompt", help="Metadata _prompt."),
    click.option("--environment", help="Metadata _environment."),
    METADATA,
)
VALUES: tuple[Option, ...] = (
    click.option("--min-value", type=int, help="Feedback of at least this value."),
    click.option("--max-value", type=int, help="Feedback of at most this value."),
)
EXCHANGES: tuple[Option, ...] = (
    click.option("--model", help="Requested or answering model."),
    click.option("--status", metavar="CODE|error|ok", help="HTTP status of the answer, or how it ended."),
    click.option("--has-feedback/--no-feedback", default=None, help="With feedback, or without any."),
)
OUTCOMES: tuple[Option, ...] = (
    click.option("--upstream", help="Name of the upstream."),
    click.option("--error-kind", metavar="KIND", help="Such as client_closed or upstream_aborted."),
    click.option("--streamed/--not-streamed", default=None, help="Streamed, or answered at once."),
)
SCORES: tuple[Option, ...] = (
    click.option("--min-weighted-mean", type=float, help="Weighted mean of at least this."),
    click.option("--max-weighted-mean", type=float, help="Weighted mean of at most this."),
)
PAGES: tuple[Option, ...] = (
    click.option("--since", metavar="TIME", help="From this time, e.g. 2026-01-31T12:00:00Z (UTC)."),
    click.option("--until", metavar="TIME", help="Before this time."),
    click.option("--limit", type=int, help="Entries at most."),
    click.option("--after", metavar="ID", help="The page after the entry with this id."),
)


def filtered_by(*groups: tuple[Option, ...]) -> Option:
    """Adds the groups' options to a command; they arrive as keyword arguments named like the API's."""

    def add(command: Command) -> Command:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def query(filters: dict[str, Any]) -> Query:
    """The filters that were given, as query parameters: `metadata` becomes `metadata[key]`."""
    pairs: Query = []
    for name, value in filters.items():
        if name == "metadata":
            pairs += [(f"metadata[{key}]", wanted) for key, wanted in key_values(value).items()]
        elif isinstance(value, bool):
            pairs.append((name, str(value).lower()))
        elif value is not None:
            pairs.append((name, str(value)))
    return pairs


def key_values(texts: tuple[str, ...]) -> dict[str, str]:
    """`("key=value", …)` as a mapping. Raises click.BadParameter for text without a key or `=`."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(
                f"{text!r} is not KEY=VALUE, such as team=search", param_hint="--metadata"
            )
        pairs[key] = value
    return pairs
