"""From an exchange as the proxy saw it to the rows that are stored. Runs on the database's thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from gateway.capture import attempts
from gateway.capture.answer import NO_ANSWER, Answer, read_events, read_json
from gateway.capture.body import cut
from gateway.capture.decode import decode
from gateway.capture.metadata import special_keys
from gateway.capture.pricing import Prices
from gateway.capture.tags import all_tags
from gateway.config.schema import Capture
from gateway.config.upstreams import CREDENTIAL_HEADERS
from gateway.jsonio import dumps_text
from gateway.records import BodyRow, Exchange, ExchangeEntry, ExchangeRow, Headers, Payload

MAX_ERROR_CHARS = 1000
MAX_NAME_CHARS = 1000
_EVENT_STREAM = b"text/event-stream"


class Digest:
    """Callable: Exchange → ExchangeEntry. Knows what may be stored and what tokens cost."""

    def __init__(self, capture: Capture, prices: Prices, provider_urls: Mapping[str, str]) -> None:
        self._max_body_bytes = capture.max_body_bytes
        # For most answers to be read whole, for others their head and their tail, which has the usage.
        # What is stored of them is cut afterwards.
        self._room = max(capture.max_body_bytes, 4 * 1024 * 1024)
        self._bodies = capture.bodies
        self._request_headers = _allowed(capture.request_headers)
        self._response_headers = _allowed(capture.response_headers)
        self._prices = prices
        self._provider_urls = provider_urls

    def __call__(self, exchange: Exchange) -> ExchangeEntry:
        answered = dict(exchange.response_headers)
        response = _decoded(exchange.response, answered.get(b"content-encoding"), self._room)
        streamed = answered.get(b"content-type", b"").lower().startswith(_EVENT_STREAM)
        answer = _read(response, streamed=streamed)
        tags = exchange.tags
        if exchange.metadata or exchange.body_metadata:
            tags = all_tags(tags, exchange.metadata, exchange.body_metadata)
        return ExchangeEntry(
            self._row(exchange, answer, tags, streamed=streamed), self._body_row(exchange, response), tags
        )

    def _row(
        self, exchange: Exchange, answer: Answer, tags: tuple[str, ...], *, streamed: bool
    ) -> ExchangeRow:
        model, usage, finish_reason = answer
        metadata, made = exchange.metadata, exchange.attempts
        # `_make` costs a third of a call with so many arguments; test_recording.py reads each column back.
        return ExchangeRow._make(
            (
                exchange.id,
                exchange.key_id,
                exchange.trace_id,
                exchange.started_at_ms,
                exchange.latency_ms,
                exchange.first_byte_ms,
                exchange.method,
                exchange.path,
                exchange.upstream,
                _short(exchange.requested_model, MAX_NAME_CHARS),
                _short(model, MAX_NAME_CHARS),
                int(streamed),
                exchange.status,
                exchange.error_kind,
                _short(exchange.error_message, MAX_ERROR_CHARS),
                _short(finish_reason, MAX_NAME_CHARS),
                *usage,
                self._cost_usd(exchange, answer),
                exchange.request.size,
                exchange.response.size,
                _short(exchange.body_user, MAX_NAME_CHARS),
                _json(exchange.body_metadata),
                *special_keys(metadata),
                _json(metadata),
                dumps_text(tags) if tags else None,
                exchange.queue_ms,
                _short(exchange.target, attempts.MAX_LABEL_CHARS),
                exchange.cache_status,
                len(made) or None,
                attempts.stored(made) if made else None,
            )
        )

    def _cost_usd(self, exchange: Exchange, answer: Answer) -> float | None:
        if exchange.cache_status in attempts.FROM_CACHE:
            return 0.0  # the call that brought the answer has its cost in a row of its own
        return self._prices.cost_usd(
            answer.usage,
            model=answer.model or exchange.requested_model,
            provider_url=self._provider_urls.get(exchange.upstream or ""),
            at_ms=exchange.started_at_ms,
        )

    def _body_row(self, exchange: Exchange, response: tuple[Payload, str | None]) -> BodyRow:
        sent = exchange.request_headers
        request_headers = _as_stored_before(_kept(sent, self._request_headers))
        response_headers = _as_stored(_kept(exchange.response_headers, self._response_headers))
        if not self._keeps_bodies(exchange):
            return BodyRow(request_headers, response_headers, None, None, None, None, None, None)
        request = _decoded(exchange.request, dict(sent).get(b"content-encoding"), self._room)
        limit = self._max_body_bytes
        return BodyRow(
            request_headers, response_headers, *_stored_body(request, limit), *_stored_body(response, limit)
        )

    def _keeps_bodies(self, exchange: Exchange) -> bool:
        if not exchange.keep_bodies or self._bodies == "none":
            return False
        return self._bodies == "all" or exchange.status >= 400 or exchange.error_kind is not None


def _decoded(payload: Payload, encoding: bytes | None, room: int) -> tuple[Payload, str | None]:
    """A `Decoded`; where nothing was to be done, without the cost of making one."""
    if encoding is None:
        return payload, None
    return decode(payload, encoding.decode("latin-1"), room)


def _read(response: tuple[Payload, str | None], *, streamed: bool) -> Answer:
    payload, encoding = response
    if encoding is not None or not payload.head:
        return NO_ANSWER
    if streamed:
        return read_events(payload)
    return read_json(payload) if payload.head.lstrip()[:1] == b"{" else NO_ANSWER


def _allowed(names: Iterable[str]) -> frozenset[bytes]:
    return frozenset(name.encode() for name in names if name not in CREDENTIAL_HEADERS)


def _kept(headers: Headers, allowed: frozenset[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple([field for field in headers if field[0] in allowed])


def _as_stored(kept: tuple[tuple[bytes, bytes], ...]) -> str:
    return dumps_text([(name.decode(), value.decode("latin-1")) for name, value in kept])


# A client sends the same of what is kept with every request, where it does not trace them.
_as_stored_before = lru_cache(maxsize=64)(_as_stored)


def _stored_body(
    body: tuple[Payload, str | None], limit: int
) -> tuple[bytes | None, bytes | None, str | None]:
    payload, encoding = body
    if not payload.size:
        return None, None, None
    head, tail, size = cut(payload, limit)
    if len(head) + len(tail) == size:
        return head + tail, None, encoding
    return head, tail, encoding


def _json(value: object) -> str | None:
    """As stored. What orjson cannot write, nesting of more than 250 levels, is in the stored body only."""
    if value is None:
        return None
    try:
        return dumps_text(value)
    except TypeError:
        return None


def _short(text: str | None, limit: int) -> str | None:
    return text if text is None or len(text) <= limit else text[: limit - 1] + "…"
