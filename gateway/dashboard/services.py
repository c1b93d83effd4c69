"""What the dashboard is handed: everything its pages use, built by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.auth.keys import KeyRing
from gateway.config import schema
from gateway.feedback.service import FeedbackService
from gateway.feedback.steering import Steered
from gateway.feedback.tasks import TaskService
from gateway.records import UpstreamHealth
from gateway.store.base import Database

Report = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]
"""Whether the gateway can do its work, and the details as /readyz shows them."""


@dataclass(slots=True, frozen=True)
class DashboardServices:
    """`now_ms` is the time in milliseconds since the epoch; `settings` is the whole configuration."""

    database: Database
    feedback: FeedbackService
    tasks: TaskService
    report: Report
    settings: schema.Settings
    now_ms: Callable[[], int]
    count_now: Callable[[], None]
    """Says that somebody looks at figures by the hour: those not made yet are wanted now."""
    keys: KeyRing | None = None
    """None: no login is asked for."""
    max_form_bytes: int = 1024 * 1024
    """Of a form that is posted."""
    upstream_health: Callable[[], Mapping[str, UpstreamHealth]] = dict
    """How each upstream is right now, by its name; one that is left out has not failed."""
    steered: Callable[[], Sequence[Steered]] = tuple
    """What follows feedback, as it stands."""
    max_live: int = 100
    """Windows that are kept up to date at once, by one process."""
    max_items_shown: int = 200
    """Exchanges and feedback that one trace is shown with."""
