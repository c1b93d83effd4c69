"""Figures of each hour: of exchanges, and of the feedback given in it"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
HOUR_MS = 3_600_000


def upgrade() -> None:
    _exchange_hours()
    _feedback_hours()


def downgrade() -> None:
    for name in ("exchange_hour", "exchange_hour_progress", "feedback_hour", "stale_hour"):
        op.drop_table(name)


def _exchange_hours() -> None:
    op.create_table(
        "exchange_hour",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("grp", sa.Text(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("priced", sa.Integer(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("latency", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "dimension", "width", "hour", "grp"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_exchange_hour_busiest",
        "exchange_hour",
        ["key_id", "dimension", "hour", "requests"],
        sqlite_where=sa.text("width = 24"),
    )
    op.create_table(
        "exchange_hour_progress",
        sa.Column("id", SEQ, nullable=False, autoincrement=False),
        sa.Column("counted_seq", SEQ, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _feedback_hours() -> None:
    op.create_table(
        "feedback_hour",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("grp", sa.Text(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "dimension", "width", "hour", "grp", "value"),
        sqlite_with_rowid=False,
    )
    stale = op.create_table(
        "stale_hour",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("what", "key_id", "hour"),
        sqlite_with_rowid=False,
    )
    old = sa.table("feedback", sa.column("key_id", sa.Text), sa.column("created_at_ms", sa.BigInteger))
    hours = sa.select(sa.literal("feedback"), old.c.key_id, old.c.created_at_ms // HOUR_MS, sa.literal(1))
    op.execute(sa.insert(stale).from_select(["what", "key_id", "hour", "version"], hours.distinct()))
