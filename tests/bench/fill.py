"""A store with as many exchanges as wanted, put in with SQL: one exchange a trace.

The gateway makes the empty database itself. Feedback is scores; or mixed with thumbs, stars and labels, and
every other graded trace is graded by a second person too.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.bench.payloads import COMPLETION, chat_request

if TYPE_CHECKING:
    from pathlib import Path

_NUMBERS = """
PRAGMA synchronous = OFF;
BEGIN;
CREATE TEMP TABLE n (i INTEGER PRIMARY KEY);
INSERT INTO n
  WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {count}) SELECT i FROM c;
CREATE TEMP VIEW v AS SELECT i, printf('trace-%08d', i) AS trace_id, {start_ms} + i * {apart_ms} AS at,
  CASE WHEN i % 50000 = 0 THEN 'rare-model' WHEN i % 3 = 0 THEN 'gpt-4o' ELSE 'gpt-4o-mini' END AS model,
  CASE WHEN i % 100 = 0 THEN 500 ELSE 200 END AS status, i % {every} = 0 AS graded,
  i % 21 - 10 AS value, CASE WHEN i % 4 = 0 THEN 0.5 ELSE 1.0 END AS weight,
  CASE (i / {every}) % {kinds} WHEN 0 THEN 'score' WHEN 1 THEN 'boolean' WHEN 2 THEN 'number' ELSE 'text' END
    AS kind FROM n;
"""
_EXCHANGES = """
INSERT INTO exchange (seq, id, key_id, trace_id, started_at_ms, latency_ms, method, path, upstream,
    requested_model, answering_model, streamed, status, prompt_tokens, completion_tokens, cost_usd,
    request_bytes, response_bytes, meta_user, meta_prompt, meta_environment, metadata, target, cache_status,
    attempt_count, attempts)
  SELECT i, printf('018bcfe5-6800-7000-8000-%012d', i), 'default', trace_id, at, 20.0 + i * 7919 % 4000,
    'POST', '/v1/chat/completions', 'fake', model, model, 0, status, 20, 40, 0.0001, 190, 530,
    'user-' || (i % 5000), 'prompt-' || (i % 30), 'production', '{{"_user":"x"}}',
    CASE WHEN i % 20000 = 1 THEN 'spare' END, CASE WHEN i % 10 = 1 THEN 'hit' END,
    CASE WHEN i % 1000 = 1 THEN 2 END,
    CASE WHEN i % 1000 = 1 THEN '[{{"target":"first","upstream":"fake","started_ms":1,"latency_ms":2}},'
      || '{{"target":"spare","upstream":"fake","status":200,"started_ms":4,"latency_ms":9}}]' END
    FROM v;
INSERT INTO trace (seq, key_id, trace_id, first_at_ms, last_at_ms, exchange_count, error_count, prompt_tokens,
    completion_tokens, cost_usd, feedback_count, weighted_mean)
  SELECT i, 'default', trace_id, at, at + 250, 1, status >= 400, 20, 40, 0.0001,
    graded * (1 + {twice}), CASE WHEN graded AND kind = 'score' THEN value END FROM v;
INSERT INTO trace_model (key_id, trace_id, model) SELECT 'default', trace_id, model FROM v;
INSERT INTO trace_score (key_id, trace_id, value, weight, count)
  SELECT 'default', trace_id, value, weight, 1 + {twice} FROM v WHERE graded AND kind = 'score';
"""
_BODIES = """
INSERT INTO exchange_body (exchange_seq, request_headers, response_headers, request_head, response_head)
  SELECT i, '[]', '[]', CAST(replace(:request, 'The quick', 'Question ' || (i / :pair)) AS BLOB),
    CAST(replace(:response, 'The quick', 'Answer ' || i) AS BLOB) FROM n;
"""
_FEEDBACK = """
INSERT INTO feedback (seq, id, key_id, name, kind, signal, value, number, label, weight, source_type,
    source_id, superseded, created_at_ms)
  SELECT i + {offset}, printf('018bcfe5-6800-7000-9000-%012d', i + {offset}), 'default',
    CASE kind WHEN 'score' THEN 'feedback' WHEN 'boolean' THEN 'thumbs' WHEN 'number' THEN 'stars'
      ELSE 'quality' END,
    kind, 'explicit',
    CASE kind WHEN 'score' THEN CAST(value AS TEXT) WHEN 'boolean' THEN iif(value > 0, 'true', 'false')
      WHEN 'number' THEN CAST(i % 5 + 1 AS TEXT) ELSE iif(value > 0, '"good"', '"bad"') END,
    CASE kind WHEN 'score' THEN value WHEN 'boolean' THEN value > 0 WHEN 'number' THEN i % 5 + 1 END,
    CASE kind WHEN 'boolean' THEN iif(value > 0, 'true', 'false')
      WHEN 'text' THEN iif(value > 0, 'good', 'bad') END,
    weight, 'HUMAN', 'reviewer-' || (i % 50 + {offset}), 0, at FROM v WHERE graded AND {which};
INSERT INTO feedback_target (feedback_seq, key_id, trace_id)
  SELECT i + {offset}, 'default', trace_id FROM v WHERE graded AND {which};
"""
_STALE = """
INSERT OR IGNORE INTO stale_hour SELECT DISTINCT 'feedback', key_id, created_at_ms / 3600000, 1 FROM feedback;
"""


def fill(
    database: Path,
    count: int,
    *,
    graded_every: int = 10,
    mixed: bool = False,
    bodies: bool = False,
    start_ms: int = 1_700_000_000_000,
    apart_ms: int = 100,
) -> None:
    """`count` exchanges, `apart_ms` apart, every `graded_every`th with feedback: scores only, or `mixed`.

    With `bodies`, two neighbours among the graded have the same prompt and different answers.
    """
    twice = f"((i / {graded_every}) % 2)" if mixed else "0"
    names = {"count": count, "every": graded_every, "kinds": 4 if mixed else 1, "twice": twice}
    names |= {"start_ms": start_ms, "apart_ms": apart_ms}
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript((_NUMBERS + _EXCHANGES).format(**names))
        if bodies:
            request, response = chat_request(stream=False).decode(), COMPLETION.decode()
            pair = 2 * graded_every
            connection.execute(_BODIES, {"request": request, "response": response, "pair": pair})
        for offset, which in ((0, "1"), (count, f"{twice} = 1")):
            connection.executescript(_FEEDBACK.format(offset=offset, which=which))
        connection.execute(_STALE)
        connection.commit()
