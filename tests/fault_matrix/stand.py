"""The stand on which every row is tried: a watched gateway, upstreams that can do anything, and its books.

`Stand.settled` is the half of a row's proof that all rows share: nothing in use, nothing waiting, no task and
no socket more than at rest, and the upstream still of use.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trustme

from tests.harness import RawClient, WireUpstream, free_port, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Answer, Received, RunningGateway

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
SETTLE_LIMIT_S = 10.0
SHORT_S = 0.3
KIB = 1024

PLANS: dict[str, dict[str, Any]] = {
    "alone": {"target": {"upstream": "FAULTY"}},
    "retry": {"target": {"upstream": "FAULTY", "retry": {"attempts": 2, "backoff_s": 0.01}}},
    "both": {
        "strategy": "fallback",
        "retry": {"attempts": 2, "backoff_s": 0.01},
        "targets": [{"upstream": "FAULTY"}, {"upstream": "good"}],
    },
    "kept": {"target": {"upstream": "FAULTY"}, "sse_keepalive_s": 0.05},
    "fallback": {"strategy": "fallback", "targets": [{"upstream": "FAULTY"}, {"upstream": "good"}]},
}
"""A route for each, in front of every upstream: the model `<upstream>.<plan>`."""

SERVER = {
    "head_timeout_s": 1,
    "body_timeout_s": 0.5,
    "write_timeout_s": 1.5,
    "max_head_bytes": 16 * KIB,
    "max_json_body_bytes": 1024 * KIB,
}


@dataclass
class Stand:
    """A gateway whose upstreams are `faulty`, under several names with different limits, and `good`."""

    gateway: RunningGateway
    faulty: WireUpstream
    good: WireUpstream
    watcher: RawClient
    asked: int = 0
    at_rest: dict[str, Any] = field(default_factory=dict)

    @property
    def transport(self) -> str:
        return self.gateway.transport

    def ask(self, client: RawClient, trace: str, model: str, *, stream: bool = False) -> None:
        """Send a chat request, which is to leave one row."""
        self.asked += 1
        client.send(request(trace, model, stream=stream))

    def answer(self, trace: str, model: str, *, stream: bool = False) -> Answer:
        """What a client with a connection of its own gets."""
        with RawClient(self.gateway.port) as client:
            self.ask(client, trace, model, stream=stream)
            return client.read_answer()

    def row(self, trace: str) -> dict[str, Any]:
        """The one row of the trace; that there is no second is seen again in `all_rows_are_there`."""
        return self.gateway.rows.the_exchange(trace, settle_s=0)

    def attempts(self, trace: str) -> list[dict[str, Any]]:
        """What the row says of its attempts, where a plan made them."""
        found: list[dict[str, Any]] = json.loads(self.row(trace)["attempts"])
        return found

    def first_arrival(self) -> Received:
        """The first request the upstream sees, as soon as its head is there."""
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while not self.faulty.requests:
            assert time.monotonic() < deadline, "no request came"
            time.sleep(0.005)
        return self.faulty.requests[0]

    def held(self, query: str = "") -> dict[str, Any]:
        self.watcher.get(f"/watch{query}")
        held: dict[str, Any] = self.watcher.read_answer(method="GET").json()
        return held

    def settled(self) -> None:
        """Nothing is left of what was asked; whatever needs a moment to end gets it."""
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while problems := self._left_behind():
            assert time.monotonic() < deadline, problems
            time.sleep(0.005)

    def _left_behind(self) -> dict[str, Any]:
        held = self.held()
        idle = sum(upstream["idle"] for upstream in held["upstreams"].values())
        left = {
            name: upstream
            for name, upstream in held["upstreams"].items()
            if upstream["in_use"] or upstream["waiting"]
        }
        if held["sockets"] - idle != self.at_rest["sockets"]:
            left["sockets"] = held["sockets"] - idle, self.at_rest["sockets"]
        if held["in_flight"]:
            left["in flight"] = held["in_flight"]
        if held["tasks"] != self.at_rest["tasks"]:
            left["tasks"] = held["tasks"], self.at_rest["tasks"]
        kept_by_gateway = sum(held["upstreams"][name]["idle"] for name in FAULTY_NAMES)
        if self.faulty.open_connections > kept_by_gateway:
            left["open at the upstream"] = self.faulty.open_connections, kept_by_gateway
        return left

    def still_serves(self, trace: str, model: str) -> None:
        """A next request to the same upstream, with no script for it, is answered."""
        answer = self.answer(f"{trace}-next", model)
        assert (answer.status, answer.body) == (200, b'{"fine": true}\n')

    def begin(self) -> None:
        """Forget the last row's scripts, requests and connections."""
        self.faulty.reset()
        self.good.reset()

    def keep_connections(self) -> None:
        """Have a connection open to every variation of the faulty upstream; the next request goes over it."""
        for name in ("scripted", "hasty", "steady", "brief", "narrow", "crowded", "draining"):
            assert self.answer("before", f"{name}.alone").status == 200
        self.faulty.forget()

    def all_rows_are_there(self) -> None:
        """As many rows as requests, over everything this stand was asked."""
        rows = self.gateway.rows
        assert rows.count("exchange") == self.asked
        assert rows.integrity() == "ok"

    def rest(self) -> None:
        """Learn what is held at rest, once everything that is made on first use has been made."""
        for stream in (False, True):
            self.answer("warm-up", "scripted.alone", stream=stream)
            self.answer("warm-up", "refusing.alone", stream=stream)
        self.begin()
        time.sleep(0.1)
        held = self.held()
        idle = sum(upstream["idle"] for upstream in held["upstreams"].values())
        self.at_rest = {"sockets": held["sockets"] - idle, "tasks": held["tasks"]}


def request(trace: str, model: str, *, stream: bool = False, version: str = "1.1") -> bytes:
    """A whole chat request."""
    body = json.dumps({"model": model, "messages": [], "stream": stream}).encode()
    lines = [f"POST {CHAT} HTTP/{version}", "host: gateway.test", JSON, f"x-trace-id: {trace}"]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


FAULTY_NAMES = ("scripted", "hasty", "steady", "brief", "not-tls", "narrow", "crowded", "draining")


def configuration(transport: str, places: dict[str, str]) -> dict[str, Any]:
    """`places` are base URLs by name; `faulty` and its variations share one."""
    patient = {
        "connect_timeout_s": 5,
        "first_byte_timeout_s": 10,
        "idle_timeout_s": 10,
        "total_timeout_s": 30,
    }
    hasty = patient | {"connect_timeout_s": 0.4, "first_byte_timeout_s": SHORT_S, "idle_timeout_s": SHORT_S}
    unconnected = patient | {"connect_timeout_s": SHORT_S}
    variations = {
        "scripted": patient,
        "hasty": hasty,
        "steady": patient | {"idle_timeout_s": 0.5},
        "brief": patient | {"total_timeout_s": 0.4},
        "narrow": patient | {"max_connections": 1},
        "crowded": patient | {"max_connections": 1, "connect_timeout_s": SHORT_S},
        "draining": patient | {"on_disconnect": "drain"},
    }
    tireless = {"retry_budget": 10, "min_retries_per_s": 10_000, "rest_after_failures": 0}
    base = {"transport": transport, **tireless}
    upstreams = {name: base | limits | {"base_url": places["faulty"]} for name, limits in variations.items()}
    for name in ("good", "refusing", "nameless", "stranger"):
        upstreams[name] = base | patient | {"base_url": places[name]}
    upstreams["far"] = base | patient | {"base_url": places["unreachable"]}
    upstreams["unreachable"] = base | unconnected | {"base_url": places["unreachable"]}
    upstreams["not-tls"] = base | unconnected | {"base_url": places["faulty"].replace("http:", "https:")}
    routes = [
        {"models": [f"{name}.{plan}"], **_aimed(route, name)}
        for name in upstreams
        for plan, route in PLANS.items()
    ]
    routes.append({"models": ["*"], "target": {"upstream": "scripted"}})
    return {"server": SERVER, "upstreams": upstreams, "routes": routes}


def _aimed(part: Any, name: str) -> Any:
    """The plan with its faulty upstream named."""
    if isinstance(part, dict):
        return {key: _aimed(value, name) for key, value in part.items()}
    if isinstance(part, list):
        return [_aimed(value, name) for value in part]
    return name if part == "FAULTY" else part


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port where connections are neither accepted nor refused: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@contextlib.contextmanager
def open_stand(transport: str) -> Iterator[Stand]:
    """A stand at rest, until the block ends; then every request must have left its row."""
    strange = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(strange)
    with contextlib.ExitStack() as stack:
        faulty, good = (stack.enter_context(WireUpstream()) for _ in range(2))
        stranger = stack.enter_context(WireUpstream(tls=strange))
        places = {
            "faulty": faulty.base_url,
            "good": good.base_url,
            "stranger": stranger.base_url,
            "refusing": f"http://127.0.0.1:{free_port()}/v1",
            "nameless": "http://does-not-exist.invalid/v1",
            "unreachable": f"http://127.0.0.1:{stack.enter_context(full_backlog())}/v1",
        }
        gateway = stack.enter_context(
            run_gateway(configuration(transport, places), module="tests.fault_matrix.watched")
        )
        watcher = stack.enter_context(RawClient(gateway.port))
        stand = Stand(gateway, faulty, good, watcher)
        stand.rest()
        yield stand
        stand.all_rows_are_there()
