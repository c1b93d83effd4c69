"""The filters of the logs: from a URL to what the store is asked, and back to a form and to links.

Names are those of `GET /v1/traces`, with `q` for text, what any one of its requests has (`tag`, `upstream`,
`target`, …), and the times of any request and of any feedback besides. A filter that cannot be read is a
problem to show, never one that is left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

from gateway.capture.attempts import CACHE_STATUSES
from gateway.dashboard.site import url
from gateway.records import TraceFilter
from gateway.store.browse import TraceQuery

PATH = "/ui/logs"
MAX_METADATA = 10
MAX_CHARS = 500

_METADATA = re.compile(r"metadata\[(.+)\]", re.DOTALL)
_AGO = re.compile(r"([0-9]{1,5}) ?(m|h|d|w)", re.ASCII)
_AGO_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END_OF_TIME_S = 253_402_300_800  # the year 10000


class Problem(ValueError):
    """What is wrong with the text of a filter, in words that go behind its label."""


@dataclass(slots=True, frozen=True)
class Field:
    """A filter as the form shows it. `choices` map what is in the URL to words."""

    name: str
    label: str
    parse: Callable[[str, int], Any]
    hint: str = ""
    choices: Mapping[str, str] | None = None


@dataclass(slots=True, frozen=True)
class Applied:
    """A filter that is on, in words, and the URL without it."""

    words: str
    without: str


@dataclass(slots=True, frozen=True)
class Filters:
    """`given` is what the URL says, by name; `problems` are sentences on what of it makes no sense."""

    given: Mapping[str, str]
    query: TraceQuery
    problems: tuple[str, ...]
    after: str | None

    @property
    def metadata(self) -> Mapping[str, str]:
        return {found[1]: value for name, value in self.given.items() if (found := _METADATA.fullmatch(name))}

    def url(self, path: str = PATH, /, **more: Any) -> str:
        """These filters under `path`; `more` are added or, as None, taken away."""
        return url(path, **{**self.given, **more})

    @property
    def applied(self) -> list[Applied]:
        labels = {field.name: field.label for field in FIELDS}
        return [
            Applied(
                f"{labels.get(name, name)}: {_CHOICE_WORDS.get((name, value), value)}",
                self.url(PATH, **{name: None}),
            )
            for name, value in self.given.items()
        ]


def read(query_string: bytes, now_ms: int) -> Filters:
    """The filters of a URL; unknown ones are problems."""
    given: dict[str, str] = {}
    after: str | None = None
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, text in _pairs(query_string):
        if name == "after":
            after = text or None
        elif text.strip():
            given[name] = text.strip()[:MAX_CHARS]
    for name, text in given.items():
        field = _BY_NAME.get(name)
        if field is None:
            if not _METADATA.fullmatch(name):
                problems.append(f"{name}: there is no such filter.")
            continue
        try:
            values[name] = field.parse(text, now_ms)
        except (Problem, OverflowError, ValueError) as error:
            problems.append(
                f"{field.label}: {text!r} {error if isinstance(error, Problem) else 'is no time'}."
            )
    for low, high in (
        ("since", "until"),
        ("active_since", "active_until"),
        ("feedback_since", "feedback_until"),
        ("min_value", "max_value"),
        ("min_weighted_mean", "max_weighted_mean"),
    ):
        if low in values and high in values and values[low] > values[high]:
            problems.append(f"{_BY_NAME[low].label} is above {_BY_NAME[high].label}: nothing can match.")
    found = Filters(given, TraceQuery(TraceFilter()), (), after)
    if len(found.metadata) > MAX_METADATA:
        problems.append(f"Metadata: {len(found.metadata)} keys, the limit is {MAX_METADATA}.")
    query = TraceQuery(TraceFilter()) if problems else _query(values, found.metadata)
    return Filters(given, query, tuple(problems), after)


def canonical(query_string: bytes) -> str | None:
    """Where a form's answer is found under its short URL; None when this is the one.

    A form sends every field, and a new pair of metadata in two.
    """
    pairs = _pairs(query_string)
    if all(text for _, text in pairs) and not any(name.startswith("metadata_") for name, _ in pairs):
        return None
    sent = dict(pairs)
    key, value = sent.pop("metadata_key", "").strip(), sent.pop("metadata_value", "").strip()
    if key and value:
        sent[f"metadata[{key}]"] = value
    return url(PATH, **sent)


def _pairs(query_string: bytes) -> list[tuple[str, str]]:
    text = query_string.decode("ascii", "replace")
    return parse_qsl(text, keep_blank_values=True, errors="replace")[:100]


def _query(values: Mapping[str, Any], metadata: Mapping[str, str]) -> TraceQuery:
    left = dict(values)
    of_ours = {name: left.pop(name, None) for name in _OF_EXCHANGES}
    of_ours |= {
        f"{name}_ms": left.pop(name, None)
        for name in ("active_since", "active_until", "feedback_since", "feedback_until")
    }
    status = left.pop("status", None)
    times = {f"{name}_ms": left.pop(name, None) for name in ("since", "until")}
    text = left.pop("q", None)
    failed = status if isinstance(status, bool) else None
    wanted = TraceFilter(
        metadata=tuple(metadata.items()),
        failed=failed,
        status=None if failed is not None else status,
        **times,
        **left,
    )
    return TraceQuery(wanted, text=text, **of_ours)


# --- how each is read ---


def _text(text: str, _: int) -> str:
    return text


def _flag(text: str, _: int) -> bool:
    if text not in ("true", "false"):
        raise Problem("is not true or false")
    return text == "true"


def _cache_status(text: str, _: int) -> str:
    if text not in CACHE_STATUSES:
        raise Problem(f"is not one of {', '.join(CACHE_STATUSES)}")
    return text


def _status(text: str, _: int) -> int | bool:
    if text in ("error", "ok"):
        return text == "error"
    if not (text.isascii() and text.isdigit() and 100 <= int(text) <= 599):
        raise Problem('is not a status from 100 to 599, "error" or "ok"')
    return int(text)


def _score(text: str, _: int) -> int:
    if not re.fullmatch(r"[-+\u2212]?[0-9]{1,2}", text) or not -10 <= int(text.replace("\u2212", "-")) <= 10:
        raise Problem("is not a whole number from -10 to 10")
    return int(text.replace("\u2212", "-"))


def _mean(text: str, _: int) -> float:
    try:
        number = float(text.replace("\u2212", "-"))
    except ValueError as error:
        raise Problem("is not a number from -10 to 10") from error
    if not isfinite(number) or not -10 <= number <= 10:
        raise Problem("is not a number from -10 to 10")
    return number


def time_ms(text: str, now_ms: int) -> int:
    """A time in UTC, Unix seconds, or how long ago: 90m, 24h, 7d, 2w. Raises ValueError."""
    ago = _AGO.fullmatch(text)
    if ago:
        return max(0, now_ms - timedelta(**{_AGO_UNITS[ago[2]]: int(ago[1])}) // timedelta(milliseconds=1))
    if text.isascii() and text.isdigit():
        if int(text) >= _END_OF_TIME_S:
            raise Problem("is not a time in seconds; milliseconds perhaps?")
        return int(text) * 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Problem("is not a time; write 24h, 7d or 2026-01-31 12:00") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, (moment - _EPOCH) // timedelta(milliseconds=1))


_OF_EXCHANGES = ("tag", "upstream", "streamed", "target", "cache_status", "retried")
_SCORES = "\u221210 to 10"
_CACHE_WORDS = {
    "hit": "Had the answer",
    "miss": "Did not have it",
    "refresh": "Was to be renewed",
    "shared": "Shared one call",
}
_TIME_HINT = "24h, 7d, 2026-01-31"

FIELDS = (
    Field("q", "Text", _text),
    Field("trace_id", "Trace id", _text),
    Field("user", "User", _text),
    Field("organisation", "Organisation", _text),
    Field("prompt", "Prompt", _text),
    Field("environment", "Environment", _text),
    Field("tag", "Tag", _text),
    Field("model", "Model", _text),
    Field("upstream", "Upstream", _text),
    Field("target", "Answered by target", _text),
    Field("retried", "Attempts", _flag, choices={"true": "Several", "false": "One at most"}),
    Field("cache_status", "Cache", _cache_status, choices=_CACHE_WORDS),
    Field("status", "Status", _status, "200, 429, ok or error"),
    Field("streamed", "Streamed", _flag, choices={"true": "Yes", "false": "No"}),
    Field("has_feedback", "Feedback", _flag, choices={"true": "With feedback", "false": "Without feedback"}),
    Field("min_value", "Score from", _score, _SCORES),
    Field("max_value", "Score to", _score, _SCORES),
    Field("min_weighted_mean", "Mean from", _mean, _SCORES),
    Field("max_weighted_mean", "Mean to", _mean, _SCORES),
    Field("since", "Since", time_ms, _TIME_HINT),
    Field("until", "Until", time_ms, _TIME_HINT),
    Field("active_since", "Any request since", time_ms, _TIME_HINT),
    Field("active_until", "Any request until", time_ms, _TIME_HINT),
    Field("feedback_since", "Feedback since", time_ms, _TIME_HINT),
    Field("feedback_until", "Feedback until", time_ms, _TIME_HINT),
)
_BY_NAME = {field.name: field for field in FIELDS}
_CHOICE_WORDS = {
    (field.name, value): words for field in FIELDS for value, words in (field.choices or {}).items()
}
