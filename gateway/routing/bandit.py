"""Which share of the requests each target gets, by what people thought of its answers: Thompson sampling.

Pure: from the scores of each target to shares. Where scores come from and when this is asked is not known
here, and nothing random happens: the walk draws a target by these shares, and a draw by the chance of being
best is what Thompson sampling is.

How good a target is, is taken to be normally distributed around the mean of its scores, drawn towards the
mean of all scores as if one more answer had got that. A score lies around its target's mean as widely as all
scores lie around theirs, wider while there are few. Both are read off the scores, so their scale does not
matter: -10 to 10, thumbs of -1 and 1, true and false or 1 to 5 stars steer alike, as long as more is better.
That all scores are pooled also keeps one thumb up against one thumb down from looking like certainty.

Answers count by their weight and fade by half in each half-life. Faded scores say less, not something else: a
target that nobody has judged for long is drawn back to the mean and so tried again ("discounted Thompson
sampling", Raj and Kalyani 2017, arXiv:1707.09727).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from math import erfc, exp2, sqrt
from statistics import NormalDist
from typing import NamedTuple

PRIOR_ANSWERS = 1.0
"""What "as good as all are" weighs against a target's own scores, in answers of weight 1."""
DRAWS = 256
"""Of what a target may be worth, equally likely each: chances are exact to about half of one of them."""
FEW_ANSWERS = 5.0
"""Worth fewer than these, scores are said to be few. That is for people; shares know no such step."""
NEGLIGIBLE = 1e-9
"""A score that counts less than this does not count: what is divided by it would overflow."""
IMMENSE = 1e100
"""A score beyond this, up or down, does not count: its square would overflow, and undo all others."""
_CLEAR = 0.95
_RULED_OUT = 0.05


class Evidence(NamedTuple):
    """What the scores of a target say now.

    `answers` is how many there are and `weight` what they add up to, each by its own weight and its age: how
    many fresh answers of weight 1 they are worth. `mean` is weighted so, and `spread` the sum of the weighted
    squares of the distances from it.
    """

    answers: int = 0
    weight: float = 0.0
    mean: float = 0.0
    spread: float = 0.0


NO_EVIDENCE = Evidence()


def faded(weight: float, *, age_s: float, half_life_s: float) -> float:
    """What a score of `weight` counts when it is `age_s` old. One from the future is as good as new."""
    return weight * exp2(-max(age_s, 0.0) / half_life_s)


def evidence(scores: Iterable[tuple[float, float]]) -> Evidence:
    """Of pairs of a value and what it counts now; negligible and immense ones are left out.

    Added up around the running mean (West 1979), so that large values lose no digits.
    """
    count, total, mean, spread = NO_EVIDENCE
    for value, weight in scores:
        if weight < NEGLIGIBLE or abs(value) > IMMENSE:
            continue
        count += 1
        total += weight
        distance = value - mean
        mean += distance * (weight / total)
        spread += weight * distance * (value - mean)
    return Evidence(count, total, mean, spread)


def chances(targets: Sequence[Evidence]) -> list[float]:
    """For each target how likely it is the best. They add up to 1; without any scores all are equal."""
    beliefs = _beliefs(targets)
    found = [
        _chance(belief, [*beliefs[:index], *beliefs[index + 1 :]]) for index, belief in enumerate(beliefs)
    ]
    total = sum(found)
    return [chance / total for chance in found]


def shares(targets: Sequence[Evidence], weights: Sequence[float], explore: float) -> list[float]:
    """The share of the requests for each target; they add up to 1.

    `weights` are the configured ones: what is believed before anybody has judged. They are the shares while
    there are no scores, and scores outweigh them soon. A target of weight 0 gets nothing; each of the others
    at least its even part of `explore`. At least one weight is above 0.
    """
    taking_part = [index for index, weight in enumerate(weights) if weight > 0]
    likely = chances([targets[index] for index in taking_part])
    believed = [weights[index] * chance for index, chance in zip(taking_part, likely, strict=True)]
    total = sum(believed)
    result = [0.0] * len(weights)
    for index, belief in zip(taking_part, believed, strict=True):
        result[index] = explore / len(taking_part) + (1.0 - explore) * belief / total
    return result


def reason(target: Evidence, *, chance: float, weight: float, is_judged: bool, explore: float) -> str:
    """Why a target has its share, for people. `is_judged` is whether any target beside it has scores."""
    if weight <= 0:
        return "taken out: its weight is 0"
    if not is_judged:
        return "no feedback yet: shared out by weight"
    if target.weight == 0:
        return "no feedback of its own yet: may be better or worse"
    few = "" if target.weight >= FEW_ANSWERS else ", from little feedback"
    if chance >= _CLEAR:
        return f"thought best{few}"
    if chance <= _RULED_OUT:
        return f"thought worse{few}: " + ("explored only" if explore > 0 else "almost nothing")
    return "too little feedback to tell" if few else "not clearly better or worse"


class _Belief(NamedTuple):
    """How good a target is thought to be: around `mean`, `sd` to either side."""

    mean: float
    sd: float


def _beliefs(targets: Sequence[Evidence]) -> list[_Belief]:
    total = mean = spread = 0.0
    for each in targets:
        if each.weight <= 0:
            continue
        total += each.weight
        distance = each.mean - mean
        mean += distance * (each.weight / total)
        spread += each.spread + each.weight * distance * (each.mean - mean)
    # Where all scores are one value, any width will do, as long as no digits are lost beside it: no target is
    # ahead.
    width = (sqrt(spread / total * (1.0 + 1.0 / total)) if total else 0.0) or max(abs(mean), 1.0)
    return [_belief(each, mean, width) for each in targets]


def _belief(target: Evidence, mean: float, width: float) -> _Belief:
    """`mean` and `width` are those of all scores."""
    worth = target.weight + PRIOR_ANSWERS
    pull = (target.mean - mean) * (target.weight / worth) if target.weight > 0 else 0.0
    return _Belief(mean + pull, width / sqrt(worth))


def _chance(belief: _Belief, others: Sequence[_Belief]) -> float:
    """How likely the worth of one is above that of all `others`."""
    total = 0.0
    for distance in _draws():
        worth = belief.mean + belief.sd * distance
        below = 1.0
        for other in others:
            below *= 0.5 * erfc((other.mean - worth) / (other.sd * sqrt(2.0)))
        total += below
    return total / DRAWS


@cache
def _draws() -> tuple[float, ...]:
    """The middles of DRAWS equally likely parts of the normal distribution: draws without their noise."""
    normal = NormalDist()
    return tuple(normal.inv_cdf((number + 0.5) / DRAWS) for number in range(DRAWS))
