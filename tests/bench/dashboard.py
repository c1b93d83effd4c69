"""Pages of the dashboard over a store with a million exchanges and two hundred thousand pieces of feedback.

A month of them, one exchange a trace, with bodies; every seventh trace with feedback, every other of those by
two people. The figures by the hour are made first, as they are in a gateway that has run for a month; how
long that takes is a figure too.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tests.bench.fill import fill
from tests.bench.traces import UNUSED_UPSTREAM
from tests.harness.process import run_gateway

if TYPE_CHECKING:
    from tests.harness.process import Process, RunningGateway

GRADED_EVERY = 7
DAYS = 30
_DAY_MS = 86_400_000
_CATCH_UP_LIMIT_S = 900

PAGES = {
    "logs, newest 50": "/ui/logs",
    "logs, deep inside": "/ui/logs?after={middle}",
    "logs, one user": "/ui/logs?user=user-7",
    "logs, rare model": "/ui/logs?model=rare-model",
    "logs, failed": "/ui/logs?status=error",
    "logs, with feedback": "/ui/logs?has_feedback=true",
    "logs, scores from -10 to -8": "/ui/logs?min_value=-10&max_value=-8",
    "logs, mean ≤ -5": "/ui/logs?max_weighted_mean=-5",
    "logs, any metadata key": "/ui/logs?metadata%5B_user%5D=x",
    "logs, one upstream": "/ui/logs?upstream=fake",
    "logs, not streamed": "/ui/logs?streamed=false",
    "logs, retried": "/ui/logs?retried=true",
    "logs, not retried": "/ui/logs?retried=false",
    "logs, one target": "/ui/logs?target=spare",
    "logs, from the cache": "/ui/logs?cache_status=hit",
    "logs, frequent words": "/ui/logs?q=lazy+dog",
    "logs, words of one old trace": "/ui/logs?q=Answer+7+brown",
    "logs, words of none": "/ui/logs?q=unheard-of",
    "logs of one day": "/ui/logs?active_since={day}&active_until={next_day}",
    "logs of a day's feedback": "/ui/logs?feedback_since={day}&feedback_until={next_day}",
    "trace": "/ui/trace?id={middle}",
    "inbox": "/ui/inbox",
    "inbox, grade": "/ui/inbox/grade?task={task}&exchange={exchange}",
    "new task": "/ui/tasks/new",
    "insights, 24 hours": "/ui/insights?range=24h",
    "insights, 7 days": "/ui/insights",
    "insights, 30 days": "/ui/insights?range=30d",
    "insights, 30 days by prompt": "/ui/insights?range=30d&by=prompt",
    "insights, 30 days by user (5,000)": "/ui/insights?range=30d&by=user",
    "insights, 30 days by environment": "/ui/insights?range=30d&by=environment",
    "insights, 30 days, one model": "/ui/insights?range=30d&by=model&group=gpt-4o",
    "insights, all": "/ui/insights?range=all",
    "insights as CSV": "/ui/insights.csv?range=30d&by=prompt&chart=groups",
    "status": "/ui/status",
}


def page_ms(count: int, *, repeats: int = 15) -> dict[str, tuple[float, float]]:
    """Of each page over `count` exchanges, the milliseconds of the median and of the slowest look."""
    apart_ms = DAYS * _DAY_MS // count
    start_ms = time.time_ns() // 1_000_000 - count * apart_ms
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as place:
        with run_gateway(upstream=UNUSED_UPSTREAM, directory=Path(place)) as gateway:
            assert gateway.database is not None
        fill(
            gateway.database, count, graded_every=GRADED_EVERY, mixed=True, bodies=True, start_ms=start_ms,
            apart_ms=apart_ms,
        )  # fmt: skip
        with run_gateway(upstream=UNUSED_UPSTREAM, directory=Path(place)) as gateway:
            taken_s = _catch_up(gateway)
            day = time.gmtime(start_ms / 1000 + (DAYS // 2) * 86_400)
            next_day = time.gmtime(start_ms / 1000 + (DAYS // 2 + 1) * 86_400)
            names = {
                "middle": f"trace-{count // 2:08d}",
                "exchange": f"018bcfe5-6800-7000-8000-{count // 2:012d}",
                "task": _task(gateway),
                "day": quote(time.strftime("%Y-%m-%dT00:00:00Z", day)),
                "next_day": quote(time.strftime("%Y-%m-%dT00:00:00Z", next_day)),
            }
            figures = {
                "making the figures by the hour, all of them": (taken_s * 1e3, taken_s * 1e3),
                "inbox, claim the first": _post_ms(
                    gateway, "/ui/inbox", {"task": names["task"], "by": "ann"}, repeats
                ),
            }
            for name, target in PAGES.items():
                figures[name] = _get_ms(gateway, target.format(**names), repeats)
    return figures


def _catch_up(gateway: RunningGateway) -> float:
    """Seconds until the figures by the hour and the day are made: looking at them asks for it."""
    started = time.monotonic()
    while "Still counting" in _ask(gateway, "GET", "/ui/insights?range=all")[1] or gateway.rows.count(
        "stale_hour"
    ):
        assert time.monotonic() - started < _CATCH_UP_LIMIT_S, "the figures by the hour are not made"
        time.sleep(1)
    return time.monotonic() - started


def _task(gateway: Process) -> str:
    """The id of a task that asks about the exchanges of one prompt."""
    task = {
        "name": "Right?",
        "schema": {"type": "boolean"},
        "selector": {"metadata": {"_prompt": "prompt-7"}},
    }
    headers = {"content-type": "application/json"}
    _, text, _ = _ask(gateway, "POST", "/v1/feedback-tasks", json.dumps(task), headers)
    return str(json.loads(text)["id"])


def _post_ms(gateway: Process, path: str, fields: dict[str, str], repeats: int) -> tuple[float, float]:
    _, html, headers = _ask(gateway, "GET", path)
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', html)
    assert token, html[:500]
    cookie = headers["set-cookie"].partition(";")[0]
    sent = {"content-type": "application/x-www-form-urlencoded", "cookie": cookie}
    body = urlencode({"csrf": token[1], **fields})
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        status, text, _ = _ask(gateway, "POST", path, body, sent)
        times.append((time.perf_counter() - started) * 1e3)
        assert status == 303, text[:500]
    return statistics.median(times), max(times)


def _get_ms(gateway: Process, target: str, repeats: int) -> tuple[float, float]:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        status, text, _ = _ask(gateway, "GET", target)
        times.append((time.perf_counter() - started) * 1e3)
        assert status == 200, f"{target}: {status} {text[:500]}"
    return statistics.median(times), max(times)


def _ask(
    gateway: Process, method: str, target: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str, dict[str, Any]]:
    """On a connection of its own, as a browser's first look is."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=120)
    connection.request(method, target, body, headers or {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, {name.lower(): value for name, value in answer.getheaders()}
