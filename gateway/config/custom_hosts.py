"""The settings of hosts that a request may name itself. Off unless hosts are listed.

Only what can be written. What a request's URL must look like is `gateway.routing.hosts`' business, and which
addresses are connected to `gateway.proxy.upstream.guard`'s.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from pydantic import Field, field_validator

from gateway.config.section import Section

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_PATTERN = re.compile(rf"(?P<any>\*\.)?(?P<name>{_LABEL}(?:\.{_LABEL})*)")
_MAX_HOST_CHARS = 253
_MAX_PORT = 65_535


class HostPattern(NamedTuple):
    """Which hosts are meant: `name` itself, or, with `subdomains`, everything that ends in `.name`.

    `port` is the one port; None is the scheme's own, 443 or 80.
    """

    name: str
    subdomains: bool
    port: int | None


class CustomHosts(Section):
    """Hosts that requests may name themselves, in `x-portkey-custom-host` or a `custom_host`."""

    allow: tuple[str, ...] = Field(
        default=(),
        description="Hosts a request may name: `api.example.com`, `*.example.com` (its subdomains), "
        "`10.0.0.5`, `[2001:db8::5]`, each with a `:port` unless it is the scheme's own. Empty: none.",
    )
    private_networks: tuple[str, ...] = Field(
        default=(),
        description="Networks of addresses that are not public which these hosts may be in, e.g. "
        "`10.1.0.0/16`. A cloud's metadata addresses are never reached.",
    )

    @field_validator("allow")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            parse_pattern(pattern)
        return patterns

    @field_validator("private_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for text in networks:
            try:
                ip_network(text)
            except ValueError:
                raise ValueError(
                    f'"{text}" is not a network; write its first address and length, such as 10.1.0.0/16'
                ) from None
        return networks


def parse_pattern(text: str) -> HostPattern:
    """Raises ValueError with the remedy."""
    pattern = text.strip().lower()
    host, port = _split_port(pattern)
    if host.startswith("[") and host.endswith("]") and _is_address(host[1:-1]):
        return HostPattern(str(ip_address(host[1:-1])), subdomains=False, port=port)
    match = _HOST_PATTERN.fullmatch(host)
    if match is None or len(host) > _MAX_HOST_CHARS:
        raise ValueError(
            f'"{text[:64]}" is not a host; write api.example.com, *.example.com, or either with :8443. '
            "No scheme and no path; a name beyond ASCII as xn--…"
        )
    if match["any"] and "." not in match["name"]:
        raise ValueError(f'"{text[:64]}" is too wide; name a domain, such as *.example.com')
    return HostPattern(match["name"], subdomains=bool(match["any"]), port=port)


def _split_port(pattern: str) -> tuple[str, int | None]:
    host, colon, port = pattern.rpartition(":")
    if not colon or pattern.endswith("]"):
        return pattern, None
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _MAX_PORT):
        raise ValueError(f'"{pattern[:64]}": the port is a number from 1 to {_MAX_PORT}')
    return host, int(port)


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False
