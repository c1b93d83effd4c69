"""Fixtures that every test may ask for. What is special to one file is arranged in that file."""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.harness import Process, RawClient, RunningGateway, WireUpstream, free_port, run_gateway, run_module

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for the examples of properties, which are not async themselves."""
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture(scope="session", autouse=True)
def _no_proxy() -> Iterator[None]:
    """HTTP clients read proxies from the environment; every test talks to 127.0.0.1 only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def fake_openai() -> Iterator[Process]:
    """The fake OpenAI upstream that `gateway demo` uses, as a process."""
    port = free_port()
    with run_module(
        "gateway.cli.fake_upstream", "--port", str(port), port=port, ready="/v1/models"
    ) as process:
        yield process


@pytest.fixture(scope="module")
def gateway(fake_openai: Process) -> Iterator[RunningGateway]:
    """A gateway in front of the fake OpenAI upstream. One a module: tests keep apart by their trace ids."""
    with run_gateway(upstream=f"{fake_openai.url}/v1") as running:
        yield running


@pytest.fixture(scope="module")
def http(gateway: RunningGateway) -> Iterator[httpx.Client]:
    """An everyday client of the gateway, its connections kept."""
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        yield client


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[RawClient]:
    """A client whose every byte the test decides, connected to the gateway."""
    with RawClient(gateway.port) as connection:
        yield connection


@pytest.fixture
def upstream() -> Iterator[WireUpstream]:
    """An upstream whose every byte the test decides."""
    with WireUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def wire() -> Iterator[WireUpstream]:
    """The same, one a module: for gateways that stay, in front of tests that reset it."""
    with WireUpstream() as server:
        yield server


@pytest.fixture
def trace() -> str:
    """A trace id of the test's own."""
    return f"trace-{uuid.uuid4().hex}"


@pytest.fixture
def exchange_id(gateway: RunningGateway, http: httpx.Client, trace: str) -> str:
    """The request id of an answered and recorded exchange of the trace."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    answer = http.post("/v1/chat/completions", json=body, headers={"x-trace-id": trace})
    exchange = gateway.rows.the_exchange(trace, settle_s=0)
    assert exchange["id"] == answer.headers["x-request-id"]
    return str(exchange["id"])
