"""Trying again and elsewhere, at the wire: what the client gets, what upstreams saw, what the row says."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness import (
    CLOSE,
    RESET,
    Answer,
    RawClient,
    RunningGateway,
    WireUpstream,
    free_port,
    run_gateway,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
JSON = "content-type: application/json"
GOOD = b'{"good": true}'
QUICK = {"backoff_s": 0.01, "max_backoff_s": 0.02}


def says(status: int, body: bytes = b'{"error": {"message": "no"}}', *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Because", "content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


@pytest.fixture(scope="module")
def one() -> Iterator[WireUpstream]:
    with WireUpstream() as server:
        yield server


@pytest.fixture(scope="module")
def two() -> Iterator[WireUpstream]:
    with WireUpstream() as server:
        yield server


@pytest.fixture
def a(one: WireUpstream) -> WireUpstream:
    one.reset()
    return one


@pytest.fixture
def b(two: WireUpstream) -> WireUpstream:
    two.reset()
    two.always_answers(says(200, GOOD))
    return two


@contextmanager
def routed(
    a: WireUpstream, b: WireUpstream, plan: dict[str, Any], **upstream: Any
) -> Iterator[RunningGateway]:
    """A gateway whose one route is `plan`, with the upstreams a, b, and `gone`, where nobody listens."""
    settings = {"first_byte_timeout_s": 0.5, "connect_timeout_s": 0.5, **upstream}
    config = {
        "upstreams": {
            "a": {"base_url": a.base_url, **settings},
            "b": {"base_url": b.base_url},
            "gone": {"base_url": f"http://127.0.0.1:{free_port()}/v1"},
        },
        "routes": [{"models": ["*"], **plan}],
    }
    with run_gateway(config) as running:
        yield running


def ask(running: RunningGateway, trace: str, *headers: str, **params: Any) -> Answer:
    body = json.dumps({"model": "m", "messages": [], **params}).encode()
    with RawClient(running.port) as client:
        client.post(CHAT, body, JSON, f"x-trace-id: {trace}", *headers)
        return client.read_answer()


def attempts(running: RunningGateway, trace: str) -> list[tuple[str, int | str]]:
    """Target, and status or error, of each attempt of the trace's one exchange."""
    row = running.rows.the_exchange(trace)
    recorded = json.loads(row["attempts"] or "[]")
    for earlier, later in pairwise(recorded):
        assert earlier["started_ms"] + earlier["latency_ms"] <= later["started_ms"] + 0.01
    return [(attempt["target"], attempt.get("status") or attempt["error_kind"]) for attempt in recorded]


def health(running: RunningGateway, upstream: str) -> dict[str, Any]:
    """How the upstream's one target is, as the gateway tells it."""
    report = httpx.get(f"{running.url}/readyz").json()["upstreams"]
    target: dict[str, Any] = report[upstream]["targets"][0]
    return target


def fallback(*targets: dict[str, Any], **strategy: Any) -> dict[str, Any]:
    return {"strategy": {"mode": "fallback", **strategy}, "targets": list(targets)}


A, B, GONE = {"upstream": "a"}, {"upstream": "b"}, {"upstream": "gone"}


class TestRetries:
    def test_a_500_is_tried_again_with_the_same_bytes(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, {**A, "retry": {"attempts": 3, **QUICK}}) as running:
            a.answers(says(500))
            a.answers(says(200, GOOD))
            answer = ask(running, "again")
            assert (answer.status, answer.body) == (200, GOOD)
            assert attempts(running, "again") == [("a", 500), ("a", 200)]
        first, second = a.requests
        assert first.body == second.body
        assert first.headers == second.headers

    def test_the_last_answer_is_passed_on_as_it_is(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, {**A, "retry": {"attempts": 2, **QUICK}}) as running:
            a.always_answers(says(503, b'{"mine": 1}', "x-own: yes"))
            answer = ask(running, "last")
            assert (answer.status, answer.body, answer.header("x-own")) == (503, b'{"mine": 1}', "yes")
            assert attempts(running, "last") == [("a", 503), ("a", 503)]
            assert running.rows.the_exchange("last")["status"] == 503

    @pytest.mark.parametrize("status", [400, 401, 404, 422, 501])
    def test_what_is_no_reason_to_try_again_is_passed_on_at_once(
        self, a: WireUpstream, b: WireUpstream, status: int
    ) -> None:
        with routed(a, b, {**A, "retry": {"attempts": 3, **QUICK}}) as running:
            a.answers(says(status))
            assert ask(running, "once").status == status
        assert len(a.requests) == 1

    def test_a_refused_connection_is_an_error_after_all_attempts(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        with routed(a, b, {**GONE, "retry": {"attempts": 3, **QUICK}}) as running:
            answer = ask(running, "gone")
            assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
            assert attempts(running, "gone") == [("gone", "upstream_unreachable")] * 3

    @pytest.mark.parametrize("fault", [(RESET,), (CLOSE,), (b"HTTP/1.1 200 OK\r\ncontent-le", CLOSE), (2.0,)])
    def test_no_answer_in_time_or_at_all_is_tried_again(
        self, a: WireUpstream, b: WireUpstream, fault: tuple[Any, ...]
    ) -> None:
        with routed(a, b, {**A, "retry": {"attempts": 2, **QUICK}}) as running:
            a.answers(*fault)
            a.answers(says(200, GOOD))
            assert ask(running, "fault").body == GOOD
            assert len(attempts(running, "fault")) == 2

    def test_nothing_is_tried_again_after_the_first_byte(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, fallback({**A, "retry": {"attempts": 3, **QUICK}}, B)) as running:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
            a.answers(head + b"data: {}\n\n", 0.1, RESET)
            answer = ask(running, "begun", stream=True)
            assert b"event: error" in answer.body
            assert not answer.clean
            assert attempts(running, "begun") == [("a", 200)]
            assert running.rows.the_exchange("begun")["error_kind"] == "upstream_aborted"
        assert not b.requests

    def test_retry_after_is_obeyed_up_to_its_limit(self, a: WireUpstream, b: WireUpstream) -> None:
        retry = {"attempts": 2, "max_retry_after_s": 1, **QUICK}
        with routed(a, b, {**A, "retry": retry}) as running:
            a.answers(says(429, b"{}", "retry-after-ms: 400"))
            a.answers(says(200, GOOD))
            assert ask(running, "soon").status == 200
            first, second = json.loads(running.rows.the_exchange("soon")["attempts"])
            assert second["started_ms"] - first["started_ms"] >= 400
            a.answers(says(429, b"{}", "retry-after: 3600"))
            assert ask(running, "later").status == 429
            assert attempts(running, "later") == [("a", 429)]

    def test_an_outage_is_not_multiplied(self, a: WireUpstream, b: WireUpstream) -> None:
        """30 requests with 5 attempts each would be 150; the budget is a fifth, and half a one a second."""
        plan = {**A, "retry": {"attempts": 5, **QUICK}}
        with routed(a, b, plan, retry_budget=0.2, min_retries_per_s=0.5) as running:
            a.always_answers(says(500))
            for _ in range(30):
                assert ask(running, "outage").status == 500
        assert 30 < len(a.requests) < 45

    def test_an_upload_that_has_begun_is_not_sent_again(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, fallback({**A, "retry": {"attempts": 3, **QUICK}}, B)) as running:
            a.always_answers(says(500))
            with RawClient(running.port) as client:
                client.post("/v1/files", b"x" * 200_000, "content-type: text/plain", "x-trace-id: upload")
                assert client.read_answer().status == 500
            assert attempts(running, "upload") == [("a", 500)]

    def test_an_attempt_that_its_client_stalled_says_so(self, a: WireUpstream, b: WireUpstream) -> None:
        config = {
            "server": {"body_timeout_s": 0.3},
            "upstreams": {"a": {"base_url": a.base_url}},
            "routes": [{"models": ["*"], **A, "retry": {"attempts": 2}}],
        }
        head = "POST /v1/files HTTP/1.1\r\nhost: g\r\ncontent-type: audio/wav\r\nx-trace-id: stalled\r\n"
        with run_gateway(config) as running, RawClient(running.port) as client:
            client.send(f"{head}content-length: 250000\r\n\r\n".encode() + bytes(150_000))
            assert client.read_answer().status == 408
            assert attempts(running, "stalled") == [("a", "request_timeout")]

    def test_an_upload_that_has_not_begun_goes_elsewhere(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, fallback(GONE, B)) as running:
            with RawClient(running.port) as client:
                client.post("/v1/files", b"x" * 200_000, "content-type: text/plain", "x-trace-id: upload")
                assert client.read_answer().body == GOOD
            assert attempts(running, "upload") == [("gone", "upstream_unreachable"), ("b", 200)]
        assert b.requests[0].body_bytes == 200_000

    def test_the_deadline_holds_for_everything_together(self, a: WireUpstream, b: WireUpstream) -> None:
        plan = {**A, "retry": {"attempts": 10, **QUICK}, "deadline_s": 0.8}
        with routed(a, b, plan, first_byte_timeout_s=0.3) as running:
            a.always_answers(5.0)
            answer = ask(running, "deadline")
            assert (answer.status, answer.json()["error"]["code"]) == (504, "upstream_deadline_timeout")
            assert 2 <= len(attempts(running, "deadline")) <= 4

    def test_a_request_that_comes_slower_than_its_deadline_reaches_no_upstream(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        with routed(a, b, {**A, "deadline_s": 0.2}, rest_after_failures=1) as running:
            body = json.dumps({"model": "m", "messages": []}).encode()
            with RawClient(running.port) as client:
                client.send(
                    f"POST {CHAT} HTTP/1.1\r\nhost: g\r\n{JSON}\r\nx-trace-id: slow\r\n"
                    f"content-length: {len(body)}\r\n\r\n".encode()
                )
                time.sleep(0.4)
                client.send(body)
                answer = client.read_answer()
            assert (answer.status, answer.json()["error"]["code"]) == (504, "upstream_deadline_timeout")
            assert attempts(running, "slow") == []
            assert health(running, "a")["state"] == "healthy"
        assert not a.connections

    def test_a_target_that_was_left_little_of_the_deadline_is_not_blamed(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        plan = {**fallback(A, B), "deadline_s": 0.7}
        with routed(a, b, plan, rest_after_failures=1) as running:
            a.always_answers(5.0)
            b.always_answers(5.0)
            assert ask(running, "late").status == 504
            assert attempts(running, "late") == [
                ("a", "upstream_first_byte_timeout"),
                ("b", "upstream_deadline_timeout"),
            ]
            assert health(running, "a")["state"] == "resting"
            assert health(running, "b")["failures"] == 0

    def test_nothing_is_tried_again_that_nobody_asked_to(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, {**A, "sse_keepalive_s": 60}) as running:
            a.always_answers(says(503))
            assert ask(running, "once").status == 503
            assert attempts(running, "once") == [("a", 503)]


class TestFallback:
    def test_the_next_target_gets_the_same_request(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, fallback(A, B)) as running:
            a.answers(says(503))
            answer = ask(running, "next")
            assert answer.body == GOOD
            assert attempts(running, "next") == [("a", 503), ("b", 200)]
            row = running.rows.the_exchange("next")
            assert (row["upstream"], row["target"], row["status"]) == ("b", "b", 200)
        assert a.requests[0].body == b.requests[0].body

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE"])
    def test_any_method_leads_on(self, a: WireUpstream, b: WireUpstream, method: str) -> None:
        with routed(a, b, fallback(A, B)) as running, RawClient(running.port) as client:
            body = b"" if method == "HEAD" else GOOD
            a.answers(says(503)[: -len(b'{"error": {"message": "no"}}')] if method == "HEAD" else says(503))
            b.always_answers(says(200, GOOD)[: -len(GOOD)] + body)
            client.get("/v1/files/f1", "x-trace-id: method", method=method)
            answer = client.read_answer(method=method)
            assert (answer.status, answer.body) == (200, body)
            assert attempts(running, "method") == [("a", 503), ("b", 200)]

    def test_only_what_it_names_leads_on(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, fallback(A, B, on=[404, "timeout"])) as running:
            a.answers(says(503))
            assert ask(running, "stays").status == 503
            a.answers(says(404))
            assert ask(running, "leaves").body == GOOD

    def test_a_target_renames_the_model_and_overrides_deeply(self, a: WireUpstream, b: WireUpstream) -> None:
        other = {
            **B,
            "model": "other",
            "override_params": {"response_format": {"type": "json"}, "seed": None},
            "headers": {"x-team": "search"},
        }
        with routed(a, b, fallback(A, other)) as running:
            a.answers(says(500))
            asked = {"response_format": {"type": "text", "strict": True}, "seed": 1, "unknown": [1.50]}
            assert ask(running, "renamed", **asked).body == GOOD
            assert attempts(running, "renamed") == [("a", 500), ("b/other", 200)]
            assert running.rows.the_exchange("renamed")["requested_model"] == "m"
        assert json.loads(a.requests[0].body) == {"model": "m", "messages": [], **asked}
        assert json.loads(b.requests[0].body) == {
            "model": "other",
            "messages": [],
            "response_format": {"type": "json", "strict": True},
            "unknown": [1.5],
        }
        assert b.requests[0].header("x-team") == "search"

    def test_a_body_that_cannot_be_changed_is_refused(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, {**A, "model": "other"}) as running:
            with RawClient(running.port) as client:
                client.post("/v1/files", b"text", "content-type: text/plain")
                answer = client.read_answer()
            assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_field")
        assert not a.requests

    def test_a_request_without_a_body_has_nothing_to_be_changed(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        with routed(a, b, {**A, "model": "other"}) as running:
            a.answers(says(200, GOOD))
            with RawClient(running.port) as client:
                client.post("/v1/batches/b1/cancel", b"")
                assert client.read_answer().status == 200
        assert a.requests[0].body_bytes == 0

    def test_a_target_that_keeps_failing_rests_and_comes_back(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, fallback(A, B), rest_after_failures=3, rest_s=1.5) as running:
            a.always_answers(says(500))
            for _ in range(6):
                assert ask(running, "rest").body == GOOD
            assert len(a.requests) == 3
            a.always_answers(says(200, b'{"a": 1}'))
            while len(a.requests) == 3:
                answer = ask(running, "back")
            assert answer.body == b'{"a": 1}'
            assert ask(running, "stays").body == b'{"a": 1}'

    def test_a_target_that_asks_for_rest_has_it_from_all_routes(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        config = {
            "upstreams": {"a": {"base_url": a.base_url}, "b": {"base_url": b.base_url}},
            "routes": [{"models": ["plain"], "target": A}, {"models": ["*"], **fallback(A, B)}],
        }
        with run_gateway(config) as running:
            a.answers(says(503, b"{}", "retry-after: 20"))
            assert ask(running, "plain", model="plain").status == 503
            assert ask(running, "spared").body == GOOD
        assert len(a.requests) == 1

    def test_where_all_rest_the_least_bad_is_tried(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, fallback(A, GONE), rest_after_failures=1, rest_s=60) as running:
            a.always_answers(says(500))
            for _ in range(12):
                ask(running, "down")
            a.always_answers(says(200, GOOD))
            statuses = {ask(running, "all-rest").status for _ in range(4)}
            assert 200 in statuses

    def test_a_streamed_answer_comes_from_the_second_target(self, a: WireUpstream, b: WireUpstream) -> None:
        events = b'data: {"choices":[]}\n\ndata: [DONE]\n\n'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        with routed(a, b, fallback(A, B)) as running:
            a.answers(RESET)
            b.answers(head + events, CLOSE)
            answer = ask(running, "stream", stream=True)
            assert answer.body == events


class TestOtherStrategies:
    def test_weights_spread_requests_and_a_resting_target_gets_none(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        plan = {"strategy": "loadbalance", "targets": [A, {**B, "weight": 3}]}
        with routed(a, b, plan, rest_after_failures=1, rest_s=60) as running:
            for _ in range(80):
                ask(running, "spread")
            assert 5 < len(a.requests) < 40
            a.always_answers(says(500))
            before = len(b.requests)
            while len(b.requests) < before + 30:
                ask(running, "resting")
            failed = sum(r.connection >= 0 for r in a.requests)
            for _ in range(20):
                ask(running, "resting")
            assert len(a.requests) == failed

    def test_the_request_decides_where_it_goes(self, a: WireUpstream, b: WireUpstream) -> None:
        plan = {
            "strategy": {
                "mode": "conditional",
                "conditions": [
                    {"query": {"metadata.tier": "paid"}, "then": "best"},
                    {"query": {"params.max_tokens": {"$gt": 1000}}, "then": "best"},
                ],
                "default": "cheap",
            },
            "targets": [{**A, "name": "cheap"}, {**B, "name": "best"}],
        }
        with routed(a, b, plan) as running:
            ask(running, "free")
            ask(running, "paid", 'x-metadata: {"tier": "paid"}')
            ask(running, "long", max_tokens=4000)
            assert attempts(running, "free") == [("cheap", 200)]
            assert attempts(running, "paid") == [("best", 200)]
            assert attempts(running, "long") == [("best", 200)]

    def test_strategies_nest(self, a: WireUpstream, b: WireUpstream) -> None:
        inner = {"strategy": "loadbalance", "targets": [GONE, {**GONE, "name": "gone-too"}]}
        with routed(a, b, fallback(inner, {**A, "retry": {"attempts": 2, **QUICK}}, B)) as running:
            a.always_answers(says(502))
            assert ask(running, "nested").body == GOOD
            tried = attempts(running, "nested")
            assert [status for _, status in tried] == ["upstream_unreachable", 502, 502, 200]


class TestSeveralKeys:
    KEYS = ("key-number-one", "key-number-two")

    def used(self, upstream: WireUpstream) -> list[int]:
        """Which key came with each request, counted from 1."""
        return [
            self.KEYS.index((request.header("authorization") or "").removeprefix("Bearer ")) + 1
            for request in upstream.requests
        ]

    def test_they_are_used_in_turn(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, A, api_keys=list(self.KEYS)) as running:
            for number in range(4):
                ask(running, f"turn-{number}", "authorization: Bearer the-clients-own")
            attempt = json.loads(running.rows.the_exchange("turn-1")["attempts"])[0]
            assert attempt["key"] == 2
        assert self.used(a) == [1, 2, 1, 2]

    def test_one_that_is_answered_429_rests_alone_and_the_other_goes_on_at_once(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        plan = {**A, "retry": {"attempts": 2, "backoff_s": 60, "max_backoff_s": 60}}
        with routed(a, b, plan, api_keys=list(self.KEYS)) as running:
            a.answers(says(429, b"{}", "retry-after: 20"))
            for number in range(4):
                assert ask(running, f"limit-{number}").status == 200
        assert self.used(a) == [1, 2, 2, 2, 2]

    def test_when_all_rest_a_fallback_goes_elsewhere(self, a: WireUpstream, b: WireUpstream) -> None:
        with routed(a, b, fallback(A, B), api_keys=list(self.KEYS)) as running:
            a.always_answers(says(429, b"{}", "retry-after: 20"))
            for number in range(5):
                assert ask(running, f"limit-{number}").body == GOOD
        assert self.used(a) == [1, 2]
        assert len(b.requests) == 5

    def test_a_target_whose_keys_rest_longest_is_the_last_to_be_tried(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        with routed(a, b, fallback(A, B), api_keys=list(self.KEYS)) as running:
            a.always_answers(says(429, b"{}", "retry-after: 20"))
            b.always_answers(says(503, b"{}", "retry-after: 5"))
            for number in range(3):
                ask(running, f"rests-{number}")
            assert attempts(running, "rests-0") == [("a", 429), ("b", 503)]
            assert attempts(running, "rests-2")[0] == ("b", 503)

    def test_a_client_that_is_limited_itself_limits_nobody_else(
        self, a: WireUpstream, b: WireUpstream
    ) -> None:
        """Without a key of the gateway's own, a 429 is about the client's."""
        with routed(a, b, fallback(A, B, on=[503])) as running:
            a.answers(says(429, b"{}", "retry-after: 20"))
            assert ask(running, "limited", "authorization: Bearer one").status == 429
            assert ask(running, "other", "authorization: Bearer two").status == 200
        assert len(a.requests) == 2


def test_an_upstream_that_is_a_gateway_itself_does_not_speak_for_this_one(
    a: WireUpstream, b: WireUpstream
) -> None:
    with routed(a, b, fallback(A, B)) as running:
        a.answers(says(200, GOOD, "x-portkey-cache-status: HIT", "x-portkey-trace-id: another"))
        answer = ask(running, "mine")
        assert answer.all("x-portkey-cache-status") == ["DISABLED"]
        assert answer.all("x-portkey-trace-id") == ["mine"]


def test_readyz_tells_of_configured_targets_only(a: WireUpstream, b: WireUpstream) -> None:
    """What one client asked for by itself is not for everybody to read."""
    own = json.dumps({"provider": "@a", "override_params": {"model": "ft:private"}})
    with routed(a, b, fallback({**A, "model": "known"}, B)) as running:
        a.always_answers(says(500))
        ask(running, "own", f"x-portkey-config: {own}")
        with RawClient(running.port) as client:
            client.get("/readyz")
            upstreams = client.read_answer(method="GET").json()["upstreams"]
    assert json.loads(a.requests[0].body)["model"] == "ft:private"
    assert {target["target"] for target in upstreams["a"]["targets"]} == {"a", "a/known"}
