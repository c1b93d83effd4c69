"""The page of a trace: the conversation, what may be hostile in it, raw bodies and comparing answers."""

from __future__ import annotations

import re
import time
from html import unescape
from typing import TYPE_CHECKING

import pytest

from gateway.dashboard import trace
from tests.own_dashboard import asking, bodies, own_dashboard, streaming
from tests.test_dashboard_logs import HOSTILE, plain

if TYPE_CHECKING:
    from pathlib import Path

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAA"
    "AfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def test_exchanges_come_in_order_as_a_conversation(tmp_path: Path) -> None:
    first = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it raining?"}]
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city":"Lisbon"}'},
    }
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
    async with own_dashboard(tmp_path) as dashboard:
        api = dashboard.api
        await api.exchange("talk", bodies=bodies({"messages": first}, {"choices": [{"message": called}]}))
        body = bodies({"messages": [*first, called, result]}, streaming("No, it", " is sunny."))
        await api.exchange("talk", bodies=body, streamed=True, first_byte_ms=4.0)
        words = plain(await dashboard.page("/ui/trace", id="talk"))
    assert "system Be brief. user Is it raining? assistant calls get_weather" in words
    assert '{"city":"Lisbon"}' in words
    assert "3 earlier messages, as above" in words
    assert "tool result of c1 sunny assistant No, it is sunny." in words
    assert "queued for 1 ms \u00b7 first byte after 4 ms \u00b7 streamed for 8 ms" in words
    assert "Attempts 1, at openai" in words


async def test_a_trace_id_may_contain_anything_a_header_can(tmp_path: Path) -> None:
    trace_id = "a/b?c=d&e#f%20<g>\"'//h"
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange(trace_id)
        listed = await dashboard.page("/ui/logs")
        link = re.search(r'href="(/ui/trace\?id=[^"]+)"', listed)
        assert link
        page = await dashboard.page(unescape(link[1]))
    assert trace_id in plain(page)


async def test_images_are_shown_where_the_body_kept_them_and_never_fetched(tmp_path: Path) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "image_url", "image_url": {"url": "https://tracker.example/pixel.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,PHN2Zz4="}},
        {"type": "image_url", "image_url": {"url": 'data:image/png;base64,AAA" onerror="alert(1)'}},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]},
        },
    ]
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("seen", bodies=asking(parts))
        page = await dashboard.page("/ui/trace", id="seen")
    assert re.findall(r'<img src="([^"]+)"', page) == [PIXEL, PIXEL]
    assert "an image at https://tracker.example/pixel.png (not loaded)" in page


async def test_hostile_answers_stay_text_on_every_page(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        api = dashboard.api
        ids = [
            await api.exchange(
                "hostile",
                bodies=asking(HOSTILE, HOSTILE),
                error_kind="<b>kind</b>",
                error_message=HOSTILE,
                answering_model="<b>model</b>",
                metadata='{"<b>key</b>":"<b>value</b>"}',
                tags='["<b>tag</b>"]',
                finish_reason="<b>stop</b>",
            )
            for _ in range(2)
        ]
        await api.give(
            {
                "trace_id": "hostile",
                "name": "<b>name</b>",
                "value": "<b>value</b>",
                "comment": HOSTILE,
                "correction": {"<b>": HOSTILE},
                "source_id": "<b>source</b>",
                "metadata": {"<b>m</b>": HOSTILE},
            }
        )
        pages = [
            await dashboard.page("/ui/trace", id="hostile"),
            await dashboard.page("/ui/diff", a=ids[0], b=ids[1]),
            await dashboard.page("/ui/logs"),
        ]
        feedback = re.search(r'href="(/ui/feedback\?id=[^"]+)"', pages[0])
        assert feedback
        pages.append(await dashboard.page(unescape(feedback[1])))
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b>" not in page
        assert 'href="javascript:' not in page
    for page in pages[:3]:
        assert "\x1b" not in page
        assert "\u202e" not in page


async def test_a_line_of_five_megabytes_slows_nothing(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        exchange_id = await dashboard.api.exchange("long", bodies=asking("x" * 5_000_000, "y" * 5_000_000))
        await dashboard.page("/ui/keys")
        started = time.perf_counter()
        page = await dashboard.page("/ui/trace", id="long")
        listed = await dashboard.page("/ui/logs")
        took_s = time.perf_counter() - started
        raw = await dashboard.client.get("/ui/raw", params={"id": exchange_id, "part": "response"})
    assert len(page) + len(listed) < 200_000
    assert took_s < 5  # what is quadratic in such a line takes minutes
    assert len(raw.content) > 5_000_000


async def test_a_trace_of_many_exchanges_comes_in_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "EXCHANGES_A_PAGE", 2)
    async with own_dashboard(tmp_path) as dashboard:
        for number in range(5):
            await dashboard.api.exchange("many", bodies=asking(f"question {number}"))
        seen, path = [], "/ui/trace?id=many"
        while path:
            page = await dashboard.page(path)
            seen.append(re.findall(r"question \d", plain(page.partition("Raw")[0])))
            seen[-1] = sorted(set(re.findall(r"question \d", page)))
            later = re.search(r'href="([^"]+)">Later requests', page)
            path = unescape(later[1]) if later else ""
    assert seen == [["question 0", "question 1"], ["question 2", "question 3"], ["question 4"]]


async def test_bodies_beyond_what_a_page_holds_are_a_click_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "MAX_BODY_BYTES", 1_000)
    async with own_dashboard(tmp_path) as dashboard:
        exchange_id = await dashboard.api.exchange("big", bodies=asking("q" * 2_000))
        page = await dashboard.page("/ui/trace", id="big")
    assert f"/ui/raw?id={exchange_id}&amp;part=request" in page
    assert "q" * 100 not in page


async def test_raw_bodies_come_byte_for_byte_as_plain_text(tmp_path: Path) -> None:
    body = '{ "model" : "x",  "messages":[] , "n":1e3 }'
    async with own_dashboard(tmp_path) as dashboard:
        exchange_id = await dashboard.api.exchange("raw", bodies=bodies(body, b"\x89PNG\xff\x00"))
        request = await dashboard.client.get("/ui/raw", params={"id": exchange_id, "part": "request"})
        response = await dashboard.client.get("/ui/raw", params={"id": exchange_id, "part": "response"})
        curl = await dashboard.client.get("/ui/raw", params={"id": exchange_id, "part": "curl"})
    assert (request.text, request.headers["content-type"]) == (body, "text/plain; charset=utf-8")
    assert response.content == b"\x89PNG\xff\x00"
    assert response.headers["content-disposition"].startswith("attachment")
    assert curl.text.startswith("curl http://gateway/v1/chat/completions")
    assert f"--data-binary '{body}'" in curl.text


async def test_the_curl_command_holds_against_quotes(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        exchange_id = await dashboard.api.exchange("quo'te;$(x)", bodies=asking("it's $HOME `x` \\"))
        curl = (await dashboard.client.get("/ui/raw", params={"id": exchange_id, "part": "curl"})).text
    assert "-H 'x-trace-id: quo'\"'\"'te;$(x)'" in curl
    assert "it'\"'\"'s $HOME `x`" in curl


async def test_two_answers_are_compared_word_by_word(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        one = await dashboard.api.exchange("a", bodies=asking("?", "The quick brown fox"))
        two = await dashboard.api.exchange("b", bodies=asking("?", "The slow brown fox"))
        page = await dashboard.page("/ui/diff", a=one, b=two)
        same = await dashboard.page("/ui/diff", a=one, b=one)
    assert "The <del>quick</del><ins>slow</ins> brown fox" in page
    assert "They are the same." in same


async def test_what_was_not_kept_is_said(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("none")
        cut = bodies(b'{"messages":[{"role":"user","content":"a', b'{"choices":[')
        await dashboard.api.exchange("cut", bodies=cut._replace(request_tail=b'"}]}', response_tail=b"]}"))
        none = await dashboard.page("/ui/trace", id="none")
        partly = await dashboard.page("/ui/trace", id="cut")
    assert "were not kept" in none
    assert partly.count("longer than capture.max_body_bytes") == 2
