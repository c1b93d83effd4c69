"""Pages of `GET /v1/traces` over a store with a million exchanges.

One exchange a trace (the worst case for a list of traces), every tenth trace with feedback.
"""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.fill import fill
from tests.harness.process import run_gateway

if TYPE_CHECKING:
    from tests.harness.process import Process

UNUSED_UPSTREAM = "http://127.0.0.1:9/v1"

PAGES = {
    "newest 50": "limit=50",
    "page deep inside": "limit=50&after={middle}",
    "one user": "limit=50&user=user-7",
    "rare model": "limit=50&model=rare-model",
    "errors only": "limit=50&status=500",
    "with feedback": "limit=50&has_feedback=true",
    "weighted mean ≤ -5": "limit=50&max_weighted_mean=-5",
}


def page_ms(count: int, *, repeats: int = 15) -> dict[str, float]:
    """Median milliseconds of each page over `count` exchanges."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as place:
        with run_gateway(upstream=UNUSED_UPSTREAM, directory=Path(place)) as gateway:
            assert gateway.database is not None
        fill(gateway.database, count)
        with run_gateway(upstream=UNUSED_UPSTREAM, directory=Path(place)) as gateway:
            middle = f"trace-{count // 2:08d}"
            return {
                name: _median_ms(gateway, "/v1/traces?" + query.format(middle=middle), repeats)
                for name, query in PAGES.items()
            }


def _median_ms(gateway: Process, target: str, repeats: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=120)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
        times.append((time.perf_counter() - started) * 1e3)
        assert answer.status == 200, body
        assert json.loads(body)["data"], f"{target}: an empty page says nothing"
    return statistics.median(times)
