"""The URLs a configuration may hold: what each must look like, and how one is shown without its secrets.

Text in, text out; nothing is resolved or opened here. Errors are ValueErrors that never repeat the URL, since
it may carry a password; whoever reports them knows the path and shows the URL masked.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

MASK = "****"

_SCHEME = re.compile(r"[a-z0-9+]{1,10}://")

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def check_base_url(url: str) -> str:
    """An upstream's base URL without its trailing slash. Raises ValueError with the remedy."""
    parts = _split(url, example="https://api.openai.com/v1")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a base URL looks like https://api.openai.com/v1")
    if parts.query or parts.fragment:
        raise ValueError("a base URL has no query and no fragment; remove them")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL carries no credentials; use api_key or headers")
    return url.rstrip("/")


def check_proxy_url(url: str) -> str:
    """A proxy's URL, which may carry a user and a password. Raises ValueError with the remedy."""
    parts = _split(url, example="http://host:3128 or socks5://host:1080")
    if parts.scheme not in PROXY_SCHEMES or not parts.hostname:
        raise ValueError("a proxy URL looks like http://host:3128 or socks5://host:1080")
    return url


def check_store_url(url: str) -> str:
    """`memory:`, or `sqlite:///` and a path. Raises ValueError with the remedy."""
    if url == "memory:":
        return url
    if ":memory:" in url:
        raise ValueError("a store that is gone at exit is written memory:")
    if url.startswith("sqlite:///") and url.removeprefix("sqlite:///").strip("/ "):
        return url
    raise ValueError("use sqlite:///relative.db, sqlite:////absolute.db or memory:")


def is_visible_ascii(text: str) -> bool:
    """Whether `text` has no spaces, no control characters and nothing beyond ASCII."""
    return all("\x21" <= char <= "\x7e" for char in text)


def masked_url(url: str) -> str:
    """The URL without what may be secret in it: user and password, query, fragment.

    Works on text that is no URL at all, since it is also used to show what was refused.
    """
    before, at, rest = url.rpartition("@")
    if at:
        scheme = _SCHEME.match(before)
        rest = f"{scheme.group() if scheme else ''}{MASK}@{rest}"
    for mark in "?#":
        head, found, _ = rest.partition(mark)
        rest = f"{head}{found}{MASK}" if found else rest
    return rest


def _split(url: str, *, example: str) -> SplitResult:
    """urlsplit with the port read too, so that a bad one is refused now and not at the first request."""
    if not is_visible_ascii(url):
        raise ValueError("a URL has visible ASCII characters only; check for a stray space or line break")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # From None: urllib's message repeats parts of the URL.
        raise ValueError(f"a URL has a host and a port up to 65535, such as {example}") from None
    return parts
