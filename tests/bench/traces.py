"""Pages of `GET /v1/traces` over a store with a million exchanges.

The gateway makes the empty database itself; the rows are then put in with SQL: one exchange a trace (the
worst case for a list of traces), every tenth trace with feedback.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

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

FILL = """
PRAGMA synchronous = OFF;
BEGIN;
CREATE TEMP TABLE n (i INTEGER PRIMARY KEY);
INSERT INTO n
  WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {count}) SELECT i FROM c;
CREATE TEMP VIEW v AS SELECT i, printf('trace-%08d', i) AS trace_id, 1700000000000 + i * 100 AS at,
  CASE WHEN i % 50000 = 0 THEN 'rare-model' WHEN i % 3 = 0 THEN 'gpt-4o' ELSE 'gpt-4o-mini' END AS model,
  CASE WHEN i % 100 = 0 THEN 500 ELSE 200 END AS status,
  i % 21 - 10 AS value, CASE WHEN i % 4 = 0 THEN 0.5 ELSE 1.0 END AS weight FROM n;
INSERT INTO exchange (seq, id, key_id, trace_id, started_at_ms, latency_ms, method, path, upstream,
    requested_model, answering_model, streamed, status, prompt_tokens, completion_tokens, cost_usd,
    request_bytes, response_bytes, meta_user, meta_environment, metadata)
  SELECT i, printf('018bcfe5-6800-7000-8000-%012d', i), 'default', trace_id, at, 250.0, 'POST',
    '/v1/chat/completions', 'fake', model, model, i % 2, status, 20, 40, 0.0001, 190, 530,
    'user-' || (i % 5000), 'production', '{{"_user":"x"}}' FROM v;
INSERT INTO trace (seq, key_id, trace_id, first_at_ms, last_at_ms, exchange_count, error_count, prompt_tokens,
    completion_tokens, cost_usd, feedback_count, weighted_mean)
  SELECT i, 'default', trace_id, at, at + 250, 1, status >= 400, 20, 40, 0.0001, i % 10 = 0,
    CASE WHEN i % 10 = 0 THEN value END FROM v;
INSERT INTO trace_model (key_id, trace_id, model) SELECT 'default', trace_id, model FROM v;
INSERT INTO trace_score (key_id, trace_id, value, weight, count)
  SELECT 'default', trace_id, value, weight, 1 FROM v WHERE i % 10 = 0;
INSERT INTO feedback (seq, id, key_id, value, weight, created_at_ms)
  SELECT i, printf('018bcfe5-6800-7000-9000-%012d', i), 'default', value, weight, at FROM v WHERE i % 10 = 0;
INSERT INTO feedback_target (feedback_seq, key_id, trace_id)
  SELECT i, 'default', trace_id FROM v WHERE i % 10 = 0;
COMMIT;
"""


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


def fill(database: Path, count: int) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(FILL.format(count=count))


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
