"""The route table: from a model name to an upstream's name, first match wins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from gateway.config.schema import Route
from gateway.errors import NoRoute

_ANY = "*"


class RouteTable:
    """`choose` an upstream. Without routes there is one upstream and everything goes to it."""

    def __init__(self, routes: Iterable[Route], upstreams: Iterable[str]) -> None:
        self._only = None if routes else next(iter(upstreams))
        self._rules = [
            (pattern, re.compile(translate(pattern)), route.target.upstream)
            for route in routes
            for pattern in route.models
        ]

    def choose(self, model: str | None) -> str:
        """The upstream's name. A request without a model is matched by `"*"` alone. Raises NoRoute."""
        if self._only is not None:
            return self._only
        for pattern, matcher, upstream in self._rules:
            if pattern == _ANY or (model is not None and matcher.match(model)):
                return upstream
        if model is None:
            raise NoRoute(
                'no route takes requests without a model; add a route with models: ["*"]', param="model"
            )
        known = ", ".join(pattern for pattern, _, _ in self._rules)
        raise NoRoute(f'no route for model "{model[:256]}"; routes has {known}', param="model")
