"""The effective configuration as YAML that may be shown to anyone: secrets masked.

What counts as secret here: API keys, the user and password of a proxy, and the values of headers and query
parameters that look like credentials or came from the environment. Nothing is loaded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from gateway.config.outline import fields_of
from gateway.config.plans import MODE_OF
from gateway.config.routes import Strategy, Target
from gateway.config.schema import Settings
from gateway.config.section import Section
from gateway.config.upstreams import CREDENTIAL_HEADERS, Upstream
from gateway.config.urls import MASK, masked_url

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gateway.config.paths import Path

SHORTEST_KEY_WITH_TAIL = 16
"""A key of fewer characters is masked whole: four of them would be too large a part of it."""

_CREDENTIAL_WORDS = ("key", "token", "secret", "auth", "cookie", "password", "credential", "session")


def masked_yaml(settings: Settings, from_environment: Collection[Path] = ()) -> str:
    """Every setting with the value in effect, as a YAML document without secrets.

    `from_environment` has the paths of values made from environment variables; headers among them are masked
    whatever their name.
    """
    data = settings.model_dump(mode="python")
    for name, upstream in settings.upstreams.items():
        data["upstreams"][name] |= _masked_parts(name, upstream, from_environment)
    data["routes"] = [
        _plan(route, ("routes", place), from_environment) for place, route in enumerate(settings.routes)
    ]
    data["configs"] = {
        name: _plan(plan, ("configs", name), from_environment) for name, plan in settings.configs.items()
    }
    for name, key in settings.keys.items():
        data["keys"][name]["key"] = masked_key(key.key.get_secret_value()) if key.key else None
    return yaml.dump(_plain(data), Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=110)


def masked_key(key: str) -> str:
    """`****`, and the last four characters of a key long enough to lose them."""
    return MASK + (key[-4:] if len(key) >= SHORTEST_KEY_WITH_TAIL else "")


def is_credential_header(name: str) -> bool:
    """Whether a header carries credentials, known by its name or by a word in it."""
    return name.lower() in CREDENTIAL_HEADERS or any(word in name.lower() for word in _CREDENTIAL_WORDS)


def _masked_parts(name: str, upstream: Upstream, from_environment: Collection[Path]) -> dict[str, Any]:
    return {
        "base_url": masked_url(upstream.base_url),
        "api_key": masked_key(upstream.api_key.get_secret_value()) if upstream.api_key else None,
        "api_keys": [masked_key(key.get_secret_value()) for key in upstream.api_keys],
        "proxy": masked_url(upstream.proxy) if upstream.proxy else None,
        "headers": _masked_values(upstream.headers, _hidden(name, "headers", from_environment)),
        "query": _masked_values(upstream.query, _hidden(name, "query", from_environment)),
    }


def _plan(target: Target, path: Path, from_environment: Collection[Path]) -> dict[str, Any]:
    """A route, a config or a target, down to its last target; what is not set there is left out."""
    shown: dict[str, Any] = {}
    for name in fields_of(type(target)):
        value = getattr(target, name)
        if value in (None, (), {}) or (name == "weight" and value == 1):
            continue
        here = (*path, name)
        if name == "targets":
            shown[name] = [
                _plan(inner, (*here, place), from_environment) for place, inner in enumerate(value)
            ]
        elif name == "target":
            shown[name] = _plan(value, here, from_environment)
        elif name == "strategy":
            shown[name] = _strategy(value)
        elif name == "headers":
            hidden = {str(made[len(here)]).lower() for made in from_environment if _is_below(made, here)}
            shown[name] = _masked_values(value, hidden)
        elif name == "override_params" and any(_is_below(made, here) for made in from_environment):
            shown[name] = MASK
        else:
            shown[name] = value.model_dump(mode="python") if isinstance(value, Section) else value
    return shown


def _strategy(strategy: Strategy) -> dict[str, Any]:
    """Only what belongs to its mode, so that it can be read back."""
    data = strategy.model_dump(mode="python")
    return {
        name: value
        for name, value in data.items()
        if MODE_OF.get(name, strategy.mode) == strategy.mode and value not in (None, ())
    }


def _is_below(path: Path, above: Path) -> bool:
    return len(path) > len(above) and path[: len(above)] == above


def _masked_values(values: Mapping[str, str], hidden: Collection[str]) -> dict[str, str]:
    return {
        name: MASK if is_credential_header(name) or name.lower() in hidden else value
        for name, value in values.items()
    }


def _hidden(name: str, setting: str, from_environment: Collection[Path]) -> set[str]:
    """What of a setting of an upstream came from the environment; headers are lower-case once loaded."""
    return {
        str(path[3]).lower()
        for path in from_environment
        if path[:3] == ("upstreams", name, setting) and path[3:]
    }


class _Dumper(yaml.SafeDumper):
    """Lists of plain values on one line."""

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        is_flat = not any(isinstance(item, dict | list) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=is_flat or flow_style)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
