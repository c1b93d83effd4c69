"""Asking upstreams for their lists of models, on their own connections, and remembering what they said.

What a list means and which of it is shown is not decided here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from time import perf_counter
from typing import NamedTuple

from gateway.capture.decode import decode
from gateway.errors import UpstreamBroken, UpstreamTimeout
from gateway.providers.credentials import CLIENT_CREDENTIALS
from gateway.providers.models import LIST_QUERY, Entry, entries_of
from gateway.proxy.upstream.base import UpstreamRequest
from gateway.proxy.upstreams import Upstream
from gateway.records import Headers, Payload

logger = logging.getLogger(__name__)

PATH = "/v1/models"
LIMIT_S = 5.0
FRESH_S = 30.0
FAILED_S = 5.0
MAX_BYTES = 8 * 1024 * 1024
_MAX_REMEMBERED = 1_000
_ASKED_WITH: Headers = [(b"accept", b"application/json"), (b"accept-encoding", b"identity")]


class _Kept(NamedTuple):
    asking: asyncio.Task[list[Entry]]
    until_s: float


class Listings:
    """`entries` of an upstream's list. One answer serves all who send the same credentials, for a while.

    A failure is remembered, too, more briefly, so that a list of ten upstreams does not wait for a dead one
    each time.
    """

    def __init__(
        self, upstreams: Mapping[str, Upstream], *, clock_s: Callable[[], float] = perf_counter
    ) -> None:
        self._upstreams = upstreams
        self._clock_s = clock_s
        self._kept: dict[tuple[str, bytes], _Kept] = {}

    async def entries(self, name: str, client_headers: Headers) -> list[Entry]:
        """The models that upstream `name` lists.

        `client_headers` are what the client sent, without a key of the gateway's own: its credentials are
        used where we have none. Raises UpstreamError.
        """
        upstream = self._upstreams[name]
        credentials: Headers = []
        if not upstream.has_own_key:
            credentials = [field for field in client_headers if field[0] in CLIENT_CREDENTIALS]
        key = (name, sha256(repr(credentials).encode()).digest())
        kept = self._kept.get(key)
        if kept is None or kept.until_s < self._clock_s():
            kept = self._ask(key, upstream, credentials)
        # Shielded: others may wait for the same answer when this client goes away.
        return await asyncio.shield(kept.asking)

    def _ask(self, key: tuple[str, bytes], upstream: Upstream, credentials: Headers) -> _Kept:
        now = self._clock_s()
        asking = asyncio.get_running_loop().create_task(_listed(upstream, credentials, now))
        kept = _Kept(asking, now + FRESH_S)
        if len(self._kept) >= _MAX_REMEMBERED:
            self._kept.clear()
        self._kept[key] = kept

        def note(done: asyncio.Task[list[Entry]]) -> None:
            error = None if done.cancelled() else done.exception()
            if error is not None:
                logger.warning("upstream %s: no list of models: %s", upstream.name, error)
            if (done.cancelled() or error is not None) and self._kept.get(key) is kept:
                self._kept[key] = kept._replace(until_s=self._clock_s() + FAILED_S)

        asking.add_done_callback(note)
        return kept


async def _listed(upstream: Upstream, credentials: Headers, now_s: float) -> list[Entry]:
    """Raises UpstreamError."""
    request = UpstreamRequest(
        method="GET",
        target=upstream.paths(PATH.encode(), LIST_QUERY.get(upstream.provider, b"")),
        headers=upstream.headers(PATH, upstream.keys.take(now_s), [*_ASKED_WITH, *credentials]),
        body=None,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            return await _read(upstream, request)
    except TimeoutError as error:
        raise UpstreamTimeout(
            f"upstream {upstream.name}: no list of models within {LIMIT_S:g} s", limit="total"
        ) from error


async def _read(upstream: Upstream, request: UpstreamRequest) -> list[Entry]:
    response = await upstream.transport.open(request)
    try:
        body = b""
        while not response.ended and len(body) <= MAX_BYTES:
            body += await response.read()
    finally:
        await response.close()
    if response.status != 200:
        raise UpstreamBroken(f"upstream {upstream.name}: status {response.status} for its list of models")
    if len(body) > MAX_BYTES:
        raise UpstreamBroken(f"upstream {upstream.name}: a list of models of more than {MAX_BYTES} bytes")
    encoding = dict(response.headers).get(b"content-encoding", b"").decode("latin-1")
    decoded = decode(Payload(body, b"", len(body)), encoding, MAX_BYTES).payload
    try:
        return entries_of(decoded.head)
    except ValueError as error:
        reason = f"its list of models cannot be read: {error}"
        raise UpstreamBroken(f"upstream {upstream.name}: {reason}") from error
