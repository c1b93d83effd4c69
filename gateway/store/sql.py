"""SQL of the start and of every recorded request, as SQLAlchemy spells it.

Made by `gateway.store.spelling`; to change it: python -m gateway.store.spelling --write
"""

from __future__ import annotations

SCHEMA = (
    """
CREATE TABLE cached_answer (
    seq INTEGER NOT NULL,
    "key" BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    used_at_ms BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE ("key")
)
""",
    "CREATE INDEX ix_cached_answer_expires_at_ms ON cached_answer (expires_at_ms, size_bytes)",
    "CREATE INDEX ix_cached_answer_used_at_ms ON cached_answer (used_at_ms, seq, size_bytes)",
    """
CREATE TABLE cached_answer_total (
    id INTEGER NOT NULL,
    size_bytes BIGINT NOT NULL,
    PRIMARY KEY (id)
)
""",
    """
CREATE TABLE exchange (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    started_at_ms BIGINT NOT NULL,
    latency_ms FLOAT NOT NULL,
    first_byte_ms FLOAT,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    upstream TEXT,
    requested_model TEXT,
    answering_model TEXT,
    streamed BOOLEAN NOT NULL,
    status INTEGER NOT NULL,
    error_kind TEXT,
    error_message TEXT,
    finish_reason TEXT,
    prompt_tokens BIGINT,
    completion_tokens BIGINT,
    cached_tokens BIGINT,
    reasoning_tokens BIGINT,
    cost_usd FLOAT,
    request_bytes BIGINT NOT NULL,
    response_bytes BIGINT NOT NULL,
    body_user TEXT,
    body_metadata TEXT,
    meta_user TEXT,
    meta_organisation TEXT,
    meta_prompt TEXT,
    meta_environment TEXT,
    metadata TEXT,
    tags TEXT,
    queue_ms FLOAT,
    target TEXT,
    cache_status TEXT,
    attempt_count INTEGER,
    attempts TEXT,
    PRIMARY KEY (seq),
    UNIQUE (id)
)
""",
    "CREATE INDEX ix_exchange_cache_status ON exchange (key_id, cache_status, trace_id) WHERE cache_status IS NOT NULL",
    "CREATE INDEX ix_exchange_failed ON exchange (key_id, started_at_ms, seq) WHERE status >= 400 OR error_kind IS NOT NULL",
    "CREATE INDEX ix_exchange_failed_status ON exchange (key_id, status, trace_id) WHERE status >= 400",
    "CREATE INDEX ix_exchange_meta_environment ON exchange (key_id, meta_environment, trace_id) WHERE meta_environment IS NOT NULL",
    "CREATE INDEX ix_exchange_meta_organisation ON exchange (key_id, meta_organisation, trace_id) WHERE meta_organisation IS NOT NULL",
    "CREATE INDEX ix_exchange_meta_prompt ON exchange (key_id, meta_prompt, trace_id) WHERE meta_prompt IS NOT NULL",
    "CREATE INDEX ix_exchange_meta_user ON exchange (key_id, meta_user, trace_id) WHERE meta_user IS NOT NULL",
    "CREATE INDEX ix_exchange_retried ON exchange (key_id, attempt_count, trace_id) WHERE attempt_count > 1",
    "CREATE INDEX ix_exchange_started_at ON exchange (key_id, started_at_ms, seq)",
    "CREATE INDEX ix_exchange_target ON exchange (key_id, target, trace_id) WHERE target IS NOT NULL",
    "CREATE INDEX ix_exchange_trace ON exchange (key_id, trace_id, started_at_ms, seq)",
    """
CREATE TABLE exchange_body (
    exchange_seq INTEGER NOT NULL,
    request_headers TEXT NOT NULL,
    response_headers TEXT NOT NULL,
    request_head BLOB,
    request_tail BLOB,
    request_encoding TEXT,
    response_head BLOB,
    response_tail BLOB,
    response_encoding TEXT,
    PRIMARY KEY (exchange_seq)
)
""",
    """
CREATE TABLE exchange_hour (
    key_id TEXT NOT NULL,
    dimension TEXT NOT NULL,
    width INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    grp TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    priced INTEGER NOT NULL,
    cost_usd FLOAT NOT NULL,
    latency TEXT NOT NULL,
    PRIMARY KEY (key_id, dimension, width, hour, grp)
)
 WITHOUT ROWID
""",
    "CREATE INDEX ix_exchange_hour_busiest ON exchange_hour (key_id, dimension, hour, requests) WHERE width = 24",
    """
CREATE TABLE exchange_hour_progress (
    id INTEGER NOT NULL,
    counted_seq INTEGER NOT NULL,
    PRIMARY KEY (id)
)
""",
    """
CREATE TABLE exchange_tag (
    key_id TEXT NOT NULL,
    tag TEXT NOT NULL,
    exchange_seq INTEGER NOT NULL,
    PRIMARY KEY (key_id, tag, exchange_seq)
)
 WITHOUT ROWID
""",
    """
CREATE TABLE feedback (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    signal TEXT NOT NULL,
    value TEXT,
    number FLOAT,
    label TEXT,
    weight FLOAT NOT NULL,
    comment TEXT,
    correction TEXT,
    source_type TEXT NOT NULL,
    source_id TEXT,
    task_id TEXT,
    task_version INTEGER,
    overrides TEXT,
    superseded INTEGER NOT NULL,
    metadata TEXT,
    meta_user TEXT,
    meta_organisation TEXT,
    meta_prompt TEXT,
    meta_environment TEXT,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT,
    retracted_at_ms BIGINT,
    PRIMARY KEY (seq),
    UNIQUE (id)
)
""",
    "CREATE INDEX ix_feedback_created_at ON feedback (key_id, created_at_ms, seq, retracted_at_ms)",
    "CREATE INDEX ix_feedback_kind ON feedback (key_id, kind)",
    "CREATE INDEX ix_feedback_label ON feedback (key_id, label) WHERE label IS NOT NULL",
    "CREATE INDEX ix_feedback_meta_environment ON feedback (key_id, meta_environment) WHERE meta_environment IS NOT NULL",
    "CREATE INDEX ix_feedback_meta_organisation ON feedback (key_id, meta_organisation) WHERE meta_organisation IS NOT NULL",
    "CREATE INDEX ix_feedback_meta_prompt ON feedback (key_id, meta_prompt) WHERE meta_prompt IS NOT NULL",
    "CREATE INDEX ix_feedback_meta_user ON feedback (key_id, meta_user) WHERE meta_user IS NOT NULL",
    "CREATE INDEX ix_feedback_name ON feedback (key_id, name)",
    "CREATE INDEX ix_feedback_number ON feedback (key_id, number) WHERE number IS NOT NULL",
    "CREATE INDEX ix_feedback_retracted ON feedback (key_id, task_id) WHERE retracted_at_ms IS NOT NULL",
    "CREATE INDEX ix_feedback_signal ON feedback (key_id, signal)",
    "CREATE INDEX ix_feedback_source_id ON feedback (key_id, source_id) WHERE source_id IS NOT NULL",
    "CREATE INDEX ix_feedback_source_type ON feedback (key_id, source_type)",
    "CREATE INDEX ix_feedback_task_id ON feedback (key_id, task_id, created_at_ms, seq, retracted_at_ms) WHERE task_id IS NOT NULL",
    """
CREATE TABLE feedback_hour (
    key_id TEXT NOT NULL,
    dimension TEXT NOT NULL,
    width INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    grp TEXT NOT NULL,
    value INTEGER NOT NULL,
    count INTEGER NOT NULL,
    weight FLOAT NOT NULL,
    PRIMARY KEY (key_id, dimension, width, hour, grp, value)
)
 WITHOUT ROWID
""",
    """
CREATE TABLE feedback_revision (
    feedback_seq INTEGER NOT NULL,
    number INTEGER NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    action TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (feedback_seq, number)
)
 WITHOUT ROWID
""",
    """
CREATE TABLE feedback_target (
    feedback_seq INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    exchange_id TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (key_id, trace_id, feedback_seq, exchange_id)
)
 WITHOUT ROWID
""",
    "CREATE INDEX ix_feedback_target_exchange ON feedback_target (key_id, exchange_id) WHERE exchange_id != ''",
    "CREATE INDEX ix_feedback_target_feedback_seq ON feedback_target (feedback_seq)",
    "CREATE INDEX ix_feedback_target_narrow ON feedback_target (key_id, trace_id, exchange_id) WHERE exchange_id != ''",
    """
CREATE TABLE feedback_task (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at_ms BIGINT NOT NULL,
    archived_at_ms BIGINT,
    PRIMARY KEY (seq),
    UNIQUE (id)
)
""",
    "CREATE INDEX ix_feedback_task_created_at ON feedback_task (key_id, created_at_ms, seq)",
    """
CREATE TABLE feedback_task_version (
    task_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    schema TEXT NOT NULL,
    instruction TEXT NOT NULL,
    selector TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (task_id, version)
)
""",
    """
CREATE TABLE idempotency (
    key_id TEXT NOT NULL,
    path TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    status INTEGER NOT NULL,
    response BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (key_id, path, idempotency_key)
)
""",
    "CREATE INDEX ix_idempotency_created_at_ms ON idempotency (created_at_ms)",
    """
CREATE TABLE inbox_claim (
    task_id TEXT NOT NULL,
    exchange_id TEXT NOT NULL,
    claimed_by TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (task_id, exchange_id)
)
 WITHOUT ROWID
""",
    """
CREATE TABLE secret (
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (name)
)
""",
    """
CREATE TABLE stale_hour (
    what TEXT NOT NULL,
    key_id TEXT NOT NULL,
    hour INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (what, key_id, hour)
)
 WITHOUT ROWID
""",
    """
CREATE TABLE trace (
    seq INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    first_at_ms BIGINT NOT NULL,
    last_at_ms BIGINT NOT NULL,
    exchange_count INTEGER NOT NULL,
    error_count INTEGER NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cost_usd FLOAT,
    feedback_count INTEGER NOT NULL,
    weighted_mean FLOAT,
    PRIMARY KEY (seq),
    CONSTRAINT uq_trace_key_trace UNIQUE (key_id, trace_id)
)
""",
    "CREATE INDEX ix_trace_failed ON trace (key_id, first_at_ms, seq) WHERE error_count > 0",
    "CREATE INDEX ix_trace_first_at ON trace (key_id, first_at_ms, seq)",
    "CREATE INDEX ix_trace_unmatched ON trace (key_id, trace_id) WHERE exchange_count = 0",
    "CREATE INDEX ix_trace_weighted_mean ON trace (key_id, weighted_mean) WHERE weighted_mean IS NOT NULL",
    "CREATE INDEX ix_trace_with_feedback ON trace (key_id, first_at_ms, seq) WHERE feedback_count > 0",
    """
CREATE TABLE trace_model (
    key_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    model TEXT NOT NULL,
    PRIMARY KEY (key_id, trace_id, model)
)
 WITHOUT ROWID
""",
    "CREATE INDEX ix_trace_model_model ON trace_model (model, key_id)",
    """
CREATE TABLE trace_score (
    key_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    value INTEGER NOT NULL,
    weight FLOAT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (key_id, trace_id, value, weight)
)
 WITHOUT ROWID
""",
    "CREATE INDEX ix_trace_score_value ON trace_score (value, key_id)",
    """
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
""",
)
"""What makes an empty database a new one, in this order."""

COLUMNS = {
    "exchange": (
        "seq",
        "id",
        "key_id",
        "trace_id",
        "started_at_ms",
        "latency_ms",
        "first_byte_ms",
        "method",
        "path",
        "upstream",
        "requested_model",
        "answering_model",
        "streamed",
        "status",
        "error_kind",
        "error_message",
        "finish_reason",
        "prompt_tokens",
        "completion_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "cost_usd",
        "request_bytes",
        "response_bytes",
        "body_user",
        "body_metadata",
        "meta_user",
        "meta_organisation",
        "meta_prompt",
        "meta_environment",
        "metadata",
        "tags",
        "queue_ms",
        "target",
        "cache_status",
        "attempt_count",
        "attempts",
    ),
    "exchange_body": (
        "exchange_seq",
        "request_headers",
        "response_headers",
        "request_head",
        "request_tail",
        "request_encoding",
        "response_head",
        "response_tail",
        "response_encoding",
    ),
    "exchange_tag": (
        "key_id",
        "tag",
        "exchange_seq",
    ),
}
"""Of the tables that a recorded request goes to, in the order of their rows."""

COUNT_IN_TRACES = """
INSERT OR FAIL INTO trace (key_id, trace_id, first_at_ms, last_at_ms, exchange_count, error_count, prompt_tokens, completion_tokens, cost_usd, feedback_count) SELECT exchange.key_id, exchange.trace_id, exchange.started_at_ms, exchange.started_at_ms AS started_at_ms__1, 1, exchange.status >= 400 OR exchange.error_kind IS NOT NULL AS anon_1, coalesce(exchange.prompt_tokens, 0) AS coalesce_1, coalesce(exchange.completion_tokens, 0) AS coalesce_2, exchange.cost_usd, 0
FROM exchange
WHERE exchange.seq > ? ON CONFLICT (key_id, trace_id) DO UPDATE SET first_at_ms = min(trace.first_at_ms, excluded.first_at_ms), last_at_ms = max(trace.last_at_ms, excluded.last_at_ms), exchange_count = (trace.exchange_count + excluded.exchange_count), error_count = (trace.error_count + excluded.error_count), prompt_tokens = (trace.prompt_tokens + excluded.prompt_tokens), completion_tokens = (trace.completion_tokens + excluded.completion_tokens), cost_usd = CASE WHEN (excluded.cost_usd IS NULL) THEN trace.cost_usd ELSE coalesce(trace.cost_usd, 0.0) + excluded.cost_usd END
"""
NAME_MODELS = """
INSERT OR FAIL INTO trace_model (key_id, trace_id, model) SELECT exchange.key_id, exchange.trace_id, exchange.requested_model
FROM exchange
WHERE exchange.seq > ? AND exchange.requested_model != '' UNION ALL SELECT exchange.key_id, exchange.trace_id, exchange.answering_model
FROM exchange
WHERE exchange.seq > ? AND exchange.answering_model != '' AND exchange.answering_model IS NOT exchange.requested_model ON CONFLICT DO NOTHING
"""
FIND_EXCHANGE = """
SELECT exchange.seq
FROM exchange
WHERE exchange.id = ?
"""
FIND_ANSWER = """
SELECT cached_answer.headers, cached_answer.body, cached_answer.created_at_ms, cached_answer.expires_at_ms, cached_answer.used_at_ms
FROM cached_answer
WHERE cached_answer."key" = :key AND cached_answer.created_at_ms >= :oldest_ms AND cached_answer.expires_at_ms > :now_ms
"""
