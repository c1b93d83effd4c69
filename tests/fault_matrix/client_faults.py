"""The rows where a client misbehaves or goes away: what it does, and what must come of it.

An act does what the row says and checks what the client can still see; the row in the store and what is left
behind are checked for all alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fault_matrix.stand import CHAT, JSON, KIB, Stand, request
from tests.fault_matrix.upstream_faults import (
    DONE,
    EVENTS_HEAD,
    FINE,
    FINE_BODY,
    LAST_CHUNK,
    MIB,
    error_answer,
    event,
)
from tests.harness import SILENCE, Again, PeakMemory, RawClient, chunk, resident_mib
from tests.harness.lock import lock_held

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_S = 0.05
"""Long enough for bytes to arrive, where nothing shows that they have."""

STREAM = EVENTS_HEAD + chunk(event(1))
LARGE_MIB = 200


@dataclass(frozen=True)
class ClientFault:
    """One row. `does` completes the sentence "the client …", `sees` says what it gets in return.

    `status` and `code` are the row's; a status of None means that there is no row, since no request was
    read. `attempts` is how many requests the upstream sees, None where that is a matter of chance.
    """

    does: str
    act: Callable[[Stand, str], None]
    sees: str
    status: int | None
    code: str | None = None
    attempts: int | None = 0
    note: str = ""


def pause() -> None:
    threading.Event().wait(PAUSE_S)


def head(trace: str, body_bytes: int, path: str = CHAT, content_type: str = JSON) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: g", content_type, f"x-trace-id: {trace}"]
    return "\r\n".join([*lines, f"content-length: {body_bytes}", "", ""]).encode()


def half_an_upload(stand: Stand, trace: str) -> RawClient:
    """A client with the first 150 KiB of 250,000 bytes sent, and read by the upstream."""
    stand.asked += 1
    client = RawClient(stand.gateway.port)
    client.send(head(trace, 250_000, "/v1/files", "content-type: audio/wav") + bytes(150 * KIB))
    return client


def code_of(client: RawClient) -> tuple[int, str]:
    answer = client.read_answer()
    return answer.status, answer.json()["error"]["code"]


# --- its request ---


def stops_within_its_head(stand: Stand, trace: str) -> None:
    with RawClient(stand.gateway.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nhost: g\r\nx-trace-id: {trace}\r\n".encode())
        assert client.ended()


def sends_a_head_of_10_mb(stand: Stand, trace: str) -> None:
    with RawClient(stand.gateway.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nx-trace-id: {trace}\r\nx-long: ".encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(160):
                client.send(b"x" * 64 * KIB)
        with contextlib.suppress(ConnectionError):  # refused before it was sent, the answer may be lost
            assert code_of(client) == (431, "head_too_large")


def sends_its_body_slowly(stand: Stand, trace: str) -> None:
    stand.asked += 1
    whole = request(trace, "scripted.alone")
    with RawClient(stand.gateway.port) as client:
        for index in range(0, len(whole), 16):
            client.send(whole[index : index + 16])
            threading.Event().wait(0.01)
        assert client.read_answer().body == FINE_BODY
    assert stand.faulty.requests[0].body == whole.partition(b"\r\n\r\n")[2]


def stops_within_its_body(stand: Stand, trace: str) -> None:
    stand.asked += 1
    with RawClient(stand.gateway.port) as client:
        client.send(head(trace, 100) + b'{"model":')
        assert code_of(client) == (408, "request_timeout")
        assert client.ended()


def stops_within_an_upload(stand: Stand, trace: str) -> None:
    with half_an_upload(stand, trace) as client:
        assert code_of(client) == (408, "request_timeout")
    assert not stand.faulty.requests[0].complete, "half an upload must not look like a whole one"


def sends_a_chunk_without_a_size(stand: Stand, trace: str) -> None:
    stand.asked += 1
    with RawClient(stand.gateway.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nhost: g\r\n{JSON}\r\nx-trace-id: {trace}\r\n".encode())
        client.send(b"transfer-encoding: chunked\r\n\r\n")
        pause()
        client.send(b"what?\r\n\r\n")
        assert code_of(client) == (400, "bad_request")
        assert client.ended()


def sends_more_than_its_length_says(stand: Stand, trace: str) -> None:
    stand.asked += 1
    stand.faulty.answers(SILENCE)
    with RawClient(stand.gateway.port) as client:
        client.send(request(trace, "scripted.alone") + b"and more\r\n\r\n")
        assert code_of(client) == (400, "bad_request")
        assert client.ended()


def closes_its_half_within_its_body(stand: Stand, trace: str) -> None:
    stand.asked += 1
    with RawClient(stand.gateway.port) as client:
        client.send(head(trace, 100) + b'{"model":')
        pause()
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended()


def resets_within_its_body(stand: Stand, trace: str) -> None:
    stand.asked += 1
    client = RawClient(stand.gateway.port)
    client.send(head(trace, 100) + b'{"model":')
    pause()
    client.hang_up()


def resets_within_an_upload(stand: Stand, trace: str) -> None:
    client = half_an_upload(stand, trace)
    arrived = stand.first_arrival()
    client.hang_up()
    assert arrived.hung_up.wait(3)
    assert not arrived.complete


# --- before its answer ---


def resets_right_behind_its_request(stand: Stand, trace: str) -> None:
    stand.faulty.answers(SILENCE)
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "scripted.alone")
    client.hang_up()


def is_gone_before_its_request_is_read(stand: Stand, trace: str) -> None:
    """The gateway sleeps until both the request and the connection's end have arrived."""
    stand.asked += 1
    stand.faulty.answers(SILENCE)
    with RawClient(stand.gateway.port) as client:
        client.get("/healthz")
        client.read_answer(method="GET")
        os.kill(stand.gateway.pid, signal.SIGSTOP)
        client.get("/v1/files/f1", f"x-trace-id: {trace}")
        client.socket.shutdown(socket.SHUT_WR)
        os.kill(stand.gateway.pid, signal.SIGCONT)
        assert client.ended()


def closes_its_half_right_behind_its_request(stand: Stand, trace: str) -> None:
    stand.faulty.answers(SILENCE)
    with RawClient(stand.gateway.port) as client:
        stand.ask(client, trace, "scripted.alone")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended()


def closes_its_half_before_its_answer(stand: Stand, trace: str) -> None:
    stand.faulty.answers(SILENCE)
    with RawClient(stand.gateway.port) as client:
        stand.ask(client, trace, "scripted.alone")
        stand.faulty.request(0)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended()
    assert stand.faulty.requests[0].hung_up.wait(3), "nobody waits for that answer any more"


def resets_before_its_answer(stand: Stand, trace: str) -> None:
    stand.faulty.answers(SILENCE)
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "scripted.alone")
    stand.faulty.request(0)
    client.hang_up()
    assert stand.faulty.requests[0].hung_up.wait(3)


def resets_while_connecting(stand: Stand, trace: str) -> None:
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "far.alone")
    pause()
    client.hang_up()


def resets_while_waiting_for_a_connection(stand: Stand, trace: str) -> None:
    may_answer = threading.Event()
    stand.faulty.answers(may_answer, FINE)
    with RawClient(stand.gateway.port) as first:
        stand.ask(first, f"{trace}-first", "narrow.alone")
        stand.faulty.request(0)
        client = RawClient(stand.gateway.port)
        stand.ask(client, trace, "narrow.alone")
        pause()
        client.hang_up()
        stand.row(trace)
        may_answer.set()
        assert first.read_answer().body == FINE_BODY


def finds_all_connections_in_use(stand: Stand, trace: str) -> None:
    may_answer = threading.Event()
    stand.faulty.answers(may_answer, FINE)
    with RawClient(stand.gateway.port) as first, RawClient(stand.gateway.port) as client:
        stand.ask(first, f"{trace}-first", "crowded.alone")
        stand.faulty.request(0)
        stand.ask(client, trace, "crowded.alone")
        answer = client.read_answer()
        assert (answer.status, answer.json()["error"]["code"]) == (503, "upstream_busy")
        assert answer.header("retry-after")
        may_answer.set()
        assert first.read_answer().body == FINE_BODY


def resets_in_the_wait_before_a_retry(stand: Stand, trace: str) -> None:
    stand.faulty.answers(error_answer(b"429 Slow Down", b"retry-after: 20"))
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "scripted.retry")
    stand.faulty.request(0)
    pause()
    client.hang_up()


def resets_in_the_second_attempt(stand: Stand, trace: str) -> None:
    stand.faulty.answers(error_answer(b"500 Oops"))
    stand.faulty.answers(SILENCE)
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "scripted.retry")
    stand.faulty.request(1)
    client.hang_up()
    assert stand.faulty.requests[1].hung_up.wait(3)


def resets_among_keepalive_comments(stand: Stand, trace: str) -> None:
    stand.faulty.answers(SILENCE)
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "scripted.kept", stream=True)
    client.read_until(b": keep-alive\n\n")
    client.hang_up()
    assert stand.faulty.requests[0].hung_up.wait(3)


# --- within its answer ---


def reads_a_large_answer_slowly(stand: Stand, trace: str) -> None:
    megabyte = hashlib.sha256(trace.encode()).digest() * (MIB // 32)
    length = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (LARGE_MIB * MIB)
    stand.faulty.answers(length, Again(megabyte, LARGE_MIB))
    before_mib = resident_mib(stand.gateway)
    received, expected = hashlib.sha256(), hashlib.sha256()
    with PeakMemory(stand.gateway) as peak, RawClient(stand.gateway.port, timeout_s=60) as client:
        stand.ask(client, trace, "scripted.alone")
        client.read_until(b"\r\n\r\n")
        threading.Event().wait(0.4)
        left = LARGE_MIB * MIB
        while left:
            data = client.read_some()
            assert data, f"{left} bytes are missing"
            received.update(data)
            left -= len(data)
    for _ in range(LARGE_MIB):
        expected.update(megabyte)
    assert received.digest() == expected.digest()
    assert peak.mib - before_mib < 32


def never_reads_its_answer(stand: Stand, trace: str) -> None:
    stand.faulty.answers(EVENTS_HEAD, Again(chunk(bytes(MIB)), 64), LAST_CHUNK)
    with RawClient(stand.gateway.port) as client:
        stand.ask(client, trace, "scripted.alone", stream=True)
        assert stand.faulty.request(0).hung_up.wait(10)
        with contextlib.suppress(ConnectionError):
            while client.read_some():
                pass


def resets_in_mid_stream(stand: Stand, trace: str) -> None:
    client = in_mid_stream(stand, trace)
    client.hang_up()
    assert stand.faulty.requests[0].hung_up.wait(3), "the upstream's call was not cancelled"


def closes_in_mid_stream(stand: Stand, trace: str) -> None:
    client = in_mid_stream(stand, trace)
    client.socket.close()
    assert stand.faulty.requests[0].hung_up.wait(3)


def closes_its_half_in_mid_stream(stand: Stand, trace: str) -> None:
    with in_mid_stream(stand, trace) as client:
        client.socket.shutdown(socket.SHUT_WR)
        assert stand.faulty.requests[0].hung_up.wait(3)


def in_mid_stream(stand: Stand, trace: str) -> RawClient:
    stand.faulty.answers(STREAM, SILENCE)
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "scripted.alone", stream=True)
    client.read_until(event(1))
    return client


def resets_between_headers_and_body(stand: Stand, trace: str) -> None:
    stand.faulty.answers(EVENTS_HEAD, SILENCE)
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "scripted.alone", stream=True)
    client.read_until(b"\r\n\r\n")
    client.hang_up()
    assert stand.faulty.requests[0].hung_up.wait(3)


def resets_while_its_stream_is_committed(stand: Stand, trace: str) -> None:
    may_end = threading.Event()
    stand.faulty.answers(STREAM, may_end, chunk(DONE) + LAST_CHUNK)
    assert stand.gateway.database is not None
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "scripted.alone", stream=True)
    client.read_until(event(1))
    with lock_held(stand.gateway.database):
        may_end.set()
        pause()
        assert DONE not in client.buffer, "the last event waits for the commit"
        client.hang_up()
        pause()
        assert not stand.gateway.rows.exchanges(trace)


def resets_while_its_answer_is_committed(stand: Stand, trace: str) -> None:
    assert stand.gateway.database is not None
    client = RawClient(stand.gateway.port)
    with lock_held(stand.gateway.database):
        stand.ask(client, trace, "scripted.alone")
        stand.faulty.request(0)
        pause()
        client.hang_up()
        pause()
        assert not stand.gateway.rows.exchanges(trace)


def goes_away_from_an_upstream_that_drains(stand: Stand, trace: str) -> None:
    is_gone = threading.Event()
    stand.faulty.answers(STREAM, is_gone, PAUSE_S, chunk(DONE) + LAST_CHUNK)
    client = RawClient(stand.gateway.port)
    stand.ask(client, trace, "draining.alone", stream=True)
    client.read_until(event(1))
    client.hang_up()
    is_gone.set()
    assert stand.row(trace)["response_head"] == event(1) + DONE


def speaks_http_1_0(stand: Stand, trace: str) -> None:
    stand.asked += 1
    with RawClient(stand.gateway.port) as client:
        client.send(request(trace, "scripted.alone", version="1.0"))
        answer = client.read_answer()
        assert (answer.status, answer.body, answer.clean) == (200, FINE_BODY, True)
        assert client.ended()


def asks_for_a_stream_in_http_1_0(stand: Stand, trace: str) -> None:
    stand.asked += 1
    stand.faulty.answers(STREAM, 0.02, chunk(DONE) + LAST_CHUNK)
    with RawClient(stand.gateway.port) as client:
        client.send(request(trace, "scripted.alone", stream=True, version="1.0"))
        answer = client.read_answer()
        assert (answer.status, answer.body, answer.clean) == (200, event(1) + DONE, True)
        assert answer.header("transfer-encoding") is None, "RFC 9112 section 6.1"
        assert client.ended()


GONE = "nothing: it is gone"
CANCELLED = "The upstream's call is cancelled."
HALF = (
    "A FIN is all that most clients send when they go away, so it is taken for that: no answer is paid for "
    "that nobody reads."
)

ITS_REQUEST = (
    ClientFault("stops within its headers", stops_within_its_head, "its connection closed", None),
    ClientFault("sends 10 MB of headers", sends_a_head_of_10_mb, "431 `head_too_large`", None),
    ClientFault(
        "sends its request slowly, slower than no limit", sends_its_body_slowly, "the answer", 200, attempts=1
    ),
    ClientFault(
        "stops within its JSON body", stops_within_its_body, "408 `request_timeout`", 408, "request_timeout"
    ),
    ClientFault(
        "stops within an upload", stops_within_an_upload, "408 `request_timeout`", 408, "request_timeout",
        attempts=1, note="The upstream sees it cut off, never as a whole.",
    ),
    ClientFault(
        "sends a chunk without a size", sends_a_chunk_without_a_size, "400 `bad_request`", 499,
        "client_closed", note="What no longer is HTTP ends the request as if the client had gone.",
    ),
    ClientFault(
        "sends more bytes than its length says", sends_more_than_its_length_says, "400 `bad_request`", 499,
        "client_closed", attempts=None,
    ),
    ClientFault(
        "closes its half within its body", closes_its_half_within_its_body, "its connection closed", 499,
        "client_closed",
    ),
    ClientFault("resets within its JSON body", resets_within_its_body, GONE, 499, "client_closed"),
    ClientFault(
        "resets within an upload", resets_within_an_upload, GONE, 499, "client_closed", attempts=1,
        note="The upstream sees it cut off, never as a whole.",
    ),
)  # fmt: skip

BEFORE_ITS_ANSWER = (
    ClientFault(
        "resets right behind its request", resets_right_behind_its_request, GONE, 499, "client_closed",
        attempts=None,
    ),
    ClientFault(
        "is gone before its request is read", is_gone_before_its_request_is_read, "its connection closed",
        499, "client_closed", attempts=None,
    ),
    ClientFault(
        "closes its half right behind its request", closes_its_half_right_behind_its_request,
        "its connection closed", 499, "client_closed", attempts=None, note=HALF,
    ),
    ClientFault(
        "closes its half before its answer", closes_its_half_before_its_answer, "its connection closed", 499,
        "client_closed", attempts=1, note=CANCELLED,
    ),
    ClientFault(
        "resets before its answer", resets_before_its_answer, GONE, 499, "client_closed", attempts=1,
        note=CANCELLED,
    ),
    ClientFault("resets while we connect", resets_while_connecting, GONE, 499, "client_closed"),
    ClientFault(
        "resets while it waits for a free connection", resets_while_waiting_for_a_connection, GONE, 499,
        "client_closed", attempts=1, note="The one request is the neighbour's, which has the connection.",
    ),
    ClientFault(
        "finds all connections in use for `connect_timeout_s`", finds_all_connections_in_use,
        "503 `upstream_busy`, with `Retry-After`", 503, "upstream_busy", attempts=1,
        note="The one request is the neighbour's, which has the connection.",
    ),
    ClientFault(
        "resets in the wait before a retry", resets_in_the_wait_before_a_retry, GONE, 499, "client_closed",
        attempts=1,
    ),
    ClientFault(
        "resets in the second attempt", resets_in_the_second_attempt, GONE, 499, "client_closed", attempts=2,
        note=CANCELLED,
    ),
    ClientFault(
        "resets among keep-alive comments", resets_among_keepalive_comments, GONE, 499, "client_closed",
        attempts=1, note=CANCELLED,
    ),
)  # fmt: skip

WITHIN_ITS_ANSWER = (
    ClientFault(
        "reads an answer of 200 MB slowly", reads_a_large_answer_slowly, "all of it", 200, attempts=1,
        note="The upstream is read no faster than the client reads: memory stays flat.",
    ),
    ClientFault(
        "never reads its answer", never_reads_its_answer, "its connection closed after "
        "`server.write_timeout_s`", 200, "client_closed", attempts=1, note=CANCELLED,
    ),
    ClientFault(
        "resets between headers and body", resets_between_headers_and_body, GONE, 200, "client_closed",
        attempts=1, note=CANCELLED,
    ),
    ClientFault(
        "resets in mid-stream", resets_in_mid_stream, GONE, 200, "client_closed", attempts=1, note=CANCELLED
    ),
    ClientFault(
        "closes in mid-stream", closes_in_mid_stream, GONE, 200, "client_closed", attempts=1, note=CANCELLED
    ),
    ClientFault(
        "closes its half in mid-stream", closes_its_half_in_mid_stream, "its connection closed", 200,
        "client_closed", attempts=1, note=CANCELLED,
    ),
    ClientFault(
        "goes away, and `on_disconnect` is `drain`", goes_away_from_an_upstream_that_drains, GONE, 200,
        "client_closed", attempts=1, note="The answer is read to its end for the record.",
    ),
    ClientFault(
        "resets after a stream's last event, before the commit", resets_while_its_stream_is_committed, GONE,
        200, attempts=1, note="The exchange was complete: what the client does now changes nothing.",
    ),
    ClientFault(
        "resets after a whole answer, before the commit", resets_while_its_answer_is_committed, GONE, 200,
        attempts=1,
    ),
    ClientFault("asks in HTTP/1.0", speaks_http_1_0, "the answer, then the end", 200, attempts=1),
    ClientFault(
        "asks for a stream in HTTP/1.0", asks_for_a_stream_in_http_1_0,
        "the stream without chunks, up to the connection's end", 200, attempts=1,
    ),
)  # fmt: skip

CLIENT_FAULTS = {
    "The client's request": ITS_REQUEST,
    "The client, before its answer": BEFORE_ITS_ANSWER,
    "The client, within its answer": WITHIN_ITS_ANSWER,
}
"""By the headings of the document."""
