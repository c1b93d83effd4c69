"""The answer cache at the wire: what a client, an upstream and the log see of it."""

from __future__ import annotations

import gzip
import json
import sqlite3
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness import CLOSE, RawClient, RunningGateway, WireUpstream, chunk, run_gateway
from tests.harness.lock import lock_held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAT = "/v1/chat/completions"
ON = {"x-portkey-cache": "simple"}
MIB = 1024 * 1024
ANSWER = (
    b'{"id":"c1","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,'
    b'"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}],'
    b'"usage":{"prompt_tokens":1000,"completion_tokens":2000,"total_tokens":3000}}'
)
EVENTS = [
    b'data: {"id":"c1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number
    for number in range(3)
] + [b"data: [DONE]\n\n"]
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def ok(body: bytes = ANSWER, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


STREAM = [SSE_HEAD, *(chunk(event) for event in EVENTS), b"0\r\n\r\n"]


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(wire: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    plain = {"base_url": wire.base_url, "transport": request.param}
    kept = {"cache": {"max_age_s": 3600}}
    config = {
        "upstreams": {
            "plain": plain,
            "keyed": plain | {"api_key": "sk-of-the-gateway"},
            "down": plain | {"base_url": "http://127.0.0.1:9/v1"},
        },
        "routes": [
            {"models": ["kept-*"], "target": {"upstream": "keyed"}, **kept},
            {"models": ["short-*"], "target": {"upstream": "keyed"}, "cache": {"max_age_s": 0.3}},
            {"models": ["own-*"], "target": {"upstream": "plain"}, **kept},
            {
                "models": ["shared-*"],
                "target": {"upstream": "keyed"},
                "cache": {"share_in_flight": True},
            },
            {
                "models": ["alive-*"],
                "target": {"upstream": "keyed"},
                "cache": {"share_in_flight": True},
                "sse_keepalive_s": 0.1,
            },
            {
                "models": ["backed-*"],
                "strategy": "fallback",
                "targets": [{"upstream": "down", "name": "first"}, {"upstream": "keyed", "name": "second"}],
                **kept,
            },
            {
                "models": ["tier-*"],
                "strategy": {
                    "mode": "conditional",
                    "conditions": [{"query": {"metadata.tier": {"$eq": "paid"}}, "then": "good"}],
                    "default": "cheap",
                },
                "targets": [
                    {"name": "good", "upstream": "keyed", "model": "large"},
                    {"name": "cheap", "upstream": "keyed", "model": "small"},
                ],
                **kept,
            },
            {"models": ["*"], "target": {"upstream": "keyed"}},
        ],
    }
    with run_gateway(config) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    wire.always_answers(ok())
    return wire


@pytest.fixture
def http(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        yield client


def new_model(route: str = "kept") -> str:
    """A model name that no other test has asked for."""
    return f"{route}-{uuid.uuid4().hex}"


def asking(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


def status(answer: httpx.Response) -> str | None:
    return answer.headers.get("x-portkey-cache-status")


# --- hit and miss ---


def test_nothing_is_kept_unless_somebody_asks_for_it(
    http: httpx.Client, upstream: WireUpstream, gateway: RunningGateway
) -> None:
    before = gateway.rows.count("cached_answer")
    body = asking(new_model("other"))
    for headers in ({}, {"x-portkey-cache-force-refresh": "true"}, {"cache-control": "max-age=60"}):
        answer = http.post(CHAT, json=body, headers=headers)
        assert status(answer) in (None, "DISABLED")
    assert len(upstream.requests) == 3
    assert gateway.rows.count("cached_answer") == before


@pytest.mark.parametrize(("route", "headers"), [("kept", {}), ("other", ON)], ids=["route", "header"])
def test_a_repeated_request_is_answered_from_the_cache(
    http: httpx.Client, upstream: WireUpstream, route: str, headers: dict[str, str]
) -> None:
    upstream.always_answers(ok(ANSWER, "set-cookie: session=1", "x-request-id: up-1", "openai-model: m"))
    body = asking(new_model(route))
    first = http.post(CHAT, json=body, headers=headers)
    second = http.post(CHAT, json=body, headers=headers)

    assert len(upstream.requests) == 1
    assert (status(first), status(second)) == ("MISS", "HIT")
    assert first.content == second.content == ANSWER
    assert second.headers["content-type"] == "application/json"
    assert second.headers["content-length"] == str(len(ANSWER))
    assert second.headers["openai-model"] == "m"
    assert second.headers["age"] in ("0", "1")
    assert "set-cookie" not in second.headers
    assert "x-upstream-request-id" not in second.headers
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert "age" not in first.headers


def test_a_hit_is_an_exchange_of_its_own_that_cost_nothing(
    http: httpx.Client, upstream: WireUpstream, gateway: RunningGateway
) -> None:
    body = asking("gpt-4o", user=uuid.uuid4().hex)
    traces = [f"trace-{uuid.uuid4().hex}" for _ in range(2)]
    answers = [http.post(CHAT, json=body, headers=ON | {"x-trace-id": trace}) for trace in traces]
    miss, hit = (gateway.rows.the_exchange(trace) for trace in traces)

    assert (miss["cache_status"], hit["cache_status"]) == ("miss", "hit")
    assert hit["id"] == answers[1].headers["x-request-id"] != miss["id"]
    assert answers[1].headers["x-trace-id"] == traces[1]
    assert (miss["upstream"], hit["upstream"]) == ("keyed", None)
    assert miss["prompt_tokens"] == hit["prompt_tokens"] == 1000
    assert hit["response_head"] == miss["response_head"] == ANSWER
    assert hit["cost_usd"] == 0.0
    assert hit["attempt_count"] in (None, 0)
    assert hit["status"] == 200
    assert hit["error_kind"] is None


def test_order_of_fields_and_spacing_make_no_difference(
    gateway: RunningGateway, upstream: WireUpstream
) -> None:
    model = new_model()
    with RawClient(gateway.port) as client:
        for body in (
            f'{{"model":"{model}","temperature":0,"messages":[{{"role":"user","content":"hi"}}]}}',
            f'{{ "messages": [ {{"content":"hi","role":"user"}} ],\n "temperature":0, "model":"{model}" }}',
        ):
            client.post(CHAT, body.encode(), "content-type: application/json")
            assert client.read_answer().body == ANSWER
    assert len(upstream.requests) == 1


def test_a_refresh_replaces_what_was_kept(http: httpx.Client, upstream: WireUpstream) -> None:
    body = asking(new_model())
    http.post(CHAT, json=body)
    newer = ANSWER.replace(b'"hi"', b'"ho"')
    upstream.always_answers(ok(newer))
    refreshed = http.post(CHAT, json=body, headers={"x-portkey-cache-force-refresh": "true"})
    after = http.post(CHAT, json=body)
    assert (status(refreshed), refreshed.content) == ("REFRESH", newer)
    assert (status(after), after.content) == ("HIT", newer)


def test_an_answer_expires(http: httpx.Client, upstream: WireUpstream) -> None:
    body = asking(new_model("short"))
    assert [status(http.post(CHAT, json=body)) for _ in range(2)] == ["MISS", "HIT"]
    time.sleep(0.35)
    assert status(http.post(CHAT, json=body)) == "MISS"


def test_namespaces_are_apart(http: httpx.Client, upstream: WireUpstream) -> None:
    body = asking(new_model())
    seen = [
        status(http.post(CHAT, json=body, headers={"x-portkey-cache-namespace": name}))
        for name in ("a", "b", "a")
    ]
    assert seen == ["MISS", "MISS", "HIT"]


def test_a_request_that_wants_nothing_kept_is_not_kept(
    http: httpx.Client, upstream: WireUpstream, gateway: RunningGateway
) -> None:
    body = asking(new_model())
    before = gateway.rows.count("cached_answer")
    for headers in ({"x-capture": "none"}, {"cache-control": "no-store"}, {"x-portkey-cache": "false"}):
        assert status(http.post(CHAT, json=body, headers=headers)) in (None, "DISABLED")
    assert len(upstream.requests) == 3
    assert gateway.rows.count("cached_answer") == before


def test_a_mode_we_do_not_have_is_refused_with_a_remedy(http: httpx.Client, upstream: WireUpstream) -> None:
    answer = http.post(CHAT, json=asking("other"), headers={"x-portkey-cache": "psychic"})
    assert answer.status_code == 400
    assert "use simple or false" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "invalid_header"
    assert not upstream.requests


def test_semantic_finds_exact_repetitions_only(http: httpx.Client, upstream: WireUpstream) -> None:
    body, headers = asking(new_model("other")), {"x-portkey-cache": "semantic"}
    answers = [http.post(CHAT, json=body, headers=headers) for _ in range(2)]
    assert [status(answer) for answer in answers] == ["MISS", "HIT"]
    similar = {**body, "messages": [{"role": "user", "content": "nearly the same"}]}
    assert status(http.post(CHAT, json=similar, headers=headers)) == "MISS"


def test_portkeys_config_turns_it_on(http: httpx.Client, upstream: WireUpstream) -> None:
    config = {"provider": "@keyed", "cache": {"mode": "simple", "max_age": 60}}
    body = asking(new_model("other"))
    answers = [http.post(CHAT, json=body, headers={"x-portkey-config": json.dumps(config)}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert [status(answer) for answer in answers] == ["MISS", "HIT"]


# --- whose answer it is ---


def test_clients_with_credentials_of_their_own_never_share(
    http: httpx.Client, upstream: WireUpstream, gateway: RunningGateway
) -> None:
    body = asking(new_model("own"))
    seen = [
        status(http.post(CHAT, json=body, headers={"authorization": f"Bearer sk-secret-{name}"}))
        for name in ("a", "b", "a")
    ]
    assert seen == ["MISS", "MISS", "HIT"]
    stored = gateway.rows.query("SELECT key, headers, body FROM cached_answer")
    assert all(b"sk-secret" not in row["key"] + row["headers"].encode() + row["body"] for row in stored)


def test_two_keys_never_share(upstream: WireUpstream, tmp_path: Path) -> None:
    keys = {name: f"{name}-0123456789abcdef" for name in ("team-a", "team-b")}
    config = {
        "upstreams": {"one": {"base_url": upstream.base_url, "api_key": "sk-of-the-gateway"}},
        "keys": {name: {"key": key} for name, key in keys.items()},
        "routes": [{"models": ["*"], "target": {"upstream": "one"}, "cache": {}}],
    }
    with run_gateway(config, directory=tmp_path) as gateway, httpx.Client(base_url=gateway.url) as http:
        seen = [
            status(http.post(CHAT, json=asking("m"), headers={"authorization": f"Bearer {keys[name]}"}))
            for name in ("team-a", "team-b", "team-a")
        ]
    assert seen == ["MISS", "MISS", "HIT"]


def test_a_condition_on_metadata_keeps_answers_apart(http: httpx.Client, upstream: WireUpstream) -> None:
    body = asking(new_model("tier"))
    seen = [
        status(http.post(CHAT, json=body, headers={"x-metadata": json.dumps({"tier": tier, "n": number})}))
        for number, tier in enumerate(("paid", "free", "paid", "free"))
    ]
    assert seen == ["MISS", "MISS", "HIT", "HIT"]
    assert [json.loads(request.body)["model"] for request in upstream.requests] == ["large", "small"]


def test_the_answer_of_a_fallback_is_not_kept(
    http: httpx.Client, upstream: WireUpstream, gateway: RunningGateway, trace: str
) -> None:
    body = asking(new_model("backed"))
    first = http.post(CHAT, json=body, headers={"x-trace-id": trace})
    assert (status(first), first.content) == ("MISS", ANSWER)
    assert status(http.post(CHAT, json=body)) == "MISS"
    assert gateway.rows.the_exchange(trace)["target"] == "second"


# --- streams and encodings ---


def test_a_stream_is_repeated_byte_for_byte(
    gateway: RunningGateway, upstream: WireUpstream, trace: str
) -> None:
    upstream.always_answers(*STREAM)
    body = json.dumps(asking(new_model(), stream=True)).encode()
    answers = []
    for name in (trace + "-1", trace):
        with RawClient(gateway.port) as client:
            client.post(CHAT, body, f"x-trace-id: {name}")
            answers.append(client.read_answer())
    first, second = answers
    assert len(upstream.requests) == 1
    assert first.body == second.body == b"".join(EVENTS)
    assert first.clean
    assert second.clean
    assert second.header("content-type") == "text/event-stream"
    assert second.header("x-portkey-cache-status") == "HIT"
    row = gateway.rows.the_exchange(trace)
    assert (row["cache_status"], row["streamed"]) == ("hit", 1)
    assert row["response_head"] == b"".join(EVENTS)


def test_a_stream_whose_reader_goes_with_the_last_event_is_kept(
    gateway: RunningGateway, upstream: WireUpstream
) -> None:
    upstream.answers(*STREAM[:-1], 30.0)
    body = json.dumps(asking(new_model(), stream=True)).encode()
    with RawClient(gateway.port) as client:
        client.post(CHAT, body)
        client.read_until(b"data: [DONE]\n\n")
        client.hang_up()
    with RawClient(gateway.port) as client:
        client.post(CHAT, body)
        answer = client.read_answer()
    assert answer.header("x-portkey-cache-status") == "HIT"
    assert answer.body == b"".join(EVENTS)


def test_a_stream_that_breaks_off_is_not_kept(gateway: RunningGateway, upstream: WireUpstream) -> None:
    upstream.answers(*STREAM[:2], CLOSE)
    upstream.always_answers(*STREAM)
    body = json.dumps(asking(new_model(), stream=True)).encode()
    with RawClient(gateway.port) as client:
        client.post(CHAT, body)
        assert not client.read_answer().clean
    with RawClient(gateway.port) as client:
        client.post(CHAT, body)
        answer = client.read_answer()
    assert (answer.body, answer.header("x-portkey-cache-status")) == (b"".join(EVENTS), "MISS")


def test_a_client_that_reads_no_gzip_is_not_given_any(
    gateway: RunningGateway, upstream: WireUpstream
) -> None:
    packed = gzip.compress(ANSWER)
    body = json.dumps(asking(new_model())).encode()
    upstream.answers(ok(packed, "content-encoding: gzip"))
    seen = []
    with RawClient(gateway.port) as client:
        for accepted in ("gzip, br", "br,gzip", "identity"):
            client.post(CHAT, body, f"accept-encoding: {accepted}")
            answer = client.read_answer()
            seen.append(
                (answer.header("x-portkey-cache-status"), answer.header("content-encoding"), answer.body)
            )
    assert seen == [("MISS", "gzip", packed), ("HIT", "gzip", packed), ("MISS", None, ANSWER)]


@pytest.mark.parametrize(
    "answer",
    [
        ok(b'{"error":{"message":"slow down"}}', status="429 Too Many Requests"),
        ok(b'{"error":{"message":"overloaded"}}'),
        ok(b'{"x":"' + b"y" * MIB + b'"}'),
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + ANSWER[:50],
    ],
    ids=["error", "error with status 200", "too large", "cut by the connection's end"],
)
def test_what_should_not_be_repeated_is_not_kept(
    http: httpx.Client, upstream: WireUpstream, answer: bytes
) -> None:
    upstream.always_answers(answer, CLOSE)
    body = asking(new_model())
    for _ in range(2):
        assert http.post(CHAT, json=body).content == answer.partition(b"\r\n\r\n")[2]
    assert len(upstream.requests) == 2


def test_other_paths_are_not_cached(http: httpx.Client, upstream: WireUpstream) -> None:
    for _ in range(2):
        http.post("/v1/images/generations", json=asking(new_model()), headers=ON)
        http.get("/v1/files", headers=ON)
    assert len(upstream.requests) == 4


# --- in flight ---


def at_once(gateway: RunningGateway, body: dict[str, Any], clients: int) -> list[httpx.Response]:
    ready = threading.Barrier(clients)

    def ask(_: int) -> httpx.Response:
        with httpx.Client(base_url=gateway.url, timeout=20) as client:
            ready.wait(10)
            return client.post(CHAT, json=body)

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, range(clients)))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_twenty_clients_at_once_are_one_upstream_call(
    gateway: RunningGateway, upstream: WireUpstream, stream: bool
) -> None:
    upstream.answers(0.4, *(STREAM if stream else [ok()]))
    body = asking(new_model("shared"), stream=stream, user=(user := uuid.uuid4().hex))
    answers = at_once(gateway, body, 20)
    assert len(upstream.requests) == 1
    assert {answer.content for answer in answers} == {b"".join(EVENTS) if stream else ANSWER}
    assert sorted(status(answer) or "" for answer in answers) == ["HIT"] * 19 + ["MISS"]
    rows = gateway.rows.query(
        "SELECT cache_status, count(DISTINCT trace_id) AS n, sum(cost_usd) AS cost FROM exchange "
        "WHERE body_user = ? GROUP BY 1 ORDER BY 1",
        user,
    )
    assert (rows[0]["cache_status"], rows[0]["n"]) == ("miss", 1)
    assert sum(row["n"] for row in rows) == 20
    assert {row["cache_status"] for row in rows} <= {"miss", "shared", "hit"}
    assert all(row["cost"] == 0 for row in rows[1:] if row["cache_status"] in ("shared", "hit")) or stream


def test_an_error_is_not_shared(gateway: RunningGateway, upstream: WireUpstream) -> None:
    upstream.always_answers(0.5, ok(b'{"error":{}}', status="500 Internal Server Error"))
    began = time.monotonic()
    answers = at_once(gateway, asking(new_model("shared")), 8)
    assert {answer.status_code for answer in answers} == {500}
    assert len(upstream.requests) == 8
    assert time.monotonic() - began < 3, "they did not wait for one another"


def test_when_the_first_client_goes_away_the_others_have_their_answer(
    gateway: RunningGateway, upstream: WireUpstream
) -> None:
    upstream.answers(60.0)
    body = asking(new_model("shared"))
    with RawClient(gateway.port) as leader:
        leader.post(
            CHAT, json.dumps(body).encode(), "accept-encoding: gzip, deflate, br, zstd", "accept: */*"
        )
        upstream.request(0)
        with ThreadPoolExecutor(1) as pool:
            others = pool.submit(at_once, gateway, body, 5)
            time.sleep(0.5)
            waiting = len(upstream.requests)
            leader.hang_up()
            answers = others.result()
    assert [answer.content for answer in answers] == [ANSWER] * 5
    assert (waiting, len(upstream.requests)) == (1, 2)


def test_those_who_wait_are_kept_alive(gateway: RunningGateway, upstream: WireUpstream) -> None:
    upstream.answers(0.5, *STREAM)
    answers = at_once(gateway, asking(new_model("alive"), stream=True), 4)
    assert len(upstream.requests) == 1
    for answer in answers:
        assert answer.content.startswith(b": keep-alive\n\n")
        assert answer.content.endswith(b"".join(EVENTS))


# --- the store ---


def test_a_locked_store_costs_nothing_but_the_cache(upstream: WireUpstream, tmp_path: Path) -> None:
    config = {
        "upstreams": {"one": {"base_url": upstream.base_url}},
        "store": {"busy_timeout_s": 0.2, "commit_timeout_s": 0.3},
        "capture": {"commit": "background"},
        "routes": [{"models": ["*"], "target": {"upstream": "one"}, "cache": {}}],
    }
    with run_gateway(config, directory=tmp_path) as gateway, httpx.Client(base_url=gateway.url) as http:
        with lock_held(gateway.rows.path):
            for number in range(5):
                assert http.post(CHAT, json=asking(f"m-{number}")).content == ANSWER
        assert [status(http.post(CHAT, json=asking("later"))) for _ in range(2)] == ["MISS", "HIT"]
        report = http.get("/readyz").json()["cache"]
        assert report["hits"] == 1
        assert report["misses"] == 6


def test_a_cache_that_cannot_be_read_is_a_miss(upstream: WireUpstream, tmp_path: Path) -> None:
    config = {
        "upstreams": {"one": {"base_url": upstream.base_url}},
        "routes": [{"models": ["*"], "target": {"upstream": "one"}, "cache": {}}],
    }
    with run_gateway(config, directory=tmp_path) as gateway, httpx.Client(base_url=gateway.url) as http:
        raw = sqlite3.connect(gateway.rows.path)
        raw.execute("DROP TABLE cached_answer")
        raw.close()
        for number in range(3):
            answer = http.post(CHAT, json=asking(f"m-{number}"))
            assert (answer.content, status(answer)) == (ANSWER, "MISS")
        report = http.get("/readyz").json()["cache"]
        assert report["failed_lookups"] == 3


def test_kept_answers_outlive_the_process_and_a_kill(upstream: WireUpstream, tmp_path: Path) -> None:
    config = {
        "upstreams": {"one": {"base_url": upstream.base_url}},
        "routes": [{"models": ["*"], "target": {"upstream": "one"}, "cache": {}}],
    }
    with run_gateway(config, directory=tmp_path) as gateway, httpx.Client(base_url=gateway.url) as http:
        for number in range(50):
            http.post(CHAT, json=asking(f"m-{number}"))
        deadline = time.monotonic() + 5
        while gateway.rows.count("cached_answer") < 50 and time.monotonic() < deadline:
            time.sleep(0.02)
        gateway.kill()
    assert gateway.rows.integrity() == "ok"
    with run_gateway(config, directory=tmp_path) as gateway, httpx.Client(base_url=gateway.url) as http:
        assert status(http.post(CHAT, json=asking("m-7"))) == "HIT"
        (total,) = gateway.rows.query("SELECT size_bytes FROM cached_answer_total")
        (summed,) = gateway.rows.query("SELECT sum(size_bytes) AS n FROM cached_answer")
        assert total["size_bytes"] == summed["n"]


def test_what_is_not_recorded_is_not_kept_for_a_header(upstream: WireUpstream, tmp_path: Path) -> None:
    config = {
        "upstreams": {"one": {"base_url": upstream.base_url}},
        "capture": {"bodies": "none"},
        "routes": [
            {"models": ["kept"], "target": {"upstream": "one"}, "cache": {}},
            {"models": ["*"], "target": {"upstream": "one"}},
        ],
    }
    with run_gateway(config, directory=tmp_path) as gateway, httpx.Client(base_url=gateway.url) as http:
        seen = [status(http.post(CHAT, json=asking("m"), headers=ON)) for _ in range(2)]
        assert set(seen) <= {None, "DISABLED"}
        assert [status(http.post(CHAT, json=asking("kept"), headers=ON)) for _ in range(2)] == ["MISS", "HIT"]


def test_two_workers_share_what_is_kept(upstream: WireUpstream, tmp_path: Path) -> None:
    config = {
        "server": {"workers": 2},
        "upstreams": {"one": {"base_url": upstream.base_url}},
        "routes": [{"models": ["*"], "target": {"upstream": "one"}, "cache": {}}],
    }
    with run_gateway(config, directory=tmp_path) as gateway:
        httpx.post(f"{gateway.base_url}/chat/completions", json=asking("m"))
        deadline = time.monotonic() + 5
        while not gateway.rows.count("cached_answer") and time.monotonic() < deadline:
            time.sleep(0.02)
        seen = [
            status(httpx.post(f"{gateway.base_url}/chat/completions", json=asking("m"))) for _ in range(20)
        ]
    assert seen == ["HIT"] * 20
    assert len(upstream.requests) == 1
