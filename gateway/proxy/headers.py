"""Which header fields pass, in both directions. Pure functions over ASGI header lists."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.records import Headers

TRACE_ID = b"x-trace-id"
PORTKEY_TRACE_ID = b"x-portkey-trace-id"
REQUEST_ID = b"x-request-id"
UPSTREAM_REQUEST_ID = b"x-upstream-request-id"

# RFC 9110 section 7.6.1, and section 11.7 for proxy authentication.
HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection",
        b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip

# The message's framing on the other side is the transport's to write; the server has answered an Expect.
_FRAMING = frozenset({b"host", b"content-length", b"expect"})

_OWN = frozenset({TRACE_ID, b"x-metadata", b"x-capture"})
_OWN_PREFIX = b"x-portkey-"

NONE_NAMED: frozenset[bytes] = frozenset()
_KEPT_CONNECTION_VALUES = (b"keep-alive", b"close", b"")


class RequestFilter:
    """What of a client's headers goes to one upstream.

    `added` replaces the client's fields of the same name, `removed` are dropped, `forwarded` names those of
    the gateway's own headers that go upstream after all.
    """

    def __init__(self, *, added: Headers, removed: Iterable[bytes], forwarded: Iterable[bytes]) -> None:
        self._added = added
        self._forwarded = frozenset(forwarded)
        self._dropped = (
            HOP_BY_HOP
            | _FRAMING
            | (_OWN - self._forwarded)
            | frozenset(removed)
            | {name for name, _ in added}
        )

    def __call__(self, headers: Headers) -> Headers:
        named = named_by_connection(headers)
        dropped = self._dropped | named if named else self._dropped
        kept = [
            field
            for field in headers
            if field[0] not in dropped and (field[0][:10] != _OWN_PREFIX or field[0] in self._forwarded)
        ]
        return kept + self._added if self._added else kept


def named_by_connection(headers: Headers) -> frozenset[bytes]:
    """The fields that a Connection header declares hop-by-hop."""
    named = NONE_NAMED
    for name, value in headers:
        if name == b"connection" and value.lower() not in _KEPT_CONNECTION_VALUES:
            named |= {token.strip().lower() for token in value.split(b",")}
    return named


_NOT_RETURNED = HOP_BY_HOP | {TRACE_ID, PORTKEY_TRACE_ID, REQUEST_ID, UPSTREAM_REQUEST_ID}


def response_headers(headers: Headers, status: int, own: Headers) -> Headers:
    """An upstream's header fields as the client gets them, followed by `own`.

    The upstream's `x-request-id` moves to `x-upstream-request-id`: under its own name a client finds ours.
    """
    named = named_by_connection(headers)
    dropped = _NOT_RETURNED | named if named else _NOT_RETURNED
    kept = [field for field in headers if field[0] not in dropped]
    if status in (204, 304):
        kept = [field for field in kept if field[0] != b"content-length"]  # no body for it to measure
    kept += [(UPSTREAM_REQUEST_ID, value) for name, value in headers if name == REQUEST_ID]
    return kept + own


def own_headers(trace_id: str, request_id: str) -> Headers:
    """The fields that every response carries."""
    trace = trace_id.encode("ascii")
    return [(TRACE_ID, trace), (PORTKEY_TRACE_ID, trace), (REQUEST_ID, request_id.encode("ascii"))]
