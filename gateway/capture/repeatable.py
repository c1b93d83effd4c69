"""Whether an answer may be given to a second request: complete, and an answer, not an error in its place."""

from __future__ import annotations

from gateway.capture.decode import decode
from gateway.capture.sse import LastEvent, parse
from gateway.jsonio import loads
from gateway.records import Headers, Payload

_MAX_LOOKED_AT_BYTES = 8 * 1024 * 1024
"""What is longer than this decoded is not repeated: looking at it happens between a client's two bytes."""

_JSON = b"application/json"
_EVENT_STREAM = b"text/event-stream"
_FAILURES = (b"error", b"response.failed")
_FINISHED = (None, "completed", "incomplete")
"""States of an OpenAI response in which it does not change any more; it has none in the other dialects."""


def is_of_a_kind(status: int, headers: Headers) -> bool:
    """Whether an answer that begins like this can be repeatable at all."""
    return status == 200 and _media_type(headers) in (_JSON, _EVENT_STREAM)


def is_event_stream(headers: Headers) -> bool:
    return _media_type(headers) == _EVENT_STREAM


def is_repeatable(headers: Headers, body: bytes) -> bool:
    """Whether `body`, content-encoded as received, is all of a good answer.

    Some upstreams say 200 and then put an error into the body, or end a stream as if it were complete.
    """
    text = _decoded(headers, body)
    if text is None:
        return False
    return _is_whole_stream(text) if is_event_stream(headers) else _is_good(text)


def _decoded(headers: Headers, body: bytes) -> bytes | None:
    encoding = next((value.decode("latin-1") for name, value in headers if name == b"content-encoding"), None)
    found, left = decode(
        Payload(body, b"", len(body)), encoding, _MAX_LOOKED_AT_BYTES, most=_MAX_LOOKED_AT_BYTES
    )
    return found.head + found.tail if left is None and found.is_whole else None


def _is_whole_stream(text: bytes) -> bool:
    if not LastEvent().feed(text):
        return False
    if b"error" not in text and b"response.failed" not in text:
        return True
    return not any(event.name in _FAILURES or _is_error(event.data) for event in parse(text))


def _is_error(data: bytes) -> bool:
    return b'"error"' in data and not _is_good(data)


def _is_good(text: bytes) -> bool:
    try:
        body = loads(text)
    except ValueError:
        return False
    return isinstance(body, dict) and not body.get("error") and body.get("status") in _FINISHED


def _media_type(headers: Headers) -> bytes:
    for name, value in headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower()
    return b""
