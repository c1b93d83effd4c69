"""How each provider takes its key."""

from __future__ import annotations

CLIENT_CREDENTIALS = frozenset({b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"})
"""Headers in which a client sends a provider's key. They stay behind when the gateway has its own."""


def credential_header(provider: str, api_key: str) -> tuple[bytes, bytes]:
    """The header that carries `api_key`.

    Sources: OpenAI API reference, Authentication; Azure OpenAI REST API reference, Authentication; Anthropic
    API overview, Authentication; Gemini API, Using Gemini API keys.
    """
    key = api_key.encode("ascii")
    match provider:
        case "azure":
            return b"api-key", key
        case "anthropic":
            return b"x-api-key", key
        case "gemini":
            return b"x-goog-api-key", key
        case _:
            return b"authorization", b"Bearer " + key
