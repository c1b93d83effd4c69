"""The schema: every table and index but those of `hour_tables`, in SQLAlchemy Core. No queries here.

Times are integers, milliseconds since the epoch. JSON is kept as text. `seq` numbers grow in commit order.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    or_,
)

metadata = MetaData()

Seq = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER PRIMARY KEY is SQLite's rowid

exchange = Table(
    "exchange",
    metadata,
    Column("seq", Seq, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("first_byte_ms", Float),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("upstream", Text),
    Column("requested_model", Text),
    Column("answering_model", Text),
    Column("streamed", Boolean, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error_kind", Text),
    Column("error_message", Text),
    Column("finish_reason", Text),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cost_usd", Float),
    Column("request_bytes", BigInteger, nullable=False),
    Column("response_bytes", BigInteger, nullable=False),
    Column("body_user", Text),
    Column("body_metadata", Text),
    Column("meta_user", Text),
    Column("meta_organisation", Text),
    Column("meta_prompt", Text),
    Column("meta_environment", Text),
    Column("metadata", Text),
    Column("tags", Text),
    Column("queue_ms", Float),
    Column("target", Text),  # the one that answered, by its label; only where a plan has several
    Column("cache_status", Text),
    Column("attempt_count", Integer),  # NULL: none, or one that the row itself describes
    Column("attempts", Text),  # JSON, see `gateway.capture.attempts`
)

exchange_tag = Table(
    "exchange_tag",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("exchange_seq", Seq, nullable=False),
    PrimaryKeyConstraint("key_id", "tag", "exchange_seq"),
    sqlite_with_rowid=False,
)

exchange_body = Table(
    "exchange_body",
    metadata,
    Column("exchange_seq", Seq, primary_key=True, autoincrement=False),
    Column("request_headers", Text, nullable=False),
    Column("response_headers", Text, nullable=False),
    Column("request_head", LargeBinary),
    Column("request_tail", LargeBinary),
    Column("request_encoding", Text),
    Column("response_head", LargeBinary),
    Column("response_tail", LargeBinary),
    Column("response_encoding", Text),
)

trace = Table(
    "trace",
    metadata,
    Column("seq", Seq, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("first_at_ms", BigInteger, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
    Column("exchange_count", Integer, nullable=False),
    Column("error_count", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost_usd", Float),
    Column("feedback_count", Integer, nullable=False),
    Column("weighted_mean", Float),
    UniqueConstraint("key_id", "trace_id", name="uq_trace_key_trace"),
)

trace_model = Table(
    "trace_model",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    PrimaryKeyConstraint("key_id", "trace_id", "model"),
    sqlite_with_rowid=False,
)

trace_score = Table(
    "trace_score",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("value", Integer, nullable=False),
    Column("weight", Float, nullable=False),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("key_id", "trace_id", "value", "weight"),
    sqlite_with_rowid=False,
)

feedback = Table(
    "feedback",
    metadata,
    Column("seq", Seq, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("signal", Text, nullable=False),
    Column("value", Text),  # JSON; null for kind none
    Column("number", Float),  # the value of a score or a number, 1 and 0 of a boolean
    Column("label", Text),  # a text of at most 256 characters, "true" and "false" of a boolean
    Column("weight", Float, nullable=False),
    Column("comment", Text),
    Column("correction", Text),  # JSON
    Column("source_type", Text, nullable=False),
    Column("source_id", Text),
    Column("task_id", Text),
    Column("task_version", Integer),
    Column("overrides", Text),  # a feedback id
    Column("superseded", Integer, nullable=False),  # how many live pieces of feedback override this one
    Column("metadata", Text),
    Column("meta_user", Text),
    Column("meta_organisation", Text),
    Column("meta_prompt", Text),
    Column("meta_environment", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger),
    Column("retracted_at_ms", BigInteger),
)

feedback_target = Table(
    "feedback_target",
    metadata,
    Column("feedback_seq", Seq, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("exchange_id", Text, nullable=False, server_default=""),  # empty for the trace as a whole
    PrimaryKeyConstraint("key_id", "trace_id", "feedback_seq", "exchange_id"),
    Index("ix_feedback_target_feedback_seq", "feedback_seq"),
    sqlite_with_rowid=False,
)

feedback_revision = Table(
    "feedback_revision",
    metadata,
    Column("feedback_seq", Seq, nullable=False),
    Column("number", Integer, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("fields", Text, nullable=False),  # JSON: the old values of what changed
    PrimaryKeyConstraint("feedback_seq", "number"),
    sqlite_with_rowid=False,
)

feedback_task = Table(
    "feedback_task",
    metadata,
    Column("seq", Seq, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),  # the newest
    Column("created_at_ms", BigInteger, nullable=False),
    Column("archived_at_ms", BigInteger),
    Index("ix_feedback_task_created_at", "key_id", "created_at_ms", "seq"),
)

feedback_task_version = Table(
    "feedback_task_version",
    metadata,
    Column("task_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("schema", Text, nullable=False),  # JSON
    Column("instruction", Text, nullable=False),
    Column("selector", Text, nullable=False),  # JSON
    Column("created_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("task_id", "version"),
)

inbox_claim = Table(
    "inbox_claim",
    metadata,
    Column("task_id", Text, nullable=False),
    Column("exchange_id", Text, nullable=False),
    Column("claimed_by", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("task_id", "exchange_id"),
    sqlite_with_rowid=False,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("key_id", "path", "idempotency_key"),
    Index("ix_idempotency_created_at_ms", "created_at_ms"),
)

secret = Table(
    "secret",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

cached_answer = Table(
    "cached_answer",
    metadata,
    Column("seq", Seq, primary_key=True),
    Column("key", LargeBinary, nullable=False, unique=True),  # a SHA-256, see `gateway.routing.cachekey`
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("used_at_ms", BigInteger, nullable=False),  # to the nearest ten minutes or so
    Column("size_bytes", BigInteger, nullable=False),
    Column("headers", Text, nullable=False),  # JSON
    Column("body", LargeBinary, nullable=False),
    Index("ix_cached_answer_expires_at_ms", "expires_at_ms", "size_bytes"),
    Index("ix_cached_answer_used_at_ms", "used_at_ms", "seq", "size_bytes"),
)

cached_answer_total = Table(
    "cached_answer_total",
    metadata,
    Column("id", Seq, primary_key=True, autoincrement=False),  # always 1
    Column("size_bytes", BigInteger, nullable=False),  # of all rows in `cached_answer`
)

# Lists are walked from their newest row; an index ends with the columns of the list's order.
Index("ix_exchange_started_at", exchange.c.key_id, exchange.c.started_at_ms, exchange.c.seq)
Index("ix_exchange_trace", exchange.c.key_id, exchange.c.trace_id, exchange.c.started_at_ms, exchange.c.seq)
# With the retraction, so that live feedback is counted without a look at the rows.
Index(
    "ix_feedback_created_at",
    feedback.c.key_id,
    feedback.c.created_at_ms,
    feedback.c.seq,
    feedback.c.retracted_at_ms,
)
Index("ix_trace_first_at", trace.c.key_id, trace.c.first_at_ms, trace.c.seq)
# The model and the value come first, so that these never stand in for the primary keys.
Index("ix_trace_model_model", trace_model.c.model, trace_model.c.key_id)
Index("ix_trace_score_value", trace_score.c.value, trace_score.c.key_id)


def _partial_index(name: str, *columns: Column[Any], where: ColumnElement[bool]) -> None:
    """An index of the rows that fulfil `where`; the others cost it nothing."""
    Index(name, *columns, sqlite_where=where)


_partial_index(
    "ix_exchange_failed",
    exchange.c.key_id,
    exchange.c.started_at_ms,
    exchange.c.seq,
    where=or_(exchange.c.status >= 400, exchange.c.error_kind.is_not(None)),
)
_partial_index(
    "ix_exchange_failed_status",
    exchange.c.key_id,
    exchange.c.status,
    exchange.c.trace_id,
    where=exchange.c.status >= 400,
)
_partial_index(
    "ix_trace_failed", trace.c.key_id, trace.c.first_at_ms, trace.c.seq, where=trace.c.error_count > 0
)
_partial_index(
    "ix_trace_with_feedback",
    trace.c.key_id,
    trace.c.first_at_ms,
    trace.c.seq,
    where=trace.c.feedback_count > 0,
)
# What feedback waits for: the writer asks with every batch of exchanges whether there is any.
_partial_index("ix_trace_unmatched", trace.c.key_id, trace.c.trace_id, where=trace.c.exchange_count == 0)
_partial_index(
    "ix_trace_weighted_mean",
    trace.c.key_id,
    trace.c.weighted_mean,
    where=trace.c.weighted_mean.is_not(None),
)
# One finds the feedback of an exchange, the other a trace whose exchanges have feedback of their own.
_partial_index(
    "ix_feedback_target_exchange",
    feedback_target.c.key_id,
    feedback_target.c.exchange_id,
    where=feedback_target.c.exchange_id != "",
)
_partial_index(
    "ix_feedback_target_narrow",
    feedback_target.c.key_id,
    feedback_target.c.trace_id,
    feedback_target.c.exchange_id,
    where=feedback_target.c.exchange_id != "",
)
for _name in ("name", "kind", "signal", "source_type"):
    Index(f"ix_feedback_{_name}", feedback.c.key_id, feedback.c[_name])
for _name in ("number", "label", "source_id"):
    _partial_index(
        f"ix_feedback_{_name}", feedback.c.key_id, feedback.c[_name], where=feedback.c[_name].is_not(None)
    )
_partial_index(
    "ix_feedback_task_id",
    feedback.c.key_id,
    feedback.c.task_id,
    feedback.c.created_at_ms,
    feedback.c.seq,
    feedback.c.retracted_at_ms,
    where=feedback.c.task_id.is_not(None),
)
# How often answers of a task were taken back, for those that remember what is graded.
_partial_index(
    "ix_feedback_retracted",
    feedback.c.key_id,
    feedback.c.task_id,
    where=feedback.c.retracted_at_ms.is_not(None),
)
_partial_index(
    "ix_exchange_retried",
    exchange.c.key_id,
    exchange.c.attempt_count,
    exchange.c.trace_id,
    where=exchange.c.attempt_count > 1,
)
for _name in ("target", "cache_status"):
    _partial_index(
        f"ix_exchange_{_name}",
        exchange.c.key_id,
        exchange.c[_name],
        exchange.c.trace_id,
        where=exchange.c[_name].is_not(None),
    )
for _name in ("meta_user", "meta_organisation", "meta_prompt", "meta_environment"):
    # With the trace id, so that a trace is found and checked without a look at the row.
    _partial_index(
        f"ix_exchange_{_name}",
        exchange.c.key_id,
        exchange.c[_name],
        exchange.c.trace_id,
        where=exchange.c[_name].is_not(None),
    )
    _partial_index(
        f"ix_feedback_{_name}", feedback.c.key_id, feedback.c[_name], where=feedback.c[_name].is_not(None)
    )
