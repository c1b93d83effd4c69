"""Bodies and headers as they were stored, for reading and copying; and the request as a curl command."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import Literal

import orjson

from gateway.jsonio import loads
from gateway.records import BodyRow, ExchangeRow

Side = Literal["request", "response"]

MAX_SHOWN_CHARS = 16_000
"""Of a body within a page; all of it is on a page of its own."""

_NOT_SENT_AGAIN = frozenset({"content-length", "accept-encoding", "user-agent", "content-encoding", "host"})


@dataclass(slots=True, frozen=True)
class Raw:
    """`text` is None for what is not text or is not here; `is_kept` is whether there is anything to open."""

    headers: tuple[tuple[str, str], ...]
    text: str | None
    bytes: int
    is_kept: bool

    @property
    def beginning(self) -> str:
        return (self.text or "")[:MAX_SHOWN_CHARS]

    @property
    def is_long(self) -> bool:
        return len(self.text or "") > MAX_SHOWN_CHARS


def raw(row: ExchangeRow, bodies: BodyRow | None, side: Side) -> Raw:
    """One side of an exchange. JSON is indented, unless that would change it."""
    is_request = side == "request"
    count = row.request_bytes if is_request else row.response_bytes
    if bodies is None:
        return Raw((), None, count, is_kept=False)
    headers = loads(bodies.request_headers if is_request else bodies.response_headers)
    text = plain(bodies, side)
    head, tail = (
        (bodies.request_head, bodies.request_tail)
        if is_request
        else (bodies.response_head, bodies.response_tail)
    )
    if text is not None and tail is None and text.startswith(("{", "[")):
        text = _indented(text)
    return Raw(tuple((str(name), str(value)) for name, value in headers), text, count, is_kept=bool(head))


def plain(bodies: BodyRow, side: Side) -> str | None:
    """The body byte for byte as text; None where it is none. Between head and tail stands what is missing."""
    if side == "request":
        head, tail, encoding = bodies.request_head, bodies.request_tail, bodies.request_encoding
    else:
        head, tail, encoding = bodies.response_head, bodies.response_tail, bodies.response_encoding
    if head is None or encoding is not None:
        return None
    try:
        if tail is None:
            return head.decode()
        return f"{head.decode(errors='ignore')}\n\n[… not kept …]\n\n{tail.decode(errors='ignore')}"
    except UnicodeDecodeError:
        return None


def curl(row: ExchangeRow, bodies: BodyRow | None, base_url: str) -> str:
    """The same request again, for a shell. The key is the caller's own, since none is stored."""
    lines = [f"curl {quote(base_url + row.path)}"]
    if row.method != "POST":
        lines[0] += f" -X {quote(row.method)}"
    lines.append('-H "authorization: Bearer $OPENAI_API_KEY"')
    body = None
    if bodies is not None:
        lines += [
            f"-H {quote(f'{name}: {value}')}"
            for name, value in loads(bodies.request_headers)
            if name not in _NOT_SENT_AGAIN and not name.startswith("x-stainless")
        ]
        body = plain(bodies, "request") if bodies.request_tail is None else None
    lines.append(f"-H {quote(f'x-trace-id: {row.trace_id}')}")
    if body:
        lines.append(f"--data-binary {quote(body)}")
    elif row.request_bytes:
        lines.append("--data-binary @request.json")
    return " \\\n  ".join(lines)


def _indented(text: str) -> str:
    """JSON with line breaks, where every number keeps its digits."""
    try:
        value = loads(text)
        shown = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except (ValueError, TypeError):
        return text
    return shown
