"""The health of a target: one that keeps failing rests, then one request tries whether it is back.

Pure: the clock is handed in, any that does not go back. What counts as a failure is for the caller to say.
"""

from __future__ import annotations

from typing import Literal

State = Literal["healthy", "resting", "probing"]


class Health:
    """It rests for `rest_s` after `rest_after_failures` in a row, and twice as long after each failed probe.

    `max_rest_s` ends the doubling. With `rest_after_failures` 0 it never rests.

    In a row rather than a share of all: with one request in ten failing at random, five in a row happen once
    in 100,000, and a target that is down is known after five, however few requests there were before.
    """

    __slots__ = ("_failures", "_limit", "_max_rest_s", "_probed_s", "_rest_s", "_rests", "_until_s")

    def __init__(self, rest_after_failures: int, rest_s: float, max_rest_s: float) -> None:
        self._limit = rest_after_failures
        self._rest_s = rest_s
        self._max_rest_s = max(rest_s, max_rest_s)
        self._failures = 0
        self._rests = 0
        self._until_s: float | None = None
        self._probed_s: float | None = None

    @property
    def failures(self) -> int:
        """How many there were in a row, up to now."""
        return self._failures

    def begun(self, now_s: float) -> None:
        """An attempt goes to the target. After its rest this one is the probe, and others stay away."""
        if self._until_s is not None and now_s >= self._until_s and not self._is_probed(now_s):
            self._probed_s = now_s

    def abandoned(self) -> None:
        """The attempt ended without telling anything, as when its client went away; another may probe."""
        self._probed_s = None

    def answered(self) -> None:
        """An answer has begun: the rest is over. Failures in a row are, only when it has come to its end."""
        self._until_s = self._probed_s = None

    def succeeded(self) -> None:
        self._failures = self._rests = 0
        self._until_s = self._probed_s = None

    def failed(self, now_s: float, rest_s: float | None = None) -> None:
        """`rest_s` is how long the target itself asked to be left alone: then it rests at once.

        Being asked back at once (0) is no rest: then it is a failure like any other.
        """
        self._failures += 1
        if not self._limit:
            return
        if rest_s:
            self._rest(now_s, min(rest_s, self._max_rest_s))
        elif self._until_s is None:
            if self._failures >= self._limit:
                self._rest(now_s, self._next_rest_s())
        elif now_s >= self._until_s:  # the probe
            self._rest(now_s, self._next_rest_s())
        # While it rests, what was on its way before fails, too; that is no reason to rest longer.

    def is_resting(self, now_s: float) -> bool:
        """Whether requests should stay away: it rests, or its probe is on its way."""
        return self._until_s is not None and (now_s < self._until_s or self._is_probed(now_s))

    def badness(self, now_s: float) -> float:
        """Seconds of rest left: where all rest, the least is tried."""
        return 0.0 if self._until_s is None else max(0.0, self._until_s - now_s)

    def state(self, now_s: float) -> State:
        if self._until_s is None:
            return "healthy"
        return "resting" if now_s < self._until_s else "probing"

    def _is_probed(self, now_s: float) -> bool:
        # A probe that nobody heard of again does not keep the target away for ever.
        return self._probed_s is not None and now_s < self._probed_s + self._max_rest_s

    def _next_rest_s(self) -> float:
        doubled = self._rest_s * 2.0 ** min(self._rests, 64)
        self._rests += 1
        return min(doubled, self._max_rest_s)

    def _rest(self, now_s: float, rest_s: float) -> None:
        self._until_s = max(now_s + rest_s, self._until_s or 0.0)
        self._probed_s = None
