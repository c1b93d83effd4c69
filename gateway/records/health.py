"""How upstreams are right now, as the running process sees them: what routing tells those who show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

State = Literal["healthy", "resting", "probing"]
"""`resting`: it failed too often and is left alone for a while. `probing`: its rest is over, and one request
finds out whether it answers."""
STATES: tuple[State, ...] = get_args(State)


@dataclass(slots=True, frozen=True, kw_only=True)
class TargetHealth:
    """One target of an upstream. `target` is its label, which a client's own plan may have chosen.

    `failures` are those in a row, up to now. `rests_until_ms` is since the epoch; None unless it rests.
    """

    target: str
    state: State = "healthy"
    failures: int = 0
    rests_until_ms: int | None = None
    last_error: str | None = None
    """What failed last: an error's code such as `upstream_unreachable`, or `status 503`."""
    in_flight: int = 0


@dataclass(slots=True, frozen=True, kw_only=True)
class UpstreamHealth:
    """One upstream and its targets; those that never failed may be left out.

    `retries_left` is what is left of its budget for retries, None where there is none. Of its keys only how
    many there are and how many rest is said.
    """

    targets: tuple[TargetHealth, ...] = ()
    in_flight: int = 0
    retries_left: float | None = None
    keys: int = 0
    keys_resting: int = 0
