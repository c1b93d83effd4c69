"""A plan: the tree of targets that a request may go to, compiled once from the configuration.

Plain data. Which of its targets one request gets is decided in `gateway.routing.walk`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from gateway.config import routes as schema
from gateway.config.queries import Query, parsed
from gateway.records import Headers
from gateway.routing.override import merged_params

Failure = int | Literal["connection", "timeout"]
"""What an attempt ended with: a status, or a cause; see `gateway.config.routes.Failures`."""

ROOT_INDEX = "config"


@dataclass(slots=True, frozen=True, eq=False)
class Leaf:
    """A target that is an upstream, with everything that the levels above it say put in.

    `index` is where it stands in the plan, in Portkey's words: `config`, `config.targets[0].targets[1]`.
    `model` None leaves the request's own. A timeout of None is the upstream's. `api_key` and `base_url` are a
    key and a host that the request itself brought; `is_hurried` is whether the limits until an answer begins
    are its own, too.
    """

    label: str
    index: str
    upstream: str
    model: str | None = None
    override_params: Mapping[str, Any] = field(default_factory=dict)
    headers: Headers = field(default_factory=list)
    connect_timeout_s: float | None = None
    first_byte_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    total_timeout_s: float | None = None
    retry: schema.Retry = field(default_factory=schema.Retry)
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    is_hurried: bool = False

    @property
    def changes_body(self) -> bool:
        return self.model is not None or bool(self.override_params)

    @property
    def has_timeouts(self) -> bool:
        own = (
            self.connect_timeout_s,
            self.first_byte_timeout_s,
            self.idle_timeout_s,
            self.total_timeout_s,
        )
        return any(limit is not None for limit in own)


@dataclass(slots=True, frozen=True, eq=False)
class Group:
    """What the three strategies share. `leaves` are all below it, in the order they are written."""

    label: str
    index: str
    children: tuple[Node, ...]
    leaves: tuple[Leaf, ...]


@dataclass(slots=True, frozen=True, eq=False)
class Fallback(Group):
    on: frozenset[Failure]


@dataclass(slots=True, frozen=True, eq=False)
class LoadBalance(Group):
    """`weights` are the configured ones, by child; `choosable` the children whose weight is not 0.

    `seeds` tell the children apart for those who stick to one: by name, so that a new one moves few.
    """

    weights: tuple[float, ...]
    choosable: tuple[int, ...]
    seeds: tuple[bytes, ...]
    pick: Literal["weight", "least_in_flight"]
    sticky_by: Literal["user", "trace"] | None
    by_feedback: schema.Steering | None


@dataclass(slots=True, frozen=True, eq=False)
class Conditional(Group):
    """`conditions` are asked in order; each leads to the child of that number. `default` None: to none."""

    conditions: tuple[tuple[Query, int], ...]
    default: int | None


Node = Leaf | Fallback | LoadBalance | Conditional


@dataclass(slots=True, frozen=True, eq=False)
class Plan:
    """A route or a named config, ready to be walked.

    `only` is the root where that is one leaf, so that there is nothing to walk.
    """

    root: Node
    leaves: tuple[Leaf, ...]
    deadline_s: float | None
    cache: schema.CacheUse | None
    sse_keepalive_s: float | None
    only: Leaf | None

    @property
    def is_plain(self) -> bool:
        """Whether it is one try at one upstream, and nothing about the request is changed."""
        leaf = self.only
        if leaf is None or leaf.retry.attempts > 1 or leaf.changes_body or leaf.has_timeouts:
            return False
        brought = (leaf.headers, leaf.api_key, leaf.base_url)
        whole = (self.deadline_s, self.cache, self.sse_keepalive_s)
        return not any(brought) and whole == (None, None, None)


class Context(NamedTuple):
    """What of a request decides its way. `params` is its JSON body, None where it has none or is not read."""

    path: str
    metadata: Mapping[str, Any] | None
    params: Mapping[str, Any] | None
    user: str | None
    trace_id: str


class Above(NamedTuple):
    """What the levels above a target say for all below them that do not say otherwise."""

    model: str | None = None
    override_params: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    connect_timeout_s: float | None = None
    first_byte_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    total_timeout_s: float | None = None
    retry: schema.Retry | None = None

    def with_target(self, target: schema.Target) -> Above:
        params = dict(target.override_params)
        model = target.model
        if isinstance(params.get("model"), str):  # how Portkey writes a rename
            model = model or params["model"]
            del params["model"]
        return Above(
            model or self.model,
            merged_params(self.override_params, params),
            {**self.headers, **target.headers},
            _nearest(target.connect_timeout_s, self.connect_timeout_s),
            _nearest(target.first_byte_timeout_s, self.first_byte_timeout_s),
            _nearest(target.idle_timeout_s, self.idle_timeout_s),
            _nearest(target.total_timeout_s, self.total_timeout_s),
            target.retry or self.retry,
        )


Dress = Callable[[Leaf], Leaf]
"""Puts in a leaf what its settings cannot say: a key or a host that came with the request."""


def compile_plan(plan: schema.Target, dress: Dress | None = None) -> Plan:
    """The plan of a route, a named config or one target, which has been validated."""
    root = _node(plan, ROOT_INDEX, Above(), dress)
    leaves = _leaves(root)
    whole = plan if isinstance(plan, schema.Plan) else None
    return Plan(
        root=root,
        leaves=leaves,
        deadline_s=whole.deadline_s if whole else None,
        cache=whole.cache if whole else None,
        sse_keepalive_s=whole.sse_keepalive_s if whole else None,
        only=root if isinstance(root, Leaf) else None,
    )


def plan_of_upstream(upstream: str) -> Plan:
    """Everything to one upstream, nothing changed."""
    return compile_plan(schema.Target(upstream=upstream))


def _node(target: schema.Target, index: str, above: Above, dress: Dress | None) -> Node:
    here = above.with_target(target)
    if target.upstream is not None:
        leaf = _leaf(target.name, target.upstream, index, here)
        return dress(leaf) if dress else leaf
    if isinstance(target, schema.Route) and target.target is not None:
        return _node(target.target, index, here, dress)
    children = tuple(
        _node(child, f"{index}.targets[{place}]", here, dress) for place, child in enumerate(target.targets)
    )
    strategy = target.strategy or schema.Strategy()
    return children[0] if strategy.mode == "single" else _group(target, strategy, index, children)


def _leaf(name: str | None, upstream: str, index: str, here: Above) -> Leaf:
    return Leaf(
        label=name or (f"{upstream}/{here.model}" if here.model else upstream),
        index=index,
        upstream=upstream,
        model=here.model,
        override_params=here.override_params,
        headers=[(key.encode("ascii"), value.encode("ascii")) for key, value in here.headers.items()],
        connect_timeout_s=here.connect_timeout_s,
        first_byte_timeout_s=here.first_byte_timeout_s,
        idle_timeout_s=here.idle_timeout_s,
        total_timeout_s=here.total_timeout_s,
        retry=here.retry or schema.Retry(),
    )


def _group(
    target: schema.Target, strategy: schema.Strategy, index: str, children: tuple[Node, ...]
) -> Fallback | LoadBalance | Conditional:
    label = target.name or index
    leaves = tuple(leaf for child in children for leaf in _leaves(child))
    if strategy.mode == "fallback":
        return Fallback(label, index, children, leaves, on=frozenset(strategy.on))
    if strategy.mode == "loadbalance":
        weights = tuple(child.weight for child in target.targets)
        return LoadBalance(
            label,
            index,
            children,
            leaves,
            weights=weights,
            choosable=tuple(place for place, weight in enumerate(weights) if weight > 0),
            seeds=_seeds(target.targets, children),
            pick=strategy.pick,
            sticky_by=strategy.sticky_by,
            by_feedback=strategy.by_feedback,
        )
    names = {child.name: place for place, child in enumerate(target.targets)}
    return Conditional(
        label,
        index,
        children,
        leaves,
        conditions=tuple(
            (parsed(condition.query), names[condition.then]) for condition in strategy.conditions
        ),
        default=None if strategy.default is None else names[strategy.default],
    )


def dressed(plan: Plan, dress: Dress) -> Plan:
    """The same plan with every leaf dressed, for a request that asks for something of all of them."""
    root = _dressed(plan.root, dress)
    only = root if isinstance(root, Leaf) else None
    return replace(plan, root=root, leaves=_leaves(root), only=only)


def _dressed(node: Node, dress: Dress) -> Node:
    if isinstance(node, Leaf):
        return dress(node)
    children = tuple(_dressed(child, dress) for child in node.children)
    leaves = tuple(leaf for child in children for leaf in _leaves(child))
    return replace(node, children=children, leaves=leaves)


def _leaves(node: Node) -> tuple[Leaf, ...]:
    return (node,) if isinstance(node, Leaf) else node.leaves


def _seeds(targets: tuple[schema.Target, ...], children: tuple[Node, ...]) -> tuple[bytes, ...]:
    """One a child: its name, or what is below it; numbered where two are the same."""
    seeds: list[bytes] = []
    for target, child in zip(targets, children, strict=True):
        seed = (target.name or "|".join(leaf.label for leaf in _leaves(child))).encode() + b"\0"
        seeds.append(b"%b%d" % (seed, sum(other.startswith(seed) for other in seeds)))
    return tuple(seeds)


def _nearest(here: float | None, above: float | None) -> float | None:
    return above if here is None else here
