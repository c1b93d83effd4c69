"""Health and keys: who rests, for how long, and how it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.health import Health
from gateway.routing.keys import KeyRotation


def failed(times: int, now_s: float = 0.0) -> Health:
    health = Health(3, 10, 60)
    for _ in range(times):
        health.failed(now_s)
    return health


class TestATarget:
    def test_rests_after_so_many_failures_in_a_row(self) -> None:
        assert not failed(2).is_resting(0)
        assert failed(3).is_resting(0)
        assert failed(3).is_resting(9.9)
        assert failed(3).state(0) == "resting"

    def test_does_not_rest_if_a_success_comes_between(self) -> None:
        health = failed(2)
        health.succeeded()
        health.failed(0)
        assert health.state(0) == "healthy"

    def test_after_its_rest_gets_one_request_as_a_probe(self) -> None:
        health = failed(3)
        assert not health.is_resting(10)
        assert health.state(10) == "probing"
        health.begun(10)
        assert health.is_resting(10)
        assert health.state(10) == "probing"

    def test_is_back_when_the_probe_succeeds(self) -> None:
        health = failed(3)
        health.begun(10)
        health.succeeded()
        assert health.state(11) == "healthy"
        health.failed(11)
        assert health.state(11) == "healthy"

    def test_rests_twice_as_long_after_each_failed_probe_up_to_a_limit(self) -> None:
        health, now_s, rests = failed(3), 0.0, []
        for _ in range(6):
            rest_s = health.badness(now_s)
            rests.append(rest_s)
            now_s += rest_s
            health.begun(now_s)
            health.failed(now_s)
        assert rests == [10, 20, 40, 60, 60, 60]
        health.succeeded()
        for _ in range(3):
            health.failed(now_s)
        assert health.badness(now_s) == 10

    def test_lets_another_probe_go_when_one_was_given_up_or_is_never_heard_of(self) -> None:
        health = failed(3)
        health.begun(10)
        health.abandoned()
        assert not health.is_resting(10)
        health.begun(10)
        assert health.is_resting(69)
        assert not health.is_resting(70)

    def test_does_not_rest_longer_for_what_was_under_way_before(self) -> None:
        health = failed(3)
        for _ in range(20):
            health.failed(5)
        assert not health.is_resting(10)

    def test_rests_at_once_for_as_long_as_it_asks_to_within_the_limit(self) -> None:
        health = Health(3, 10, 60)
        health.failed(0, rest_s=25)
        assert health.is_resting(24.9)
        assert not health.is_resting(25)
        health.failed(30, rest_s=9999)
        assert health.badness(30) == 60

    def test_that_asks_to_be_asked_again_at_once_rests_as_one_that_asks_for_nothing(self) -> None:
        health = Health(3, 10, 60)
        for _ in range(2):
            health.failed(0, rest_s=0)
        assert health.state(0) == "healthy"
        health.failed(0, rest_s=0)
        assert health.badness(0) == 10

    def test_with_a_limit_of_no_failures_never_rests(self) -> None:
        health = Health(0, 10, 60)
        for _ in range(100):
            health.failed(0, rest_s=5)
        assert health.state(0) == "healthy"

    def test_that_answers_during_its_rest_is_back_at_once(self) -> None:
        health = failed(3)
        health.begun(1)
        health.succeeded()
        assert not health.is_resting(1)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["begun", "failed", "asked", "succeeded", "abandoned"]), st.floats(0, 50)
            )
        )
    )
    def test_whatever_happens_rests_no_longer_than_its_limit(self, events: list[tuple[str, float]]) -> None:
        health, now_s = Health(2, 5, 40), 0.0
        for event, pause_s in events:
            now_s += pause_s
            if event == "begun":
                health.begun(now_s)
            elif event == "failed":
                health.failed(now_s)
            elif event == "asked":
                health.failed(now_s, rest_s=1e6)
            else:
                getattr(health, event)()
            assert 0 <= health.badness(now_s) <= 40 + 1e-9
            assert not health.is_resting(now_s + 81)
            assert health.is_resting(now_s) or health.badness(now_s) == 0


class TestKeys:
    def test_are_used_in_turn(self) -> None:
        keys = KeyRotation(3)
        assert [keys.take(0) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]

    def test_that_rest_are_passed_over_alone_until_their_rest_ends(self) -> None:
        keys = KeyRotation(3)
        keys.rest(1, until_s=10)
        assert [keys.take(5) for _ in range(4)] == [0, 2, 0, 2]
        assert keys.resting(5) == (1,)
        assert not keys.all_rest(5)
        assert {keys.take(10) for _ in range(3)} == {0, 1, 2}

    def test_the_one_whose_rest_ends_first_is_used_where_all_rest(self) -> None:
        keys = KeyRotation(3)
        for index, until_s in enumerate((30, 10, 20)):
            keys.rest(index, until_s)
        assert keys.all_rest(5)
        assert keys.rest_s(5) == 5
        assert keys.take(5) == 1
        assert keys.take(12) == 1

    def test_a_shorter_rest_does_not_end_a_longer_one(self) -> None:
        keys = KeyRotation(1)
        keys.rest(0, 20)
        keys.rest(0, 10)
        assert keys.resting(15) == (0,)

    def test_there_must_be_one(self) -> None:
        with pytest.raises(ValueError, match="no key to rotate"):
            KeyRotation(0)

    @given(
        st.integers(1, 6),
        st.lists(st.tuples(st.integers(0, 5), st.floats(0, 9), st.floats(0, 30)), max_size=40),
    )
    def test_a_resting_key_is_used_only_where_all_rest(
        self, count: int, steps: list[tuple[int, float, float]]
    ) -> None:
        keys, now_s = KeyRotation(count), 0.0
        for index, pause_s, rest_s in steps:
            now_s += pause_s
            keys.rest(index % count, now_s + rest_s)
            assert keys.take(now_s) not in keys.resting(now_s) or keys.all_rest(now_s)
