"""Figures of whole hours and days, made after the fact: why, how, and what all of them share.

A page of insights adds up a million rows; these tables let it add up some hundred. Nothing is done for them
while a request is recorded. `roller` makes them later, in small steps, and a page counts by itself what is
not in them yet, so what it shows is exact:

- Exchanges never change and are numbered in commit order. `exchange_hours` counts each once, by its number;
  what comes behind the last number counted is the tail that a page counts itself.
- Feedback changes. Whatever changes what feedback counts for marks the hour in which the feedback was given
  as stale, in the same transaction; `feedback_hours` then makes that hour anew from its rows.
- Days are added up from their hours, once those have settled: see `days`. A day with a new figure is stale
  until then, and read by its hours.

All of it can be thrown away at any time: `forget` does, and the roller begins from nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, delete, func, literal, select
from sqlalchemy.dialects.sqlite import Insert, insert

from gateway.records.insights import DIMENSIONS, HOUR_MS
from gateway.store.hour_tables import exchange_hour, exchange_hour_progress, feedback_hour, stale_hour
from gateway.store.tables import exchange, feedback

DAY = 24
"""The width of a day, in hours; a day has the number of its first hour (UTC)."""

EVERYTHING = ""
"""The dimension whose one group is all there is."""

ALL_DIMENSIONS = (EVERYTHING, *DIMENSIONS)

NO_GROUP = ""
"""The group of what has none."""

NOT_A_SCORE = 100
"""In place of a value: feedback that is no score."""

SAID: tuple[ColumnElement[Any], ...] = (
    func.coalesce(exchange.c.answering_model, exchange.c.requested_model),
    exchange.c.meta_prompt,
    exchange.c.meta_user,
    exchange.c.meta_organisation,
    exchange.c.meta_environment,
    exchange.c.upstream,
)
"""What an exchange says, for each of DIMENSIONS."""

What = Literal["feedback", "feedback day", "exchange day"]
"""What of an hour is to be made anew."""


class Stale(NamedTuple):
    """An hour to make anew. `version` tells whether it was marked again since."""

    what: What
    key_id: str
    hour: int
    version: int


def hour_of_feedback() -> Select[Any]:
    """The key and the hour of feedback, each once."""
    return select(feedback.c.key_id, feedback.c.created_at_ms // HOUR_MS).distinct()


def mark_feedback(connection: Connection, given_in: Select[Any]) -> None:
    """The feedback of these hours, of `hour_of_feedback` with a WHERE, is to be counted anew."""
    what: What = "feedback"
    columns = given_in.selected_columns
    marks = given_in.with_only_columns(literal(what), *columns, literal(1))
    connection.execute(_again(insert(stale_hour).from_select(stale_hour.columns.keys(), marks)))


def mark(connection: Connection, what: What, hours: Iterable[tuple[str, int]]) -> None:
    """These hours, each with its key, are to be made anew."""
    rows = [{"what": what, "key_id": key_id, "hour": hour, "version": 1} for key_id, hour in set(hours)]
    if rows:
        connection.execute(_again(insert(stale_hour)), rows)


def day_of(hour: int) -> int:
    return hour - hour % DAY


def next_stale(connection: Connection, what: What) -> Stale | None:
    """The newest of the hours to make anew."""
    query = select(stale_hour).where(stale_hour.c.what == what).order_by(stale_hour.c.hour.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Stale(*row)


def stale_of(connection: Connection, what: What, key_id: str, first: int, end: int) -> set[int]:
    """The stale hours of a key from `first` up to `end`."""
    query = select(stale_hour.c.hour).where(
        stale_hour.c.what == what,
        stale_hour.c.key_id == key_id,
        stale_hour.c.hour >= first,
        stale_hour.c.hour < end,
    )
    return set(connection.execute(query).scalars())


def is_current(connection: Connection, stale: Stale) -> bool:
    """Whether the mark is there still and was not made again."""
    query = select(stale_hour.c.version).where(*_is_mark(stale))
    return connection.execute(query).scalar() == stale.version


def settle(connection: Connection, stale: Stale) -> bool:
    """Take the mark away, unless it was made again; whether it was there."""
    gone = connection.execute(
        delete(stale_hour).where(*_is_mark(stale), stale_hour.c.version == stale.version)
    )
    return gone.rowcount > 0


def forget(connection: Connection) -> None:
    """Everything is to be counted anew."""
    for table in (exchange_hour, exchange_hour_progress, feedback_hour, stale_hour):
        connection.execute(delete(table))
    mark_feedback(connection, hour_of_feedback().where(feedback.c.seq > 0))


def _again(new: Insert) -> Insert:
    mark = stale_hour.c
    return new.on_conflict_do_update(
        index_elements=[mark.what, mark.key_id, mark.hour], set_={"version": mark.version + 1}
    )


def _is_mark(stale: Stale) -> tuple[Any, ...]:
    mark = stale_hour.c
    return (mark.what == stale.what, mark.key_id == stale.key_id, mark.hour == stale.hour)
