"""Figures of whole hours since the epoch, made of exchanges and feedback after the fact: their tables.

What is counted, and when, is in `gateway.store.hours`. No queries here.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, PrimaryKeyConstraint, Table, Text

from gateway.store.tables import Seq, metadata

__all__ = ["exchange_hour", "exchange_hour_progress", "feedback_hour", "metadata", "stale_hour"]

exchange_hour = Table(
    "exchange_hour",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("dimension", Text, nullable=False),  # what the group is one of; empty: all exchanges
    Column("width", Integer, nullable=False),  # how many hours this is of: 1, or 24 for a day
    Column("hour", Integer, nullable=False),
    Column("grp", Text, nullable=False),  # empty: those that have none
    Column("requests", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("priced", Integer, nullable=False),  # how many requests have a cost
    Column("cost_usd", Float, nullable=False),
    Column("latency", Text, nullable=False),  # JSON: the first bucket, then its count and the next ones
    PrimaryKeyConstraint("key_id", "dimension", "width", "hour", "grp"),
    sqlite_with_rowid=False,
)

# Of each day, the groups with most requests first: of many, those worth adding up.
Index(
    "ix_exchange_hour_busiest",
    exchange_hour.c.key_id,
    exchange_hour.c.dimension,
    exchange_hour.c.hour,
    exchange_hour.c.requests,
    sqlite_where=exchange_hour.c.width == 24,
)

exchange_hour_progress = Table(
    "exchange_hour_progress",
    metadata,
    Column("id", Seq, primary_key=True, autoincrement=False),  # always 1
    Column("counted_seq", Seq, nullable=False),  # exchanges up to here are in `exchange_hour`
)

feedback_hour = Table(
    "feedback_hour",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("dimension", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("grp", Text, nullable=False),
    Column("value", Integer, nullable=False),  # of a score, or `gateway.store.hours.NOT_A_SCORE`
    Column("count", Integer, nullable=False),
    Column("weight", Float, nullable=False),  # added up
    PrimaryKeyConstraint("key_id", "dimension", "width", "hour", "grp", "value"),
    sqlite_with_rowid=False,
)

stale_hour = Table(
    "stale_hour",
    metadata,
    Column("what", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("version", Integer, nullable=False),  # how often it was marked
    PrimaryKeyConstraint("what", "key_id", "hour"),
    sqlite_with_rowid=False,
)
