"""One request's way through a plan: the first target, and after each failure the next one, if any.

Decides only; attempts are made and repeated elsewhere. What is known of the running gateway comes through
`View`.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from gateway.errors import NoRoute
from gateway.routing.balance import by_key, by_weight, fewest
from gateway.routing.conditions import holds
from gateway.routing.plan import (
    Conditional,
    Context,
    Failure,
    Fallback,
    Leaf,
    LoadBalance,
    Node,
    Plan,
)


class View(Protocol):
    """What a walk asks of the running gateway."""

    def is_resting(self, leaf: Leaf) -> bool: ...

    def badness(self, leaf: Leaf) -> float:
        """Lower is better; asked where all that could be chosen rest."""

    def in_flight(self, leaf: Leaf) -> int: ...

    def shares(self, node: LoadBalance) -> Sequence[float] | None:
        """The weights that feedback gives, by child; None: the configured ones."""


class Walk:
    """`first`, then `after` each failure, until that gives None. No leaf comes twice."""

    __slots__ = ("_context", "_decisions", "_fallbacks", "_plan", "_rng", "_view")

    def __init__(self, plan: Plan, context: Context, view: View, rng: Random) -> None:
        self._plan = plan
        self._context = context
        self._view = view
        self._rng = rng
        self._fallbacks: list[tuple[Fallback, list[Node]]] = []
        """The fallbacks on the way down, each with the children it has not tried."""
        self._decisions: dict[Conditional, int | None] = {}

    def first(self) -> Leaf:
        """Raises NoRoute where no condition holds and no default says where to go."""
        if not self._leads(self._plan.root):
            raise NoRoute(
                "no condition of the route holds for this request, and its strategy has no default; add one"
            )
        return self._down(self._plan.root)

    def after(self, failure: Failure) -> Leaf | None:
        """The next target: the innermost fallback that goes on after this failure and has one left."""
        while self._fallbacks:
            fallback, left = self._fallbacks[-1]
            if left and failure in fallback.on:
                return self._down(self._taken(left))
            self._fallbacks.pop()
        return None

    def _down(self, node: Node) -> Leaf:
        while not isinstance(node, Leaf):
            if isinstance(node, Fallback):
                left = [child for child in node.children if self._leads(child)]
                self._fallbacks.append((node, left))
                node = self._taken(left)
            elif isinstance(node, LoadBalance):
                node = self._balanced(node)
            else:
                node = node.children[self._decided(node) or 0]
        return node

    def _taken(self, left: list[Node]) -> Node:
        """The first that does not rest, else the least bad; it is gone from `left`."""
        for place, node in enumerate(left):
            if not self._rests(node):
                return left.pop(place)
        return left.pop(min(range(len(left)), key=lambda place: self._badness(left[place])))

    def _balanced(self, node: LoadBalance) -> Node:
        children = node.children
        choices = [place for place in node.choosable if self._leads(children[place])]
        awake = [place for place in choices if not self._rests(children[place])]
        if not awake:
            return children[min(choices, key=lambda place: self._badness(children[place]))]
        if len(awake) == 1:
            return children[awake[0]]
        return children[awake[self._picked(node, awake)]]

    def _picked(self, node: LoadBalance, awake: list[int]) -> int:
        weights = self._weights(node, awake)
        key = self._context.trace_id if node.sticky_by == "trace" else self._context.user
        if node.sticky_by is not None and key:
            return by_key(key, [node.seeds[place] for place in awake], weights)
        if node.pick == "least_in_flight":
            return fewest([self._in_flight(node.children[place]) for place in awake], weights, self._rng)
        return by_weight(weights, self._rng)

    def _weights(self, node: LoadBalance, awake: list[int]) -> list[float]:
        shares = self._view.shares(node) if node.by_feedback is not None else None
        if shares is not None:
            weights = [shares[place] for place in awake]
            if any(weight > 0.0 for weight in weights):
                return weights
        return [node.weights[place] for place in awake]

    def _decided(self, node: Conditional) -> int | None:
        if node not in self._decisions:
            met = (place for query, place in node.conditions if holds(query, self._context))
            self._decisions[node] = next(met, node.default)
        return self._decisions[node]

    # --- what holds of a whole branch; a conditional is the one child it leads to ---

    def _leads(self, node: Node) -> bool:
        """Whether the branch has a target for this request: a conditional may have none."""
        if isinstance(node, Leaf):
            return True
        return any(self._leads(child) for child in self._reachable(node))

    def _rests(self, node: Node) -> bool:
        if isinstance(node, Leaf):
            return self._view.is_resting(node)
        return all(self._rests(child) for child in self._choices(node))

    def _badness(self, node: Node) -> float:
        if isinstance(node, Leaf):
            return self._view.badness(node)
        return min(self._badness(child) for child in self._choices(node))

    def _in_flight(self, node: Node) -> int:
        if isinstance(node, Leaf):
            return self._view.in_flight(node)
        return sum(self._in_flight(child) for child in self._choices(node))

    def _choices(self, node: Fallback | LoadBalance | Conditional) -> list[Node]:
        return [child for child in self._reachable(node) if self._leads(child)]

    def _reachable(self, node: Fallback | LoadBalance | Conditional) -> Sequence[Node]:
        if isinstance(node, LoadBalance):
            return [node.children[place] for place in node.choosable]
        if isinstance(node, Conditional):
            place = self._decided(node)
            return () if place is None else (node.children[place],)
        return node.children
