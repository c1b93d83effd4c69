"""When two requests are the same, so that one may be given the other's answer. Pure.

Whatever could change the answer, or whose answer it is, is in the key. What is left out: trace ids, metadata
and the like, which say something about a request and not to the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from gateway.jsonio import JSON, dumps_exact, loads_exact
from gateway.records import Headers
from gateway.routing.conditions import holds
from gateway.routing.plan import Conditional, Context, Fallback, Leaf, Node

KEY_BYTES = 32
CACHEABLE_PATHS = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"}
)
"""Where a POST asks for an answer and changes nothing."""

_ANY_ENCODING = b"*"


class Asked(NamedTuple):
    """A request as the cache tells it from others.

    `target` is path and query as they stand on the request line, `headers` the client's. `key_headers` names
    those that count; where an upstream is called with the client's own credential, that one's among them.
    `plan` is from `plan_identity`.
    """

    key_id: str
    plan: bytes
    method: str
    target: bytes
    headers: Headers
    key_headers: Collection[bytes]
    body: bytes
    namespace: str | None = None


def is_cacheable(method: str, path: str) -> bool:
    return method == "POST" and path in CACHEABLE_PATHS


def cache_key(asked: Asked) -> bytes:
    """32 bytes, the same for requests that are the same up to spacing and the order of keys in their JSON.

    Nobody can read a credential out of it: it is a SHA-256 over all parts together.
    """
    return _digest(
        [
            asked.key_id.encode(),
            b"" if asked.namespace is None else b"=" + asked.namespace.encode(),
            asked.plan,
            asked.method.encode(),
            asked.target,
            _accepted_encodings(asked.headers),
            *_that_count(asked.headers, asked.key_headers),
            _canonical(asked.body),
        ]
    )


def meant(node: Node, context: Context) -> Sequence[Leaf]:
    """The targets a request is meant for: where conditions lead it, and of a fallback the first choice.

    Any of them gives an answer worth keeping. That of a fallback is not: it would be given out long after the
    first choice is well again.
    """
    if isinstance(node, Leaf):
        return (node,)
    children = node.children
    if isinstance(node, Conditional):
        met = next((place for query, place in node.conditions if holds(query, context)), node.default)
        children = () if met is None else (children[met],)
    meant_below = (meant(child, context) for child in children)
    if isinstance(node, Fallback):
        return next((leaves for leaves in meant_below if leaves), ())
    return [leaf for leaves in meant_below for leaf in leaves]


def plan_identity(leaves: Iterable[Leaf], upstreams: Mapping[str, JSON]) -> bytes:
    """What stands in a key for where a request goes. `upstreams` describes each one by its name.

    With another base URL, model or parameter, answers given so far are answers to something else.
    """
    return _digest(part for leaf in leaves for part in _parts(leaf, upstreams))


def _parts(leaf: Leaf, upstreams: Mapping[str, JSON]) -> list[bytes]:
    asked = [leaf.upstream, upstreams.get(leaf.upstream), leaf.base_url, leaf.model, leaf.override_params]
    brought = b"" if leaf.api_key is None else b"=" + leaf.api_key.encode()
    return [dumps_exact(asked), brought, *(part for field in leaf.headers for part in field), b"end"]


def _digest(parts: Iterable[bytes]) -> bytes:
    """Each part with its length before it, so that no two lists of parts are the same bytes."""
    hashed = sha256()
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    return hashed.digest()


def _that_count(headers: Headers, names: Collection[bytes]) -> list[bytes]:
    """By name, and those of one name in the order they came in."""
    counted = sorted((field for field in headers if field[0] in names), key=lambda field: field[0])
    return [part for field in counted for part in field]


def _accepted_encodings(headers: Headers) -> bytes:
    """The content-encodings the client reads (RFC 9110 section 12.5.3): it must not get another one."""
    values = [value for name, value in headers if name == b"accept-encoding"]
    if not values:
        return _ANY_ENCODING
    codings = [coding.partition(b";") for coding in b",".join(values).lower().split(b",")]
    return b",".join(sorted({name.strip() for name, _, weight in codings if not _is_zero(weight)} - {b""}))


def _is_zero(weight: bytes) -> bool:
    name, _, value = weight.partition(b"=")
    return name.strip() == b"q" and value.strip().strip(b"0.") == b""


def _canonical(body: bytes) -> bytes:
    """The same for JSON bodies that say the same; any other body as it is.

    Only the fields of the request and of its messages are put in order. Further down the order is the
    client's own: the properties of a schema, say, are answered in the order they are listed in.
    """
    try:
        parsed = loads_exact(body)
    except ValueError:
        return b"as is:" + body
    if isinstance(parsed, dict):
        parsed = {name: _in_order(name, parsed[name]) for name in sorted(parsed)}
    return b"json:" + dumps_exact(parsed)


def _in_order(name: str, value: JSON) -> JSON:
    if name in ("messages", "input") and isinstance(value, list):
        return [dict(sorted(item.items())) if isinstance(item, dict) else item for item in value]
    return value
