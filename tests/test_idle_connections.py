"""How long a connection is kept on which nothing is asked: by clients, and to upstreams."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.harness import RawClient, RunningGateway, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
BODY = b'{"model": "m", "messages": []}'
KEPT_S = 1.0
WELL_WITHIN_S = 0.2


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(request: pytest.FixtureRequest, wire: WireUpstream) -> Iterator[RunningGateway]:
    there = {"base_url": wire.base_url, "transport": request.param, "keepalive_expiry_s": KEPT_S}
    config = {"server": {"keep_alive_s": KEPT_S}, "upstreams": {"fake": there}}
    with run_gateway(config) as running:
        yield running


@pytest.mark.parametrize("path", [CHAT, "/v1/feedback-tasks"])
def test_a_client_that_asks_no_more_is_let_go_after_keep_alive_s(gateway: RunningGateway, path: str) -> None:
    with RawClient(gateway.port) as client:
        for _ in range(3):  # it begins anew with each request
            client.post(path, BODY, "content-type: application/json")
            answered = client.read_answer()
            idle_since = time.monotonic()
            assert answered.header("connection") != "close"
            time.sleep(WELL_WITHIN_S)
        assert client.ended()
        assert KEPT_S * 0.9 <= time.monotonic() - idle_since < KEPT_S + 5


def test_an_upstreams_connection_is_used_again_until_keepalive_expiry_s(
    gateway: RunningGateway, wire: WireUpstream
) -> None:
    wire.reset()
    connections = []
    for pause_s in (0.0, WELL_WITHIN_S, KEPT_S + 0.3):
        time.sleep(pause_s)
        with RawClient(gateway.port) as client:
            client.post(CHAT, BODY, "content-type: application/json")
            assert client.read_answer().status == 200
        connections.append(wire.connections)
    assert connections == [1, 1, 2]
