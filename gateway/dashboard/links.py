"""Where the numbers of Insights lead: to the logs they count."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.dashboard import period
from gateway.dashboard.site import url
from gateway.records.insights import Dimension, Span

LOGS = "/ui/logs"


@dataclass(slots=True, frozen=True)
class Links:
    """Where the numbers lead: to the logs they count. `narrowed` is the group that is looked at."""

    span: Span
    narrowed: tuple[Dimension, str] | None = None

    def step(self, hour: int, **more: str) -> str:
        return self._logs(hour, hour + self.span.step, more)

    def given(self, hour: int) -> str:
        """What feedback that was given in a step is about."""
        first, end = period.iso(hour), period.iso(hour + self.span.step)
        return url(LOGS, **self._group(), feedback_since=first, feedback_until=end)

    def score(self, value: int) -> str:
        first, end = period.iso(self.span.first), period.iso(self.span.end)
        score = {"min_value": str(value), "max_value": str(value)}
        return url(LOGS, **self._group(), **score, feedback_since=first, feedback_until=end)

    def group(self, dimension: Dimension, group: str | None, **more: str) -> str | None:
        """None for the group of what has none: no filter finds that."""
        if group is None:
            return None
        return self._logs(self.span.first, self.span.end, {dimension: group, **more})

    def rated(self, dimension: Dimension, group: str | None) -> str | None:
        if group is None:
            return None
        first, end = period.iso(self.span.first), period.iso(self.span.end)
        return url(LOGS, **{dimension: group}, feedback_since=first, feedback_until=end)

    def _logs(self, first: int, end: int, more: dict[str, str]) -> str:
        times = {"active_since": period.iso(first), "active_until": period.iso(end)}
        return url(LOGS, **self._group() | more | times)

    def _group(self) -> dict[str, str]:
        return dict([self.narrowed]) if self.narrowed else {}
