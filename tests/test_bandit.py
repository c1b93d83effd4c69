"""Shares by feedback: what they always are, and that they find the better target, and find it again."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.routing.bandit import NEGLIGIBLE, NO_EVIDENCE, Evidence, chances, evidence, faded, reason, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Scores = list[tuple[float, float]]

SCORE = st.tuples(st.integers(-10, 10).map(float), st.floats(0, 1))
TARGETS = st.lists(st.lists(SCORE, max_size=8), min_size=1, max_size=5)
WEIGHT = st.floats(0.001, 1000)


def of(*targets: Scores) -> list[Evidence]:
    return [evidence(scores) for scores in targets]


def thumbs(up: int, down: int) -> Scores:
    return [(1.0, 1.0)] * up + [(0.0, 1.0)] * down


# --- what always holds ---


@given(TARGETS, st.floats(0, 1), st.data())
def test_shares_add_up_to_one_and_none_is_below_its_part_of_exploration(
    targets: list[Scores], explore: float, data: st.DataObject
) -> None:
    weights = data.draw(st.lists(WEIGHT, min_size=len(targets), max_size=len(targets)))
    found = shares(of(*targets), weights, explore)
    assert sum(found) == pytest.approx(1)
    assert min(found) >= explore / len(targets) - 1e-12


@given(TARGETS, st.sampled_from([0.01, 0.1, 1.0, 20.0, 1e12]), st.integers(-1000, 1000))
@example([[], [], [(0.0, 1.0)]], 1e12, 36)
def test_the_scale_of_the_scores_does_not_matter(targets: list[Scores], factor: float, offset: float) -> None:
    moved = [[(value * factor + offset * factor, weight) for value, weight in each] for each in targets]
    assert chances(of(*moved)) == pytest.approx(chances(of(*targets)), abs=1e-5)


@given(TARGETS, st.randoms(use_true_random=False))
def test_the_order_of_targets_and_of_scores_does_not_matter(
    targets: list[Scores], rng: random.Random
) -> None:
    order = list(range(len(targets)))
    rng.shuffle(order)
    shuffled = [rng.sample(targets[index], len(targets[index])) for index in order]
    expected = chances(of(*targets))
    assert chances(of(*shuffled)) == pytest.approx([expected[index] for index in order], abs=1e-6)


@given(st.lists(SCORE, max_size=20))
def test_evidence_is_the_weighted_mean_and_what_lies_around_it(scores: Scores) -> None:
    found = evidence(scores)
    counted = [(value, weight) for value, weight in scores if weight >= NEGLIGIBLE]
    total = sum(weight for _, weight in counted)
    assert (found.answers, found.weight) == (len(counted), pytest.approx(total))
    if total:
        mean = sum(value * weight for value, weight in counted) / total
        spread = sum(weight * (value - mean) ** 2 for value, weight in counted)
        assert found.mean == pytest.approx(mean, abs=1e-9)
        assert found.spread == pytest.approx(spread, abs=1e-6)


@given(TARGETS)
def test_a_target_that_is_taken_out_gets_nothing_and_changes_nothing(targets: list[Scores]) -> None:
    plain = shares(of(*targets), [1.0] * len(targets), 0.1)
    beside = shares(of(*targets, thumbs(50, 0)), [*[1.0] * len(targets), 0.0], 0.1)
    assert beside == [*plain, 0.0]


# --- what scores do ---


def test_without_feedback_the_configured_weights_are_the_shares() -> None:
    assert shares([NO_EVIDENCE] * 3, [1, 1, 2], 0) == pytest.approx([0.25, 0.25, 0.5])
    assert shares([NO_EVIDENCE] * 2, [95, 5], 0.1) == pytest.approx([0.905, 0.095])


def test_one_answer_does_not_turn_the_configured_weights_over() -> None:
    canary, _ = shares(of(thumbs(1, 0), thumbs(0, 1)), [5, 95], 0)
    assert 0.05 < canary < 0.3


def test_much_feedback_does() -> None:
    canary, _ = shares(of(thumbs(40, 10), thumbs(10, 40)), [5, 95], 0.02)
    assert canary > 0.95


def test_a_target_nobody_has_judged_is_tried() -> None:
    _, unknown = shares(of(thumbs(30, 20), []), [1, 1], 0)
    assert 0.2 < unknown < 0.8


def test_feedback_that_is_all_alike_prefers_nobody() -> None:
    assert shares(of(thumbs(7, 0), thumbs(100, 0)), [1, 1], 0) == pytest.approx([0.5, 0.5])


def test_a_single_thumb_against_another_is_no_certainty() -> None:
    better, worse = shares(of(thumbs(1, 0), thumbs(0, 1)), [1, 1], 0)
    assert 0.6 < better < 0.9
    assert worse > 0.1


def test_more_of_the_same_makes_it_surer() -> None:
    sure = [chances(of(thumbs(6 * size, 4 * size), thumbs(4 * size, 6 * size)))[0] for size in (1, 3, 9, 27)]
    assert all(less < more for less, more in pairwise(sure))
    assert sure[-1] > 0.99


def test_feedback_of_little_weight_says_less() -> None:
    full = chances(of([(1.0, 1.0)] * 4, [(0.0, 1.0)] * 4))[0]
    light = chances(of([(1.0, 0.1)] * 4, [(0.0, 0.1)] * 4))[0]
    assert 0.5 < light < full


def test_large_numbers_lose_no_digits() -> None:
    far = 1e9
    near, moved = (
        chances(of(thumbs(8, 2), thumbs(5, 5))),
        chances(of([(v + far, w) for v, w in thumbs(8, 2)], [(v + far, w) for v, w in thumbs(5, 5)])),
    )
    assert moved == pytest.approx(near, abs=1e-6)


@pytest.mark.parametrize("weight", [5e-324, 1e-310, 1e-9, 1e-5])
@pytest.mark.parametrize("value", [5e-324, 1e-160, 1.0, 1e15])
def test_numbers_at_the_edge_of_what_floats_hold_give_shares_still(value: float, weight: float) -> None:
    found = shares(of([(value, weight), (0.0, 1.0)], [(-value, weight), (value, weight)], []), [1, 1, 1], 0)
    assert sum(found) == pytest.approx(1)
    assert min(found) >= 0


@pytest.mark.parametrize("values", [[1e308], [1e308, -1e308], [1e200, -1e200], [-1.7e308] * 3])
def test_immense_numbers_do_not_undo_what_all_others_said(values: list[float]) -> None:
    immense = [(value, 1.0) for value in values]
    assert shares(of(immense + thumbs(9, 1), thumbs(1, 9)), [1, 1], 0.05) == shares(
        of(thumbs(9, 1), thumbs(1, 9)), [1, 1], 0.05
    )


@pytest.mark.parametrize("value", [1e99, -1e99])
def test_the_largest_numbers_that_count_give_shares_still(value: float) -> None:
    found = shares(of([(value, 1.0)] * 100 + [(-value, 1.0)] * 100, thumbs(1, 1)), [1, 1], 0.05)
    assert sum(found) == pytest.approx(1)


def test_a_score_counts_half_after_its_half_life() -> None:
    assert faded(0.8, age_s=3600, half_life_s=3600) == pytest.approx(0.4)
    assert faded(0.8, age_s=-5, half_life_s=3600) == 0.8


# --- what is said of it ---


@pytest.mark.parametrize(
    ("scores", "chance", "weight", "is_judged", "words"),
    [
        ([], 0.5, 1, False, "no feedback yet: shared out by weight"),
        ([], 0.5, 0, True, "taken out: its weight is 0"),
        ([], 0.5, 1, True, "no feedback of its own yet: may be better or worse"),
        (thumbs(2, 1), 0.6, 1, True, "too little feedback to tell"),
        (thumbs(2, 1), 0.97, 1, True, "thought best, from little feedback"),
        (thumbs(20, 1), 0.97, 1, True, "thought best"),
        (thumbs(1, 20), 0.01, 1, True, "thought worse: explored only"),
        (thumbs(20, 20), 0.5, 1, True, "not clearly better or worse"),
    ],
)
def test_the_reason_says_why(
    scores: Scores, chance: float, weight: float, is_judged: bool, words: str
) -> None:
    found = reason(evidence(scores), chance=chance, weight=weight, is_judged=is_judged, explore=0.05)
    assert found == words


# --- proof: people who judge, simulated ---


@dataclass
class Simulation:
    """Rounds of one request each: a target is drawn by its share, and some people judge what they got.

    `judge` says what somebody thinks of a target in a round. Shares are worked out every 25 rounds and
    half-lives are measured in rounds.
    """

    judge: Callable[[random.Random, int, int], float]
    targets: int = 2
    half_life: float = 400.0
    explore: float = 0.05
    answering: float = 0.3
    weights: Sequence[float] = ()
    seed: int = 1
    shares_by_round: list[list[float]] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)

    def run(self, rounds: int) -> Simulation:
        rng = random.Random(self.seed)
        given: list[deque[tuple[int, float]]] = [deque(maxlen=1_000) for _ in range(self.targets)]
        weights = self.weights or [1.0] * self.targets
        current: list[float] = []
        for number in range(rounds):
            if number % 25 == 0:
                current = shares([self._known(each, number) for each in given], weights, self.explore)
            [target] = rng.choices(range(self.targets), current)
            if rng.random() < self.answering:
                given[target].append((number, self.judge(rng, target, number)))
            self.drawn.append(target)
            self.shares_by_round.append(current)
        return self

    def _known(self, given: deque[tuple[int, float]], now: int) -> Evidence:
        return evidence(
            (value, faded(1.0, age_s=now - then, half_life_s=self.half_life)) for then, value in given
        )

    def drawn_share(self, target: int, since: int, until: int) -> float:
        """Which part of the rounds went to the target."""
        return self.drawn[since:until].count(target) / (until - since)


SEEDS = range(1, 5)
SWAP = 2_500


def thumbs_before_and_after(rng: random.Random, target: int, number: int) -> float:
    """The first target pleases 80 of 100 and the others 50; after the swap the second does."""
    better = 0 if number < SWAP else 1
    return float(rng.random() < (0.8 if target == better else 0.5))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_better_target_is_found_and_found_again_when_they_swap(seed: int) -> None:
    run = Simulation(thumbs_before_and_after, seed=seed).run(2 * SWAP)
    assert run.drawn_share(0, 1_000, SWAP) > 0.8
    # Two and a half half-lives of hearing otherwise are enough.
    assert run.drawn_share(1, SWAP + 1_000, 2 * SWAP) > 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_with_three_targets_and_scores_from_minus_ten_to_ten(seed: int) -> None:
    def judge(rng: random.Random, target: int, number: int) -> float:
        centre = (6, 2, -3) if number < SWAP else (-3, 6, 2)
        return float(max(-10, min(10, round(rng.gauss(centre[target], 4)))))

    run = Simulation(judge, targets=3, seed=seed).run(2 * SWAP)
    assert run.drawn_share(0, 1_000, SWAP) > 0.8
    assert run.drawn_share(1, SWAP + 1_000, 2 * SWAP) > 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_no_target_ever_gets_less_than_its_part_of_exploration(seed: int) -> None:
    run = Simulation(thumbs_before_and_after, seed=seed).run(2 * SWAP)
    assert min(min(each) for each in run.shares_by_round) >= 0.025 - 1e-9
    assert run.drawn_share(1, 1_000, SWAP) > 0.015


@pytest.mark.parametrize("seed", SEEDS)
def test_a_target_that_was_given_up_is_noticed_when_it_becomes_better(seed: int) -> None:
    """The one in use stays as it is: only exploration can tell."""

    def judge(rng: random.Random, target: int, number: int) -> float:
        return float(rng.random() < (0.6, 0.2 if number < SWAP else 0.95)[target])

    run = Simulation(judge, seed=seed).run(2 * SWAP)
    assert run.drawn_share(0, 1_000, SWAP) > 0.8
    assert run.drawn_share(1, SWAP + 1_000, 2 * SWAP) > 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_targets_alike_are_not_torn_apart_for_good(seed: int) -> None:
    run = Simulation(lambda rng, target, number: float(rng.random() < 0.6), seed=seed).run(4_000)
    assert 0.15 < run.drawn_share(0, 0, 4_000) < 0.85


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_guess_in_the_weights_is_put_right(seed: int) -> None:
    run = Simulation(thumbs_before_and_after, weights=[1.0, 9.0], seed=seed).run(SWAP)
    assert run.drawn_share(0, 1_500, SWAP) > 0.8
