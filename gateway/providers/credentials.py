"""How each provider takes its key, and what else its requests must carry."""

from __future__ import annotations

from typing import Literal

from gateway.records import Headers

Dialect = Literal["openai", "native"]
"""Which of an upstream's two faces a path belongs to: its OpenAI-compatible one, or its own API."""

CLIENT_CREDENTIALS = frozenset({b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"})
"""Headers in which a client sends a provider's key. They stay behind when the gateway has its own."""

QUERY_CREDENTIALS = {"gemini": frozenset({b"key", b"access_token"})}
"""Query parameters that do the same. Source: Gemini API, Using Gemini API keys."""

_ANTHROPIC_VERSION = (b"anthropic-version", b"2023-06-01")


def credential_header(provider: str, api_key: str, dialect: Dialect = "openai") -> tuple[bytes, bytes]:
    """The header that carries `api_key` to one of the faces of an upstream.

    Sources: OpenAI API reference, Authentication; Azure OpenAI REST API reference, Authentication (`api-key`
    for both); Gemini API, OpenAI compatibility (Bearer) and Using Gemini API keys; Claude API, OpenAI SDK
    compatibility (that SDK sends Bearer) and API overview, Authentication.
    """
    key = api_key.encode("ascii")
    if provider == "azure":
        return b"api-key", key
    if dialect == "native" and provider == "anthropic":
        return b"x-api-key", key
    if dialect == "native" and provider == "gemini":
        return b"x-goog-api-key", key
    return b"authorization", b"Bearer " + key


def headers_for(provider: str, api_key: str) -> dict[Dialect, Headers]:
    """`credential_header` for both faces, to be worked out once and not for every request."""
    return {
        "openai": [credential_header(provider, api_key, "openai")],
        "native": [credential_header(provider, api_key, "native")],
    }


def takes_keys_differently(provider: str) -> bool:
    """Whether a provider's own API wants other headers than its OpenAI-compatible one."""
    by_dialect = headers_for(provider, "key")
    return by_dialect["openai"] != by_dialect["native"]


def default_headers(provider: str) -> dict[Dialect, Headers]:
    """What a request must carry and is given where its client sends none of that name.

    Anthropic refuses requests to its own API without a version; an OpenAI client that lists models knows of
    none. Source: Claude API, Versions.
    """
    return {"openai": [], "native": [_ANTHROPIC_VERSION] if provider == "anthropic" else []}
