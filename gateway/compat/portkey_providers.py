"""Portkey's word `provider` as a place to send to: an upstream of ours, or a host that the operator allows.

Pure lookups. The gateway's own keys are not known here and never go to a host that a request named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.config.presets import PRESETS
from gateway.config.upstreams import Upstream
from gateway.providers.credentials import credential_header
from gateway.records import Headers
from gateway.routing.hosts import AllowedHosts

_PORTKEYS_WORDS = {
    "azure-openai": "azure",
    "google": "gemini",
    "together-ai": "together",
    "mistral-ai": "mistral",
    "fireworks-ai": "fireworks",
    "x-ai": "xai",
}
"""Where Portkey calls a vendor otherwise than our presets do. Source: its src/globals.ts, VALID_PROVIDERS."""

_OWN_DIALECTS = ("azure", "anthropic", "gemini")


class Refused(ValueError):
    """A provider or host that cannot be used here; the message is the sentence after its path."""


class Place(NamedTuple):
    """Either an `upstream` of the configuration, or a `base_url` with its `label` for logs."""

    upstream: str | None
    base_url: str | None = None
    label: str | None = None
    provider: str = "openai"

    def key_headers(self, api_key: str) -> Headers:
        """Besides `Authorization`, where such a provider looks for a key under its own paths."""
        if self.provider not in _OWN_DIALECTS:
            return []
        return [credential_header(self.provider, api_key, "native")]


class Providers:
    """What a request may name: `upstreams` of the configuration by name, and the hosts allowed to it."""

    def __init__(self, upstreams: Mapping[str, Upstream], hosts: AllowedHosts) -> None:
        self.names = tuple(upstreams)
        self._hosts = hosts
        self._by_kind: dict[str, list[str]] = {}
        for name, upstream in upstreams.items():
            kind = (upstream.preset or upstream.provider).removesuffix("-deployments")
            self._by_kind.setdefault(kind, []).append(name)

    def named(self, provider: str, *, is_secret: bool = False) -> Place:
        """Where a provider's requests go. Raises Refused; without the word itself if that may be a secret."""
        name = provider.removeprefix("@")
        if name in self.names:
            return Place(name)
        kind = _PORTKEYS_WORDS.get(name.lower(), name.lower())
        found = self._by_kind.get(kind, [])
        if len(found) == 1:
            return Place(found[0])
        shown = "it" if is_secret else f'"{provider[:64]}"'
        if found:
            raise Refused(f"{shown} could be any of the upstreams {', '.join(found)}; name one")
        preset = PRESETS.get(kind)
        if preset is not None and preset.own_host is None:
            try:
                return self.custom_host(preset.base_url, kind)
            except Refused:
                pass
        raise Refused(f"{shown} is no upstream here; there are {', '.join(self.names)}")

    def custom_host(self, url: str, provider: str | None) -> Place:
        """A host of the request's own, if the operator allows it. Raises Refused."""
        try:
            host = self._hosts.check(url)
        except ValueError as error:
            raise Refused(str(error)) from None
        return Place(None, host.base_url, host.label, _dialect(provider))


def _dialect(provider: str | None) -> str:
    kind = (provider or "").removeprefix("@").lower()
    kind = _PORTKEYS_WORDS.get(kind, kind)
    preset = PRESETS.get(kind)
    spoken = str(preset.settings.get("provider", "openai")) if preset else kind
    return spoken if spoken in _OWN_DIALECTS else "openai"
