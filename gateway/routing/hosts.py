"""Whether a base URL that a request brought may be called, and what it is in its one spelling.

Text in, text out: what the host resolves to is checked when it is connected to. Errors are ValueErrors with a
remedy and never repeat the URL, which may carry a password.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from gateway.config.custom_hosts import CustomHosts, HostPattern, parse_pattern
from gateway.config.urls import check_base_url
from gateway.routing.addresses import parse_address

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_ENDS_IN_A_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$")
_DOT_SEGMENT = re.compile(r"(?:/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:/|\\|%2f|%5c|;|$)", re.IGNORECASE)
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_MAX_URL_CHARS = 2_048
_MAX_HOST_CHARS = 253
_EXAMPLE = "https://api.example.com/v1"


class CustomHost(NamedTuple):
    """A host that a request named and may name. `base_url` is in its one spelling, no slash at the end."""

    base_url: str
    host: str
    port: int

    @property
    def label(self) -> str:
        """What logs and rows call it where they name an upstream."""
        return f"custom:{self.host}"


class AllowedHosts:
    """The hosts that the configuration lets a request name."""

    def __init__(self, settings: CustomHosts) -> None:
        self._patterns: Sequence[HostPattern] = [parse_pattern(text) for text in settings.allow]

    def check(self, url: str) -> CustomHost:
        """Raises ValueError with the remedy."""
        if not self._patterns:
            raise ValueError(
                "hosts named by a request are off; the operator can list some in custom_hosts.allow"
            )
        parts, port = _split(url)
        host = _host(parts.hostname or "")
        explicit = port or _DEFAULT_PORTS[parts.scheme]
        if not any(_fits(pattern, host, explicit, parts.scheme) for pattern in self._patterns):
            raise ValueError(
                f"the host {_in_url(host)}, port {explicit}, is not among those the operator allows "
                "(custom_hosts.allow)"
            )
        suffix = "" if explicit == _DEFAULT_PORTS[parts.scheme] else f":{explicit}"
        return CustomHost(f"{parts.scheme}://{_in_url(host)}{suffix}{parts.path.rstrip('/')}", host, explicit)


def _split(url: str) -> tuple[SplitResult, int | None]:
    if len(url) > _MAX_URL_CHARS or not _VISIBLE.fullmatch(url) or "\\" in url:
        raise ValueError(
            f"a host's URL has up to {_MAX_URL_CHARS} visible ASCII characters and no backslash, such as "
            f"{_EXAMPLE}; write a name beyond ASCII as xn--…"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its message repeats the URL
        raise ValueError(f"not a URL with a host and a port; write {_EXAMPLE}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise ValueError(f"a host is given as a base URL with http or https, such as {_EXAMPLE}")
    if "@" in parts.netloc:
        raise ValueError("a host's URL carries no user and no password; send the key as api_key")
    if "?" in url or "#" in url:
        raise ValueError("a host's URL has no query and no fragment; remove them")
    if _DOT_SEGMENT.search(parts.path):
        raise ValueError("a host's URL has no dot segment (/./ or /../); write the path it stands for")
    check_base_url(url)  # it becomes the base URL of an upstream, with the same rules for braces
    return parts, port


def _host(host: str) -> str:
    """The host in its one spelling: a name in small letters, or an address as `ipaddress` writes it."""
    address = parse_address(host)
    if address is not None:
        return str(address)
    if _ENDS_IN_A_NUMBER.search(host.rstrip(".")):
        raise ValueError(
            "an address is written in full, as four decimal numbers or in brackets, such as http://10.0.0.5:8000"
        )
    if len(host) > _MAX_HOST_CHARS or not _NAME.fullmatch(host):
        raise ValueError(
            "a host's name has letters, digits, hyphens and dots between them, none at its end, such as "
            "api.example.com"
        )
    return host


def _fits(pattern: HostPattern, host: str, port: int, scheme: str) -> bool:
    if port != (pattern.port or _DEFAULT_PORTS[scheme]):
        return False
    if pattern.subdomains:
        return host.endswith(f".{pattern.name}") and parse_address(host) is None
    return host == pattern.name


def _in_url(host: str) -> str:
    return f"[{host}]" if isinstance(parse_address(host), IPv6Address) else host
