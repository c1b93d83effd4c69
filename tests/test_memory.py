"""Memory stays flat: over many requests and over an upload far larger than any buffer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.harness import PeakMemory, RawClient, Traffic, WireUpstream, resident_mib, run_gateway

if TYPE_CHECKING:
    from tests.harness import Process

MIB = 1024 * 1024


def test_memory_is_flat_over_thousands_of_requests(fake_openai: Process) -> None:
    assert grown_mib(fake_openai, warm_up=1500, requests=1500) < 8


@pytest.mark.soak
def test_memory_is_flat_over_twenty_thousand_requests(fake_openai: Process) -> None:
    assert grown_mib(fake_openai, warm_up=4000, requests=20_000) < 16


def test_memory_is_flat_over_a_large_upload(upstream: WireUpstream) -> None:
    assert peak_over_upload_mib(upstream, 50 * MIB) < 24


@pytest.mark.soak
def test_memory_is_flat_over_a_200_mb_upload(upstream: WireUpstream) -> None:
    assert peak_over_upload_mib(upstream, 200 * MIB) < 24


def test_memory_is_flat_over_a_large_download_to_a_slow_reader(upstream: WireUpstream, trace: str) -> None:
    megabyte = bytes(MIB)
    upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (50 * MIB), *[megabyte] * 50)
    with run_gateway(upstream=upstream.base_url) as gateway, RawClient(gateway.port, timeout_s=60) as client:
        before_mib = resident_mib(gateway)
        with PeakMemory(gateway) as peak:
            client.get("/v1/files/f1/content", f"x-trace-id: {trace}")
            client.read_until(b"\r\n\r\n")
            threading.Event().wait(0.5)
            received = 0
            while received < 50 * MIB:
                received += len(client.read_some())

        assert peak.mib - before_mib < 24
        assert gateway.rows.the_exchange(trace)["response_bytes"] == 50 * MIB


def grown_mib(fake_openai: Process, *, warm_up: int, requests: int) -> float:
    """How much memory `requests` requests add, after `warm_up` requests have filled every cache."""
    with run_gateway(upstream=f"{fake_openai.url}/v1") as gateway:
        with Traffic(gateway, limit=warm_up) as traffic:
            traffic.join()
        before_mib = resident_mib(gateway)
        with Traffic(gateway, limit=requests) as traffic:
            traffic.join()
        assert (len(traffic.received), traffic.refused) == (requests, [])
        return resident_mib(gateway) - before_mib


def peak_over_upload_mib(upstream: WireUpstream, size: int) -> float:
    """How far memory rises while `size` bytes go through."""
    piece = bytes(range(256)) * 256
    with run_gateway(upstream=upstream.base_url) as gateway, RawClient(gateway.port, timeout_s=60) as client:
        client.get("/v1/models")
        client.read_answer()
        before_mib = resident_mib(gateway)
        with PeakMemory(gateway) as peak:
            client.send(b"POST /v1/files HTTP/1.1\r\nhost: g\r\ncontent-type: application/octet-stream\r\n")
            client.send(b"x-trace-id: upload\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size // len(piece)):
                client.send(piece)
            assert client.read_answer().status == 200

        assert upstream.request().body_bytes == size
        row = gateway.rows.the_exchange("upload")
        assert row["request_bytes"] == size
        assert len(row["request_head"]) + len(row["request_tail"]) <= MIB
        return peak.mib - before_mib
