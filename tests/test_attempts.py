"""Attempts: stored with their exchange, read back by the API, the export, the CLI and the dashboard."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.health import upstream_health_shape
from gateway.capture import attempts
from gateway.capture.digest import Digest
from gateway.capture.pricing import Prices
from gateway.config.schema import Capture
from gateway.dashboard.attempts import Bar, timing, tries
from gateway.jsonio import dumps_text, loads
from gateway.records import Attempt, ExchangeRow, TargetHealth, UpstreamHealth
from tests.harness import free_port, run_gateway
from tests.own_api import START_MS, OwnAPI, exchange_row, own_api
from tests.own_dashboard import asking, own_dashboard, traces_in
from tests.test_dashboard_logs import HOSTILE, plain
from tests.test_writer import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.harness import Process

REFUSED = Attempt("first", "openai", "gpt-4o", 429, None, 1.0, 40.0, 1)
UNREACHED = Attempt("first", "openai", "gpt-4o", None, "upstream_unreachable", 141.0, 9.0, 2)
ANSWERED = Attempt("spare", "azure", None, 200, None, 150.0, 250.0)
THREE = (REFUSED, UNREACHED, ANSWERED)


def columns(made: tuple[Attempt, ...] = THREE, **more: Any) -> dict[str, Any]:
    """The columns of an exchange that took these attempts."""
    return {
        "attempts": attempts.stored(made),
        "attempt_count": len(made),
        "target": made[-1].target,
        "upstream": made[-1].upstream,
        "queue_ms": 150.5,
        "first_byte_ms": 400.0,
        "latency_ms": 1000.0,
        **more,
    }


def row(**more: Any) -> ExchangeRow:
    return exchange_row("t1", START_MS, **more)


# --- as they are stored ---

LABELS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=attempts.MAX_LABEL_CHARS)
TIMES = st.floats(0, 1e7).map(lambda ms: round(ms, 3))
ATTEMPTS = st.builds(
    Attempt,
    LABELS,
    LABELS,
    st.none() | LABELS,
    st.none() | st.integers(100, 599),
    st.none() | st.just("upstream_broken"),
    TIMES,
    TIMES,
    st.none() | st.integers(1, 9),
)


@given(st.lists(ATTEMPTS, min_size=1, max_size=8))
def test_what_is_stored_reads_as_it_was(made: list[Attempt]) -> None:
    assert attempts.read(attempts.stored(made)) == made


@pytest.mark.parametrize("count", [1, 99, 100, 101, 5000])
def test_of_very_many_the_first_and_the_last_are_kept_and_all_are_counted(count: int) -> None:
    every = [ANSWERED._replace(started_ms=float(number)) for number in range(1, count + 1)]
    kept = attempts.made(row(attempts=attempts.stored(every), attempt_count=count))
    assert [each.number for each in kept] == [each.attempt.started_ms for each in kept]
    assert (kept[0].number, kept[-1].number, len(kept)) == (1, count, min(count, 100))
    assert attempts.count(row(attempts=attempts.stored(every), attempt_count=count)) == count


def test_a_name_is_kept_to_a_length() -> None:
    [kept] = attempts.read(attempts.stored([ANSWERED._replace(target="x" * 10_000, model="y" * 10_000)]))
    assert (len(kept.target), len(kept.model or "")) == (attempts.MAX_LABEL_CHARS,) * 2


def test_a_name_that_is_no_unicode_costs_the_attempts_and_not_the_exchange() -> None:
    assert attempts.stored([ANSWERED._replace(target="\ud800")]) is None


def test_an_exchange_of_one_plain_target_stores_nothing_of_all_this() -> None:
    stored = Digest(Capture(), Prices(), {})(exchange(1)).row
    assert (stored.target, stored.cache_status, stored.attempt_count, stored.attempts) == (None,) * 4


def test_an_exchange_of_several_attempts_stores_them() -> None:
    stored = Digest(Capture(), Prices(), {})(exchange(1, attempts=THREE, target="spare")).row
    assert (stored.target, stored.attempt_count) == ("spare", 3)
    assert attempts.read(stored.attempts) == list(THREE)


@pytest.mark.parametrize(
    ("cache_status", "is_free"), [("hit", True), ("shared", True), ("miss", False), (None, False)]
)
def test_an_answer_from_the_cache_costs_nothing(cache_status: str | None, is_free: bool) -> None:
    body = b'{"model":"gpt-4o","usage":{"prompt_tokens":1000,"completion_tokens":1000}}'
    asked = exchange(1)
    asked.response = asked.response._replace(head=body, tail=b"", size=len(body))
    asked.response_headers = [(b"content-type", b"application/json")]
    asked.cache_status = cache_status
    stored = Digest(Capture(), Prices(), {"openai": "https://api.openai.com/v1"})(asked).row
    assert stored.cache_status == cache_status
    assert stored.prompt_tokens == 1000
    assert stored.cost_usd == 0.0 if is_free else (stored.cost_usd or 0) > 0


# --- the one attempt of an exchange that stored none ---


@pytest.mark.parametrize(
    ("given", "status", "error_kind"),
    [
        ({}, 200, None),
        ({"status": 502}, 502, None),
        ({"error_kind": "upstream_aborted"}, 200, "upstream_aborted"),
        (
            {"status": 502, "error_kind": "upstream_unreachable", "first_byte_ms": None, "queue_ms": None},
            None,
            "upstream_unreachable",
        ),
        ({"status": 504, "error_kind": "upstream_timeout", "first_byte_ms": None}, None, "upstream_timeout"),
        ({"status": 499, "error_kind": "client_closed"}, None, "client_closed"),
    ],
)
def test_an_exchange_without_attempts_is_its_own(
    given: dict[str, Any], status: int | None, error_kind: str | None
) -> None:
    [(number, attempt)] = attempts.made(row(**given))
    assert (number, attempt.target, attempt.upstream) == (1, "openai", "openai")
    assert (attempt.status, attempt.error_kind) == (status, error_kind)
    assert attempt.started_ms + attempt.latency_ms <= 12.5


@pytest.mark.parametrize(
    "given",
    [
        {"upstream": None},
        {"cache_status": "hit"},
        {"cache_status": "shared"},
        {"status": 400, "error_kind": "invalid_field", "queue_ms": None, "first_byte_ms": None},
    ],
)
def test_where_no_upstream_was_asked_there_was_no_attempt(given: dict[str, Any]) -> None:
    assert attempts.made(row(**given)) == ()
    assert attempts.count(row(**given)) == 0


# --- the API and the export ---


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OwnAPI]:
    async with own_api(tmp_path) as opened:
        yield opened


async def test_every_way_to_read_an_exchange_shows_its_attempts(api: OwnAPI) -> None:
    exchange_id = await api.exchange("t1", **columns())
    logs = [
        await api.get(f"/v1/logs/{exchange_id}"),
        (await api.get("/v1/logs"))["data"][0],
        (await api.get("/v1/traces/t1"))["exchanges"][0],
        loads((await api.client.get("/v1/export/exchanges")).content),
    ]
    for log in logs:
        assert (log["target"], log["attempt_count"], log["cache_status"]) == ("spare", 3, None)
        assert log["attempts"] == [
            {"number": number, **attempt._asdict()} for number, attempt in enumerate(THREE, 1)
        ]


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"target": "spare"}, 1),
        ({"retried": "true"}, 1),
        ({"retried": "false"}, 1),
        ({"cache_status": "hit"}, 1),
    ],
)
async def test_the_export_takes_the_same_filters(api: OwnAPI, params: dict[str, str], found: int) -> None:
    await api.exchange("t1", **columns())
    await api.exchange("t2", cache_status="hit")
    lines = (await api.client.get("/v1/export/exchanges", params=params)).content.splitlines()
    assert len(lines) == found


async def test_a_cache_status_that_is_none_is_refused_with_those_there_are(api: OwnAPI) -> None:
    answer = await api.client.get("/v1/logs?cache_status=hot")
    assert answer.status_code == 400
    assert "hit, miss, refresh, shared" in answer.json()["error"]["message"]


async def test_a_filter_for_what_is_rare_looks_at_nothing_else(api: OwnAPI) -> None:
    """Every one has an index of its own rows, so that a million others do not matter."""
    plans = await api.database.read(
        lambda connection: [
            str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").fetchall())
            for sql in (
                "SELECT seq FROM exchange WHERE key_id = 'default' AND attempt_count > 1 LIMIT 2001",
                "SELECT trace_id FROM exchange WHERE key_id = 'default' AND target = 'x' LIMIT 2001",
                "SELECT trace_id FROM exchange WHERE key_id = 'default' AND cache_status = 'hit' LIMIT 2001",
            )
        ]
    )
    for plan, index in zip(plans, ("retried", "target", "cache_status"), strict=True):
        assert f"COVERING INDEX ix_exchange_{index} " in plan


# --- the dashboard ---


async def test_the_page_of_a_trace_shows_each_attempt_and_marks_the_answer(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("talk", bodies=asking("Hi"), **columns())
        page = await dashboard.page("/ui/trace", id="talk")
        listed = plain(await dashboard.page("/ui/logs"))
    words = plain(page)
    assert "3 attempts" in words
    assert "1 first openai \u00b7 gpt-4o 1 429 1 ms 40 ms" in words
    assert "2 first openai \u00b7 gpt-4o 2 upstream_unreachable 100 ms 9 ms" in words
    assert "3 spare azure \u2013 200 answered 0.0 ms 250 ms" in words
    assert len(re.findall('<tr class="answer">', page)) == 1
    assert "queued for" not in words, "with several attempts, the table says it"
    assert "retried \u00d72 fallback to spare" in listed


async def test_retries_at_one_target_are_no_fallback(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("talk", **columns((REFUSED, REFUSED), status=429))
        listed = plain(await dashboard.page("/ui/logs"))
        words = plain(await dashboard.page("/ui/trace", id="talk"))
    assert "retried \u00d71" in listed
    assert "fallback" not in listed
    assert "429 answered" in words, "the client was given the last one's answer, good or bad"


async def test_an_attempt_that_failed_last_answered_nothing(tmp_path: Path) -> None:
    made = (REFUSED, UNREACHED)
    failed = {"status": 502, "error_kind": "upstream_unreachable", "first_byte_ms": None}
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("talk", **columns(made, **failed))
        page = await dashboard.page("/ui/trace", id="talk")
    assert 'class="answer"' not in page


@pytest.mark.parametrize(
    ("cache_status", "chip", "words"),
    [
        ("hit", "cached", "none: answered from the cache"),
        ("shared", "shared", "none: answered with the call of an equal request"),
        ("miss", "cache miss", "1, at openai"),
    ],
)
async def test_what_the_cache_did_is_shown(tmp_path: Path, cache_status: str, chip: str, words: str) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("talk", cache_status=cache_status, cost_usd=0.0)
        page = plain(await dashboard.page("/ui/trace", id="talk"))
        listed = plain(await dashboard.page("/ui/logs"))
    assert chip in page
    assert f"Attempts {words}" in page
    assert ("cached" in listed) is (cache_status != "miss")


async def test_attempts_that_were_not_kept_are_counted(tmp_path: Path) -> None:
    many = tuple(REFUSED._replace(started_ms=number * 2.0, latency_ms=1.0) for number in range(130))
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("talk", **columns(many))
        words = plain(await dashboard.page("/ui/trace", id="talk"))
    assert "130 attempts" in words
    assert "30 more, not kept" in words


async def test_hostile_labels_stay_text(tmp_path: Path) -> None:
    label = f"\u202e\x1b[31m<b>{HOSTILE}"
    made = (
        Attempt(label, label, label, 500, label, 0.0, 1.0),
        Attempt(label[::-1], label, label, 200, None, 1.0, 2.0),
    )
    async with own_dashboard(tmp_path) as dashboard:
        stored = dumps_text([attempt._asdict() for attempt in made])
        await dashboard.api.exchange("hostile", **columns(made, attempts=stored, cache_status=label))
        pages = [await dashboard.page("/ui/trace", id="hostile"), await dashboard.page("/ui/logs")]
        pages.append(await dashboard.page("/ui/logs", target=label))
        await dashboard.page("/ui/logs", expect=400, cache_status=label)
    for page in pages:
        assert "<b>" not in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    for page in pages[:2]:
        assert "\x1b" not in page
        assert "\u202e" not in page


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"target": "spare"}, ["retried"]),
        ({"target": "nobody"}, []),
        ({"retried": "true"}, ["retried"]),
        ({"retried": "false"}, ["cached", "plain"]),
        ({"cache_status": "hit"}, ["cached"]),
        ({"retried": "true", "q": "retried"}, ["retried"]),
        ({"cache_status": "hit", "target": "spare"}, []),
    ],
)
async def test_the_logs_are_filtered_by_how_their_answers_came(
    tmp_path: Path, wanted: dict[str, str], found: list[str]
) -> None:
    async with own_dashboard(tmp_path) as dashboard:
        await dashboard.api.exchange("plain", bodies=asking("plain"))
        await dashboard.api.exchange("retried", bodies=asking("retried"), **columns())
        await dashboard.api.exchange("cached", bodies=asking("cached"), cache_status="hit")
        assert traces_in(await dashboard.page("/ui/logs", **wanted)) == found


SHORT = st.floats(0, 5_000)
COURSES = st.lists(st.tuples(SHORT, SHORT), max_size=6)


@given(COURSES, SHORT, SHORT | st.none(), SHORT | st.none(), st.floats(0, 30_000))
def test_bars_lie_one_behind_another_within_their_width(
    course: list[tuple[float, float]],
    latency_ms: float,
    queue_ms: float | None,
    first_byte_ms: float | None,
    longest_ms: float,
) -> None:
    made, at_ms = [], 0.0
    for pause_ms, took_ms in course:
        made.append(REFUSED._replace(started_ms=at_ms + pause_ms, latency_ms=took_ms))
        at_ms += pause_ms + took_ms
    made_row = row(
        latency_ms=latency_ms,
        queue_ms=queue_ms,
        first_byte_ms=first_byte_ms,
        attempts=attempts.stored(made),
        attempt_count=len(made) or None,
    )
    read = attempts.made(made_row)
    check(timing(made_row, read, longest_ms))
    for each in tries(made_row, read):
        check(each.bars)
        assert each.waited_ms >= 0


def check(bars: tuple[Bar, ...]) -> None:
    at = 0
    for bar in bars:
        assert bar.start >= at
        assert bar.width > 0
        at = bar.start + bar.width
    assert at <= 1000


def test_the_whole_bar_shows_attempts_and_the_pauses_between() -> None:
    bars = timing(row(**columns()), attempts.made(row(**columns())), 1000.0)
    assert [(bar.kind, bar.start, bar.width) for bar in bars] == [
        ("queue", 0, 1),
        ("failed", 1, 40),
        ("pause", 41, 100),
        ("failed", 141, 9),
        ("wait", 150, 250),
        ("flow", 400, 600),
    ]


# --- health ---

RESTING = UpstreamHealth(
    targets=(
        TargetHealth(
            target="openai/<b>gpt</b>",
            state="resting",
            failures=6,
            rests_until_ms=START_MS + 30_000,
            last_error="upstream_unreachable",
            in_flight=1,
        ),
        TargetHealth(target="openai"),
    ),
    in_flight=3,
    retries_left=4.7,
    keys=3,
    keys_resting=2,
)


async def test_the_status_page_says_how_upstreams_are_right_now(tmp_path: Path) -> None:
    async with own_dashboard(tmp_path, upstream_health=lambda: {"openai": RESTING}) as dashboard:
        page = await dashboard.page("/ui/status")
    words = plain(page)
    assert "openai 3 4 2 of 3" in words
    assert "openai/<b>gpt</b> Resting 6 2027-01-15 08:00:30 upstream_unreachable 1" in words
    assert "<b>gpt" not in page


@pytest.mark.parametrize("health", [{}, {"openai": UpstreamHealth(targets=(TargetHealth(target="openai"),))}])
async def test_where_nothing_failed_the_status_page_says_so(
    tmp_path: Path, health: dict[str, UpstreamHealth]
) -> None:
    async with own_dashboard(tmp_path, upstream_health=lambda: health) as dashboard:
        assert "Right now no target fails or rests." in plain(await dashboard.page("/ui/status"))


def test_readiness_says_the_same_as_json() -> None:
    shape = upstream_health_shape(RESTING)
    assert (shape["in_flight"], shape["retries_left"], shape["keys"], shape["keys_resting"]) == (3, 4.7, 3, 2)
    assert shape["targets"][0] == {
        "target": "openai/<b>gpt</b>",
        "state": "resting",
        "failures": 6,
        "rests_until": "2027-01-15T08:00:30.000Z",
        "last_error": "upstream_unreachable",
        "in_flight": 1,
    }
    assert shape["targets"][1]["rests_until"] is None


# --- a running gateway ---


def test_what_a_fallback_went_through_is_seen_everywhere(fake_openai: Process) -> None:
    config = {
        "upstreams": {
            "gone": {"base_url": f"http://127.0.0.1:{free_port()}/v1", "rest_after_failures": 1},
            "fake": {"base_url": f"{fake_openai.url}/v1"},
        },
        "routes": [
            {
                "models": ["*"],
                "strategy": {"mode": "fallback"},
                "targets": [{"upstream": "gone", "name": "first"}, {"upstream": "fake", "name": "spare"}],
            }
        ],
    }
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    with run_gateway(config) as gateway, httpx.Client(base_url=gateway.url) as http:
        for trace in ("t1", "t2"):
            http.post("/v1/chat/completions", json=body, headers={"x-trace-id": trace}).raise_for_status()
        [later, first] = http.get("/v1/logs", params={"target": "spare"}).json()["data"]
        page = plain(http.get("/ui/trace?id=t1").text)
        listed = traces_in(http.get("/ui/logs?retried=true").text)
        status = plain(http.get("/ui/status").text)
        resting = http.get("/readyz").json()["upstreams"]["gone"]["targets"]
    assert [(each["target"], each["status"], each["error_kind"]) for each in first["attempts"]] == [
        ("first", None, "upstream_unreachable"),
        ("spare", 200, None),
    ]
    assert [each["target"] for each in later["attempts"]] == ["spare"], "the first one rests"
    assert "upstream_unreachable" in page
    assert "2 spare fake 200 answered" in page
    assert listed == ["t1"]
    assert [(each["state"], each["failures"]) for each in resting] == [("resting", 1)]
    assert "gone Resting 1" in status
