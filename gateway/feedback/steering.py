"""Weights that follow feedback: for every strategy with `by_feedback`, worked out again now and then.

It decides when; what feedback says is `gateway.store.steering`'s, and what follows from it
`gateway.routing.bandit`'s. Every worker process does this for itself, over the same store. The feedback of
all keys counts, since routes serve all of them; and it counts for a target by its name, in every route that
has one of that name.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from gateway.config.routes import Steering as Settings
from gateway.errors import StoreUnavailable
from gateway.routing.bandit import NO_EVIDENCE, Evidence, chances, evidence, faded, reason, shares
from gateway.routing.plan import ROOT_INDEX, Leaf, LoadBalance, Node, Plan
from gateway.store.base import Database
from gateway.store.steering import Opinion, opinions

logger = logging.getLogger(__name__)

HALF_LIVES = 10
"""How far back feedback counts: what is older has faded to a thousandth."""
_SHORTEST_PAUSE_S = 0.05
_MAX_NODES = 1_000
_NO_NAME_OF_ITS_OWN = "feedback cannot tell it from the target beside it: give it a name"


@dataclass(slots=True, frozen=True)
class Standing:
    """How one target of a strategy stands.

    `labels` are the targets whose feedback counts for it: itself, or those below it. `weight` is the
    configured one, `chance` how likely it is thought the best.
    """

    target: str
    labels: tuple[str, ...]
    weight: float
    share: float
    chance: float
    evidence: Evidence
    reason: str


@dataclass(slots=True, frozen=True)
class Steered:
    """A strategy that follows feedback, and how its targets stand.

    `place` is where the configuration has it. `refreshed_at_ms` is None until there was a first look at
    feedback; `failures` counts looks that failed since the start, `last_error` is the last look's, if it
    failed. `is_cut` is whether there is more feedback than is looked at.
    """

    place: str
    settings: Settings
    standings: tuple[Standing, ...]
    is_cut: bool = False
    refreshed_at_ms: int | None = None
    failures: int = 0
    last_error: str | None = None


@dataclass(slots=True, eq=False)
class _Strategy:
    node: LoadBalance
    labels: tuple[tuple[str, ...], ...]
    """By child: those that no other child has."""
    current: Steered
    shares: tuple[float, ...] | None = None
    """None until the first look: then the configured weights hold."""
    due_s: float = 0.0


class Steering:
    """`shares` from `start` to `close`.

    `plans` are those that may steer, by where the configuration has them. `key_ids` are the owners whose
    feedback counts; `now_ms` is the time since the epoch.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        database: Database,
        *,
        key_ids: Iterable[str],
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._key_ids = tuple(dict.fromkeys(key_ids))
        self._now_ms = now_ms
        self._strategies = [
            _strategy(f"{place}{node.index.removeprefix(ROOT_INDEX)}", node, node.by_feedback)
            for place, plan in plans.items()
            for node in _balances(plan.root)
            if node.by_feedback is not None and node.choosable
        ]
        self._by_node = {each.node: each for each in self._strategies}
        self._by_content = {_content(each.node): each for each in self._strategies}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Nothing runs where nothing steers."""
        for each in self._strategies:
            if not all(each.labels):
                logger.warning("routing: %s: some targets have the same name; give each its own so that "
                               "feedback can tell them apart", each.current.place)  # fmt: skip
        if self._strategies:
            self._task = asyncio.create_task(self._run(), name="steering")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def shares(self, node: LoadBalance) -> Sequence[float] | None:
        """The weights by child, which add up to 1; None: the configured ones hold.

        A plan that was compiled again, as requests can have it, is known by what is in it.
        """
        found = self._by_node.get(node)
        if found is None:
            found = self._by_content.get(_content(node))
            if found is not None and len(self._by_node) < _MAX_NODES:
                self._by_node[node] = found
        return None if found is None else found.shares

    def report(self) -> tuple[Steered, ...]:
        return tuple(each.current for each in self._strategies)

    async def refresh(self) -> None:
        """Look at the feedback of all strategies now. A store that fails leaves their shares as they are."""
        await self._refresh(self._strategies)

    async def _run(self) -> None:
        while True:
            due = [each for each in self._strategies if each.due_s <= time.monotonic()]
            await self._refresh(due)
            next_s = min(each.due_s for each in self._strategies)
            await asyncio.sleep(max(_SHORTEST_PAUSE_S, next_s - time.monotonic()))

    async def _refresh(self, strategies: Sequence[_Strategy]) -> None:
        by_name: dict[str, list[_Strategy]] = defaultdict(list)
        for each in strategies:
            by_name[each.current.settings.name].append(each)
            each.due_s = time.monotonic() + each.current.settings.refresh_s
        for name, some in by_name.items():
            try:
                await self._look(name, some)
            except StoreUnavailable as error:
                _failed(some, error.message)
            except Exception as error:
                logger.exception("steering: working out shares failed, it is tried again later")
                _failed(some, type(error).__name__)

    async def _look(self, name: str, strategies: Sequence[_Strategy]) -> None:
        now_ms = self._now_ms()
        longest_s = max(each.current.settings.half_life_s for each in strategies)
        since_ms = now_ms - int(HALF_LIVES * longest_s * 1000)
        given = await self._database.read(
            lambda connection: opinions(connection, self._key_ids, name, since_ms)
        )
        for each in strategies:
            standings = await asyncio.to_thread(_standings, each, given.found, now_ms)
            each.shares = tuple(standing.share for standing in standings)
            each.current = replace(
                each.current,
                standings=standings,
                is_cut=given.is_cut,
                refreshed_at_ms=now_ms,
                last_error=None,
            )


def _failed(strategies: Sequence[_Strategy], reason_: str) -> None:
    for each in strategies:
        each.current = replace(each.current, failures=each.current.failures + 1, last_error=reason_)


def _strategy(place: str, node: LoadBalance, settings: Settings) -> _Strategy:
    below = _labels(node)
    owners = Counter(label for labels in below for label in labels)
    own = tuple(tuple(label for label in labels if owners[label] == 1) for labels in below)
    strategy = _Strategy(node, own, Steered(place, settings, ()))
    strategy.current = replace(strategy.current, standings=_standings(strategy, (), 0))
    return strategy


def _standings(strategy: _Strategy, given: Sequence[Opinion], now_ms: int) -> tuple[Standing, ...]:
    """How the targets stand by the opinions given. Without any, as configured."""
    node, settings = strategy.node, strategy.current.settings
    known = [_evidence(labels, given, settings.half_life_s, now_ms) for labels in strategy.labels]
    chosen = shares(known, node.weights, settings.explore)
    likely = dict(zip(node.choosable, chances([known[place] for place in node.choosable]), strict=True))
    is_judged = any(known[place].weight for place in node.choosable)
    return tuple(
        Standing(
            target=child.label,
            labels=labels,
            weight=weight,
            share=share,
            chance=likely.get(place, 0.0),
            evidence=found,
            reason=reason(
                found,
                chance=likely.get(place, 0.0),
                weight=weight,
                is_judged=is_judged,
                explore=settings.explore,
            )
            if labels
            else _NO_NAME_OF_ITS_OWN,
        )
        for place, (child, labels, weight, share, found) in enumerate(
            zip(node.children, strategy.labels, node.weights, chosen, known, strict=True)
        )
    )


def _evidence(labels: Sequence[str], given: Sequence[Opinion], half_life_s: float, now_ms: int) -> Evidence:
    """An opinion counts once, however many of `labels` it is about."""
    wanted = frozenset(labels)
    if not wanted:
        return NO_EVIDENCE
    oldest_ms = now_ms - HALF_LIVES * half_life_s * 1000
    return evidence(
        (
            opinion.value,
            faded(opinion.weight, age_s=(now_ms - opinion.created_at_ms) / 1000, half_life_s=half_life_s),
        )
        for opinion in given
        if opinion.created_at_ms >= oldest_ms and not wanted.isdisjoint(opinion.targets)
    )


def _balances(node: Node) -> Iterator[LoadBalance]:
    if isinstance(node, Leaf):
        return
    if isinstance(node, LoadBalance):
        yield node
    for child in node.children:
        yield from _balances(child)


def _labels(node: LoadBalance) -> tuple[tuple[str, ...], ...]:
    """By child: its own label, or those of all targets below it."""
    leaves = [(child,) if isinstance(child, Leaf) else child.leaves for child in node.children]
    return tuple(tuple(dict.fromkeys(leaf.label for leaf in below)) for below in leaves)


def _content(node: LoadBalance) -> Hashable:
    return node.by_feedback, node.weights, _labels(node)
