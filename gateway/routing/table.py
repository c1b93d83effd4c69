"""The route table: from a model name to the plan for it, first match wins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from gateway.config.routes import Route
from gateway.errors import NoRoute
from gateway.routing.plan import Plan, compile_plan, plan_of_upstream

_ANY = "*"
_WILDCARDS = re.compile(r"[*?\[]")


class RouteTable:
    """`choose` a plan. Without routes there is one upstream and everything goes to it."""

    def __init__(self, routes: Iterable[Route], upstreams: Iterable[str]) -> None:
        routes = tuple(routes)
        plans = [compile_plan(route) for route in routes]
        self._only = None if plans else plan_of_upstream(next(iter(upstreams)))
        self._rules = [
            (pattern, re.compile(translate(pattern)), plan)
            for route, plan in zip(routes, plans, strict=True)
            for pattern in route.models
        ]
        self.plans: tuple[Plan, ...] = (self._only,) if self._only else tuple(plans)
        """Every plan there is, in the order of the routes."""

    def choose(self, model: str | None) -> Plan:
        """A request without a model is matched by `"*"` alone. Raises NoRoute."""
        if self._only is not None:
            return self._only
        for pattern, matcher, plan in self._rules:
            if pattern == _ANY or (model is not None and matcher.match(model)):
                return plan
        if model is None:
            raise NoRoute(
                'no route takes requests without a model; add a route with models: ["*"]', param="model"
            )
        known = ", ".join(pattern for pattern, _, _ in self._rules)
        raise NoRoute(f'no route for model "{model[:256]}"; routes has {known}', param="model")

    def offered(self, model_id: str) -> list[str]:
        """The upstreams that may be asked for the model of this very name, in the order of the plan."""
        try:
            plan = self.choose(model_id)
        except NoRoute:
            return []
        return list(dict.fromkeys(leaf.upstream for leaf in plan.leaves if leaf.model is None))

    def aliases(self) -> tuple[str, ...]:
        """The model names that routes give themselves: patterns that match one name only."""
        return tuple(dict.fromkeys(rule[0] for rule in self._rules if not _WILDCARDS.search(rule[0])))
