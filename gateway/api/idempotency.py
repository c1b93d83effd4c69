"""The Idempotency-Key of a request: read and checked. What it does is in `gateway.store.idempotency`."""

from __future__ import annotations

import hashlib

from starlette.requests import Request

from gateway.errors import InvalidHeader
from gateway.records import IdempotencyKey

MAX_IDEMPOTENCY_KEY_CHARS = 255


def idempotency_key(request: Request, path: str, body: bytes) -> IdempotencyKey | None:
    """The key, None without one. `path` is what all spellings of the request's path have in common.

    Raises InvalidHeader.
    """
    key = request.headers.get("idempotency-key", "").strip()
    if not key:
        return None
    if len(key) > MAX_IDEMPOTENCY_KEY_CHARS:
        raise InvalidHeader(
            f"Idempotency-Key: {len(key)} characters, the limit is {MAX_IDEMPOTENCY_KEY_CHARS}; use a UUID",
            param="Idempotency-Key",
        )
    return IdempotencyKey(key=key, path=path, body_sha256=hashlib.sha256(body).hexdigest())
