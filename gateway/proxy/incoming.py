"""What a request's head and JSON body say to the gateway. Pure: no sockets, no clock."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from gateway.capture.metadata import parse_metadata
from gateway.capture.tags import parse_tags
from gateway.errors import InvalidHeader, InvalidJSON, MethodNotAllowed, UnknownTransferCoding
from gateway.ids import check_trace_id, trace_id_from_traceparent
from gateway.jsonio import loads_lenient
from gateway.records import Headers

JSON_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"})
"""Paths whose POST body must be JSON, whatever its content-type says."""

_READ = frozenset(
    {
        b"x-trace-id", b"x-portkey-trace-id", b"traceparent", b"x-metadata", b"x-portkey-metadata",
        b"x-tags", b"x-capture",
    }
)  # fmt: skip
_OF_THE_BODY = frozenset({b"content-type", b"content-length", b"content-encoding", b"transfer-encoding"})
ASKING = frozenset(
    {
        b"x-portkey-config", b"x-portkey-provider", b"x-portkey-virtual-key", b"x-portkey-custom-host",
        b"x-portkey-request-timeout", b"x-portkey-cache", b"x-portkey-cache-force-refresh",
        b"x-portkey-cache-namespace",
    }
)  # fmt: skip
"""Headers with which a request says itself where it goes and whether it may be answered from the cache."""

_ASK_OF_US = _READ | ASKING
_LOOKED_AT = _ASK_OF_US | _OF_THE_BODY
_NOT_FORWARDED = frozenset({"CONNECT", "TRACE"})
_FORWARDED = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_FORM_MODEL = re.compile(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]{1,256})\r\n')


class Head(NamedTuple):
    """What the request's head asks of the gateway. `trace_id` is None where one has to be made."""

    trace_id: str | None
    metadata: dict[str, Any] | None
    tags: tuple[str, ...]
    keep_bodies: bool
    is_json: bool
    is_encoded: bool
    has_body: bool
    body_bytes: int | None
    asking: dict[bytes, bytes] | None
    """The fields of ASKING it has; None where it has none."""


class Asked(NamedTuple):
    """What the request's body asks of the upstream, as far as it concerns us."""

    model: str | None = None
    user: str | None = None
    metadata: Any = None
    params: dict[str, Any] | None = None
    """All of it."""


NOTHING_ASKED = Asked()


def select_trace_id(headers: dict[bytes, bytes]) -> str | None:
    """`x-trace-id`, else `x-portkey-trace-id`, else the traceparent's, else None. Raises InvalidTraceId."""
    for name in (b"x-trace-id", b"x-portkey-trace-id"):
        value = headers.get(name)
        if value is not None:
            return check_trace_id(value.decode("latin-1"), name.decode())
    parent = headers.get(b"traceparent")
    return trace_id_from_traceparent(parent.decode("latin-1")) if parent is not None else None


def read_head(method: str, path: str, headers: Headers) -> Head:
    """Raises InvalidTraceId, InvalidMetadata, InvalidHeader, MethodNotAllowed, UnknownTransferCoding."""
    if method in _NOT_FORWARDED:
        raise MethodNotAllowed(f"{method} is not forwarded; use {', '.join(_FORWARDED)}", allow=_FORWARDED)
    found = {name: value for name, value in headers if name in _LOOKED_AT}
    length = found.get(b"content-length")
    coding = found.get(b"transfer-encoding")
    if coding is not None and coding.lower() != b"chunked":
        raise UnknownTransferCoding(
            f"transfer-encoding: {coding.decode('latin-1')[:64]!r} is not known; send the body in chunks or "
            "with a content-length, and say how it is compressed in content-encoding",
            param="transfer-encoding",
        )
    has_body = length is not None or coding is not None
    encoding = found.get(b"content-encoding")
    is_json = path in JSON_PATHS and method == "POST"
    trace_id, metadata, keep_bodies, asking = None, None, True, None
    tags: tuple[str, ...] = ()
    if not _ASK_OF_US.isdisjoint(found):
        trace_id = select_trace_id(found)
        metadata = _metadata(found)
        tags = parse_tags(found[b"x-tags"]) if b"x-tags" in found else ()
        keep_bodies = _keep_bodies(found.get(b"x-capture"))
        asking = None if ASKING.isdisjoint(found) else {name: found[name] for name in ASKING & found.keys()}
    return Head(
        trace_id,
        metadata,
        tags,
        keep_bodies,
        is_json or (has_body and _is_json(found.get(b"content-type"))),
        encoding is not None and encoding.lower() != b"identity",
        has_body,
        None if length is None else int(length),
        asking,
    )


def _is_json(content_type: bytes | None) -> bool:
    if content_type is None:
        return False
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type == b"application/json" or media_type.endswith(b"+json")


def _metadata(found: dict[bytes, bytes]) -> dict[str, Any] | None:
    for name in (b"x-metadata", b"x-portkey-metadata"):
        value = found.get(name)
        if value:
            return parse_metadata(value, name.decode())
    return None


def _keep_bodies(value: bytes | None) -> bool:
    if value is None:
        return True
    match value.lower():
        case b"none":
            return False
        case b"all":
            return True
    raise InvalidHeader(
        f"x-capture: {value.decode('latin-1')[:64]!r} is not known; use none, or leave the header out",
        param="x-capture",
    )


def read_json(body: bytes, *, required: bool) -> Asked:
    """What a JSON body asks for. Raises InvalidJSON where JSON is required and this is not."""
    try:
        parsed = loads_lenient(body)
    except ValueError as error:
        if required:
            what = f"not JSON ({error})" if body.strip() else "empty"
            raise InvalidJSON(f"the request body is {what}; send a JSON object") from error
        return NOTHING_ASKED
    if not isinstance(parsed, dict):
        if required:
            raise InvalidJSON("the request body is JSON, but not an object; send a JSON object")
        return NOTHING_ASKED
    model, user = parsed.get("model"), parsed.get("user")
    return Asked(
        model if isinstance(model, str) else None,
        user if isinstance(user, str) else None,
        parsed.get("metadata"),
        parsed,
    )


def form_model(start: bytes) -> str | None:
    """The `model` field of a multipart body, if it is in its first bytes."""
    match = _FORM_MODEL.search(start)
    return match[1].decode("utf-8", "replace") if match else None
