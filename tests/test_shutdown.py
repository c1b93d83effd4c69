"""SIGTERM: no new work, what is in flight is finished and committed, and the exit code is 0."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bench import cpu
from tests.harness import SILENCE, RawClient, RunningGateway, Traffic, WireUpstream, run_gateway

if TYPE_CHECKING:
    from tests.harness import Process

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
FINE = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"fine": true}\n'
EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def test_an_idle_gateway_stops_at_once(upstream: WireUpstream) -> None:
    with run_gateway(upstream=upstream.base_url) as gateway:
        started = time.monotonic()
        assert gateway.terminate() == 0
        assert time.monotonic() - started < 5, "nothing was in flight to wait for"


def test_ctrl_c_stops_it_too(upstream: WireUpstream) -> None:
    with run_gateway(upstream=upstream.base_url) as gateway:
        gateway.popen.send_signal(signal.SIGINT)
        assert gateway.popen.wait(10) == 0


def test_an_idle_client_connection_does_not_keep_it_running(upstream: WireUpstream) -> None:
    with run_gateway(upstream=upstream.base_url) as gateway, RawClient(gateway.port) as client:
        client.post(CHAT, b"{}", JSON)
        assert client.read_answer().status == 200
        started = time.monotonic()
        assert gateway.terminate() == 0
        assert time.monotonic() - started < 5


def test_a_request_in_flight_is_finished_and_recorded(upstream: WireUpstream, trace: str) -> None:
    told_to_stop = threading.Event()
    upstream.answers(told_to_stop, 0.3, FINE)
    with run_gateway(upstream=upstream.base_url) as gateway, RawClient(gateway.port) as client:
        client.post(CHAT, b"{}", JSON, f"x-trace-id: {trace}")
        upstream.request(0)
        gateway.popen.send_signal(signal.SIGTERM)
        told_to_stop.set()

        answer = client.read_answer()
        assert (answer.status, answer.body, answer.clean) == (200, b'{"fine": true}\n', True)
        assert gateway.popen.wait(10) == 0
        row = gateway.rows.the_exchange(trace)
        assert (row["status"], row["error_kind"]) == (200, None)


def test_a_stream_in_flight_is_finished_and_recorded(upstream: WireUpstream, trace: str) -> None:
    told_to_stop = threading.Event()
    upstream.answers(
        EVENT_STREAM, b"9\r\ndata: 1\n\n\r\n", told_to_stop, 0.3, b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    )
    with run_gateway(upstream=upstream.base_url) as gateway, RawClient(gateway.port) as client:
        client.post(CHAT, b'{"stream":true}', JSON, f"x-trace-id: {trace}")
        upstream.request(0)
        gateway.popen.send_signal(signal.SIGTERM)
        told_to_stop.set()

        answer = client.read_answer()
        assert (answer.body, answer.clean) == (b"data: 1\n\ndata: 2\n\n", True)
        assert gateway.popen.wait(10) == 0
        assert gateway.rows.the_exchange(trace)["response_head"] == b"data: 1\n\ndata: 2\n\n"


def test_nobody_new_is_let_in_while_it_stops(upstream: WireUpstream) -> None:
    stopped_listening = threading.Event()
    upstream.answers(stopped_listening, FINE)
    with run_gateway(upstream=upstream.base_url) as gateway, RawClient(gateway.port) as client:
        client.post(CHAT, b"{}", JSON)
        upstream.request(0)
        gateway.popen.send_signal(signal.SIGTERM)

        assert nobody_listens(gateway)
        stopped_listening.set()
        assert client.read_answer().status == 200


def test_what_outstays_the_grace_is_ended_recorded_and_still_exit_0(
    upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(SILENCE)
    upstream.answers(EVENT_STREAM, b"9\r\ndata: 1\n\n\r\n", SILENCE)
    config = {"server": {"shutdown_grace_s": 0.5}}
    with (
        run_gateway(config, upstream=upstream.base_url) as gateway,
        RawClient(gateway.port) as waiting,
        RawClient(gateway.port) as streaming,
    ):
        waiting.post(CHAT, b"{}", JSON, f"x-trace-id: {trace}-waiting")
        upstream.request(0)
        streaming.post(CHAT, b'{"stream":true}', JSON, f"x-trace-id: {trace}-streaming")
        streaming.read_until(b"data: 1\n\n")
        started = time.monotonic()
        gateway.popen.send_signal(signal.SIGTERM)

        assert gateway.popen.wait(10) == 0
        assert time.monotonic() - started < 6
        for part in ("waiting", "streaming"):
            assert gateway.rows.the_exchange(f"{trace}-{part}")["error_kind"] == "gateway_shutdown"
        assert not streaming_ended_cleanly(streaming)


def test_an_attempt_that_the_shutdown_ends_does_not_blame_the_client(
    upstream: WireUpstream, trace: str
) -> None:
    upstream.answers(SILENCE)
    config = {
        "server": {"shutdown_grace_s": 0.2},
        "upstreams": {"a": {"base_url": upstream.base_url}},
        "routes": [{"models": ["*"], "upstream": "a", "retry": {"attempts": 2}}],
    }
    with run_gateway(config) as gateway, RawClient(gateway.port) as waiting:
        waiting.post(CHAT, b"{}", JSON, f"x-trace-id: {trace}")
        upstream.request(0)
        gateway.popen.send_signal(signal.SIGTERM)
        assert gateway.popen.wait(10) == 0
        recorded = json.loads(gateway.rows.the_exchange(trace)["attempts"])
    assert [attempt["error_kind"] for attempt in recorded] == ["gateway_shutdown"]


@pytest.mark.parametrize("commit", ["sync", "background"])
def test_what_was_answered_before_sigterm_under_load_is_in_the_store(
    fake_openai: Process, commit: str
) -> None:
    config = {"capture": {"commit": commit}}
    with run_gateway(config, upstream=f"{fake_openai.url}/v1") as gateway:
        with Traffic(gateway, clients=12, gives_feedback=True) as traffic:
            time.sleep(1)
            assert gateway.terminate() == 0
            traffic.join()

        assert len(traffic.received) > 30
        assert traffic.feedback
        stored = {row["trace_id"] for row in gateway.rows.query("SELECT trace_id FROM exchange")}
        assert set(traffic.received) - stored == set()
        assert gateway.rows.count("feedback") >= len(traffic.feedback)
        assert gateway.rows.integrity() == "ok"


def test_several_workers_share_the_port_and_the_store_and_stop_together(fake_openai: Process) -> None:
    with run_gateway({"server": {"workers": 2}}, upstream=f"{fake_openai.url}/v1") as gateway:
        with Traffic(gateway, clients=12, limit=300) as traffic:
            traffic.join()
        family = cpu.tree(gateway.pid)
        assert gateway.terminate() == 0

        assert (len(traffic.received), traffic.refused) == (300, [])
        assert gateway.rows.count("exchange") == 300
        assert len(family) >= 3
        assert all_are_gone(family), "a worker outlived its gateway"


def all_are_gone(pids: list[int], *, within_s: float = 5.0) -> bool:
    """multiprocessing's own helper takes a second longer than the processes it watches."""
    deadline = time.monotonic() + within_s
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def nobody_listens(gateway: RunningGateway, *, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", gateway.port)) != 0:
                return True
        time.sleep(0.02)
    return False


def streaming_ended_cleanly(client: RawClient) -> bool:
    seen = b""
    try:
        while piece := client.read_some():
            seen += piece
    except ConnectionError:
        return False
    return seen.endswith(b"0\r\n\r\n")
