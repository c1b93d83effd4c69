"""GET /v1/traces and /v1/traces/{trace_id}."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from sqlalchemy import Connection, event

from gateway.records import FeedbackFilter, LogFilter, TraceFilter
from gateway.store import feedback_list, logs, search, traces
from tests.own_api import OwnAPI, own_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path, max_items_shown=3) as opened:
        yield opened


async def test_a_trace_sums_up_its_exchanges_and_its_feedback(api: OwnAPI) -> None:
    await api.exchange("t1")
    await api.exchange("t1", status=500, error_kind="upstream_error", answering_model=None, cost_usd=None)
    await api.give(
        {"trace_id": "t1", "value": 5},
        {"trace_id": "t1", "value": 5},
        {"trace_id": "t1", "value": -10, "weight": 0.5},
    )
    [trace] = (await api.get("/v1/traces"))["data"]
    assert trace == {
        "object": "trace",
        "id": "t1",
        "trace_id": "t1",
        "first_at": "2027-01-15T08:00:00.001Z",
        "last_at": "2027-01-15T08:00:00.002Z",
        "exchange_count": 2,
        "error_count": 1,
        "models": ["gpt-4o", "gpt-4o-2024-08-06"],
        "tokens": {"prompt": 20, "completion": 40},
        "cost_usd": 0.25,
        "feedback": {
            "count": 3,
            "score_count": 3,
            "pairs": [{"value": -10, "weight": 0.5, "count": 1}, {"value": 5, "weight": 1.0, "count": 2}],
            "sum_weight": 2.5,
            "weighted_mean": 2.0,
            "mean_weighted_value": pytest.approx(5 / 3),
        },
    }


async def test_weights_of_zero_have_no_weighted_mean(api: OwnAPI) -> None:
    await api.give({"trace_id": "t1", "value": 5, "weight": 0})
    feedback = (await api.get("/v1/traces/t1"))["feedback"]
    assert (feedback["count"], feedback["weighted_mean"], feedback["mean_weighted_value"]) == (1, None, 0.0)


async def test_one_trace_shows_its_newest_exchanges_and_feedback(api: OwnAPI) -> None:
    exchanges = [await api.exchange("t1") for _ in range(4)]
    given = [(await api.give({"trace_id": "t1", "value": n}))[0] for n in range(3)]
    await api.exchange("t2")
    trace = await api.get("/v1/traces/t1")
    assert [log["id"] for log in trace["exchanges"]] == exchanges[:0:-1]
    assert trace["exchanges_has_more"] is True
    assert [item["id"] for item in trace["feedback_items"]] == given[::-1]
    assert trace["feedback_items_has_more"] is False
    assert {log["feedback"]["count"] for log in trace["exchanges"]} == {3}
    assert "request" not in trace["exchanges"][0]


async def test_a_trace_without_feedback_has_an_empty_summary(api: OwnAPI) -> None:
    await api.exchange("t1")
    assert (await api.get("/v1/traces/t1"))["feedback"] == {
        "count": 0, "score_count": 0, "pairs": [], "sum_weight": 0.0, "weighted_mean": None,
        "mean_weighted_value": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "trace_id", ["a/b", "a//b", "/a", "a/", "100%", "%2F", "a?b#c&d=e", "a+b", "!~", "..."]
)
async def test_a_trace_id_may_have_any_visible_ascii(api: OwnAPI, trace_id: str) -> None:
    await api.give({"trace_id": trace_id, "value": 1})
    assert (await api.get(f"/v1/traces/{quote(trace_id, safe='')}"))["trace_id"] == trace_id
    assert (await api.get(f"/v1/traces/{quote(trace_id, safe='')}/"))["trace_id"] == trace_id
    assert await api.ids("/v1/traces", trace_id=trace_id) == [trace_id]


@pytest.mark.parametrize("trace_id", ["nothing", "%00", "a%0Ab", "%F0%9F", "%ff", "x" * 2000])
async def test_a_trace_that_is_not_there_is_a_404(api: OwnAPI, trace_id: str) -> None:
    response = await api.client.get(f"/v1/traces/{trace_id}")
    assert response.status_code == 404
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


async def test_another_keys_traces_are_not_seen(api: OwnAPI) -> None:
    other = await api.exchange("t1", key_id="other", meta_user="ann")
    assert await api.ids("/v1/traces") == []
    assert await api.ids("/v1/traces", user="ann") == []
    assert await api.ids("/v1/logs") == []
    assert await api.ids("/v1/logs", user="ann") == []
    for path in ("/v1/traces/t1", f"/v1/logs/{other}"):
        assert (await api.client.get(path)).status_code == 404


async def test_the_list_is_newest_first_and_pages_with_after(api: OwnAPI) -> None:
    for n in range(7):
        await api.exchange(f"t{n}")
    await api.exchange("t0")  # a later exchange does not move a trace: pages stay as they are
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        page = await api.get("/v1/traces", limit=3, **({"after": seen[-1]} if seen else {}))
        seen += [trace["id"] for trace in page["data"]]
        assert page["last_id"] == seen[-1]
    assert seen == [f"t{n}" for n in range(6, -1, -1)]


FILTERS = [
    ({}, "abcd"),
    ({"trace_id": "a"}, "a"),
    ({"user": "ann"}, "ab"),
    ({"user": "fred"}, "d"),
    ({"user": "nobody"}, ""),
    ({"organisation": "acme"}, "a"),
    ({"prompt": "p1"}, "b"),
    ({"environment": "prod"}, "ab"),
    ({"metadata[plan]": "7"}, "a"),
    ({"metadata[plan]": "free"}, "bd"),
    ({"metadata[plan]": "none"}, ""),
    ({"min_value": 5}, "ad"),
    ({"max_value": -1}, "a"),
    ({"min_value": 0, "max_value": 1}, "b"),
    ({"model": "gpt-4o"}, "ab"),
    ({"model": "gpt-4o-2024-08-06"}, "ac"),
    ({"model": "o3"}, "c"),
    ({"status": 200}, "ac"),
    ({"status": 429}, "b"),
    ({"status": 404}, ""),
    ({"status": "error"}, "bc"),
    ({"status": "ok"}, "a"),
    ({"has_feedback": "true"}, "abd"),
    ({"has_feedback": "false"}, "c"),
    ({"min_weighted_mean": 0}, "bd"),
    ({"max_weighted_mean": -0.5}, "a"),
    ({"min_weighted_mean": 0.5, "max_weighted_mean": 1.5}, "b"),
    ({"since": "1800000000.003"}, "cd"),
    ({"until": "1800000000.003"}, "ab"),
    ({"user": "ann", "status": "error"}, "b"),
    ({"user": "ann", "environment": "prod", "model": "gpt-4o", "has_feedback": "true"}, "ab"),
    ({"user": "ann", "metadata[plan]": "free", "since": "2027-01-15"}, "b"),
]


@pytest.mark.parametrize(("params", "found"), FILTERS)
@pytest.mark.parametrize("few", [search.FEW_ROWS, 0], ids=["look up", "walk"])
async def test_filters_find_what_they_name(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any], found: str, few: int
) -> None:
    monkeypatch.setattr(search, "FEW_ROWS", few)
    monkeypatch.setattr(logs, "FEW_ROWS", few)
    await api.exchange("a", meta_user="ann", meta_organisation="acme", metadata='{"plan":7,"_user":"ann"}')
    await api.exchange(
        "b",
        meta_user="ann",
        meta_environment="prod",
        metadata='{"plan":"free"}',
        status=429,
        answering_model=None,
    )
    await api.exchange("c", requested_model="o3", error_kind="upstream_aborted")
    prod = {"_environment": "prod"}
    await api.give(
        {"trace_id": "d", "value": 9, "metadata": {"_user": "fred", "plan": "free"}},
        {"trace_id": "a", "value": -10, "metadata": prod},
        {"trace_id": "a", "value": 5},
        {"trace_id": "b", "value": 1, "metadata": {"_prompt": "p1"}},
    )
    assert sorted(await api.ids("/v1/traces", **params)) == list(found)


async def test_retracted_feedback_matches_no_filter(api: OwnAPI) -> None:
    await api.exchange("a")
    [feedback_id] = await api.give({"trace_id": "a", "value": 9, "metadata": {"_user": "fred", "k": "v"}})
    await api.client.delete(f"/v1/feedback/{feedback_id}")
    for params in ({"user": "fred"}, {"metadata[k]": "v"}, {"min_value": 9}, {"has_feedback": "true"}):
        assert await api.ids("/v1/traces", **params) == []


@pytest.mark.parametrize(
    ("query", "param", "says"),
    [
        ("min_wieghted_mean=1", "min_wieghted_mean", 'did you mean "min_weighted_mean"?'),
        ("streamed=true", "streamed", "unknown parameter"),
        ("status=bad", "status", '"error" or "ok"'),
        ("status=600", "status", "100 to 599"),
        ("has_feedback=maybe", "has_feedback", "true or false"),
        ("min_weighted_mean=nan", "min_weighted_mean", "-10 to 10"),
        ("max_weighted_mean=10.5", "max_weighted_mean", "-10 to 10"),
        ("min_weighted_mean=2&max_weighted_mean=1", "min_weighted_mean", "swap"),
        ("after=t9", "after", "not in this list"),
    ],
)
async def test_a_wrong_parameter_is_named_with_its_remedy(
    api: OwnAPI, query: str, param: str, says: str
) -> None:
    response = await api.client.get(f"/v1/traces?{query}")
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, "invalid_field")
    assert says in error["message"]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/traces/", "/v1/traces/t1", "/v1/logs", "/v1/logs/x"])
async def test_reading_is_all_there_is(api: OwnAPI, path: str) -> None:
    response = await api.client.post(path)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert response.json()["error"]["code"] == "method_not_allowed"


async def test_a_path_that_is_not_ours_is_a_404_in_json(api: OwnAPI) -> None:
    response = await api.client.get("/v2/traces")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "unknown_path"


def _feedback(filters: dict[str, Any], connection: Connection) -> Any:
    return feedback_list.find(connection, "default", FeedbackFilter(**filters), limit=5)


LISTS: list[tuple[str, Callable[[Connection], Any]]] = [
    ("traces", lambda c: traces.find(c, "default", TraceFilter(), limit=5)),
    ("traces after", lambda c: traces.find(c, "default", TraceFilter(), limit=5, after="t5")),
    ("traces since", lambda c: traces.find(c, "default", TraceFilter(since_ms=1, until_ms=9), limit=5)),
    ("traces failed", lambda c: traces.find(c, "default", TraceFilter(failed=True), limit=5)),
    ("traces rated", lambda c: traces.find(c, "default", TraceFilter(has_feedback=True), limit=5)),
    ("traces user", lambda c: traces.find(c, "default", TraceFilter(user="ann"), limit=5)),
    ("traces model", lambda c: traces.find(c, "default", TraceFilter(model="gpt-4o"), limit=5)),
    ("logs", lambda c: logs.find(c, "default", LogFilter(), limit=5)),
    ("logs trace", lambda c: logs.find(c, "default", LogFilter(trace_id="t5"), limit=5)),
    ("logs failed", lambda c: logs.find(c, "default", LogFilter(failed=True), limit=5)),
    ("logs user", lambda c: logs.find(c, "default", LogFilter(user="ann"), limit=5)),
    ("logs rated", lambda c: logs.find(c, "default", LogFilter(has_feedback=True), limit=5)),
    ("feedback of a trace", lambda c: feedback_list.of_trace(c, "default", "t5", limit=5)),
    ("feedback of a log", lambda c: feedback_list.of_exchange(c, "default", "x", "t5", limit=5)),
    *(
        (f"feedback {filters}", partial(_feedback, filters))
        for filters in (
            {},
            {"trace_id": "t5"},
            {"request_id": "t5"},
            {"user": "ann"},
            {"name": "feedback"},
            {"kind": "score"},
            {"signal": "explicit"},
            {"source_type": "API"},
            {"source_id": "ann"},
            {"label": "good"},
            {"min_value": 0.5, "max_value": 1},
            {"include_retracted": True},
            {"since_ms": 1, "until_ms": 9},
        )
    ),
]


@pytest.mark.parametrize(("name", "find"), LISTS, ids=[name for name, _ in LISTS])
async def test_a_walk_through_a_list_sorts_nothing_and_scans_no_table(
    api: OwnAPI, monkeypatch: pytest.MonkeyPatch, name: str, find: Callable[[Connection], Any]
) -> None:
    monkeypatch.setattr(search, "FEW_ROWS", 0)  # as with a million rows
    for n in range(10):
        await api.exchange(f"t{n}", meta_user="ann", status=500)
    await api.give(
        *({"trace_id": f"t{n}", "value": 1, "metadata": {"_user": "ann"}} for n in range(10)),
        *({"trace_id": f"t{n}", "name": "mood", "value": "good"} for n in range(10)),
    )

    def plans(connection: Connection) -> list[str]:
        statements: list[Any] = []
        event.listen(
            connection.engine,
            "before_cursor_execute",
            lambda *args: statements.append(args[2:4]),
            named=False,
        )
        find(connection)
        raw: Any = connection.connection.dbapi_connection
        rows = [raw.execute(f"EXPLAIN QUERY PLAN {sql}", params).fetchall() for sql, params in statements]
        return [row[3] for plan in rows for row in plan]

    plan = "\n".join(await api.database.read(plans))
    assert "TEMP B-TREE" not in plan, plan
    for table in ("trace", "exchange", "feedback", "trace_model", "trace_score"):
        assert f"SCAN {table}\n" not in f"{plan}\n", plan
