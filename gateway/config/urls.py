"""The URLs a configuration may hold: what each must look like, and how one is shown without its secrets.

Text in, text out; nothing is resolved or opened here. Errors are ValueErrors that never repeat the URL, since
it may carry a password; whoever reports them knows the path and shows the URL masked.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

MASK = "****"

_SCHEME = re.compile(r"[a-z0-9+]{1,10}://")

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{1,256}")

OWN_PREFIXES = frozenset(
    {"api", "feedback", "healthz", "metrics", "openapi.json", "readyz", "ui", "v4", "v5"}
)
"""First segments of the gateway's own paths outside /v1; no upstream can have them."""

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
    _check_braces(url, parts.path)
    return url.rstrip("/")


def _check_braces(url: str, path: str) -> None:
    """`{model}` is the one thing that is replaced, and only as a whole segment of the path."""
    if "{" not in url and "}" not in url:
        return
    if path.split("/").count("{model}") != 1 or url.count("{") != 1 or url.count("}") != 1:
        raise ValueError(
            "a base URL may have {model} once, as a whole segment of its path, and no other braces"
        )


def check_prefix(path: str) -> str:
    """A path of the gateway that leads to an upstream. Raises ValueError with the remedy."""
    if not _PATH.fullmatch(path) or any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise ValueError(
            f"{path[:80]!r} is not a path; write one such as /v1beta, without a slash at its end"
        )
    if path == "/v1":
        raise ValueError("/v1 leads to base_url; change that instead")
    if path[1:].partition("/")[0] in OWN_PREFIXES:
        raise ValueError(f"{path} is the gateway's own; choose another path")
    return path


def check_path(path: str) -> str:
    """A path of an upstream, without its slash at the end; `/` is its root. Raises ValueError."""
    path = path.rstrip("/")
    if path and (not _PATH.fullmatch(path) or any(part in ("", ".", "..") for part in path[1:].split("/"))):
        raise ValueError(f"{path[:80]!r} is not a path; write one such as /v1beta")
    return path


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
