"""What Portkey's answers tell of routing: response headers, and the status of a limit that passed.

Pure. Sources, word for word, are in docs/wire/portkey-routing.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import GatewayError, UpstreamTimeout
from gateway.records import Attempt, Headers
from gateway.routing.plan import Leaf, Plan

LAST_USED_OPTION_INDEX = b"x-portkey-last-used-option-index"
RETRY_ATTEMPT_COUNT = b"x-portkey-retry-attempt-count"
CACHE_STATUS = b"x-portkey-cache-status"
PROVIDER = b"x-portkey-provider"

REQUEST_TIMEOUT_STATUS = 408
EXHAUSTED = -1

_CACHE_WORDS = {"hit": b"HIT", "shared": b"HIT", "miss": b"MISS", "refresh": b"REFRESH"}
_DISABLED = b"DISABLED"
_BEFORE_AN_ANSWER = frozenset(
    {"upstream_connect_timeout", "upstream_first_byte_timeout", "upstream_deadline_timeout"}
)


def answer_headers(
    plan: Plan, attempts: Sequence[Attempt], cache_status: str | None, provider: str | None
) -> Headers:
    """The four headers. `attempts` are all of the exchange's, in their order; none where the cache answered.

    `provider` is the vendor of the upstream that answered; without one, as without an attempt, its header is
    left out.
    """
    headers = [(CACHE_STATUS, _CACHE_WORDS.get(cache_status or "", _DISABLED))]
    leaf = _last_leaf(plan, attempts)
    if leaf is not None:
        headers.append((LAST_USED_OPTION_INDEX, leaf.index.encode("ascii")))
    headers.append((RETRY_ATTEMPT_COUNT, b"%d" % _retries(leaf, attempts)))
    if provider is not None and leaf is not None:
        headers.append((PROVIDER, provider.encode("ascii")))
    return headers


def answer_status(error: GatewayError) -> int:
    """The status for a failed request that came with Portkey's headers: 408 where no answer began in time."""
    if isinstance(error, UpstreamTimeout) and error.code in _BEFORE_AN_ANSWER:
        return REQUEST_TIMEOUT_STATUS
    return error.status


def _last_leaf(plan: Plan, attempts: Sequence[Attempt]) -> Leaf | None:
    """The leaf of the last attempt, known by its label; those of a request's own plan are all different."""
    if not attempts:
        return None
    label = attempts[-1].target
    return plan.only or next((leaf for leaf in plan.leaves if leaf.label == label), None)


def _retries(leaf: Leaf | None, attempts: Sequence[Attempt]) -> int:
    """Tries after the first at the last target; -1 where the last one failed in a way that is retried."""
    if leaf is None:
        return 0
    last = attempts[-1]
    if leaf.retry.attempts > 1 and _failure(last) in leaf.retry.on:
        return EXHAUSTED
    tries = 0
    for attempt in reversed(attempts):
        if attempt.target != last.target:
            break
        tries += 1
    return tries - 1


def _failure(attempt: Attempt) -> int | str | None:
    if attempt.status is not None:
        return attempt.status
    return "timeout" if (attempt.error_kind or "").endswith("_timeout") else "connection"
