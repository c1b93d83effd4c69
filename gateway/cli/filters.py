"""The filters that lists share: options named after the API's query parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from gateway.capture.attempts import CACHE_STATUSES
from gateway.cli.client import Command, Query
from gateway.records import KINDS, SIGNALS, SOURCE_TYPES

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


class Number(click.ParamType[str]):
    """A number, whole or not, that is sent as it was written."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            finite = math.isfinite(float(text))
        except ValueError:
            finite = False
        if not finite:
            self.fail(f"{text!r} is not a number", param, ctx)
        return text


NUMBER = Number()

FEEDBACK: tuple[Option, ...] = (
    click.option("--request-id", metavar="ID", help="Given to this exchange."),
    click.option("--name", help="Of this name."),
    click.option("--kind", type=click.Choice(KINDS), help="Of this kind of value."),
    click.option("--signal", type=click.Choice(SIGNALS), help="Rated, done or written."),
    click.option("--source-type", type=click.Choice(SOURCE_TYPES), help="By this kind of source."),
    click.option("--source-id", metavar="ID", help="By this user, reviewer or judge."),
    click.option("--task-id", "--task_id", metavar="ID", help="Given for this task."),
    click.option("--label", help="Whose value is this text, true or false."),
    click.option("--min-value", type=NUMBER, help="A number of at least this; true is 1."),
    click.option("--max-value", type=NUMBER, help="A number of at most this."),
)
RETRACTED: tuple[Option, ...] = (
    click.option("--include-retracted", is_flag=True, default=None, help="With what was taken back."),
)
VALUES: tuple[Option, ...] = (
    click.option("--min-value", type=int, help="Feedback of at least this value."),
    click.option("--max-value", type=int, help="Feedback of at most this value."),
)
_MODEL = click.option("--model", help="Requested or answering model.")
_UPSTREAM = click.option("--upstream", help="Name of the upstream.")
EXCHANGES: tuple[Option, ...] = (
    _MODEL,
    click.option("--status", metavar="CODE|error|ok", help="HTTP status of the answer, or how it ended."),
    click.option("--has-feedback/--no-feedback", default=None, help="With feedback, or without any."),
)
SOURCES: tuple[Option, ...] = (_MODEL, _UPSTREAM)
OUTCOMES: tuple[Option, ...] = (
    _UPSTREAM,
    click.option("--target", metavar="LABEL", help="Answered by this target, where a plan has several."),
    click.option("--cache-status", type=click.Choice(CACHE_STATUSES), help="What the response cache did."),
    click.option("--retried/--not-retried", default=None, help="With more than one attempt, or with one."),
    click.option("--error-kind", metavar="KIND", help="Such as client_closed or upstream_aborted."),
    click.option("--streamed/--not-streamed", default=None, help="Streamed, or answered at once."),
)
SCORES: tuple[Option, ...] = (
    click.option("--min-weighted-mean", type=float, help="Weighted mean of at least this."),
    click.option("--max-weighted-mean", type=float, help="Weighted mean of at most this."),
)
TIMES: tuple[Option, ...] = (
    click.option("--since", metavar="TIME", help="From this time, e.g. 2026-01-31T12:00:00Z (UTC)."),
    click.option("--until", metavar="TIME", help="Before this time."),
)
PAGES: tuple[Option, ...] = (
    *TIMES,
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
