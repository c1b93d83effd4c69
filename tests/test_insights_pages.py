"""Insights over HTTP: the page, its tables and CSV, and bars that lead to what they count."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.records.insights import HOUR_MS
from gateway.store.roller import Roller
from tests.own_api import START_MS
from tests.own_dashboard import Dashboard, own_dashboard, traces_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOSTILE = '<script>alert(1)</script>"&\u202e=1+1'


@pytest.fixture
async def dashboard(tmp_path: Path) -> AsyncIterator[Dashboard]:
    async with own_dashboard(tmp_path) as opened:
        yield opened


async def table(dashboard: Dashboard, chart: str, **query: Any) -> list[dict[str, str]]:
    """The CSV of a chart."""
    response = await dashboard.client.get("/ui/insights.csv", params={"chart": chart, **query})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(response.text)))


def bars(html: str, chart: str) -> list[tuple[str, str]]:
    """The title and the address of each bar of a chart."""
    figure = re.search(rf'<figure class="card plot" id="{chart}">(.*?)</figure>', html, re.DOTALL)
    assert figure, html
    found = re.findall(r'<a href="([^"]*)" tabindex="-1"><title>([^<]*)</title>', figure[1])
    return [(unescape(title), unescape(href)) for href, title in found]


async def test_an_empty_store_is_told_what_to_do(dashboard: Dashboard) -> None:
    html = await dashboard.page("/ui/insights")
    assert "Nothing in this time" in html
    assert "curl http://gateway/v1/feedback" in unescape(html)


@pytest.mark.parametrize("counted", [False, True])
async def test_every_chart_has_a_table_and_a_csv_with_its_numbers(
    dashboard: Dashboard, counted: bool
) -> None:
    api = dashboard.api
    await api.exchange("t1", latency_ms=100.0)
    await api.exchange("t2", status=500, cost_usd=None)
    await api.give({"trace_id": "t1", "value": 5, "weight": 0.5}, {"trace_id": "t1", "value": -5})
    if counted:
        await Roller(api.database).catch_up()
    html = await dashboard.page("/ui/insights", range="24h")
    names = ["feedback", "mean", "scores", "requests", "errors", "latency", "tokens", "cost"]
    assert re.findall(r'<figure class="card plot" id="(\w+)">', html) == names
    assert html.count('<svg class="chart"') >= len(names)
    for name in names:
        rows = await table(dashboard, name, range="24h")
        assert len(rows) == (21 if name == "scores" else 24)
    [row] = [row for row in await table(dashboard, "requests", range="24h") if row["Requests"] != "0"]
    assert (row["Time (UTC)"], row["Requests"], row["Failed"]) == ("2027-01-15T08:00:00Z", "2", "1")
    [row] = [row for row in await table(dashboard, "mean", range="24h") if row["Weighted mean"]]
    assert float(row["Weighted mean"]) == pytest.approx((5 * 0.5 - 5) / 1.5)
    scores = {row["Score"]: row["Given"] for row in await table(dashboard, "scores", range="24h")}
    assert (scores["-5"], scores["0"], scores["+5"]) == ("1", "0", "1")
    [row] = [row for row in await table(dashboard, "cost", range="24h") if row["Cost (USD)"] != "0.0"]
    assert (row["Cost (USD)"], row["Requests with a price"]) == ("0.25", "1")
    assert "1 of 2 requests have no known price" in html
    [group] = await table(dashboard, "groups", by="upstream")
    assert (group["upstream"], group["Requests"], group["Feedback"]) == ("openai", "2", "2")
    [prompt] = await table(dashboard, "rated-prompt")
    assert (prompt["prompt"], prompt["Scores"], prompt["Few"]) == ("no prompt", "2", "few")


async def test_every_bar_leads_to_the_logs_it_counts(dashboard: Dashboard) -> None:
    api = dashboard.api
    # A long trace: its second request comes five hours after its first, its feedback two hours after that.
    await api.exchange("long", started_at_ms=START_MS - 5 * HOUR_MS)
    await api.exchange("long", status=500)
    await api.exchange("other")
    api.clock.ms += 2 * HOUR_MS
    await api.give({"trace_id": "long", "value": 7}, {"trace_id": "other", "value": -2})
    html = await dashboard.page("/ui/insights", range="24h")

    async def behind(chart: str, words: str) -> list[list[str]]:
        found = [href for title, href in bars(html, chart) if title.endswith(words)]
        return [sorted(traces_in(await dashboard.page(href))) for href in found]

    assert await behind("requests", "1 requests, 0 failed") == [["long"]]
    assert await behind("requests", "2 requests, 1 failed") == [["long", "other"]]
    assert await behind("errors", "50 % of 2 failed") == [["long"]]
    assert await behind("feedback", "2 given") == [["long", "other"]]
    assert await behind("scores", "+7: 1 score") == [["long"]]
    assert await behind("scores", "\u22122: 1 score") == [["other"]]
    assert await behind("scores", "+6: 0 scores") == [[]]


async def test_a_group_leads_to_its_logs_and_to_charts_of_its_own(dashboard: Dashboard) -> None:
    await dashboard.api.exchange("t1", meta_prompt="a b&c")
    await dashboard.api.exchange("t2", meta_prompt="other")
    html = await dashboard.page("/ui/insights", by="prompt")
    links = [unescape(href) for href in re.findall(r'href="([^"]*)"', html)]
    [logs] = [href for href in links if href.startswith("/ui/logs?prompt=a%20b%26c")]
    assert traces_in(await dashboard.page(logs)) == ["t1"]
    [charts] = [href for href in links if href.startswith("/ui/insights?") and "a%20b%26c" in href]
    assert parse_qs(urlsplit(charts).query)["group"] == ["a b&c"]
    narrowed = await table(dashboard, "requests", by="prompt", group="a b&c")
    assert sum(int(row["Requests"]) for row in narrowed) == 1


async def test_what_others_wrote_is_only_text(dashboard: Dashboard) -> None:
    await dashboard.api.exchange("t1", meta_prompt=HOSTILE)
    await dashboard.api.give({"trace_id": "t1", "value": 1})
    for query in ({"by": "prompt"}, {"by": "prompt", "group": HOSTILE}):
        html = await dashboard.page("/ui/insights", **query)
        assert "<script>alert" not in html
        assert "\u202e" not in html
        assert "style=" not in html
    await dashboard.api.exchange("t2", meta_prompt="=cmd|'/c calc'!A1")
    names = [row["prompt"] for row in await table(dashboard, "groups", by="prompt")]
    assert "'=cmd|'/c calc'!A1" in names


async def test_few_scores_are_marked(dashboard: Dashboard) -> None:
    await dashboard.api.exchange("t1", meta_prompt="p")
    await dashboard.api.give(*({"trace_id": "t1", "value": 1} for _ in range(19)))
    assert '<span class="chip warn" title="Below 20 scores' in await dashboard.page("/ui/insights", by="user")
    await dashboard.api.give({"trace_id": "t1", "value": 1})
    assert '<span class="chip warn" title="Below 20 scores' not in await dashboard.page("/ui/insights")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"range": "5y"}, "must be one of 24h, 7d, 30d, 90d, all"),
        ({"since": "tomorrow"}, "must be a date such as 2026-01-31"),
        ({"since": "2027-02-01", "until": "2027-01-01"}, "must not be after until"),
        ({"by": "shoe size"}, "must be one of model, prompt"),
        ({"colour": "red"}, "this page has no such parameter"),
    ],
)
async def test_what_cannot_be_shown_is_said(dashboard: Dashboard, query: dict[str, str], words: str) -> None:
    assert words in unescape(await dashboard.page("/ui/insights", 400, **query))


async def test_an_unknown_chart_is_refused(dashboard: Dashboard) -> None:
    assert "chart: must be one of" in await dashboard.page("/ui/insights.csv", 400, chart="pie")


@pytest.mark.parametrize(
    ("query", "steps", "first"),
    [
        ({"range": "24h"}, 24, "2027-01-14T09:00:00Z"),
        ({"range": "7d"}, 28, "2027-01-09T00:00:00Z"),
        ({"range": "30d"}, 30, "2026-12-17T00:00:00Z"),
        ({"range": "90d"}, 90, "2026-10-18T00:00:00Z"),
        ({"since": "2027-01-15", "until": "2027-01-15"}, 24, "2027-01-15T00:00:00Z"),
        ({"since": "2027-01-01", "until": "2027-01-03"}, 24, "2027-01-01T00:00:00Z"),
        ({"since": "2020-01-01", "until": "2027-01-15"}, 37, "2024-01-02T00:00:00Z"),
        ({"until": "2027-01-15"}, 16, "2027-01-15T08:00:00Z"),
        ({"range": "all"}, 1, "2027-01-15T08:00:00Z"),
    ],
)
async def test_a_time_has_steps_that_fit_a_chart(
    dashboard: Dashboard, query: dict[str, str], steps: int, first: str
) -> None:
    await dashboard.api.exchange("t1")
    rows = await table(dashboard, "requests", **query)
    assert (len(rows), rows[0]["Time (UTC)"]) == (steps, first)
    assert sum(int(row["Requests"]) for row in rows) == (0 if query.get("until") == "2027-01-03" else 1)


async def test_feedback_of_another_century_breaks_nothing(dashboard: Dashboard) -> None:
    await dashboard.api.exchange("t1", started_at_ms=1)
    await dashboard.api.exchange("t2")
    rows = await table(dashboard, "requests", range="all")
    assert sum(int(row["Requests"]) for row in rows) == 1


async def test_one_key_does_not_see_what_another_counts(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, keys={"team-a": "sk-a" * 8}) as dashboard:
        await dashboard.api.exchange("t1")
        response = await dashboard.client.get("/ui/insights")
        assert response.status_code == 303
        assert response.headers["location"].startswith("/ui/login")
