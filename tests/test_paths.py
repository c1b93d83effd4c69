"""Which path of ours leads to which path of the upstream's, and which lead nowhere. Both transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import Answer, RawClient, RunningGateway, WireUpstream, run_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = "content-type: application/json"


@pytest.fixture(scope="module", params=["native", "httpx"])
def gateway(wire: WireUpstream, request: pytest.FixtureRequest) -> Iterator[RunningGateway]:
    with run_gateway(
        {"upstreams": {"plain": {"base_url": wire.base_url, "transport": request.param}}}
    ) as running:
        yield running


@pytest.fixture
def upstream(wire: WireUpstream) -> WireUpstream:
    wire.reset()
    return wire


def error_of(answer: Answer) -> dict[str, Any]:
    assert answer.header("content-type") == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert error["message"]
    return error


# --- doubled slashes ---


@pytest.mark.parametrize(
    "path",
    ["/v1//chat/completions", "//v1/chat/completions", "//v1//chat/completions", "///v1///chat/completions"],
)
def test_slashes_doubled_where_a_base_url_was_joined_become_one(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, path: str
) -> None:
    client.post(path, b'{"model":"m"}', JSON, f"x-trace-id: {trace}")

    assert client.read_answer().status == 200
    assert upstream.request().target == b"/v1/chat/completions"
    assert gateway.rows.the_exchange(trace)["path"] == "/v1/chat/completions"


@pytest.mark.parametrize("path", ["/v1//chat/completions", "//v1/chat/completions"])
def test_a_chat_under_doubled_slashes_must_be_json_all_the_same(
    client: RawClient, upstream: WireUpstream, path: str
) -> None:
    client.post(path, b"hello", "content-type: text/plain")

    answer = client.read_answer()
    assert (answer.status, error_of(answer)["code"]) == (400, "invalid_json")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/v1/files/a//b", b"/v1/files/a//b"),
        ("/v1/files//", b"/v1/files//"),
        ("/v1//files/a//b", b"/v1/files/a//b"),
        ("/v1/files/v1//b", b"/v1/files/v1//b"),
        ("/v1//files/a%2F%2fb", b"/v1/files/a%2F%2fb"),
        ("//v1/search?next=//v1//a", b"/v1/search?next=//v1//a"),
    ],
)
def test_slashes_doubled_further_on_are_the_upstreams(
    client: RawClient, upstream: WireUpstream, sent: str, arrives: bytes
) -> None:
    client.get(sent)

    assert client.read_answer().status == 200
    assert upstream.request().target == arrives


@pytest.mark.parametrize("path", ["/v1//feedback", "//feedback", "//v1/feedback", "/v1/feedback//"])
def test_feedback_under_doubled_slashes_is_stored(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, path: str
) -> None:
    client.post(path, b'{"trace_id":"%b","value":5}' % trace.encode(), JSON)

    answer = client.read_answer()
    assert answer.status == 200
    [stored] = gateway.rows.feedback(trace)
    assert answer.json()["feedback_ids"] == [stored["id"]]
    assert upstream.requests == []


# --- out of what was configured ---

WAYS_OUT = [
    "/v1/files/..%2f..%2fadmin",
    "/v1/files/..%2F..%2Fadmin",
    "/v1/files/..%5c..%5cadmin",
    "/v1/files/..%5C..%5Cadmin",
    "/v1/..\\admin",
    "/v1/..\\..\\admin",
    "/v1/%2e%2e/admin",
    "/v1/%2E%2e/admin",
    "/v1/.%2e/admin",
    "/v1/%2e%2e%2fadmin",
    "/v1/%2e%2e%5cadmin",
    "/v1/../admin",
    "/v1/files/..",
    "/v1/files/%2e%2e",
    "/v1//../admin",
    "//v1//%2e%2e//admin",
    "/v1/%2e%2e/feedback",
]


@pytest.mark.parametrize("path", WAYS_OUT)
def test_a_path_that_leads_out_of_the_base_url_gets_a_400(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, path: str
) -> None:
    client.get(path, f"x-trace-id: {trace}")

    answer = client.read_answer()
    error = error_of(answer)
    assert (answer.status, error["code"], error["type"]) == (400, "invalid_path", "invalid_request_error")
    row = gateway.rows.the_exchange(trace)
    assert (row["status"], row["error_kind"]) == (400, "invalid_path")
    assert upstream.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/..a",
        "/v1/files/a..",
        "/v1/files/a..b/c",
        "/v1/files/...",
        "/v1/files/a%2e%2eb",
        "/v1/models/v1.5",
    ],
)
def test_dots_within_a_name_lead_nowhere_and_are_left_alone(
    client: RawClient, upstream: WireUpstream, path: str
) -> None:
    client.get(path)

    assert client.read_answer().status == 200
    assert upstream.request().target == path.encode()


def test_dots_in_a_query_are_left_alone(client: RawClient, upstream: WireUpstream) -> None:
    client.get("/v1/search?file=../../a&other=..%2fb")

    assert client.read_answer().status == 200
    assert upstream.request().target == b"/v1/search?file=../../a&other=..%2fb"


# --- methods ---


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1//models"])
def test_a_method_that_is_no_upstreams_gets_a_405_with_allow(
    gateway: RunningGateway, client: RawClient, upstream: WireUpstream, trace: str, method: str, path: str
) -> None:
    client.get(path, f"x-trace-id: {trace}", method=method)

    answer = client.read_answer()
    assert (answer.status, error_of(answer)["code"]) == (405, "method_not_allowed")
    allowed = (answer.header("allow") or "").split(", ")
    assert "POST" in allowed
    assert method not in allowed
    assert gateway.rows.the_exchange(trace)["error_kind"] == "method_not_allowed"
    assert upstream.requests == []


def test_the_connection_serves_the_next_request_after_a_trace(
    client: RawClient, upstream: WireUpstream
) -> None:
    client.get("/v1/models", method="TRACE")
    assert client.read_answer().status == 405
    client.get("/v1/models")

    assert client.read_answer().status == 200
    assert [request.method for request in upstream.requests] == ["GET"]


def test_a_connect_opens_no_tunnel(client: RawClient, upstream: WireUpstream) -> None:
    client.send(
        f"CONNECT 127.0.0.1:{upstream.port} HTTP/1.1\r\nhost: 127.0.0.1:{upstream.port}\r\n\r\n".encode()
    )

    assert 400 <= client.read_answer().status < 500
    assert client.ended()
    assert upstream.requests == []
