"""Who is looking: the session cookie, what it is signed with, and the tokens that forms carry.

Pure functions over bytes and text. Where cookies come from and where they go is `gateway.dashboard.guard`'s.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe

SESSION_COOKIE = "gateway_session"
VISIT_COOKIE = "gateway_visit"
SESSION_S = 7 * 86_400
SECRET_BYTES = 32

_DIGEST_CHARS = 43


@dataclass(slots=True, frozen=True)
class Visitor:
    """`key_id` is the owner of all that is shown, `csrf` what their forms must carry.

    `visit` is the value of a new visit cookie, None where the browser has one.
    """

    key_id: str
    csrf: str
    visit: str | None = None
    logged_in: bool = False


class Sessions:
    """Sessions for the holders of keys. `hashes` maps the hash of each key to its id, as KeyRing holds them.

    A session ends with its time, and with its key: taken out of the configuration, or replaced.
    """

    def __init__(self, secret: bytes, hashes: Mapping[str, str]) -> None:
        self._secret = secret
        self._ids = {self._sign("key", key_hash): key_id for key_hash, key_id in hashes.items()}

    def begin(self, key_hash: str, now_ms: int) -> str:
        """The cookie of a new session of whoever holds this key."""
        token = f"{now_ms + SESSION_S * 1000}.{self._sign('key', key_hash)}.{token_urlsafe(12)}"
        return f"{token}.{self._sign('session', token)}"

    def key_id(self, cookie: str, now_ms: int) -> str | None:
        """The key whose session this is; None for one that has ended or that we did not begin."""
        token, _, signature = cookie.rpartition(".")
        if not token or not _equal(signature, self._sign("session", token)):
            return None
        until_ms, key, _ = token.split(".")
        return self._ids.get(key) if now_ms < int(until_ms) else None

    def csrf(self, cookie: str) -> str:
        """What a form of this browser must carry: only who reads our pages can know it."""
        return self._sign("form", cookie)

    def is_csrf(self, token: str, cookie: str) -> bool:
        return bool(cookie) and _equal(token, self.csrf(cookie))

    def _sign(self, purpose: str, text: str) -> str:
        digest = hmac.digest(self._secret, f"{purpose}\0{text}".encode("utf-8", "replace"), sha256)
        return digest.hex()[:_DIGEST_CHARS]


def new_visit() -> str:
    return token_urlsafe(18)


def local_path(wanted: str) -> str:
    """Where to go after the login: a path of the dashboard, never another site."""
    is_ours = wanted == "/ui" or wanted.startswith(("/ui/", "/ui?"))
    return wanted if is_ours and "\\" not in wanted and wanted.isprintable() else "/ui/"


def _equal(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())
