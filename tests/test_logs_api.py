"""GET /v1/logs and /v1/logs/{id}."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from gateway.store import logs, search
from tests.own_api import NO_BODIES, OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path) as opened:
        yield opened


async def test_a_log_shows_every_column_in_readable_names(api: OwnAPI) -> None:
    exchange_id = await api.exchange(
        "t1",
        error_kind="upstream_aborted",
        error_message="it broke off",
        cached_tokens=3,
        metadata='{"_user":"ann","big":12345678901234567890123}',
        tags='["beta"]',
        body_user="u1",
        body_metadata='{"a":1}',
    )
    [log] = (await api.get("/v1/logs"))["data"]
    assert log == {
        "object": "log",
        "id": exchange_id,
        "trace_id": "t1",
        "started_at": "2027-01-15T08:00:00.001Z",
        "latency_ms": 12.5,
        "queue_ms": 1.25,
        "first_byte_ms": 3.5,
        "method": "POST",
        "path": "/v1/chat/completions",
        "upstream": "openai",
        "target": None,
        "cache_status": None,
        "attempt_count": 1,
        "attempts": [
            {
                "number": 1, "target": "openai", "upstream": "openai", "model": None, "status": 200,
                "error_kind": "upstream_aborted", "started_ms": 1.25, "latency_ms": 2.25, "key": None,
            }
        ],
        "requested_model": "gpt-4o",
        "answering_model": "gpt-4o-2024-08-06",
        "streamed": False,
        "status": 200,
        "error": {"kind": "upstream_aborted", "message": "it broke off"},
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "cached_tokens": 3, "reasoning_tokens": None},
        "cost_usd": 0.25,
        "request_bytes": 100,
        "response_bytes": 200,
        "metadata": {"_user": "ann", "big": 12345678901234567890123},
        "tags": ["beta"],
        "body_user": "u1",
        "body_metadata": {"a": 1},
        "feedback": {
            "count": 0, "score_count": 0, "pairs": [], "sum_weight": 0.0, "weighted_mean": None,
            "mean_weighted_value": None,
        },
    }  # fmt: skip


async def test_feedback_given_before_shows_on_every_exchange_of_the_trace(api: OwnAPI) -> None:
    [feedback_id] = await api.give({"trace_id": "t1", "value": 5})
    ids = [await api.exchange("t1") for _ in range(3)]
    assert [log["feedback"]["count"] for log in (await api.get("/v1/logs"))["data"]] == [1, 1, 1]
    for exchange_id in ids:
        log = await api.get(f"/v1/logs/{exchange_id}")
        assert [item["id"] for item in log["feedback_items"]] == [feedback_id]
        assert log["feedback_items"][0]["matched"] is True
        assert log["feedback"]["weighted_mean"] == 5.0


async def test_json_bodies_are_shown_as_json_to_the_digit(api: OwnAPI) -> None:
    bodies = NO_BODIES._replace(
        request_headers='[["content-type","application/json"]]',
        request_head=b'{"model": "gpt-4o", "seed": 123456789012345678901234567890}',
        response_head=b'{"choices": [{"message": {"content": "hi"}}]}',
    )
    log = await api.get(f"/v1/logs/{await api.exchange('t1', bodies=bodies)}")
    assert log["request"] == {
        "headers": [{"name": "content-type", "value": "application/json"}],
        "body": {"model": "gpt-4o", "seed": 123456789012345678901234567890},
        "encoding": "json",
        "truncated": False,
        "tail": None,
        "content_encoding": None,
        "bytes": 100,
    }
    assert log["response"]["body"]["choices"][0]["message"]["content"] == "hi"
    assert log["message"] == log["response"]["body"]


async def test_a_streams_message_is_put_together_from_its_events(api: OwnAPI) -> None:
    events = [
        b'{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}',
        b'{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"lo"}}]}',
        b"[DONE]",
    ]
    bodies = NO_BODIES._replace(response_head=b"".join(b"data: " + event + b"\n\n" for event in events))
    log = await api.get(f"/v1/logs/{await api.exchange('t1', bodies=bodies, streamed=True)}")
    assert log["message"]["choices"][0]["message"]["content"] == "Hello"
    assert log["response"]["encoding"] == "text"
    assert log["response"]["body"].startswith("data: ")


@pytest.mark.parametrize(
    ("head", "tail", "content_encoding", "encoding", "body", "shown_tail"),
    [
        (b"plain", None, None, "text", "plain", None),
        (b"", None, None, "text", "", None),
        (b'"\\ud800"', None, None, "text", '"\\ud800"', None),
        (b'{"cut":', b'"here"}', None, "text", '{"cut":', '"here"}'),
        ("é€".encode()[:-1], "€x".encode()[1:], None, "text", "é", "x"),
        (b"\xff\x00", None, None, "base64", b"\xff\x00", None),
        (b"\xffab", b"cd", None, "base64", b"\xffab", b"cd"),
        (b"{}", None, "br", "base64", b"{}", None),
    ],
)
async def test_other_bodies_are_shown_as_text_or_base64(
    api: OwnAPI,
    head: bytes,
    tail: bytes | None,
    content_encoding: str | None,
    encoding: str,
    body: Any,
    shown_tail: Any,
) -> None:
    bodies = NO_BODIES._replace(response_head=head, response_tail=tail, response_encoding=content_encoding)
    shown = (await api.get(f"/v1/logs/{await api.exchange('t1', bodies=bodies)}"))["response"]
    if encoding == "base64":
        shown = {
            **shown,
            "body": b64decode(shown["body"]),
            "tail": None if shown["tail"] is None else b64decode(shown["tail"]),
        }
    assert (shown["encoding"], shown["body"], shown["tail"]) == (encoding, body, shown_tail)
    assert shown["truncated"] is (tail is not None)
    assert shown["content_encoding"] == content_encoding


async def test_a_body_nested_deeper_than_the_serialiser_goes_is_shown(api: OwnAPI) -> None:
    deep = b"[" * 800 + b"]" * 800
    bodies = NO_BODIES._replace(
        request_head=deep, response_head=b'data: {"choices":[],"x":' + deep + b"}\n\n"
    )
    exchange_id = await api.exchange("t1", bodies=bodies, streamed=True, metadata=f'{{"a":{deep.decode()}}}')
    response = await api.client.get(f"/v1/logs/{exchange_id}")
    assert response.status_code == 200
    assert deep in response.content


async def test_bodies_that_were_not_kept_are_null(api: OwnAPI) -> None:
    log = await api.get(f"/v1/logs/{await api.exchange('t1')}")
    assert (log["request"]["body"], log["request"]["encoding"], log["message"]) == (None, None, None)


@pytest.mark.parametrize("path", ["nothing", "a%2Fb", "%00", "a%0Ab", "x" * 2000])
async def test_a_log_that_is_not_there_is_a_404(api: OwnAPI, path: str) -> None:
    response = await api.client.get(f"/v1/logs/{path}")
    assert response.status_code == 404
    assert response.json()["error"]["message"]


async def test_the_list_is_newest_first_and_pages_with_after(api: OwnAPI) -> None:
    ids = [await api.exchange("t1") for _ in range(5)]
    page = await api.get("/v1/logs", limit=3)
    assert ([log["id"] for log in page["data"]], page["has_more"]) == (ids[:1:-1], True)
    page = await api.get("/v1/logs", limit=3, after=page["last_id"])
    assert ([log["id"] for log in page["data"]], page["has_more"]) == (ids[1::-1], False)


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, "abc"),
        ({"trace_id": "t1"}, "ac"),
        ({"user": "ann"}, "a"),
        ({"organisation": "acme"}, "b"),
        ({"prompt": "p1"}, "b"),
        ({"environment": "prod"}, "ab"),
        ({"metadata[plan]": "7"}, "a"),
        ({"model": "gpt-4o"}, "ab"),
        ({"model": "gpt-4o-2024-08-06"}, "ac"),
        ({"model": "o3"}, "c"),
        ({"upstream": "azure"}, "b"),
        ({"status": 200}, "ac"),
        ({"status": 429}, "b"),
        ({"status": "error"}, "bc"),
        ({"status": "ok"}, "a"),
        ({"target": "spare"}, "b"),
        ({"target": "other"}, ""),
        ({"cache_status": "miss"}, "b"),
        ({"cache_status": "hit"}, "a"),
        ({"retried": "true"}, "b"),
        ({"retried": "false"}, "ac"),
        ({"error_kind": "upstream_aborted"}, "c"),
        ({"streamed": "true"}, "c"),
        ({"streamed": "false"}, "ab"),
        ({"has_feedback": "true"}, "ac"),
        ({"has_feedback": "false"}, "b"),
        ({"since": "1800000000.002"}, "bc"),
        ({"until": "1800000000.002"}, "a"),
        ({"environment": "prod", "status": "error"}, "b"),
    ],
)
@pytest.mark.parametrize("few", [search.FEW_ROWS, 0], ids=["look up", "walk"])
async def test_filters_find_what_they_name(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any], found: str, few: int
) -> None:
    monkeypatch.setattr(search, "FEW_ROWS", few)
    monkeypatch.setattr(logs, "FEW_ROWS", few)
    a = await api.exchange(
        "t1", meta_user="ann", meta_environment="prod", metadata='{"plan":7}', cache_status="hit"
    )
    b = await api.exchange(
        "t2", meta_organisation="acme", meta_prompt="p1", meta_environment="prod", status=429,
        answering_model=None, upstream="azure", target="spare", attempt_count=2, cache_status="miss",
    )  # fmt: skip
    c = await api.exchange("t1", requested_model="o3", error_kind="upstream_aborted", streamed=True)
    await api.give({"trace_id": "t1", "value": 1}, {"trace_id": "unmatched", "value": 1})
    names = {a: "a", b: "b", c: "c"}
    assert "".join(sorted(names[item] for item in await api.ids("/v1/logs", **params))) == found


async def test_a_wrong_parameter_is_named_with_its_remedy(api: OwnAPI) -> None:
    response = await api.client.get("/v1/logs?min_value=1")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "min_value"
