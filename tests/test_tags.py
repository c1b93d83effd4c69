"""Tags of exchanges: where they come from, that they stay here, and that feedback finds them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.capture.tags import MAX_TAG_CHARS, MAX_TAGS, all_tags, parse_tags
from gateway.errors import InvalidHeader
from tests.harness import RunningGateway, WireUpstream, run_gateway

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (b"", ()),
        (b" , ,", ()),
        (b"a", ("a",)),
        (b" a ,b,a, c d ", ("a", "b", "c d")),
        ("grün".encode(), ("grün",)),
    ],
)
def test_a_header_holds_tags_separated_by_commas(value: bytes, tags: tuple[str, ...]) -> None:
    assert parse_tags(value) == tags


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"\xff", "not UTF-8"),
        (b"x" * (MAX_TAG_CHARS + 1), f"the limit is {MAX_TAG_CHARS}"),
        (b",".join(b"%d" % number for number in range(MAX_TAGS + 1)), f"the limit is {MAX_TAGS}"),
    ],
)
def test_a_header_out_of_bounds_is_refused(value: bytes, problem: str) -> None:
    with pytest.raises(InvalidHeader, match=problem) as refused:
        parse_tags(value)
    assert refused.value.param == "x-tags"


@pytest.mark.parametrize(
    ("metadata", "tags"),
    [
        (None, ("h",)),
        ({"tags": ["a", "h", " b ", 3, None, ""]}, ("h", "a", "b")),
        ({"tags": "a, b"}, ("h", "a", "b")),
        ({"tags": 5}, ("h",)),
        ({"tags": ["x" * (MAX_TAG_CHARS + 1)]}, ("h",)),
        ("tags", ("h",)),
        ([{"tags": ["a"]}], ("h",)),
    ],
)
def test_metadata_adds_its_tags_and_never_refuses(metadata: Any, tags: tuple[str, ...]) -> None:
    assert all_tags(("h",), metadata) == tags


@given(st.lists(st.text()), st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.just({})))
def test_tags_are_bounded_trimmed_and_distinct(first: list[str], second: Any) -> None:
    tags = all_tags((), {"tags": first}, {"tags": second})
    assert len(tags) == len(set(tags)) <= MAX_TAGS
    assert all(tag and tag == tag.strip() and len(tag) <= MAX_TAG_CHARS for tag in tags)


@pytest.fixture
def upstream() -> Iterator[WireUpstream]:
    with WireUpstream() as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, upstream: WireUpstream) -> Iterator[RunningGateway]:
    with run_gateway(upstream=upstream.base_url, directory=tmp_path) as running:
        yield running


def chat(gateway: RunningGateway, trace_id: str, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{gateway.url}/v1/chat/completions", json=CHAT, headers={"x-trace-id": trace_id, **headers}
    )


def test_tags_are_recorded_and_do_not_travel_upstream(
    gateway: RunningGateway, upstream: WireUpstream
) -> None:
    answer = chat(
        gateway, "t1", **{"x-tags": "beta, search", "x-metadata": json.dumps({"tags": ["long", "beta"]})}
    )
    assert answer.status_code == 200
    row = gateway.rows.the_exchange("t1")
    assert json.loads(row["tags"]) == ["beta", "search", "long"]
    stored = gateway.rows.query(
        "SELECT tag FROM exchange_tag WHERE exchange_seq = ? ORDER BY tag", row["seq"]
    )
    assert [item["tag"] for item in stored] == ["beta", "long", "search"]
    assert not any(name.lower() == b"x-tags" for name, _ in upstream.requests[-1].headers)


def test_tags_of_the_openai_body_count_too(gateway: RunningGateway) -> None:
    body = {**CHAT, "metadata": {"tags": "a,b"}}
    httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers={"x-trace-id": "t1"})
    assert json.loads(gateway.rows.the_exchange("t1")["tags"]) == ["a", "b"]


def test_a_bad_tags_header_is_a_400_that_names_it(gateway: RunningGateway) -> None:
    answer = chat(gateway, "t1", **{"x-tags": "x" * 300})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "x-tags"


def test_feedback_reaches_every_exchange_with_the_tags(gateway: RunningGateway) -> None:
    for trace_id, tags in (("t1", "a,b"), ("t2", "a"), ("t3", "b,a")):
        chat(gateway, trace_id, **{"x-tags": tags})
    given_to = {"tags": ["a", "b"], "name": "good", "value": True}
    assert httpx.post(f"{gateway.url}/v1/feedback", json=given_to).status_code == 200
    counts = {
        trace["id"]: trace["feedback"]["count"]
        for trace in httpx.get(f"{gateway.url}/v1/traces").json()["data"]
    }
    assert counts == {"t1": 1, "t2": 0, "t3": 1}


def test_feedback_given_to_an_exchange_while_it_streams_is_joined_to_it(
    gateway: RunningGateway, upstream: WireUpstream
) -> None:
    """Its id is in the answer's head and its row comes before the last event: feedback may be in between."""
    url = f"{gateway.url}/v1/chat/completions"
    given = threading.Event()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    upstream.answers(head, given, b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    with httpx.stream("POST", url, json={**CHAT, "stream": True}, headers={"x-trace-id": "t1"}) as answer:
        exchange_id = answer.headers["x-request-id"]
        early = {"trace_id": exchange_id, "value": 7}
        assert httpx.post(f"{gateway.url}/v1/feedback", json=early).status_code == 200
        given.set()
        answer.read()
    trace = httpx.get(f"{gateway.url}/v1/traces/t1").json()
    assert trace["feedback"]["pairs"] == [{"value": 7, "weight": 1.0, "count": 1}]
    [item] = trace["feedback_items"]
    assert (item["trace_id"], item["targets"][0]["request_id"]) == ("t1", exchange_id)
    assert httpx.get(f"{gateway.url}/v1/traces/{exchange_id}").status_code == 404
