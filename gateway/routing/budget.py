"""The retry budget of an upstream: retries as a share of its requests, so that an outage is not multiplied.

Pure: the clock is handed in. Source of the idea: Finagle's RetryBudget, and "Addressing Cascading Failures"
in Google's Site Reliability Engineering.
"""

from __future__ import annotations

from math import exp

WINDOW_S = 10.0
"""Requests and retries fade with this time constant; what was a minute ago no longer counts."""


class RetryBudget:
    """In the long run at most `ratio` retries a request, and `per_s` retries a second on top.

    The latter lets an upstream that is asked rarely be retried at all.
    """

    __slots__ = ("_asked", "_at_s", "_free", "_ratio", "_retried")

    def __init__(self, ratio: float, per_s: float) -> None:
        self._ratio = ratio
        self._free = per_s * WINDOW_S
        self._asked = 0.0
        self._retried = 0.0
        self._at_s = 0.0

    def request(self, now_s: float) -> None:
        """A request, not a retry, is on its way. `now_s` is of any clock that does not go back."""
        self._fade(now_s)
        self._asked += 1.0

    def left(self, now_s: float) -> float:
        """How many retries may be made now."""
        self._fade(now_s)
        return max(0.0, self._ratio * self._asked + self._free - self._retried)

    def take(self, now_s: float) -> bool:
        """Whether a retry may be made now; if so, it is counted."""
        if self.left(now_s) < 1.0:
            return False
        self._retried += 1.0
        return True

    def _fade(self, now_s: float) -> None:
        passed_s = now_s - self._at_s
        if passed_s > 0.0:
            rest = exp(-passed_s / WINDOW_S)
            self._asked *= rest
            self._retried *= rest
            self._at_s = now_s
