"""Feedback tasks on their way in, and what waits to be graded for one. The stored task is in `feedback`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.records.feedback import UNSET, Selector, Unset
from gateway.records.lists import Log

EVERY_EXCHANGE = Selector()


@dataclass(slots=True, frozen=True, kw_only=True)
class TaskDraft:
    """A feedback task as a client wants it stored, without an id. `schema` is a JSON Schema."""

    name: str
    schema: Any
    instruction: str = ""
    selector: Selector = EVERY_EXCHANGE


@dataclass(slots=True, frozen=True, kw_only=True)
class TaskChange:
    """What to change of a feedback task; UNSET leaves a field as it is."""

    name: str | Unset = UNSET
    schema: Any = UNSET
    instruction: str | Unset = UNSET
    selector: Selector | Unset = UNSET


@dataclass(slots=True, frozen=True)
class Claim:
    """Who is at work on an exchange of an inbox, and until when others leave it alone."""

    by: str
    until_ms: int


@dataclass(slots=True, frozen=True)
class InboxItem:
    """An exchange that nobody has graded for a task yet."""

    log: Log
    claim: Claim | None
