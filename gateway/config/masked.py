"""The effective configuration as YAML that may be shown to anyone: secrets masked.

What counts as secret here: API keys, the user and password of a proxy, and the values of headers that look
like credentials or came from the environment. Nothing is loaded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from gateway.config.schema import CREDENTIAL_HEADERS, Settings, Upstream
from gateway.config.urls import MASK, masked_url

if TYPE_CHECKING:
    from collections.abc import Collection

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
    for name, key in settings.keys.items():
        data["keys"][name]["key"] = masked_key(key.key.get_secret_value()) if key.key else None
    return yaml.safe_dump(_plain(data), sort_keys=False, allow_unicode=False, width=110)


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
        "proxy": masked_url(upstream.proxy) if upstream.proxy else None,
        "headers": {
            header: MASK
            if is_credential_header(header) or header in _hidden(name, from_environment)
            else value
            for header, value in upstream.headers.items()
        },
    }


def _hidden(name: str, from_environment: Collection[Path]) -> set[str]:
    """Headers of an upstream that came from the environment; names are lower-case once loaded."""
    return {
        str(path[3]).lower()
        for path in from_environment
        if path[:3] == ("upstreams", name, "headers") and path[3:]
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
