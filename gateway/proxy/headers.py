"""Which header fields pass, in both directions. Pure functions over ASGI header lists."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Protocol

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

_OWN = frozenset({TRACE_ID, b"x-metadata", b"x-tags", b"x-capture"})
_OWN_PREFIX = b"x-portkey-"
_KEY_HEADERS = frozenset(
    {
        b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"x-portkey-api-key",
        b"confident-api-key", b"confident_api_key", b"x-log10-token",
    }
)  # fmt: skip

NONE_NAMED: frozenset[bytes] = frozenset()
_KEPT_CONNECTION_VALUES = frozenset({b"keep-alive", b"close", b""})
_MAX_REMEMBERED_NAMES = 1_000


class _Passes(dict[bytes, bool]):
    """Whether a field passes, by its name; decided once for a name, as far as there is room to remember."""

    def __init__(self, decide: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, name: bytes) -> bool:
        verdict = self._decide(name)
        if len(self) < _MAX_REMEMBERED_NAMES:
            self[name] = verdict
        return verdict


class RequestFilter:
    """What of a client's headers goes to one upstream.

    `added` replaces the client's fields of the same name, `removed` are dropped, `forwarded` names those of
    the gateway's own headers that go upstream after all. `defaults` are added where the client has none of
    that name.
    """

    def __init__(
        self,
        *,
        added: Headers,
        removed: Iterable[bytes],
        forwarded: Iterable[bytes],
        defaults: Headers | None = None,
    ) -> None:
        self._added = added
        self._defaults = defaults
        named = frozenset(forwarded)
        dropped = HOP_BY_HOP | _FRAMING | (_OWN - named) | frozenset(removed) | {name for name, _ in added}
        self._passes = _Passes(
            lambda name: name not in dropped and (not name.startswith(_OWN_PREFIX) or name in named)
        )

    def __call__(self, headers: Headers) -> Headers:
        passes = self._passes
        kept = [field for field in headers if passes[field[0]]]
        named = named_by_connection(headers)
        if named:
            kept = [field for field in kept if field[0] not in named]
        if self._defaults:
            sent = {name for name, _ in kept}
            kept += [field for field in self._defaults if field[0] not in sent]
        return kept + self._added if self._added else kept


def named_by_connection(headers: Headers) -> frozenset[bytes]:
    """The fields that a Connection header declares hop-by-hop."""
    named = NONE_NAMED
    for name, value in headers:
        if name == b"connection":
            named |= _named_in(value)
    return named


def _named_in(value: bytes) -> frozenset[bytes]:
    value = value.lower()
    if value in _KEPT_CONNECTION_VALUES:
        return NONE_NAMED
    return frozenset(token.strip() for token in value.split(b","))


_EVENT_STREAM = b"text/event-stream"
_LOOKED_AT = {b"content-type", b"content-length"}
_NOT_RETURNED = HOP_BY_HOP | {TRACE_ID, PORTKEY_TRACE_ID, REQUEST_ID, UPSTREAM_REQUEST_ID}
_OF_EVERY_ANSWER = 3
_RETURNED = _Passes(lambda name: name not in _NOT_RETURNED | _LOOKED_AT)


def response_headers(headers: Headers, status: int, own: Headers) -> Headers:
    """An upstream's header fields as the client gets them, followed by `own`.

    The upstream's `x-request-id` moves to `x-upstream-request-id`: under its own name a client finds ours. A
    stream of events has no length: should it break off, an `error` event follows that nobody counted.
    """
    kept, named = [], NONE_NAMED
    is_without_length = status in (204, 304)  # nothing for it to measure
    for field in headers:
        name, value = field
        if _RETURNED[name]:
            kept.append(field)
        elif name in _LOOKED_AT:
            kept.append(field)
            is_without_length |= name == b"content-type" and _is_event_stream(value)
        elif name == REQUEST_ID:
            kept.append((UPSTREAM_REQUEST_ID, value))
        elif name == b"connection":
            named |= _named_in(value)
    if named:
        kept = [field for field in kept if field[0] not in named]
    if is_without_length:
        kept = [field for field in kept if field[0] != b"content-length"]
    if len(own) > _OF_EVERY_ANSWER:  # the others an upstream may send, too, and then ours are the true ones
        ours = {name for name, _ in own}
        kept = [field for field in kept if field[0] not in ours]
    return kept + own


def is_event_stream(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"content-type":
            return _is_event_stream(value)
    return False


def _is_event_stream(content_type: bytes) -> bool:
    return content_type.lower().startswith(_EVENT_STREAM)


class KeyHolder(Protocol):
    """Who sent a request: the id of their key of the gateway's, and the name of the header it came in."""

    @property
    def key_id(self) -> str: ...

    @property
    def header(self) -> bytes: ...


def without_key(headers: Headers, holder: KeyHolder | None) -> Headers:
    """A request's headers without the gateway's own key, which goes nowhere."""
    if holder is None:
        return headers
    key = _key_in(dict(headers)[holder.header])  # some clients send it in two headers
    return [
        field
        for field in headers
        if field[0] not in _KEY_HEADERS or (key not in field[1] and key != _key_in(field[1]))
    ]


def _key_in(value: bytes) -> bytes:
    """The key in a header's value: all of it, what follows the scheme, or what Basic hides as a password."""
    scheme, _, text = value.rpartition(b" ")
    if scheme.strip().lower() != b"basic":
        return text
    try:
        return b64decode(text).partition(b":")[2] or text
    except ValueError:
        return text


def own_headers(trace_id: str, request_id: str) -> Headers:
    """The fields that every response carries."""
    trace = trace_id.encode("ascii")
    return [(TRACE_ID, trace), (PORTKEY_TRACE_ID, trace), (REQUEST_ID, request_id.encode("ascii"))]
