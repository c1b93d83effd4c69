"""Balance: one of several by weight, by key or by count."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.routing.balance import by_key, by_weight, fewest

WEIGHTS = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0, 1e-9, 1e6]), min_size=1, max_size=6)


@given(WEIGHTS, st.integers(0, 2**32), st.text())
def test_what_has_no_weight_is_never_picked(weights: list[float], seed: int, key: str) -> None:
    assume(any(weights))
    seeds = [b"%d" % place for place in range(len(weights))]
    assert weights[by_weight(weights, Random(seed))] > 0
    assert weights[by_key(key, seeds, weights)] > 0


def test_chance_follows_the_weights() -> None:
    """Pearson's chi-square with 3 degrees of freedom; 21 is passed by chance once in 10,000 times."""
    rng, weights, draws = Random(3), [1.0, 2.0, 3.0, 4.0], 20_000
    seen = Counter(by_weight(weights, rng) for _ in range(draws))
    assert sum((seen[place] - draws * w / 10) ** 2 / (draws * w / 10) for place, w in enumerate(weights)) < 21


def test_keys_follow_the_weights() -> None:
    weights, draws = [1.0, 2.0, 3.0, 4.0], 20_000
    seen = Counter(by_key(f"user {n}", [b"a", b"b", b"c", b"d"], weights) for n in range(draws))
    assert sum((seen[place] - draws * w / 10) ** 2 / (draws * w / 10) for place, w in enumerate(weights)) < 21


@given(st.text(), WEIGHTS)
def test_a_key_stays_where_it_is_when_another_place_goes(key: str, weights: list[float]) -> None:
    assume(sum(weight > 0 for weight in weights) > 1)
    seeds = [b"%d" % place for place in range(len(weights))]
    home = by_key(key, seeds, weights)
    for gone in range(len(weights)):
        left = [weight if place != gone else 0.0 for place, weight in enumerate(weights)]
        if gone != home:
            assert by_key(key, seeds, left) == home


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 99))
def test_the_fewest_are_picked(counts: list[int], seed: int) -> None:
    assert counts[fewest(counts, [1.0] * len(counts), Random(seed))] == min(counts)
