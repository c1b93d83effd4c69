"""An answer that is kept to be given again."""

from __future__ import annotations

from typing import NamedTuple

from gateway.records.exchange import Headers

_ROW_OVERHEAD_BYTES = 256


class KeptAnswer(NamedTuple):
    """A complete answer with status 200: the body byte for byte, of the headers those that describe it.

    `created_at_ms` is when its last byte came, `expires_at_ms` when nobody may be given it any more.
    """

    headers: Headers
    body: bytes
    created_at_ms: int
    expires_at_ms: int

    @property
    def size_bytes(self) -> int:
        """About what it takes, in memory or in the database."""
        return (
            len(self.body) + sum(len(name) + len(value) for name, value in self.headers) + _ROW_OVERHEAD_BYTES
        )
