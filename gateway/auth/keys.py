"""Virtual keys: whose request this is, and which header said so.

Only hashes are held. A key owns its traces; what a key may do beyond that is not decided here.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from gateway.errors import InvalidKey
from gateway.records import Headers

KEY_HEADERS = (
    b"x-portkey-api-key", b"x-api-key", b"confident-api-key", b"confident_api_key", b"x-log10-token",
    b"authorization",
)  # fmt: skip
"""Where SDKs put their key; the first that is not empty counts. Portkey's clients send the model provider's
key in Authorization beside their own header, so it comes last. Source: the SDKs' own requests."""

_FORWARDED_HEADERS = (b"x-portkey-api-key", b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""The same for requests that go upstream: where the SDKs of model providers put theirs."""


class Holder(NamedTuple):
    """The id of a key, and the name of the header that it came in."""

    key_id: str
    header: bytes


class KeyRing:
    """The keys that are known: `hashes` maps the SHA-256 of each (hex) to its id."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)

    @property
    def hashes(self) -> Mapping[str, str]:
        """The hash of each key, and its id."""
        return self._hashes

    def holder(self, headers: Headers) -> Holder:
        """Whose request to one of our own endpoints this is. Raises InvalidKey."""
        return self._find(headers, KEY_HEADERS)

    def holder_of_forwarded(self, headers: Headers) -> Holder:
        """Whose request for an upstream this is. Its `header` is not to go there. Raises InvalidKey."""
        return self._find(headers, _FORWARDED_HEADERS)

    def _find(self, headers: Headers, names: Iterable[bytes]) -> Holder:
        found = dict(headers)
        for name in names:
            value = found.get(name, b"").strip()
            if not value:
                continue
            for key in _keys_in(name, value):
                key_id = self._hashes.get(hash_of(key))
                if key_id is not None:
                    return Holder(key_id, name)
            raise InvalidKey(f"Invalid API key in {name.decode()}")
        raise InvalidKey("Invalid API key: none was sent; put the gateway's where your SDK takes its API key")


def hash_of(key: bytes) -> str:
    """What is kept of a key. Keys are random and long: one round of SHA-256 keeps them from being guessed."""
    return sha256(key).hexdigest()


def _keys_in(name: bytes, value: bytes) -> Iterable[bytes]:
    """The texts in a header that may be the key."""
    if name != b"authorization":
        return (value,)
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() == b"bearer":
        return (rest.strip(),)
    if scheme.lower() == b"basic":
        try:
            return (b64decode(rest.strip(), validate=True).partition(b":")[2],)
        except (NotBase64, ValueError):
            return ()
    return (value,)  # Portkey's Node client sends the bare value
