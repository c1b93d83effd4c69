"""Retries: what is tried again, when, and how much of it there may be."""

from __future__ import annotations

from email.utils import formatdate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.routes import WORTH_ANOTHER_TRY, Retry
from gateway.errors import (
    ClientError,
    GatewayError,
    UpstreamAborted,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.routing.budget import RetryBudget
from gateway.routing.plan import Failure
from gateway.routing.retry import MAX_RETRY_AFTER_S, failure_of, next_wait_s, retry_after_s

NOW_S = 1_800_000_000.0
FAILURES = st.sampled_from([*WORTH_ANOTHER_TRY, 404, 501])


class TestTheNextWait:
    POLICY = Retry(attempts=4, backoff_s=1, max_backoff_s=3, max_retry_after_s=10)

    def wait(self, tries: int, failure: Failure = 500, after_s: float | None = None) -> float | None:
        return next_wait_s(self.POLICY, tries, failure, after_s, Random(5))

    def test_by_default_there_is_one_try(self) -> None:
        assert next_wait_s(Retry(), 1, 500, None, Random(1)) is None

    def test_there_is_none_after_the_last_try(self) -> None:
        assert self.wait(3) is not None
        assert self.wait(4) is None

    def test_there_is_none_after_a_failure_that_is_not_listed(self) -> None:
        assert self.wait(1, 501) is None
        assert self.wait(1, "timeout") is not None

    def test_grows_to_its_limit_and_is_a_random_part(self) -> None:
        rng = Random(2)
        for tries, longest in ((1, 1.0), (2, 2.0), (3, 3.0)):
            waits = [next_wait_s(self.POLICY, tries, 500, None, rng) or 0.0 for _ in range(500)]
            assert min(waits) < longest * 0.05
            assert longest * 0.95 < max(waits) <= longest
            assert abs(sum(waits) / 500 - longest / 2) < longest * 0.07

    def test_is_never_shorter_than_the_upstream_asks(self) -> None:
        assert self.wait(1, 429, 7.5) == 7.5
        assert self.wait(1, 429, 10.0) == 10.0

    def test_there_is_none_where_the_upstream_asks_for_longer_than_the_limit(self) -> None:
        assert self.wait(1, 429, 10.1) is None

    @given(
        st.builds(
            Retry,
            attempts=st.integers(1, 10),
            backoff_s=st.floats(0.001, 86_400),
            max_backoff_s=st.floats(0.001, 86_400),
            max_retry_after_s=st.floats(0.001, 86_400),
        ),
        st.integers(1, 2000),
        FAILURES,
        st.none() | st.floats(0, 1e9),
        st.integers(),
    )
    def test_is_bounded(
        self, policy: Retry, tries: int, failure: Failure, after_s: float | None, seed: int
    ) -> None:
        wait_s = next_wait_s(policy, tries, failure, after_s, Random(seed))
        if wait_s is not None:
            assert tries < policy.attempts
            assert 0 <= wait_s <= max(policy.max_backoff_s, policy.max_retry_after_s)
            assert wait_s >= (after_s or 0)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ([], None),
            ([(b"retry-after", b"3")], 3.0),
            ([(b"retry-after", b" 0 ")], 0.0),
            ([(b"retry-after", b"1.5")], 1.5),
            ([(b"retry-after-ms", b"250")], 0.25),
            ([(b"retry-after", b"9"), (b"retry-after-ms", b"250")], 0.25),
            ([(b"retry-after", b"9"), (b"retry-after-ms", b"soon")], 9.0),
            ([(b"retry-after", b"4"), (b"retry-after", b"9")], 4.0),
            ([(b"retry-after", formatdate(NOW_S + 20, usegmt=True).encode())], 20.0),
            ([(b"retry-after", formatdate(NOW_S - 20, usegmt=True).encode())], 0.0),
            ([(b"retry-after", b"99999999999999999999")], MAX_RETRY_AFTER_S),
            ([(b"retry-after", b"inf")], MAX_RETRY_AFTER_S),
            ([(b"retry-after", b"-1")], None),
            ([(b"retry-after", b"nan")], None),
            ([(b"retry-after", b"tomorrow")], None),
            ([(b"retry-after", b"Mon, 99 Foo 2026 99:99:99 GMT")], None),
            ([(b"retry-after", b"9" * 5000)], None),
            ([(b"retry-after", b"\xff")], None),
        ],
    )
    def test_is_read_from_seconds_milliseconds_or_a_date(
        self, headers: list[tuple[bytes, bytes]], seconds: float | None
    ) -> None:
        assert retry_after_s(headers, NOW_S) == seconds

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"retry-after", b"retry-after-ms"]),
                st.binary(max_size=70)
                | st.text("0123456789.eE+-: GMTJanFebSun,").map(str.encode)
                | st.integers(-(10**30), 10**30).map(lambda number: b"%d" % number),
            )
        ),
        st.floats(0, 1e11),
    )
    def test_never_breaks_and_is_never_out_of_bounds(
        self, headers: list[tuple[bytes, bytes]], now_s: float
    ) -> None:
        found = retry_after_s(headers, now_s)
        assert found is None or 0 <= found <= MAX_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (UpstreamUnreachable("x"), "connection"),
        (UpstreamBroken("x"), "connection"),
        (UpstreamBusy("x"), "connection"),
        (UpstreamTimeout("x", limit="connect"), "timeout"),
        (UpstreamTimeout("x", limit="first_byte"), "timeout"),
        (UpstreamTimeout("x", limit="idle"), "timeout"),
        (UpstreamTimeout("x", limit="total"), None),
        (UpstreamAborted("x"), None),
        (ClientError("x"), None),
        (GatewayError("x"), None),
    ],
)
def test_errors_that_another_try_could_mend_have_a_name(error: GatewayError, failure: Failure | None) -> None:
    assert failure_of(error) == failure


class TestTheBudget:
    def test_lets_an_upstream_that_is_asked_rarely_be_retried(self) -> None:
        budget = RetryBudget(0.2, 1)
        budget.request(100.0)
        assert budget.take(100.0)

    def test_is_a_share_of_the_requests(self) -> None:
        budget = RetryBudget(0.2, 0)
        for _ in range(100):
            budget.request(5.0)
        assert sum(budget.take(5.0) for _ in range(100)) == 20

    def test_of_nothing_lets_nothing_through(self) -> None:
        budget = RetryBudget(0, 0)
        budget.request(1.0)
        assert not budget.take(1.0)

    def test_holds_in_an_outage_in_the_long_run(self) -> None:
        """100 requests a second for ten minutes, and each wants to be retried three times."""
        budget, retries = RetryBudget(0.2, 2), 0
        for tick in range(60_000):
            now_s = tick / 100
            budget.request(now_s)
            retries += sum(budget.take(now_s) for _ in range(3))
        assert 0.95 < retries / (60_000 * 0.2 + 600 * 2) < 1.05

    def test_comes_back_when_time_has_passed(self) -> None:
        budget = RetryBudget(0, 1)
        assert sum(budget.take(0.0) for _ in range(50)) == 10
        assert not budget.take(0.5)
        assert budget.take(2.0)

    @given(
        st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200), st.floats(0, 2), st.floats(0, 5)
    )
    def test_never_gives_more_than_its_share_and_its_reserve(
        self, steps: list[tuple[float, bool]], ratio: float, per_s: float
    ) -> None:
        budget, now_s, requests, retries = RetryBudget(ratio, per_s), 0.0, 0, 0
        for pause_s, is_request in steps:
            now_s += pause_s
            if is_request:
                budget.request(now_s)
                requests += 1
            else:
                retries += budget.take(now_s)
        # the reserve of the window there is at the start, and what comes in while time passes
        assert retries <= ratio * requests + per_s * (10 + now_s) + 1e-6 + now_s / 10 + 1
