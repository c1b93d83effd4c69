"""Portkey's config objects as plans of ours: names, defaults and inheritance as theirs, then our own schema.

Pure: text and settings in, a plan's settings out. What is remembered between requests is in
`portkey_routing`. The contract and its sources: docs/wire/portkey-routing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from typing import Any, NamedTuple

from pydantic import ValidationError

from gateway.compat.portkey_parts import (
    AS_HEADERS,
    at,
    cache_of,
    keys_of,
    patterns_in,
    refusal,
    retry_of,
    strategy_of,
    timeout_of,
    value_of,
)
from gateway.compat.portkey_providers import Place, Providers, Refused
from gateway.config import routes as schema
from gateway.config.problems import sentence
from gateway.config.urls import is_visible_ascii
from gateway.routing.plan import Leaf, Plan

MAX_DEPTH = 8
MAX_TARGETS = 64
MAX_PATTERNS = 16  # each may take milliseconds to compile, while nobody else is served

_MAX_KEY_CHARS = 4_096
_CUSTOM = "custom-host"  # stands for the upstream until the plan is compiled: a label is no name

Routed = Callable[[str | None], Plan]


class Brought(NamedTuple):
    """What a leaf has from the request and cannot have from a configuration: a host, a key, haste."""

    label: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    is_hurried: bool = False


_NOTHING = Brought()


@dataclass(slots=True)
class Translated:
    """A plan's settings, and by a leaf's index what came with the request."""

    plan: schema.Plan
    brought: Mapping[str, Brought]
    seen: dict[str, int] = field(default_factory=dict)

    def dress(self, leaf: Leaf) -> Leaf:
        """For `compile_plan`, once. Targets may be alike but for their key: then their labels get numbers."""
        brought = self.brought.get(leaf.index, _NOTHING)
        upstream, label = leaf.upstream, leaf.label
        if brought.label is not None:
            upstream = brought.label
            label = brought.label + label.removeprefix(_CUSTOM) if label.startswith(_CUSTOM) else label
        count = self.seen[label] = self.seen.get(label, 0) + 1
        if count > 1:
            label = f"{label}#{count}"
        return replaced(
            leaf,
            upstream=upstream,
            label=label,
            api_key=brought.api_key,
            base_url=brought.base_url,
            is_hurried=brought.is_hurried,
        )


class Fixed(NamedTuple):
    """What other headers of the request say of every target: as with Portkey they outrank the config."""

    custom_host: str | None = None
    timeout_ms: int | None = None


NOTHING_FIXED = Fixed()


class Above(NamedTuple):
    """What the levels above a target hand down to it."""

    override_params: Mapping[str, Any] = {}
    retry: Any = None
    cache: Any = None
    timeout_ms: int | None = None
    custom_host: str | None = None


def translate(
    config: Any, providers: Providers, routed: Routed, model: str | None, fixed: Fixed = NOTHING_FIXED
) -> Translated:
    """The plan that a config object asks for. Raises InvalidHeader, and NoRoute from `routed`.

    `routed` gives the plan of a model for targets that name no provider.
    """
    work = _Translation(providers, routed, model, fixed)
    data = work.target(config, "", "config", Above(), 1)
    data["cache"] = work.one_cache()
    try:
        plan = schema.Plan.model_validate(data)
    except ValidationError as error:
        raise refusal(_first_sentence(error)) from None
    return Translated(plan, work.brought)


def _first_sentence(error: ValidationError) -> str:
    finding = error.errors(include_url=False)[0]
    finding["loc"] = ("configs", "request", *finding["loc"])
    return sentence(finding, {}, {}).removeprefix("configs.request").removeprefix(".").removeprefix(": ")


@dataclass(slots=True)
class _Translation:
    providers: Providers
    routed: Routed
    model: str | None
    fixed: Fixed
    brought: dict[str, Brought] = field(default_factory=dict)
    caches: list[Any] = field(default_factory=list)
    targets: int = 0
    patterns: int = 0

    def target(self, raw: Any, path: str, index: str, above: Above, depth: int) -> dict[str, Any]:
        """The settings of one target, everything from above put in."""
        self.targets += 1
        if depth > MAX_DEPTH:
            raise refusal(f"{path}: is nested deeper than {MAX_DEPTH} levels; flatten it")
        if self.targets > MAX_TARGETS:
            raise refusal(f"{path}: is target {MAX_TARGETS + 1}; a config has up to {MAX_TARGETS}")
        asked = keys_of(raw, path)
        here = self._below(asked, path, above)
        data: dict[str, Any] = {key: asked[key] for key in ("name", "weight") if asked.get(key) is not None}
        if asked.get("targets") is None:
            if asked.get("strategy") is not None:
                raise refusal(f"{at(path, 'strategy')}: has no targets beside it; add some, or remove it")
            return data | self._leaf(asked, path, index, here)
        return data | self._group(asked, path, index, here, depth)

    def _below(self, asked: Mapping[str, Any], path: str, above: Above) -> Above:
        """Portkey merges `override_params` key by key; of everything else the nearest counts."""
        params = value_of(asked, "override_params", dict, path, {})
        timeout = asked.get("request_timeout")
        return Above(
            {**above.override_params, **params},
            retry_of(asked["retry"], at(path, "retry")) if asked.get("retry") else above.retry,
            cache_of(asked["cache"], at(path, "cache")) if asked.get("cache") else above.cache,
            above.timeout_ms if timeout is None else timeout_of(timeout, at(path, "request_timeout")),
            value_of(asked, "custom_host", str, path, None) or above.custom_host,
        )

    # --- several targets ---

    def _group(
        self, asked: Mapping[str, Any], path: str, index: str, here: Above, depth: int
    ) -> dict[str, Any]:
        for key in ("provider", "virtual_key", "api_key"):
            if asked.get(key):
                raise refusal(
                    f"{at(path, key)}: stands beside targets, where it has no effect; move it into them"
                )
        targets = value_of(asked, "targets", list, path, [])
        if not targets:
            raise refusal(f"{at(path, 'targets')}: is empty; write one target or more")
        strategy = strategy_of(asked.get("strategy"), at(path, "strategy"), len(targets))
        self.patterns += patterns_in(strategy.get("conditions"))
        if self.patterns > MAX_PATTERNS:
            raise refusal(f"{at(path, 'strategy')}: a config has up to {MAX_PATTERNS} $regex; use fewer")
        if strategy["mode"] == "single":
            targets = targets[:1]  # Portkey takes the first
        return {
            "strategy": strategy,
            "targets": [
                self.target(raw, at(path, f"targets[{place}]"), f"{index}.targets[{place}]", here, depth + 1)
                for place, raw in enumerate(targets)
            ],
        }

    # --- one target ---

    def _leaf(self, asked: Mapping[str, Any], path: str, index: str, here: Above) -> dict[str, Any]:
        self.caches.append(here.cache)
        params = dict(here.override_params)
        model = params.pop("model", None)
        if model is not None and not isinstance(model, str):
            raise refusal(f"{at(path, 'override_params.model')}: is not a text; write a model's name")
        data: dict[str, Any] = {
            "model": model,
            "override_params": params,
            "headers": {
                key.replace("_", "-"): str(asked[key]) for key in AS_HEADERS if asked.get(key) is not None
            },
            "retry": here.retry,
        }
        is_hurried = self._limit(data, here)
        place = self._place(asked, path, here, data)
        api_key = self._api_key(asked, path)
        if place.base_url is not None or api_key is not None or is_hurried:
            self.brought[index] = Brought(place.label, place.base_url, api_key, is_hurried)
        if place.base_url is not None and api_key is not None:
            data["headers"] |= {name.decode(): value.decode() for name, value in place.key_headers(api_key)}
        data["upstream"] = place.upstream or _CUSTOM
        return data

    def _limit(self, data: dict[str, Any], here: Above) -> bool:
        """Put in the request's own limit, if there is one."""
        timeout_ms = self.fixed.timeout_ms or here.timeout_ms
        if timeout_ms is not None:
            data["connect_timeout_s"] = data["first_byte_timeout_s"] = timeout_ms / 1000
        return timeout_ms is not None

    def _place(self, asked: Mapping[str, Any], path: str, here: Above, data: dict[str, Any]) -> Place:
        provider = value_of(asked, "provider", str, path, None)
        virtual_key = value_of(asked, "virtual_key", str, path, None)
        custom_host = self.fixed.custom_host or here.custom_host
        try:
            if custom_host:
                return self.providers.custom_host(custom_host, provider)
            if virtual_key:
                return self.providers.named(virtual_key, is_secret=True)
            if provider:
                return self.providers.named(provider)
            return self._place_of_model(data)
        except Refused as error:
            key = "custom_host" if custom_host else "virtual_key" if virtual_key else "provider"
            raise refusal(f"{at(path, key)}: {error}") from None

    def _place_of_model(self, data: dict[str, Any]) -> Place:
        """Where a target without a provider goes: as `@name/model` says, else as the model's route does."""
        model = data["model"] or self.model
        if model is not None and model.startswith("@") and "/" in model:
            name, _, data["model"] = model.partition("/")
            return self.providers.named(name)
        leaf = self.routed(model).only
        if leaf is None:
            raise Refused(
                "is missing, and the model's route has several targets; name one of "
                + ", ".join(self.providers.names)
            )
        _lay_over(data, leaf)
        return Place(leaf.upstream)

    def _api_key(self, asked: Mapping[str, Any], path: str) -> str | None:
        key: str | None = value_of(asked, "api_key", str, path, None)
        if not key:
            return None
        if len(key) > _MAX_KEY_CHARS or not is_visible_ascii(key):
            raise refusal(f"{at(path, 'api_key')}: is not up to {_MAX_KEY_CHARS} visible ASCII characters")
        return key

    def one_cache(self) -> Any:
        """The cache is asked once a request, so all targets must agree on it."""
        first = self.caches[0]
        if any(other != first for other in self.caches):
            raise refusal("cache: is not the same for all targets; write it once, at the top of the config")
        return first


def _lay_over(data: dict[str, Any], leaf: Leaf) -> None:
    """What a target says goes before what the route says that it borrows its upstream from."""
    data["model"] = data["model"] or leaf.model
    data["override_params"] = {**leaf.override_params, **data["override_params"]}
    of_route = {name.decode("ascii"): value.decode("ascii") for name, value in leaf.headers}
    data["headers"] = {**of_route, **data["headers"]}
    if data["retry"] is None:
        data["retry"] = leaf.retry.model_dump()
    for limit in ("connect_timeout_s", "first_byte_timeout_s", "idle_timeout_s", "total_timeout_s"):
        data.setdefault(limit, getattr(leaf, limit))
