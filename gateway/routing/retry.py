"""Whether a failed attempt is made again at the same target, and after how long a wait.

Decides only; nothing waits here.
"""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

from gateway.config.routes import Retry
from gateway.errors import (
    GatewayError,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.records import Headers
from gateway.routing.plan import Failure

MAX_RETRY_AFTER_S = 7 * 86_400.0
"""What a longer `Retry-After` is taken for: it is far away in any case."""

_MAX_VALUE_BYTES = 64
_CONNECTION = (UpstreamUnreachable, UpstreamBroken, UpstreamBusy)
DEADLINE_PASSED = "upstream_deadline_timeout"
_OUT_OF_TIME = "upstream_total_timeout"


def next_wait_s(
    policy: Retry, tries: int, failure: Failure, retry_after_s: float | None, rng: Random
) -> float | None:
    """How long to wait before another try, None for no more. `tries` have been made, the first included.

    Exponential with full jitter: a random part of a span that doubles. Source: "Exponential Backoff And
    Jitter", AWS Architecture Blog. Never sooner than the upstream's `Retry-After`.
    """
    if tries >= policy.attempts or failure not in policy.on:
        return None
    if retry_after_s is not None and retry_after_s > policy.max_retry_after_s:
        return None
    span_s = min(policy.max_backoff_s, policy.backoff_s * 2.0 ** (tries - 1))
    return max(retry_after_s or 0.0, rng.uniform(0.0, span_s))


def retry_after_s(headers: Headers, now_s: float) -> float | None:
    """The wait that an answer asks for, in seconds; None where it asks for none or in words unknown.

    `retry-after-ms` (OpenAI's and Azure's, milliseconds) goes before `Retry-After` (RFC 9110 section 10.2.3,
    seconds or a date), since it is the finer one. `now_s` is the time since the epoch.
    """
    found = dict(reversed(headers))  # of several the first
    in_ms = _number(found.get(b"retry-after-ms"))
    if in_ms is not None:
        return min(in_ms / 1000, MAX_RETRY_AFTER_S)
    value = found.get(b"retry-after")
    in_s = _number(value)
    if in_s is None:
        in_s = _until(value, now_s)
    return None if in_s is None else min(in_s, MAX_RETRY_AFTER_S)


def failure_of(error: GatewayError) -> Failure | None:
    """What an attempt that ended with this error, before an answer, failed with; None: not to be repeated."""
    if isinstance(error, _CONNECTION):
        return "connection"
    if isinstance(error, UpstreamTimeout) and error.code != _OUT_OF_TIME:
        return "timeout"
    return None


def _number(value: bytes | None) -> float | None:
    if value is None or len(value) > _MAX_VALUE_BYTES:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number >= 0 and not math.isnan(number) else None


def _until(value: bytes | None, now_s: float) -> float | None:
    if value is None or len(value) > _MAX_VALUE_BYTES:
        return None
    try:
        moment = parsedate_to_datetime(value.decode("ascii"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now_s)
    except (ValueError, TypeError, IndexError, OverflowError):  # what email.utils answers odd dates with
        return None
