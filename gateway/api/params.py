"""Query parameters: from the text of a query string to the filters of the store.

Every list says here which parameters it takes. An unknown or repeated one is refused, so that a misspelled
filter never looks like one that matched everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from gateway.capture.attempts import CACHE_STATUSES
from gateway.errors import InvalidField
from gateway.exports.service import Cut
from gateway.records import KINDS, SIGNALS, SOURCE_TYPES, FeedbackFilter, LogFilter, TraceFilter
from gateway.records.summary import GROUPINGS, Grouping

DEFAULT_LIMIT = 50
MAX_LIMIT = 1_000
MAX_PARAMETERS = 100
MAX_METADATA_PARAMETERS = 10

_METADATA = re.compile(r"metadata\[(.+)\]", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{0,15})?", re.ASCII)
_PLUS_LOST = re.compile(r"(.*[0-9]:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?) ([0-9]{2}:?[0-9]{2})", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_TIME_S = 253_402_300_799
"""The last second before the year 10000."""

Parse = Callable[[str, str], Any]
"""From a parameter's name and text to its value. Raises InvalidField."""


@dataclass(slots=True, frozen=True)
class Paging:
    """Which part of a list is wanted: so many items from behind the one with this id."""

    limit: int = DEFAULT_LIMIT
    after: str | None = None


@dataclass(slots=True, frozen=True)
class ListParameters:
    """The parameters of one list: `parse` maps names to how their text is read."""

    parse: Mapping[str, Parse]
    takes_metadata: bool = True
    takes_paging: bool = True

    def read(self, query_string: bytes) -> tuple[dict[str, Any], Paging]:
        """The values by field name of the filter, and the page. Raises InvalidField."""
        values: dict[str, Any] = {}
        metadata: dict[str, str] = {}
        for name, text in pairs(query_string):
            match = _METADATA.fullmatch(name) if self.takes_metadata else None
            if match:
                if match[1] in metadata:
                    raise _twice(name)
                metadata[match[1]] = text
                continue
            parse = self.known.get(name)
            if parse is None:
                raise self._unknown(name)
            if name in values:
                raise _twice(name)
            if not text:
                raise InvalidField(f"{name}: is empty; give it a value or leave it out", param=name)
            values[name] = parse(name, text)
        if len(metadata) > MAX_METADATA_PARAMETERS:
            raise InvalidField(
                f"metadata: {len(metadata)} keys, the limit is {MAX_METADATA_PARAMETERS}", param="metadata"
            )
        paging = Paging()
        if self.takes_paging:
            paging = Paging(values.pop("limit", DEFAULT_LIMIT), values.pop("after", None))
        if metadata:
            values["metadata"] = tuple(metadata.items())
        return values, paging

    @property
    def known(self) -> Mapping[str, Parse]:
        return {**self.parse, **_PAGING} if self.takes_paging else self.parse

    def _unknown(self, name: str) -> InvalidField:
        known = [*self.known, *(["metadata[key]"] if self.takes_metadata else [])]
        close = get_close_matches(name, known, n=1)
        remedy = f'did you mean "{close[0]}"?' if close else f"known are {', '.join(known)}"
        return InvalidField(f"{name!r}: unknown parameter; {remedy}", param=name)


def feedback_filter(query_string: bytes) -> tuple[FeedbackFilter, Paging]:
    values, paging = FEEDBACK.read(query_string)
    _check_order(values, ("since", "until"), ("min_value", "max_value"))
    return FeedbackFilter(**_renamed(values)), paging


def trace_filter(query_string: bytes) -> tuple[TraceFilter, Paging]:
    values, paging = TRACES.read(query_string)
    _check_order(
        values, ("since", "until"), ("min_value", "max_value"), ("min_weighted_mean", "max_weighted_mean")
    )
    return TraceFilter(**_renamed(values)), paging


def log_filter(query_string: bytes) -> tuple[LogFilter, Paging]:
    values, paging = LOGS.read(query_string)
    _check_order(values, ("since", "until"))
    return LogFilter(**_renamed(values)), paging


def summary_filter(query_string: bytes) -> tuple[FeedbackFilter, Grouping | None, Paging]:
    """The feedback to sum up, and the page of its groups."""
    values, paging = SUMMARY.read(query_string)
    _check_order(values, ("since", "until"), ("min_value", "max_value"))
    group_by = values.pop("group_by", None)
    return FeedbackFilter(**_renamed(values)), group_by, paging


def feedback_export(query_string: bytes) -> tuple[FeedbackFilter, Cut, dict[str, Any]]:
    """The feedback to export, which part of it, and how: `format`."""
    values, cut, how = _export(FEEDBACK_EXPORT, query_string, "format")
    _check_order(values, ("min_value", "max_value"))
    return FeedbackFilter(**_renamed(values)), cut, how


def exchange_export(query_string: bytes) -> tuple[LogFilter, Cut]:
    values, cut, _ = _export(EXCHANGE_EXPORT, query_string)
    return LogFilter(**_renamed(values)), cut


def finetuning_export(query_string: bytes) -> tuple[LogFilter, Cut, dict[str, Any]]:
    """The exchanges to learn from, which part of them, and how: `format`, `name`, `min_score`, `ids`."""
    values, cut, how = _export(FINETUNING_EXPORT, query_string, "format", "name", "min_score", "ids")
    if how.get("format") == "dpo" and "min_score" in how:
        raise InvalidField(
            "min_score: pairs have a better and a worse answer, whatever their scores; leave it out",
            param="min_score",
        )
    return LogFilter(**_renamed(values)), cut, how


def _export(
    known: ListParameters, query_string: bytes, *how: str
) -> tuple[dict[str, Any], Cut, dict[str, Any]]:
    """The filter's values, the part, and the values of the parameters that say how."""
    values, _ = known.read(query_string)
    _check_order(values, ("since", "until"))
    cut = Cut(values.pop("after", None), values.pop("limit", None))
    return values, cut, {name: values.pop(name) for name in how if name in values}


def no_parameters(query_string: bytes) -> None:
    """For endpoints without parameters. Raises InvalidField."""
    for name, _ in pairs(query_string):
        raise InvalidField(f"{name!r}: unknown parameter; this path takes none, remove it", param=name)


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """`status` is a number or a word, `since` and `until` carry no unit: the filters are stricter."""
    renamed = {}
    for name, value in values.items():
        if name in ("since", "until"):
            renamed[f"{name}_ms"] = value
        elif name == "status" and isinstance(value, bool):
            renamed["failed"] = value
        else:
            renamed[name] = value
    return renamed


def _check_order(values: Mapping[str, Any], *ranges: tuple[str, str]) -> None:
    for low, high in ranges:
        if low in values and high in values and values[low] > values[high]:
            raise InvalidField(f"{low}: is above {high}, nothing can match; swap them", param=low)


def _twice(name: str) -> InvalidField:
    return InvalidField(f"{name}: given more than once; give it once", param=name)


def pairs(query_string: bytes) -> Sequence[tuple[str, str]]:
    try:
        return parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except UnicodeDecodeError as error:
        raise InvalidField("the query string is not percent-encoded UTF-8; encode it") from error
    except ValueError as error:
        raise InvalidField(
            f"the query string has more than {MAX_PARAMETERS} parameters; use fewer"
        ) from error


def _text(_: str, text: str) -> str:
    return text


def _number_between(low: int, high: int) -> Parse:
    def parse(name: str, text: str) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise InvalidField(f"{name}: {text!r} is not an integer from {low} to {high}", param=name)
        return int(text)

    return parse


def _mean(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text) or not -10 <= float(text) <= 10:
        raise InvalidField(f"{name}: {text!r} is not a number from -10 to 10", param=name)
    return float(text)


def _decimal(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise InvalidField(f"{name}: {text!r} is not a number such as -2 or 0.5", param=name)
    return float(text)


def _one_of(choices: tuple[str, ...]) -> Parse:
    def parse(name: str, text: str) -> str:
        if text not in choices:
            raise InvalidField(f"{name}: {text!r} is not one of {', '.join(choices)}", param=name)
        return text

    return parse


def _boolean(name: str, text: str) -> bool:
    if text not in _BOOLEANS:
        raise InvalidField(f"{name}: {text!r} is not true or false", param=name)
    return _BOOLEANS[text]


def _status(name: str, text: str) -> int | bool:
    """A number, or whether the exchange failed: `error` is True, `ok` False."""
    if text in ("error", "ok"):
        return text == "error"
    if not _INTEGER.fullmatch(text) or not 100 <= int(text) <= 599:
        raise InvalidField(f'{name}: {text!r} is not a status from 100 to 599, "error" or "ok"', param=name)
    return int(text)


def _time(name: str, text: str) -> int:
    """Milliseconds since the epoch, from ISO 8601 (UTC unless it says otherwise) or Unix seconds."""
    if _DECIMAL.fullmatch(text):
        seconds = Decimal(text)
        if 0 <= seconds <= LAST_TIME_S:
            return int(seconds * 1000)
        raise InvalidField(f"{name}: {text!r} is not a time in seconds; milliseconds perhaps?", param=name)
    # An unencoded "+00:00" arrives as " 00:00".
    lost = _PLUS_LOST.fullmatch(text)
    try:
        moment = datetime.fromisoformat(f"{lost[1]}+{lost[2]}" if lost else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError) as error:
        raise InvalidField(
            f"{name}: {text!r} is not a time; write 2026-01-31T12:00:00Z or Unix seconds", param=name
        ) from error


_PAGING: Mapping[str, Parse] = {"limit": _number_between(1, MAX_LIMIT), "after": _text}
_FOUND_BY: Mapping[str, Parse] = {
    "trace_id": _text,
    "user": _text,
    "organisation": _text,
    "prompt": _text,
    "environment": _text,
    "since": _time,
    "until": _time,
}
_VALUES: Mapping[str, Parse] = {
    "min_value": _number_between(-10, 10),
    "max_value": _number_between(-10, 10),
}
FEEDBACK = ListParameters(
    {
        **_FOUND_BY,
        "request_id": _text,
        "name": _text,
        "kind": _one_of(KINDS),
        "signal": _one_of(SIGNALS),
        "source_type": _one_of(SOURCE_TYPES),
        "source_id": _text,
        "task_id": _text,
        "label": _text,
        "min_value": _decimal,
        "max_value": _decimal,
        "include_retracted": _boolean,
    }
)
TRACES = ListParameters(
    {
        **_FOUND_BY,
        **_VALUES,
        "model": _text,
        "status": _status,
        "has_feedback": _boolean,
        "min_weighted_mean": _mean,
        "max_weighted_mean": _mean,
    }
)
LOGS = ListParameters(
    {
        **_FOUND_BY,
        "model": _text,
        "upstream": _text,
        "status": _status,
        "target": _text,
        "cache_status": _one_of(CACHE_STATUSES),
        "retried": _boolean,
        "error_kind": _text,
        "streamed": _boolean,
        "has_feedback": _boolean,
    }
)
TASKS = ListParameters({"include_archived": _boolean}, takes_metadata=False)
TASK = ListParameters({"version": _number_between(1, 999_999_999)}, takes_metadata=False, takes_paging=False)
INBOX = ListParameters({"reviewer": _text}, takes_metadata=False)
CLAIMS = ListParameters({"reviewer": _text, "request_id": _text}, takes_metadata=False, takes_paging=False)

SUMMARY = ListParameters(
    {
        **{name: parse for name, parse in FEEDBACK.parse.items() if name != "include_retracted"},
        "group_by": _one_of(GROUPINGS),
    }
)
_CUT: Mapping[str, Parse] = {"limit": _number_between(1, 999_999_999), "after": _text}
FEEDBACK_EXPORT = ListParameters(
    {**FEEDBACK.parse, "format": _one_of(("jsonl", "csv")), **_CUT}, takes_paging=False
)
EXCHANGE_EXPORT = ListParameters({**LOGS.parse, **_CUT}, takes_paging=False)
FINETUNING_EXPORT = ListParameters(
    {
        **_FOUND_BY,
        "model": _text,
        "upstream": _text,
        "format": _one_of(("openai", "dpo")),
        "name": _text,
        "min_score": _decimal,
        "ids": _boolean,
        **_CUT,
    },
    takes_paging=False,
)
