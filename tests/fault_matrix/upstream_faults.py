"""The rows where an upstream misbehaves: what it does, and what must come of it. Data only."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.harness import CLOSE, HALF_CLOSE, RESET, SILENCE, Again, chunk

if TYPE_CHECKING:
    from tests.harness.upstream import Stage, Step

KIB = 1024
MIB = 1024 * 1024

Place = Literal[
    "scripted", "hasty", "steady", "brief", "refusing", "nameless", "unreachable", "not-tls", "stranger"
]
"""Which upstream of the stand. `hasty` has limits short enough to wait for, `steady` an idle limit that a
trickle outlasts, `brief` a short total limit."""

Ends = Literal["whole", "error event", "cut"]
"""How an answer ends that the client began to get: as it should; with an `error` event and without the last
chunk; without the last chunk or the last byte only."""


@dataclass(frozen=True)
class Fault:
    """One row. `does` completes the sentence "the upstream …".

    `status` and `code` are what the client sees and what the row says; a `code` of None is no error of ours.
    `body` is what of the upstream's answer reaches the client. `tried_again` is whether a plan with another
    try uses it, at the next target or, unless `retried` says otherwise, at the same. `over_httpx` is status
    and code where that transport tells otherwise. `note` goes into the document.
    """

    does: str
    steps: tuple[Step, ...] = ()
    status: int = 502
    code: str | None = "upstream_broken"
    body: bytes = b""
    ends: Ends = "whole"
    headers: tuple[tuple[str, str], ...] = ()
    at: Stage = "body"
    place: Place = "scripted"
    stream: bool = False
    tried_again: bool = False
    retried: bool | None = None
    over_httpx: tuple[int, str] | None = None
    note: str = ""

    def attempts(self, plan: str) -> int:
        """How many there are under a plan with another try."""
        again = self.tried_again if plan == "fallback" or self.retried is None else self.retried
        return 2 if again else 1

    def outcome(self, transport: str) -> tuple[int, str | None]:
        """Status and code over this transport."""
        return self.over_httpx if transport == "httpx" and self.over_httpx else (self.status, self.code)

    @property
    def is_ours(self) -> bool:
        """Whether the client gets an error of the gateway instead of an answer of the upstream."""
        return self.code is not None and self.ends == "whole"

    @property
    def recorded(self) -> bytes:
        """How the row's copy of what came begins: decoded."""
        return gzip.decompress(self.body) if self.body.startswith(b"\x1f\x8b") else self.body

    @property
    def is_seen(self) -> bool:
        """Whether the scripted upstream can count the attempts."""
        return self.place in ("scripted", "hasty", "steady", "brief")


def event(number: int) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number


DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OLD_EVENTS_HEAD = b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
ZIPPED_EVENTS_HEAD = EVENTS_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
TWO_HINTS = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
FINE_BODY = b'{"fine": true}\n'
FINE = JSON_HEAD + b"content-length: 15\r\n\r\n" + FINE_BODY
HALF_COUNTED = JSON_HEAD + b'content-length: 100\r\n\r\n{"half":'
TWO_EVENTS = (EVENTS_HEAD + chunk(event(1)), 0.01, chunk(event(2)), 0.01)
SHOWN = event(1) + event(2)
BOMB = gzip.compress(bytes(256 * MIB), 9)


def error_answer(status: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: 19\r\n\r\n" % (status, lines)
    return head + b'{"error": "theirs"}'


def header(size: int) -> bytes:
    """A header line of so many bytes."""
    return b"x-more: " + b"x" * (size - 10) + b"\r\n"


THEIRS = b'{"error": "theirs"}'


def letters(text: bytes, pause_s: float) -> tuple[Step, ...]:
    """A byte at a time."""
    return tuple(step for letter in text for step in (bytes([letter]), pause_s))


NO_CONNECTION = (
    Fault("refuses the connection", place="refusing", code="upstream_unreachable", tried_again=True),
    Fault("has a name nobody knows", place="nameless", code="upstream_unreachable", tried_again=True),
    Fault(
        "neither takes nor refuses the connection", place="unreachable", status=504,
        code="upstream_connect_timeout", tried_again=True,
    ),
    Fault(
        "answers a TLS handshake without TLS", (b"HTTP/1.1 400 Bad Request\r\n\r\nplain", CLOSE),
        place="not-tls", at="accept", code="upstream_unreachable", tried_again=True,
    ),
    Fault(
        "never answers a TLS handshake", (SILENCE,), place="not-tls", at="accept", status=504,
        code="upstream_connect_timeout", tried_again=True,
    ),
    Fault(
        "resets in the TLS handshake", (0.02, RESET), place="not-tls", at="accept",
        code="upstream_unreachable", tried_again=True,
    ),
    Fault(
        "has a certificate of nobody we trust", place="stranger", code="upstream_unreachable",
        tried_again=True,
    ),
)  # fmt: skip

NO_ANSWER = (
    Fault("closes as soon as it is connected", (CLOSE,), at="accept", tried_again=True),
    Fault("closes without an answer", (CLOSE,), tried_again=True),
    Fault("closes its half without an answer", (HALF_CLOSE,), tried_again=True),
    Fault("resets before its headers", (RESET,), tried_again=True),
    Fault("closes within its headers", (b"HTTP/1.1 200 OK\r\ncontent-", CLOSE), tried_again=True),
    Fault("resets within its headers", (b"HTTP/1.1 200 OK\r\ncontent-", 0.03, RESET), tried_again=True),
    Fault("closes after an interim answer", (b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE), tried_again=True),
    Fault("speaks another protocol", (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", SILENCE), tried_again=True),
    Fault("answers with noise", (bytes(range(256)), CLOSE), tried_again=True),
    Fault("answers without a head", (b'{"object":"chat.completion"}', CLOSE), tried_again=True),
    Fault("has a status line without a status", (b"HTTP/1.1 \r\n\r\n", CLOSE), tried_again=True),
    Fault(
        "has a content-length that is no number", (JSON_HEAD + b"content-length: many\r\n\r\n", CLOSE),
        tried_again=True,
    ),
    Fault(
        "has two content-lengths", (JSON_HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ", CLOSE),
        tried_again=True,
    ),
    Fault(
        "switches protocols unasked",
        (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", SILENCE),
        tried_again=True,
    ),
    Fault(
        "sends 10 MB of headers", (b"HTTP/1.1 200 OK\r\n", Again(header(1024) * 64, 160)), tried_again=True
    ),
    Fault(
        "sends one header of 10 MB", (b"HTTP/1.1 200 OK\r\nx-long: ", Again(b"x" * 64 * KIB, 160)),
        tried_again=True,
    ),
    Fault(
        "sends interim answers without end",
        (Again(b"HTTP/1.1 103 Hints\r\n" + header(8 * KIB) + b"\r\n", 64), SILENCE),
        place="hasty", over_httpx=(504, "upstream_first_byte_timeout"), tried_again=True,
    ),
    Fault(
        "is slow with its first byte", (SILENCE,), place="hasty", status=504,
        code="upstream_first_byte_timeout", tried_again=True,
    ),
    Fault(
        "stalls within its headers", (b"HTTP/1.1 200 OK\r\n", SILENCE), place="hasty", status=504,
        code="upstream_first_byte_timeout", tried_again=True,
    ),
    Fault(
        "trickles its headers past the limit", letters(b"HTTP/1.1 200 OK\r\nx: y" + b"y" * 200, 0.005),
        place="hasty", status=504, code="upstream_first_byte_timeout", tried_again=True,
    ),
    Fault(
        "stalls after an interim answer", (b"HTTP/1.1 100 Continue\r\n\r\n", SILENCE), place="hasty",
        status=504, code="upstream_first_byte_timeout", tried_again=True,
    ),
)  # fmt: skip

AN_ANSWER = (
    Fault(
        "answers 500", (error_answer(b"500 Oops"),), status=500, code=None, body=THEIRS, tried_again=True
    ),
    Fault(
        "answers 429 with `Retry-After`", (error_answer(b"429 Slow Down", b"retry-after-ms: 60"),),
        status=429, code=None, body=THEIRS, headers=(("retry-after-ms", "60"),), tried_again=True,
    ),
    Fault(
        "answers 503 with a long `Retry-After`", (error_answer(b"503 Busy", b"retry-after: 900"),),
        status=503, code=None, body=THEIRS, headers=(("retry-after", "900"),), tried_again=True,
        retried=False, note="Longer than `max_retry_after_s`: not waited for, only another target helps.",
    ),
    Fault("answers 400", (error_answer(b"400 Bad"),), status=400, code=None, body=THEIRS),
    Fault(
        "redirects", (error_answer(b"307 Moved", b"location: https://elsewhere.invalid/v1"),), status=307,
        code=None, body=THEIRS, headers=(("location", "https://elsewhere.invalid/v1"),),
        note="Never followed: credentials would go where the configuration does not say.",
    ),
    Fault(
        "answers with a status nobody knows", (error_answer(b"599 Odd"),), status=599, code=None, body=THEIRS
    ),
    Fault("answers with a status that HTTP does not have", (error_answer(b"999 Denied"),), tried_again=True),
    Fault(
        "answers in HTTP/1.0 and closes",
        (b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + FINE_BODY, CLOSE), status=200,
        code=None, body=FINE_BODY,
    ),
    Fault(
        "answers in HTTP/1.0 with a length",
        (b"HTTP/1.0 200 OK\r\ncontent-length: 15\r\n\r\n" + FINE_BODY, CLOSE), status=200, code=None,
        body=FINE_BODY,
    ),
    Fault(
        "streams in HTTP/1.0 and closes",
        (OLD_EVENTS_HEAD + event(1), 0.02, event(2) + DONE, CLOSE),
        status=200, code=None, body=SHOWN + DONE, stream=True,
    ),
    Fault(
        "answers whole and closes its half", (FINE, HALF_CLOSE), status=200, code=None, body=FINE_BODY
    ),
    Fault("answers whole and resets", (FINE, 0.03, RESET), status=200, code=None, body=FINE_BODY),
    Fault(
        "sends interim answers, then one that counts", (TWO_HINTS + FINE,), status=200, code=None,
        body=FINE_BODY,
    ),
    Fault(
        "sends more bytes than its length says", (FINE, 0.02, FINE, 0.1), status=200, code=None,
        body=FINE_BODY, note="The rest is nobody's answer; that connection is not used again.",
    ),
    Fault(
        "trickles: a byte every few milliseconds", letters(FINE, 0.002), status=200, code=None,
        body=FINE_BODY,
    ),
    Fault(
        "trickles a stream, slower than no limit",
        (EVENTS_HEAD, *letters(chunk(event(1)), 0.008), chunk(DONE) + LAST_CHUNK), place="steady", status=200,
        code=None, body=event(1) + DONE, stream=True,
    ),
    Fault(
        "sends a gzip bomb",
        (JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB), BOMB),
        status=200, code=None, body=BOMB, headers=(("content-encoding", "gzip"),),
        note="Passed on as it is; the record decodes 64 MiB of it at most, and keeps `max_body_bytes`.",
    ),
    Fault(
        "dies right after a stream's last event", (EVENTS_HEAD + chunk(event(1)) + chunk(DONE), 0.03, RESET),
        status=200, code=None, body=event(1) + DONE, stream=True,
    ),
)  # fmt: skip

A_BROKEN_ANSWER = (
    Fault(
        "resets a stream after its headers", (EVENTS_HEAD, 0.03, RESET), status=200, code="upstream_aborted",
        ends="error event", stream=True,
    ),
    Fault(
        "closes in mid-stream", (*TWO_EVENTS, CLOSE), status=200, code="upstream_aborted", body=SHOWN,
        ends="error event", stream=True,
    ),
    Fault(
        "closes its half in mid-stream", (*TWO_EVENTS, HALF_CLOSE), status=200, code="upstream_aborted",
        body=SHOWN, ends="error event", stream=True,
    ),
    Fault(
        "resets in mid-stream", (*TWO_EVENTS, 0.03, RESET), status=200, code="upstream_aborted", body=SHOWN,
        ends="error event", stream=True,
    ),
    Fault(
        "sends a chunk without a size", (*TWO_EVENTS, b"what?\r\n\r\n", SILENCE), status=200,
        code="upstream_aborted", body=SHOWN, ends="error event", stream=True,
    ),
    Fault(
        "sends a chunk longer than its size", (*TWO_EVENTS, b"3\r\nfour!\r\n", SILENCE), status=200,
        code="upstream_aborted", body=SHOWN, ends="error event", stream=True,
    ),
    Fault(
        "sends a trailer of 10 MB", (*TWO_EVENTS, b"0\r\nx-long: ", Again(b"x" * 64 * KIB, 160), SILENCE),
        status=200, code="upstream_aborted", body=SHOWN, ends="error event", stream=True,
    ),
    Fault(
        "sends a chunk extension of 10 MB", (*TWO_EVENTS, b"5;x=", Again(b"x" * 64 * KIB, 160), SILENCE),
        status=200, code="upstream_aborted", body=SHOWN, ends="error event", stream=True,
    ),
    Fault(
        "ends within a chunk", (*TWO_EVENTS, b"ff\r\nhalf", CLOSE), status=200, code="upstream_aborted",
        body=SHOWN + b"half", ends="error event", stream=True,
    ),
    Fault(
        "stalls in mid-stream", (*TWO_EVENTS, SILENCE), place="hasty", status=200,
        code="upstream_idle_timeout", body=SHOWN, ends="error event", stream=True,
    ),
    Fault(
        "streams without end", (EVENTS_HEAD, *(chunk(event(0)), 0.02) * 200), place="brief", status=200,
        code="upstream_total_timeout", body=event(0), ends="error event", stream=True,
    ),
    Fault(
        "breaks off a compressed stream",
        (ZIPPED_EVENTS_HEAD + chunk(gzip.compress(SHOWN, mtime=0)), 0.02, CLOSE), status=200,
        code="upstream_aborted", body=gzip.compress(SHOWN, mtime=0), ends="cut", stream=True,
        note="No event can be added to a compressed stream.",
    ),
    Fault(
        "closes short of its length", (HALF_COUNTED, 0.02, CLOSE), status=200, code="upstream_aborted",
        body=b'{"half":', ends="cut",
    ),
    Fault(
        "resets short of its length", (HALF_COUNTED, 0.03, RESET), status=200, code="upstream_aborted",
        body=b'{"half":', ends="cut",
    ),
    Fault(
        "stalls short of its length", (HALF_COUNTED, SILENCE), place="hasty", status=200,
        code="upstream_idle_timeout", body=b'{"half":', ends="cut",
    ),
    Fault(
        "resets an HTTP/1.0 answer",
        (b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + FINE_BODY, 0.03, RESET), status=200,
        code="upstream_aborted", body=FINE_BODY, ends="cut",
    ),
)  # fmt: skip

FAULTS = {
    "No connection": NO_CONNECTION,
    "A connection, and no answer": NO_ANSWER,
    "An answer after all": AN_ANSWER,
    "An answer that breaks off": A_BROKEN_ANSWER,
}
"""By the headings of the document."""
