"""One of several by weight, by luck or by name: the three ways a loadbalance picks. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from random import Random

_SPAN = 2.0**64


def by_weight(weights: Sequence[float], rng: Random) -> int:
    """A place in `weights` at random, each as often as its share. Not all are 0."""
    point = rng.random() * sum(weights)
    for place, weight in enumerate(weights):
        point -= weight
        if point < 0.0:
            return place
    return max(range(len(weights)), key=weights.__getitem__)  # rounding ate the last share


def by_key(key: str, seeds: Sequence[bytes], weights: Sequence[float]) -> int:
    """The place that `key` always gets: each as many keys as its share, and one added or gone moves few.

    Source: weighted rendezvous hashing (Schindelhauer and Schomaker, 2005): the highest score wins, where a
    score depends on nothing but the key, the seed and the weight of that one place.
    """
    hashed = key.encode("utf-8", "surrogatepass")
    scores = [
        _score(hashed, seed) * weight if weight > 0.0 else -1.0
        for seed, weight in zip(seeds, weights, strict=True)
    ]
    return max(range(len(scores)), key=scores.__getitem__)


def fewest(counts: Sequence[int], weights: Sequence[float], rng: Random) -> int:
    """A place with the smallest count; among several, one of them by weight."""
    least = min(counts)
    places = [place for place, count in enumerate(counts) if count == least]
    if len(places) == 1:
        return places[0]
    return places[by_weight([weights[place] for place in places], rng)]


def _score(key: bytes, seed: bytes) -> float:
    digest = blake2b(key, key=blake2b(seed, digest_size=32).digest(), digest_size=8).digest()
    return -1.0 / log((int.from_bytes(digest, "big") + 0.5) / _SPAN)
