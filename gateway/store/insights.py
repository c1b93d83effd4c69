"""Figures of a span of hours, by time and by group: what is counted by hour, and what is not yet.

Reads only. The rows that are not in the tables of hours yet are counted here, up to a bound: MAX_TAIL
exchanges and MAX_LIVE rows of stale hours. What is beyond it is said in the answer, not left out silently.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, case, func, literal, select, union_all
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from gateway.records.insights import (
    FEW,
    Dimension,
    FeedbackFigures,
    Figures,
    GroupFigures,
    Insights,
    RequestFigures,
    Span,
)
from gateway.store import exchange_hours, feedback_hours
from gateway.store.exchange_hours import latency_of
from gateway.store.hour_tables import exchange_hour, feedback_hour
from gateway.store.hours import DAY, EVERYTHING, NO_GROUP, NOT_A_SCORE, day_of, stale_of

MAX_TAIL = 3_000
"""Exchanges that are counted while somebody waits: about 40 ms."""
MAX_LIVE = 3_000
"""Feedback, and exchanges it is about, of the hours that are counted while somebody waits."""
MAX_CANDIDATES = 1_000
"""Groups among which those shown are chosen: the ones with most feedback or most requests."""
MAX_SUMMED = 200
"""Of a long span with more groups than can be added up: those with most requests on their busiest days."""
MAX_GROUPS = 50
MAX_RATED = 10
"""Of the best, and as many of the worst."""
RATED: tuple[Dimension, ...] = ("prompt", "model")

_SUMS = ("requests", "errors", "prompt_tokens", "completion_tokens", "priced", "cost_usd")


def read(
    connection: Connection, key_id: str, span: Span, *, by: Dimension, group: str | None = None
) -> Insights:
    """The figures of `span`: its groups `by`, and its steps, of all or of one `group` (empty: of none)."""
    live = _live(connection, key_id, span)
    place = (EVERYTHING, NO_GROUP) if group is None else (by, group)
    reader = _Reader(connection, key_id, span, live)
    groups, more = reader.groups(by)
    return Insights(
        span=span,
        steps=reader.steps(*place),
        groups=groups,
        more_groups=more,
        rated={dimension: reader.rated(dimension) for dimension in RATED},
        uncounted=live.uncounted,
        stale_hours=live.left,
    )


def hours(connection: Connection, key_id: str) -> tuple[int, int] | None:
    """The first hour with a figure, and the last; None when there is none."""
    found: list[int] = []
    for table in (exchange_hour, feedback_hour):
        of_all = (table.c.key_id == key_id, table.c.dimension == EVERYTHING, table.c.width == 1)
        for which in (func.min, func.max):
            found += connection.execute(select(which(table.c.hour)).where(*of_all)).scalars().all()
    counted, newest = exchange_hours.progress(connection)
    tail = exchange_hours.count(connection, counted, min(newest, counted + MAX_TAIL), key_id)
    known = [hour for hour in found if hour is not None] + [hour for _, _, hour, _ in tail]
    known += stale_of(connection, "feedback", key_id, 0, 2**40)
    return (min(known), max(known)) if known else None


@dataclass(slots=True)
class _Live:
    """What is counted now: the tail of the exchanges and the feedback of stale hours; and how much is not."""

    requests: exchange_hours.Counted
    stale_days: set[int]
    stale_feedback_days: set[int]
    feedback: dict[int, feedback_hours.Counted] = field(default_factory=dict)
    uncounted: int = 0
    left: int = 0


def _live(connection: Connection, key_id: str, span: Span) -> _Live:
    counted, newest = exchange_hours.progress(connection)
    last = min(newest, counted + MAX_TAIL)
    tail = exchange_hours.count(connection, counted, last, key_id)
    stale = stale_of(connection, "feedback", key_id, span.first, span.end)
    touched = exchange_hours.hours_about(connection, counted, last, key_id)
    stale |= {hour for hour in touched if span.first <= hour < span.end}
    live = _Live(
        {place: figures for place, figures in tail.items() if span.first <= place[2] < span.end},
        stale_days=stale_of(connection, "exchange day", key_id, span.first, span.end),
        stale_feedback_days=stale_of(connection, "feedback day", key_id, span.first, span.end)
        | {day_of(hour) for hour in stale},
        uncounted=newest - last,
    )
    left = MAX_LIVE
    for hour in sorted(stale, reverse=True):
        left -= feedback_hours.cost(connection, key_id, hour, left)
        if left < 0:
            live.left = len(stale) - len(live.feedback)
            break
        live.feedback[hour] = feedback_hours.count(connection, key_id, hour)
    return live


@dataclass(slots=True)
class _Reader:
    connection: Connection
    key_id: str
    span: Span
    live: _Live

    def steps(self, dimension: str, group: str) -> dict[int, Figures]:
        """Of every step of the span, those without anything too."""
        steps = {start: Figures() for start in self.span}
        by_day = self.span.step % DAY == 0 and self.span.first % DAY == 0
        rows = self._rows(exchange_hour, dimension, only=(group,), by_day=by_day)
        query = select(rows.hour, rows.latency, *(rows[name] for name in _SUMS))
        for hour, latency, *sums in self.connection.execute(query):
            steps[self.span.start_of(hour)].requests.add(_request_figures(sums, latency))
        for (_, of, hour, name), figures in self.live.requests.items():
            if (of, name) == (dimension, group):
                steps[self.span.start_of(hour)].requests.add(figures)

        rows = self._rows(feedback_hour, dimension, only=(group,), by_day=by_day)
        start = rows.hour - (rows.hour - self.span.first) % self.span.step
        query = select(start, rows.value, func.sum(rows.count), func.sum(rows.weight))
        query = query.group_by(start, rows.value)
        for hour, value, count, weight in self.connection.execute(query):
            _add_value(steps[hour].feedback, value, count, weight)
        for hour, counted in self.live.feedback.items():
            of_group = counted.get((dimension, group))
            if of_group is not None:
                steps[self.span.start_of(hour)].feedback.add(of_group)
        return steps

    def groups(self, dimension: Dimension) -> tuple[tuple[GroupFigures, ...], bool]:
        """The groups with most requests, then those with most feedback; and whether there are more."""
        requests = self._ranked_by_requests(dimension)
        ranked = sorted(requests, key=lambda group: (-requests[group], group))
        if len(ranked) <= MAX_GROUPS:
            given = self._ranked_by_feedback(dimension)
            ranked += sorted(given.keys() - requests.keys(), key=lambda group: (-given[group].count, group))
        shown = ranked[:MAX_GROUPS]
        figures = self._figures_of(dimension, shown)
        groups = tuple(GroupFigures(group or None, figures[group]) for group in shown)
        return groups, len(ranked) > MAX_GROUPS

    def rated(self, dimension: Dimension) -> tuple[GroupFigures, ...]:
        """The best and the worst groups by weighted mean, the best first; those with few scores behind."""
        means = {
            group: (given.is_few, -given.mean, group)
            for group, given in self._ranked_by_feedback(dimension).items()
            if given.mean is not None
        }
        ranked = sorted(means, key=means.__getitem__)
        many = [group for group in ranked if not means[group][0]]
        few = [group for group in ranked if means[group][0]]
        shown = _both_ends(many, 2 * MAX_RATED)
        shown += _both_ends(few, 2 * MAX_RATED - len(shown))
        given = self._feedback_of(dimension, shown)
        return tuple(GroupFigures(group or None, Figures(feedback=given[group])) for group in shown)

    def _figures_of(self, dimension: str, groups: Collection[str]) -> dict[str, Figures]:
        given = self._feedback_of(dimension, groups)
        found = {group: Figures(feedback=given[group]) for group in groups}
        rows = self._rows(exchange_hour, dimension, only=groups)
        query = select(rows.grp, rows.latency, *(rows[name] for name in _SUMS))
        for group, latency, *sums in self.connection.execute(query):
            found[group].requests.add(_request_figures(sums, latency))
        for (_, of, _, group), figures in self.live.requests.items():
            if of == dimension and group in found:
                found[group].requests.add(figures)
        return found

    def _feedback_of(self, dimension: str, groups: Collection[str]) -> dict[str, FeedbackFigures]:
        found = {group: FeedbackFigures() for group in groups}
        rows = self._rows(feedback_hour, dimension, only=groups)
        query = select(rows.grp, rows.value, func.sum(rows.count), func.sum(rows.weight))
        query = query.group_by(rows.grp, rows.value)
        for group, value, count, weight in self.connection.execute(query):
            _add_value(found[group], value, count, weight)
        for counted in self.live.feedback.values():
            for (of, group), given in counted.items():
                if of == dimension and group in found:
                    found[group].add(given)
        return found

    def _ranked_by_requests(self, dimension: str) -> dict[str, int]:
        """Of a long span only the busiest groups of each day are added up: the busiest of all are among them
        unless every day has others."""
        days, _ = self._places(exchange_hour)
        rows = self._rows(exchange_hour, dimension, only=self._busiest_of_days(dimension, days))
        size = func.sum(rows.requests)
        query = (
            select(rows.grp, size).group_by(rows.grp).order_by(size.desc(), rows.grp).limit(MAX_CANDIDATES)
        )
        found: defaultdict[str, int] = defaultdict(int)
        found.update({row[0]: row[1] for row in self.connection.execute(query)})
        for (_, of, _, group), figures in self.live.requests.items():
            if of == dimension:
                found[group] += figures.requests
        return found

    def _ranked_by_feedback(self, dimension: str) -> dict[str, _Given]:
        rows = self._rows(feedback_hour, dimension)
        size = func.sum(rows.count)
        is_score = rows.value != NOT_A_SCORE
        query = (
            select(
                rows.grp,
                size,
                func.sum(case((is_score, rows.count), else_=0)),
                func.sum(case((is_score, rows.weight), else_=0.0)),
                func.sum(case((is_score, rows.value * rows.weight), else_=0.0)),
            )
            .group_by(rows.grp)
            .order_by(size.desc(), rows.grp)
            .limit(MAX_CANDIDATES)
        )
        found = {group: _Given(*sums) for group, *sums in self.connection.execute(query)}
        for counted in self.live.feedback.values():
            for (of, group), figures in counted.items():
                if of == dimension:
                    found.setdefault(group, _Given()).add(figures)
        return found

    def _busiest_of_days(self, dimension: str, days: Sequence[int]) -> Collection[str] | None:
        """None where all groups are few enough to be added up."""
        most = max(MAX_CANDIDATES // max(len(days), 1), MAX_GROUPS + 1)
        table, found = exchange_hour.c, Counter[str]()
        is_cut = False
        for day in days:
            query = (
                select(table.grp, table.requests)
                .where(
                    table.key_id == self.key_id,
                    table.dimension == dimension,
                    table.width == literal(DAY, literal_execute=True),  # so that its index can serve
                    table.hour == day,
                )
                .order_by(table.requests.desc())
                .limit(most)
            )
            busiest = self.connection.execute(query).all()
            is_cut = is_cut or len(busiest) == most
            for group, requests in busiest:
                found[group] += requests
        return [group for group, _ in found.most_common(MAX_SUMMED)] if is_cut else None

    def _places(self, table: Table, *, by_day: bool = True) -> tuple[list[int], list[int]]:
        """Which days to read, those that have settled, and which hours elsewhere; none of an hour whose
        feedback was counted just now."""
        span, live = self.span, self.live
        stale = live.stale_days if table is exchange_hour else live.stale_feedback_days
        first, end = -(-span.first // DAY) * DAY, day_of(span.end)
        days = [day for day in range(first, end, DAY) if day not in stale] if by_day else []
        settled = {hour for day in days for hour in range(day, day + DAY)}
        if table is feedback_hour:
            settled |= live.feedback.keys()
        return days, [hour for hour in range(span.first, span.end) if hour not in settled]

    def _rows(
        self, table: Table, dimension: str, *, only: Collection[str] | None = None, by_day: bool = True
    ) -> ReadOnlyColumnCollection[str, Any]:
        """The columns of the rows to read, of all groups or only of some."""
        days, hours = self._places(table, by_day=by_day)
        wanted = [table.c.key_id == self.key_id, table.c.dimension == dimension]
        if only is not None:
            wanted.append(table.c.grp.in_(only))
        of_days, of_hours = (
            select(table).where(*wanted, table.c.width == width, table.c.hour.in_(places))
            for width, places in ((DAY, days), (1, hours))
        )
        return union_all(of_days, of_hours).subquery().c


@dataclass(slots=True)
class _Given:
    """Sums to rank a group by."""

    count: int = 0
    scores: int = 0
    weight: float = 0.0
    weighted: float = 0.0

    def add(self, figures: FeedbackFigures) -> None:
        self.count += figures.count
        self.scores += figures.score_count
        for value, of_value in figures.scores.items():
            self.weight += of_value.weight
            self.weighted += value * of_value.weight

    @property
    def mean(self) -> float | None:
        return self.weighted / self.weight if self.weight else None

    @property
    def is_few(self) -> bool:
        return self.scores < FEW


def _request_figures(sums: Iterable[Any], latency: str) -> RequestFigures:
    return RequestFigures(**dict(zip(_SUMS, sums, strict=True)), latency=latency_of(latency))


def _add_value(figures: FeedbackFigures, value: int, count: int, weight: float) -> None:
    if value == NOT_A_SCORE:
        figures.add_others(count)
    else:
        figures.add_scores(value, count, weight)


def _both_ends(ranked: Sequence[str], most: int) -> list[str]:
    if len(ranked) <= most:
        return list(ranked)
    half = most // 2
    return [*ranked[:half], *ranked[-half:]] if half else []
