"""Whether a phrase stands in what was asked or answered, read from the bodies as they are stored.

There is no index: it would cost every request some of its time, and many gigabytes. In ASCII, small letters
and capitals count as the same.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, cast, literal, or_, select

from gateway.jsonio import dumps_text
from gateway.store.search import portions
from gateway.store.tables import exchange, exchange_body, trace

_PIECES = re.compile(rb'"(?:content|text|delta|arguments|partial_json)"\s*:\s*"((?:[^"\\]|\\.)*)"')
"""The members of a stream's events that add up to what was said."""


class Phrase:
    """A phrase in the spellings that JSON may give it: as it is, and with `\\u` escapes."""

    def __init__(self, text: str) -> None:
        as_it_is = dumps_text(text)[1:-1]
        escaped = "".join(char if char.isascii() else _escape(char) for char in as_it_is)
        self._spellings = tuple(dict.fromkeys((as_it_is, escaped)))
        self._lower = tuple(spelling.encode().lower() for spelling in self._spellings)

    def is_in(self, *columns: ColumnElement[bytes]) -> ColumnElement[bool]:
        return or_(
            *(
                cast(column, Text).contains(spelling, autoescape=True)  # SQLite's LIKE is blind to case
                for column in columns
                for spelling in self._spellings
            )
        )

    def is_in_stream(self, body: bytes) -> bool:
        """In what the events of a stream add up to; a phrase may go over many of them."""
        said = b"".join(_PIECES.findall(body)).lower()
        return any(spelling in said for spelling in self._lower)


def stands_in(key_id: str, phrase: Phrase) -> ColumnElement[bool]:
    """Whether a body of some exchange of a row of `trace` has the phrase in it as it is stored."""
    body = exchange_body.c
    found = (
        select(literal(1))
        .select_from(exchange)
        .join(exchange_body, body.exchange_seq == exchange.c.seq)
        .where(exchange.c.key_id == key_id, exchange.c.trace_id == trace.c.trace_id)
        .where(phrase.is_in(body.request_head, body.response_head, body.request_tail, body.response_tail))
    )
    return found.correlate(trace).exists()


def streamed(connection: Connection, key_id: str, traces: Select[Any], phrase: Phrase) -> set[str]:
    """Those of `traces`, a selection of rows of `trace`, to which an answer with the phrase was streamed."""
    in_trace = (exchange.c.key_id == key_id, exchange.c.trace_id == trace.c.trace_id, exchange.c.streamed)
    candidates = traces.with_only_columns(trace.c.trace_id).where(
        select(literal(1)).select_from(exchange).where(*in_trace).correlate(trace).exists()
    )
    found: set[str] = set()
    body = exchange_body.c
    bodies = select(exchange.c.trace_id, body.response_head, body.response_tail).join(
        exchange_body, body.exchange_seq == exchange.c.seq
    )
    # In two steps: in one, the database would look at all exchanges there are before it looks at traces.
    for some in portions(connection.execute(candidates).scalars()):
        query = bodies.where(exchange.c.key_id == key_id, exchange.c.trace_id.in_(some), exchange.c.streamed)
        for trace_id, head, tail in connection.execute(query):
            if trace_id not in found and phrase.is_in_stream((head or b"") + (tail or b"")):
                found.add(trace_id)
    return found


def _escape(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
