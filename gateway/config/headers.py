"""Header fields that a configuration sets on requests: which may be, and how often."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from gateway.config.section import HeaderName, HeaderValue

FRAMING_HEADERS = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te",
        "trailer", "upgrade", "expect",
    }
)  # fmt: skip
"""Headers a transport sets itself (RFC 9110 section 7.6.1, RFC 9112 section 6); set twice they break it."""


def _each_once(headers: Any) -> Any:
    if isinstance(headers, dict):
        names = [name.lower() for name in headers if isinstance(name, str)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is there twice (case does not matter); remove one")
    return headers


def _no_framing(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if name in FRAMING_HEADERS:
            raise ValueError(f"{name} is set by the gateway for every request; remove it")
    return headers


SetHeaders = Annotated[
    dict[HeaderName, HeaderValue], BeforeValidator(_each_once), AfterValidator(_no_framing)
]
