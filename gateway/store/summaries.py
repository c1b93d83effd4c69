"""Summaries of feedback, added up in the database: counts, distributions, means, and agreement of sources.

What a summary holds of a group is bounded: its most frequent names and values and the first fields. The rest
is counted as others. Every figure can be recomputed from the rows; test_summary.py does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, or_, select

from gateway.records import FeedbackFilter
from gateway.records.summary import (
    Agreement,
    Distribution,
    Grouping,
    GroupSummary,
    NameSummary,
    Summary,
    ValueCount,
)
from gateway.store.agreement import Key, agreements
from gateway.store.groups import member, members
from gateway.store.items import items
from gateway.store.search import no_such_cursor

MAX_NAMES = 50
MAX_VALUES = 25
"""All 21 scores, and some more."""
MAX_FIELDS = 50

Group = str | None
"""As in `member.grp`."""

_NO_VALUES = Distribution(0, (), 0, None, None, None, None)


def summary(
    connection: Connection,
    key_id: str,
    wanted: FeedbackFilter,
    *,
    group_by: Grouping | None,
    limit: int,
    after: str | None = None,
) -> Summary:
    """A page of `limit` groups from behind the group `after`: days from the newest, other groups from the one
    with most feedback. What has no group comes last. Without `group_by` there is one group of all.

    Raises InvalidField when there is no group `after`.
    """
    with members(connection, key_id, wanted, group_by):
        groups = _groups(connection, group_by, limit, after)
        counts = dict(groups[:limit])
        if not counts and group_by is None:
            counts = {None: 0}
        if after is not None or len(groups) > limit:
            _forget_others(connection, counts)
        return Summary(tuple(_group_summaries(connection, key_id, counts)), has_more=len(groups) > limit)


def by_name(connection: Connection, key_id: str, trace_id: str) -> tuple[NameSummary, ...]:
    """The summary of a trace and its exchanges."""
    wanted = FeedbackFilter(trace_id=trace_id)
    return summary(connection, key_id, wanted, group_by=None, limit=1).groups[0].names


def _groups(
    connection: Connection, group_by: Grouping | None, limit: int, after: str | None
) -> list[tuple[Group, int]]:
    """One more than `limit`, with how much feedback each has."""
    counts = select(member.c.grp, func.count().label("size")).group_by(member.c.grp).cte("counts")
    grp, size = counts.c.grp, counts.c.size
    query = select(grp, size)
    query = (
        query.order_by(grp.desc().nulls_last())
        if group_by == "day"
        else query.order_by(grp.is_(None), size.desc(), grp)
    )
    if after is not None:
        last_size = connection.execute(select(size).where(grp == after)).scalar()
        if last_size is None:
            raise no_such_cursor(after)
        behind = (
            grp < after if group_by == "day" else or_(size < last_size, and_(size == last_size, grp > after))
        )
        query = query.where(or_(grp.is_(None), behind))
    return [(row.grp, row.size) for row in connection.execute(query.limit(limit + 1))]


def _forget_others(connection: Connection, counts: Mapping[Group, int]) -> None:
    """Leave only these groups in `member`."""
    named = [group for group in counts if group is not None]
    others: ColumnElement[bool] = and_(member.c.grp.is_not(None), member.c.grp.not_in(named))
    if None not in counts:
        others = or_(others, member.c.grp.is_(None))
    connection.execute(delete(member).where(others))


def _group_summaries(
    connection: Connection, key_id: str, counts: Mapping[Group, int]
) -> Iterator[GroupSummary]:
    totals = _totals(connection)
    distributions = _distributions(connection, totals, agreements(connection, key_id))
    for group, count in counts.items():
        names = tuple(
            _name_summary(total, distributions[group, total.name]) for total in totals.get(group, ())
        )
        yield GroupSummary(
            group=group,
            count=count,
            names=names,
            other=count - sum(name.count for name in names),
        )


@dataclass(slots=True)
class _Total:
    """How much feedback a name has, and the sums of its scores."""

    name: str
    count: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    weight: float = 0.0
    weighted: float = 0.0


_KINDS = (member.c.grp, member.c.name, member.c.kind)
_TOTALS = (
    select(*_KINDS, func.count(), func.sum(member.c.weight), func.sum(member.c.number * member.c.weight))
    .group_by(*_KINDS)
    .order_by(*_KINDS)
)


def _totals(connection: Connection) -> dict[Group, list[_Total]]:
    """The most frequent names of each group."""
    return {
        group: nsmallest(MAX_NAMES, _totals_of_names(rows), key=lambda total: (-total.count, total.name))
        for group, rows in groupby(_rows(connection, _TOTALS), _group)
    }


def _totals_of_names(rows: Iterable[Sequence[Any]]) -> Iterator[_Total]:
    for name, kinds in groupby(rows, _name):
        total = _Total(name)
        for _, _, kind, count, weight, weighted in kinds:
            total.count += count
            total.kinds[kind] = count
            if kind == "score":
                total.weight, total.weighted = weight, weighted
        yield total


@dataclass(slots=True)
class _Distributions:
    """Of a name: of its values, and of the members of those that are objects."""

    whole: Distribution = _NO_VALUES
    fields: dict[str, Distribution] = field(default_factory=dict)


_SERIES = (items.c.grp, items.c.name, items.c.field)
_TIMES = func.count().label("times")
_VALUES = (
    select(*_SERIES, items.c.label, items.c.number, _TIMES)
    .group_by(*_SERIES, items.c.label, items.c.number)
    .order_by(*_SERIES, _TIMES.desc(), items.c.number, items.c.label)
)


def _distributions(
    connection: Connection, totals: Mapping[Group, Sequence[_Total]], compared: Mapping[Key, Agreement]
) -> dict[tuple[Group, str], _Distributions]:
    """Of the names in `totals`."""
    found = {(group, total.name): _Distributions() for group, names in totals.items() for total in names}
    for (group, name, member_name), values in groupby(_rows(connection, _VALUES), _key):
        of_name = found.get((group, name))
        if of_name is None:
            continue
        distribution = _distribution(values, compared.get((group, name, member_name)))
        if member_name is None:
            of_name.whole = distribution
        elif len(of_name.fields) < MAX_FIELDS:
            of_name.fields[member_name] = distribution
    return found


def _distribution(rows: Iterable[Sequence[Any]], agreement: Agreement | None) -> Distribution:
    """Of rows from the most frequent value on."""
    total = other = numbers = 0
    added = 0.0
    lowest = highest = None
    values: list[ValueCount] = []
    for *_, label, number, count in rows:
        total += count
        if label is None and number is not None:
            numbers += count
            added += number * count
            lowest = number if lowest is None else min(lowest, number)
            highest = number if highest is None else max(highest, number)
        if len(values) < MAX_VALUES and not (label is None and number is None):
            values.append(ValueCount(_value(label, number), count))
        else:
            other += count
    mean = added / numbers if numbers else None
    return Distribution(total, tuple(values), other, mean, _plain(lowest), _plain(highest), agreement)


def _value(label: str | None, number: float | None) -> Any:
    if label is None:
        return _plain(number)
    return label if number is None else label == "true"


def _plain(number: float | None) -> float | None:
    """A whole number without a fraction: a score of 5 is 5."""
    return int(number) if number is not None and number == int(number) and abs(number) < 2**53 else number


def _rows(connection: Connection, query: Select[Any]) -> Iterable[Sequence[Any]]:
    rows: Iterable[Sequence[Any]] = connection.execute(query)
    return rows


def _group(row: Sequence[Any]) -> Group:
    group: Group = row[0]
    return group


def _name(row: Sequence[Any]) -> str:
    return str(row[1])


def _key(row: Sequence[Any]) -> Key:
    return row[0], row[1], row[2]


def _name_summary(total: _Total, found: _Distributions) -> NameSummary:
    scores = total.kinds.get("score", 0)
    return NameSummary(
        name=total.name,
        count=total.count,
        kinds=total.kinds,
        distribution=found.whole,
        weighted_mean=total.weighted / total.weight if total.weight else None,
        mean_weighted_value=total.weighted / scores if scores else None,
        fields=found.fields,
    )
