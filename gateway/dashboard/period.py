"""A span of time as the URL of a page says it: the last hours or days, or from a date to a date. In UTC.

More than two days are whole days, so that they can be added up from days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gateway.errors import InvalidField
from gateway.records.insights import HOUR_MS, Span

RANGES = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24, "90d": 90 * 24}
"""Hours by name; `all` is everything there is."""
RANGE_WORDS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days", "all": "All"}
DEFAULT_RANGE = "7d"
MAX_HOURS = 3 * 365 * 24

_DAY = 24
_HOURLY_UP_TO = 2 * _DAY
_STEPS = (
    (_HOURLY_UP_TO, 1),
    (4 * _DAY, 3),
    (8 * _DAY, 6),
    (16 * _DAY, 12),
    (93 * _DAY, _DAY),
    (365 * _DAY, 7 * _DAY),
)
_LONGEST_STEP = 30 * _DAY
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Known(NamedTuple):
    """The first hour with something in it, and the last."""

    first: int
    last: int


@dataclass(slots=True, frozen=True)
class Period:
    """`name` is one of RANGES or `all`, or empty; `since` and `until` are dates, the last one included."""

    span: Span
    name: str
    since: str
    until: str

    @property
    def query(self) -> dict[str, str]:
        """What makes it again in a URL."""
        return {"range": self.name} if self.name else {"since": self.since, "until": self.until}


def needs_known(wanted: dict[str, str]) -> bool:
    """Whether `read` has to be told what there is."""
    return wanted.get("range") == "all" or bool(wanted.get("until") and not wanted.get("since"))


def read(wanted: dict[str, str], known: Known | None, now_ms: int) -> Period:
    """The period that `range`, or `since` and `until`, ask for. Raises InvalidField."""
    end = now_ms // HOUR_MS + 1
    since, until = wanted.get("since", ""), wanted.get("until", "")
    if since or until:
        last = _hour_of("until", until) + _DAY if until else end
        first = (
            _hour_of("since", since) if since else (known.first if known else last - RANGES[DEFAULT_RANGE])
        )
        if first >= last:
            raise InvalidField("since: must not be after until; exchange them", param="since")
        return _period("", first, last)
    name = wanted.get("range") or DEFAULT_RANGE
    if name == "all":
        first, last = (known.first, known.last + 1) if known else (end - RANGES[DEFAULT_RANGE], end)
        return _period(name, first, last)
    if name not in RANGES:
        raise InvalidField(f"range: must be one of {', '.join((*RANGES, 'all'))}", param="range")
    return _period(name, end - RANGES[name], end)


def _period(name: str, first: int, end: int) -> Period:
    first = max(first, end - MAX_HOURS)
    if end - first > _HOURLY_UP_TO:
        whole = (end - first) % _DAY == 0
        end = -(-end // _DAY) * _DAY
        # The last 7 days are 7 days and what there is of today; a span of dates is what it says.
        first = first // _DAY * _DAY if not (whole and name in RANGES) else end - (end - first) // _DAY * _DAY
    step = next((step for hours, step in _STEPS if end - first <= hours), _LONGEST_STEP)
    # Beginning earlier rather than with a part of a step.
    first = end - -(-(end - first) // step) * step
    since, until = (f"{_EPOCH + timedelta(hours=hour):%Y-%m-%d}" for hour in (first, end - 1))
    return Period(Span(first, end, step), name, since, until)


def moment(hour: int) -> datetime:
    return _EPOCH + timedelta(hours=hour)


def label(hour: int, step: int) -> str:
    """Of a step, for an axis and a table."""
    return f"{moment(hour):%d %b %H:%M}" if step < _DAY else f"{moment(hour):%d %b %Y}"


def iso(hour: int) -> str:
    return f"{moment(hour):%Y-%m-%dT%H:%M:%SZ}"


def _hour_of(name: str, text: str) -> int:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidField(
            f"{name}: must be a date such as 2026-01-31, not {text[:40]!r}", param=name
        ) from error
    hours = int((day - _EPOCH) / timedelta(hours=1))
    if hours < 0:
        raise InvalidField(f"{name}: must be a date from 1970 on", param=name)
    return hours
