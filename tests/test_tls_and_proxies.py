"""Upstreams behind TLS and behind an HTTP proxy."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.harness import RawClient, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[WireUpstream]:
    """An upstream with a certificate for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with WireUpstream(tls=context) as server:
        yield server


@pytest.mark.parametrize("transport", ["native", "httpx"])
def test_a_certificate_of_the_given_authority_is_trusted(
    authority: trustme.CA, secure: WireUpstream, tmp_path: Path, transport: str
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    upstream = {"base_url": secure.base_url, "transport": transport, "ca_file": str(tmp_path / "ca.pem")}
    with run_gateway({"upstreams": {"secure": upstream}}) as gateway, RawClient(gateway.port) as client:
        for _ in range(3):
            client.post(CHAT, b'{"model": "m"}', JSON)
            assert client.read_answer().body == b'{"fine": true}\n'
        secure.answers(EVENT_STREAM, b"9\r\ndata: 1\n\n\r\n", 0.02, b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        client.post(CHAT, b'{"stream": true}', JSON)
        assert client.read_answer().body == b"data: 1\n\ndata: 2\n\n"
        large = bytes(range(256)) * 2000
        client.post("/v1/files", large, "content-type: audio/wav")
        assert client.read_answer().status == 200

    assert secure.request().body == large
    assert secure.connections == 1, "a handshake is dear: the connection is used again"


@pytest.mark.parametrize("transport", ["native", "httpx"])
def test_a_certificate_of_a_stranger_is_refused(secure: WireUpstream, transport: str, trace: str) -> None:
    upstream = {"base_url": secure.base_url, "transport": transport}
    with run_gateway({"upstreams": {"secure": upstream}}) as gateway, RawClient(gateway.port) as client:
        client.post(CHAT, b'{"model": "m"}', JSON, f"x-trace-id: {trace}")
        answer = client.read_answer()

        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
        assert "certificate" in answer.json()["error"]["message"]
        assert gateway.rows.the_exchange(trace)["error_kind"] == "upstream_unreachable"
    assert secure.requests == []


@pytest.mark.parametrize("transport", ["native", "httpx"])
def test_a_stranger_is_trusted_where_verify_tls_is_off(secure: WireUpstream, transport: str) -> None:
    upstream = {"base_url": secure.base_url, "transport": transport, "verify_tls": False}
    with run_gateway({"upstreams": {"secure": upstream}}) as gateway, RawClient(gateway.port) as client:
        client.post(CHAT, b'{"model": "m"}', JSON)
        assert client.read_answer().status == 200


def test_a_plain_request_goes_through_the_proxy(upstream: WireUpstream) -> None:
    settings: dict[str, Any] = {
        "base_url": "http://upstream.invalid:8080/v1",
        "transport": "httpx",
        "proxy": f"http://127.0.0.1:{upstream.port}",
    }
    with run_gateway({"upstreams": {"far": settings}}) as gateway, RawClient(gateway.port) as client:
        client.post(CHAT + "?a=%2F", b'{"model": "m"}', JSON)
        assert client.read_answer().status == 200

    assert upstream.request().target == b"http://upstream.invalid:8080/v1/chat/completions?a=%2F"
    assert upstream.request().header("host") == "upstream.invalid:8080"


def test_a_proxy_that_is_not_there_is_a_502(trace: str) -> None:
    settings = {"base_url": "http://upstream.invalid/v1", "transport": "httpx", "proxy": "http://127.0.0.1:9"}
    with run_gateway({"upstreams": {"far": settings}}) as gateway, RawClient(gateway.port) as client:
        client.post(CHAT, b'{"model": "m"}', JSON, f"x-trace-id: {trace}")
        answer = client.read_answer()

        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
        assert gateway.rows.the_exchange(trace)["error_kind"] == "upstream_unreachable"
