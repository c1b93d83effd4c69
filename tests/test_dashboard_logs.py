"""The list of traces: what a row says, every filter, pages, and how far a search looks."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard import filters, logs
from gateway.dashboard.asked import first_words
from gateway.dashboard.filters import FIELDS
from tests.own_api import START_MS
from tests.own_dashboard import asking, bodies, own_dashboard, streaming, traces_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.own_dashboard import Dashboard

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> \x1b[31mred \u202eevil\u202c javascript:alert(3)"
)


def plain(html: str) -> str:
    """The words of a page, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


async def test_a_row_says_what_was_asked_and_what_people_thought(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("talk", bodies=asking("Where is my helmet?"), status=200)
        await dashboard.api.exchange("talk", status=500, latency_ms=87.5)
        await dashboard.api.give(
            {"trace_id": "talk", "value": 10}, {"trace_id": "talk", "value": -4, "weight": 0.5}
        )
        words = plain(await dashboard.page("/ui/logs"))
    assert "Where is my helmet?" in words
    assert "gpt-4o 2 60 $0.5000 50 ms 200 500 2" in words
    assert "\u22124 :0.5 +10 :1 +5.33" in words
    assert "gpt-4o-2024-08-06" not in words


async def test_traces_come_newest_first_a_page_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "PAGE_ROWS", 3)
    async with own_dashboard(tmp_path) as dashboard:
        for number in range(7):
            await dashboard.api.exchange(f"t{number}")
        seen, path = [], "/ui/logs"
        while path:
            page = await dashboard.page(path)
            seen.append(traces_in(page))
            older = re.search(r'rel="next" href="([^"]+)"', page)
            path = unescape(older[1]) if older else ""
    assert seen == [["t6", "t5", "t4"], ["t3", "t2", "t1"], ["t0"]]


async def store(dashboard: Dashboard) -> None:
    """One trace that fits every filter below, and one that fits none."""
    api = dashboard.api
    await api.exchange(
        "wanted",
        bodies=asking("How long is the Nile?", "Very \u00e9long\u00e9."),
        meta_user="ana",
        meta_organisation="acme",
        meta_prompt="support",
        meta_environment="staging",
        metadata='{"plan":"gold"}',
        tags='["beta"]',
        requested_model="gpt-9",
        upstream="mirror",
        status=429,
        streamed=True,
        started_at_ms=START_MS + 50_000,
    )
    await api.give({"trace_id": "wanted", "value": 7})
    await api.exchange("other", bodies=asking("Hi", "Hello"), started_at_ms=START_MS + 90_000)


@pytest.mark.parametrize(
    "wanted",
    [
        {"trace_id": "wanted"},
        {"q": "long is the nile"},
        {"q": "NILE"},
        {"user": "ana"},
        {"organisation": "acme"},
        {"prompt": "support"},
        {"environment": "staging"},
        {"metadata[plan]": "gold"},
        {"tag": "beta"},
        {"model": "gpt-9"},
        {"upstream": "mirror"},
        {"status": "429"},
        {"status": "error"},
        {"streamed": "true"},
        {"has_feedback": "true"},
        {"min_value": "7"},
        {"min_value": "-10", "max_value": "7"},
        {"min_weighted_mean": "6.5"},
        {"since": "2027-01-15T08:00:00Z", "until": "2027-01-15 08:01"},
        {"user": "ana", "q": "nile", "tag": "beta", "upstream": "mirror", "metadata[plan]": "gold"},
    ],
)
async def test_every_filter_finds_what_fits_and_nothing_else(tmp_path: Path, wanted: dict[str, str]) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await store(dashboard)
        assert await dashboard.traces() == ["other", "wanted"]
        page = await dashboard.page("/ui/logs", **wanted)
    assert traces_in(page) == ["wanted"]


@pytest.mark.parametrize(
    "missed",
    [
        {"q": "amazon"},
        {"user": "ben"},
        {"metadata[plan]": "lead"},
        {"tag": "alpha"},
        {"upstream": "openai2"},
        {"status": "418"},
        {"min_value": "8"},
        {"since": "2027-01-16"},
        {"until": "2027-01-14"},
        {"q": "%"},
        {"q": "nile_"},
    ],
)
async def test_what_fits_nothing_says_so(tmp_path: Path, missed: dict[str, str]) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await store(dashboard)
        page = await dashboard.page("/ui/logs", **missed)
    assert traces_in(page) == []
    assert "No trace fits" in page


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"status": "many"}, "Status: 'many' is not a status"),
        ({"min_value": "11"}, "Score from: '11' is not a whole number"),
        ({"since": "yesterday"}, "Since: 'yesterday' is not a time"),
        ({"since": "1800000000000"}, "milliseconds perhaps"),
        ({"min_value": "5", "max_value": "1"}, "Score from is above Score to"),
        ({"usr": "ana"}, "usr: there is no such filter"),
        ({"streamed": "maybe"}, "Streamed: 'maybe' is not true or false"),
        ({"max_weighted_mean": "nan"}, "Mean to: 'nan' is not a number"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_named_and_finds_nothing(
    tmp_path: Path, filters: dict[str, str], words: str
) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await store(dashboard)
        page = await dashboard.page("/ui/logs", expect=400, **filters)
    assert words in unescape(page)
    assert traces_in(page) == []


async def test_a_form_leads_to_a_short_url_that_can_be_shared(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        answer = await dashboard.client.get(
            "/ui/logs?q=&user=ana+b&status=&metadata_key=plan&metadata_value=gold+1&since="
        )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/ui/logs?user=ana%20b&metadata[plan]=gold%201"


async def test_a_filter_that_is_on_can_be_taken_away_by_itself(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        page = await dashboard.page("/ui/logs", user="ana", has_feedback="true")
    links = [unescape(link) for link in re.findall(r'<li><a href="([^"]+)" aria-label="Remove', page)]
    assert links == ["/ui/logs?has_feedback=true", "/ui/logs?user=ana"]


async def test_text_is_found_in_answers_that_came_in_pieces(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        body = bodies({"messages": []}, streaming("The hel", "met is gr", "een."))
        await dashboard.api.exchange("streamed", bodies=body, streamed=True)
        assert await dashboard.traces(q="helmet is green") == ["streamed"]
        assert await dashboard.traces(q="helmet is red") == []


@pytest.mark.parametrize("text", ["gr\u00fcn", 'say "no"', "two\nlines", "50% of\\all", "\U0001f600"])
async def test_text_is_found_however_json_spells_it(tmp_path: Path, text: str) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("plain", bodies=asking(f"it is {text} here"))
        body = json.dumps({"messages": [{"role": "user", "content": text}]})
        await dashboard.api.exchange("escaped", bodies=bodies(body))
        assert await dashboard.traces(q=text) == ["escaped", "plain"]


async def test_a_search_that_runs_out_of_time_says_how_far_it_looked_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "SEARCH_MS", 0.0)
    monkeypatch.setattr("gateway.store.browse._FIRST_STEP", 10)
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("needle", bodies=asking("find me"))
        for number in range(24):
            await dashboard.api.exchange(f"hay{number}", bodies=asking("hay"))
        page = await dashboard.page("/ui/logs", q="find me")
        assert traces_in(page) == []
        assert "Searched 10 traces, the newest." in plain(page)
        for _ in range(2):
            further = re.search(r'rel="next" href="([^"]+)">Search further back', page)
            assert further
            page = await dashboard.page(unescape(further[1]))
    assert traces_in(page) == ["needle"]
    assert "Search further back" not in page


async def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange(
            "hostile",
            bodies=asking(HOSTILE),
            requested_model="<b>model</b>",
            answering_model=None,
            metadata='{"<i>":"<u>"}',
        )
        page = await dashboard.page("/ui/logs")
        filtered = await dashboard.page("/ui/logs", user='"><script>', **{"metadata[<i>]": "<u>"})
    for text in (page, filtered):
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "<b>model" not in text
        assert '"><script>' not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "U+202E" in page
    assert "U+001B" in page


async def test_an_empty_store_teaches_what_to_run(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        words = plain(await dashboard.page("/ui/logs"))
    assert "curl -s http://gateway/v1/chat/completions" in words
    assert "curl -s http://gateway/v1/feedback" in words


async def test_feedback_that_waits_for_its_request_is_in_the_list(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.give({"trace_id": "to-come", "value": 1})
        page = await dashboard.page("/ui/logs")
        trace = await dashboard.page("/ui/trace", id="to-come")
    assert "feedback that waits for its request" in page
    assert "x-trace-id: to-come" in trace


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}, "u"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}
                ]
            },
            "a",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "(an image or a file)"),
        ({"messages": [{"role": "assistant", "content": "only"}]}, "only"),
        ({"input": "a question"}, "a question"),
        ({"input": ["red", "blue"]}, "red \u00b7 blue"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hey"}]}]}, "hey"),
        ({"prompt": "complete me"}, "complete me"),
        ({"messages": "nonsense", "input": 5}, None),
        (b'{"model":"m","messages":[{"role":"user","content":"cut of', "cut of"),
        (b'{"messages":[{"content":"first","role":"user"},{"role', "first"),
        (b"\xff\xfe not json", None),
        (b"[1,2]", None),
        (None, None),
    ],
)
def test_the_first_words_of_a_user_are_found_in_any_request(request_body: Any, words: str | None) -> None:
    assert first_words(bodies(request_body).request_head) == words


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*(field.name for field in FIELDS), "after", "metadata[a]", "x"]), st.text()
        )
    )
)
def test_no_url_breaks_the_filters(pairs: list[tuple[str, str]]) -> None:
    query_string = urlencode(pairs, errors="replace").encode()
    chosen = filters.read(query_string, START_MS)
    assert filters.read(chosen.url().partition("?")[2].encode(), START_MS).given == chosen.given
    assert all(applied.words for applied in chosen.applied)
    short = filters.canonical(query_string)
    assert short is None or filters.canonical(short.partition("?")[2].encode()) is None
