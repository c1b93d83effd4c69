"""Server-sent events as a machine: bytes in, events out, however they are split.

Follows the WHATWG HTML standard section 9.2.6, except that an event the stream's end cut off before its blank
line still counts: a model server that forgets the last newline has said it all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_LAST_EVENT = re.compile(
    rb"[\r\n](?:data: ?\[DONE\]|event: ?(?:response\.(?:completed|failed|incomplete)|message_stop)[\r\n])"
)
_LONGEST_MARK = 40
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r){2}")
_LONGEST_BLANK_LINE = 4
_JSON_AT = len("data: ")
_BRACE, _NEWLINE = b"{\n"


class Event(NamedTuple):
    """`name` is empty when the event did not carry one; `data` has its lines joined by newlines."""

    name: bytes
    data: bytes


class EventParser:
    """`feed` each chunk, then `flush`; both return the events that became complete."""

    __slots__ = ("_data", "_line", "_name", "_saw_cr", "_started")

    def __init__(self) -> None:
        self._line = b""
        self._data: list[bytes] = []
        self._name = b""
        self._saw_cr = False
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        if self._saw_cr and chunk:
            # The carriage return that ended the last chunk was already taken as a line end.
            chunk = chunk.removeprefix(b"\n")
            self._saw_cr = False
        if b"\r" in chunk:
            self._saw_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = (self._line + chunk).split(b"\n")
        self._line = lines.pop()
        return list(self._events(lines))

    def flush(self) -> list[Event]:
        last, self._line = self._line, b""
        return list(self._events([last, b""]))

    def _events(self, lines: list[bytes]) -> Iterator[Event]:
        for line in lines:
            if not self._started:
                self._started = True
                line = line.removeprefix(_BOM)  # noqa: PLW2901 - only a stream's first line can have one
            if line:
                self._field(line)
                continue
            if self._data:
                yield Event(self._name, b"\n".join(self._data))
            self._data = []
            self._name = b""

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._name = value.removeprefix(b" ")


def parse(body: bytes) -> list[Event]:
    """The events of a whole body."""
    parser = EventParser()
    return parser.feed(body) + parser.flush()


class LastEvent:
    """Recognises the event after which clients stop reading, as a stream goes by.

    `feed` returns True for the first chunk that completes it: `[DONE]` (OpenAI), `response.completed`,
    `.failed` or `.incomplete` (OpenAI Responses), `message_stop` (Anthropic).
    """

    __slots__ = ("_begun", "_carry", "is_between")

    is_between: bool
    """One event is complete and the next has not begun. An event without a mark then changes nothing here."""

    def __init__(self) -> None:
        self._carry = b"\n"  # what a mark may have begun in, or the line end that it begins after
        self.is_between = True
        self._begun = False

    def feed(self, chunk: bytes) -> bool:
        # The usual chunk is a whole event in one line of JSON, or at least of whole events without a mark. It
        # is told by looks that cost less than the search, and not by `in`: that tries whether the bytes are a
        # number first, at the price of an exception, and so takes twice as long as `find`.
        if self.is_between:
            size = len(chunk)
            if (
                size > _JSON_AT
                and chunk[_JSON_AT] == _BRACE  # where a mark would have something else
                and chunk[-1] == _NEWLINE
                and chunk.find(b"\n") == size - 2
                and chunk.find(b"\r") < 0
            ):
                return False
            if (
                chunk.endswith(b"\n\n")
                and chunk.find(b"DONE]") < 0
                and chunk.find(b"message_stop") < 0
                and chunk.find(b"response.") < 0
            ):
                return False
        return self._search(chunk)

    def _search(self, chunk: bytes) -> bool:
        window = self._carry + chunk
        if not self._begun:
            mark = _LAST_EVENT.search(window)
            if mark is None:
                ends = window.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))
                self._carry = b"\n" if window.endswith(b"\n\n") else window[-_LONGEST_MARK:]
                self.is_between = ends and self._carry == b"\n"
                return False
            self._begun, self.is_between = True, False
            window = window[mark.end() - 1 :]
        self._carry = window[-_LONGEST_BLANK_LINE:]
        return _BLANK_LINE.search(window) is not None


def error_event(body: bytes, sent_tail: bytes) -> bytes:
    """An SSE `error` event with the JSON `body`, to end a stream whose last bytes were `sent_tail`.

    Clients of the OpenAI SDKs raise it as an APIError instead of taking a cut answer for a whole one.
    """
    boundary = b"" if not sent_tail or sent_tail.endswith((b"\n\n", b"\r\n\r\n")) else b"\n\n"
    return boundary + b"event: error\ndata: " + body + b"\n\n"
