"""The harness must not lie: what a test concludes from it is only as good as what it saw."""

from __future__ import annotations

import threading

from tests.harness import CLOSE, RESET, RawClient, WireUpstream


def test_wire_upstream_records_the_exact_bytes_of_a_counted_body(upstream: WireUpstream) -> None:
    with RawClient(upstream.port) as client:
        client.post("/v1/odd%20path?q=%2F", b'{ "a" :1}', "X-Odd:  spaced ")
        answer = client.read_answer()

    received = upstream.request()
    assert answer.status == 200
    assert received.target == b"/v1/odd%20path?q=%2F"
    assert received.body == received.raw_body == b'{ "a" :1}'
    assert received.header("x-odd") == "spaced"


def test_wire_upstream_reads_chunks_however_they_are_cut(upstream: WireUpstream) -> None:
    wire = b"5\r\nhello\r\n6;x=1\r\n world\r\n0\r\n\r\n"
    with RawClient(upstream.port) as client:
        client.send(b"POST /v1/x HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
        for index in range(len(wire)):
            client.send(wire[index : index + 1])
        assert client.read_answer().status == 200

    assert upstream.request().body == b"hello world"
    assert upstream.request().raw_body == wire


def test_wire_upstream_serves_several_requests_on_one_connection(upstream: WireUpstream) -> None:
    with RawClient(upstream.port) as client:
        for _ in range(3):
            client.post("/v1/x", b"{}")
            assert client.read_answer().status == 200

    assert [request.connection for request in upstream.requests] == [0, 0, 0]


def test_wire_upstream_waits_for_an_event_between_two_chunks(upstream: WireUpstream) -> None:
    first_was_read = threading.Event()
    upstream.answers(b"HTTP/1.1 200 OK\r\n\r\nfirst", first_was_read, b"second", CLOSE)
    with RawClient(upstream.port) as client:
        client.get("/v1/x")
        assert client.read_until(b"first").endswith(b"first")
        first_was_read.set()
        assert client.read_until(b"second") == b"second"
        assert client.ended()


def test_wire_upstream_resets_before_it_has_read_anything(upstream: WireUpstream) -> None:
    upstream.answers(RESET, at="accept")
    try:
        with RawClient(upstream.port) as client:
            assert client.ended()
    except ConnectionResetError:
        pass  # it was so quick that already connecting failed
    assert upstream.requests == []


def test_wire_upstream_answers_while_the_body_is_still_on_its_way(upstream: WireUpstream) -> None:
    upstream.answers(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n", CLOSE, at="head")
    with RawClient(upstream.port) as client:
        client.send(b"POST /v1/x HTTP/1.1\r\nhost: t\r\ncontent-length: 1000000\r\n\r\nonly this")
        assert client.read_answer().status == 413
        assert client.ended()
    assert not upstream.requests[0].complete


def test_wire_upstream_notices_that_its_caller_hung_up(upstream: WireUpstream) -> None:
    upstream.answers(b"HTTP/1.1 200 OK\r\n\r\n", 5.0)
    with RawClient(upstream.port) as client:
        client.get("/v1/x")
        client.read_until(b"\r\n\r\n")
        client.hang_up()
    assert upstream.requests[0].hung_up.wait(2)


def test_raw_client_tells_a_broken_chunked_body_from_a_whole_one(upstream: WireUpstream) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    upstream.answers(head, b"3\r\nabc\r\n0\r\n\r\n")
    upstream.answers(head, b"3\r\nabc\r\n", CLOSE)
    with RawClient(upstream.port) as client:
        client.get("/v1/x")
        whole = client.read_answer()
        client.get("/v1/x")
        broken = client.read_answer()

    assert (whole.body, whole.clean) == (b"abc", True)
    assert (broken.body, broken.clean) == (b"abc", False)


def test_raw_client_tells_a_short_counted_body_from_a_whole_one(upstream: WireUpstream) -> None:
    upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", RESET)
    with RawClient(upstream.port) as client:
        client.get("/v1/x")
        answer = client.read_answer()
    assert not answer.clean
