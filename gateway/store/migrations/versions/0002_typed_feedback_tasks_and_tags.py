"""Feedback of every kind with revisions, tasks, and tags of exchanges"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SPECIAL = ("meta_user", "meta_organisation", "meta_prompt", "meta_environment")
KEPT = (
    "seq",
    "id",
    "key_id",
    "weight",
    "metadata",
    *SPECIAL,
    "created_at_ms",
    "updated_at_ms",
    "retracted_at_ms",
)


def upgrade() -> None:
    _tags()
    _feedback()
    _targets()
    _unmatched()
    _revisions()
    _tasks()


def downgrade() -> None:
    raise NotImplementedError("typed feedback does not fit the tables of 0001; restore a backup instead")


def _tags() -> None:
    op.add_column("exchange", sa.Column("tags", sa.Text(), nullable=True))
    op.create_table(
        "exchange_tag",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("exchange_seq", SEQ, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "tag", "exchange_seq"),
        sqlite_with_rowid=False,
    )


def _feedback() -> None:
    for name in ("created_at", *SPECIAL):
        op.drop_index(f"ix_feedback_{name}", "feedback")
    op.rename_table("feedback", "feedback_0001")
    new = op.create_table(
        "feedback",
        sa.Column("seq", SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("signal", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("number", sa.Float(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("correction", sa.Text(), nullable=True),
        sa.Column("source_type", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("task_version", sa.Integer(), nullable=True),
        sa.Column("overrides", sa.Text(), nullable=True),
        sa.Column("superseded", sa.Integer(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("meta_user", sa.Text(), nullable=True),
        sa.Column("meta_organisation", sa.Text(), nullable=True),
        sa.Column("meta_prompt", sa.Text(), nullable=True),
        sa.Column("meta_environment", sa.Text(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("retracted_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    old = sa.table("feedback_0001", *(sa.column(name) for name in (*KEPT, "value")))
    filled = {
        "name": sa.literal("feedback"),
        "kind": sa.literal("score"),
        "signal": sa.literal("explicit"),
        "value": sa.cast(old.c.value, sa.Text),
        "number": sa.cast(old.c.value, sa.Float),
        "source_type": sa.literal("API"),
        "source_id": old.c.meta_user,
        "superseded": sa.literal(0),
    }
    op.execute(
        sa.insert(new).from_select(
            [*KEPT, *filled], sa.select(*(old.c[name] for name in KEPT), *filled.values())
        )
    )
    op.drop_table("feedback_0001")
    op.create_index(
        "ix_feedback_created_at", "feedback", ["key_id", "created_at_ms", "seq", "retracted_at_ms"]
    )
    for name in ("name", "kind", "signal", "source_type"):
        op.create_index(f"ix_feedback_{name}", "feedback", ["key_id", name])
    for name in ("number", "label", "source_id", *SPECIAL):
        op.create_index(
            f"ix_feedback_{name}", "feedback", ["key_id", name], sqlite_where=sa.text(f"{name} IS NOT NULL")
        )
    op.create_index(
        "ix_feedback_task_id",
        "feedback",
        ["key_id", "task_id", "created_at_ms", "seq", "retracted_at_ms"],
        sqlite_where=sa.text("task_id IS NOT NULL"),
    )
    op.create_index(
        "ix_feedback_retracted",
        "feedback",
        ["key_id", "task_id"],
        sqlite_where=sa.text("retracted_at_ms IS NOT NULL"),
    )


def _targets() -> None:
    op.drop_index("ix_feedback_target_feedback_seq", "feedback_target")
    op.rename_table("feedback_target", "feedback_target_0001")
    new = op.create_table(
        "feedback_target",
        sa.Column("feedback_seq", SEQ, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("exchange_id", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("key_id", "trace_id", "feedback_seq", "exchange_id"),
        sqlite_with_rowid=False,
    )
    names = ("feedback_seq", "key_id", "trace_id")
    old = sa.table("feedback_target_0001", *(sa.column(name) for name in names))
    op.execute(sa.insert(new).from_select(names, sa.select(old), include_defaults=False))
    op.drop_table("feedback_target_0001")
    op.create_index("ix_feedback_target_feedback_seq", "feedback_target", ["feedback_seq"])
    given_to_an_exchange = sa.text("exchange_id != ''")
    op.create_index(
        "ix_feedback_target_exchange",
        "feedback_target",
        ["key_id", "exchange_id"],
        sqlite_where=given_to_an_exchange,
    )
    op.create_index(
        "ix_feedback_target_narrow",
        "feedback_target",
        ["key_id", "trace_id", "exchange_id"],
        sqlite_where=given_to_an_exchange,
    )


def _unmatched() -> None:
    op.create_index(
        "ix_trace_unmatched", "trace", ["key_id", "trace_id"], sqlite_where=sa.text("exchange_count = 0")
    )


def _revisions() -> None:
    op.create_table(
        "feedback_revision",
        sa.Column("feedback_seq", SEQ, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("feedback_seq", "number"),
        sqlite_with_rowid=False,
    )


def _tasks() -> None:
    op.create_table(
        "feedback_task",
        sa.Column("seq", SEQ, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_feedback_task_created_at", "feedback_task", ["key_id", "created_at_ms", "seq"])
    op.create_table(
        "feedback_task_version",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "version"),
    )
    op.create_table(
        "inbox_claim",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("exchange_id", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "exchange_id"),
        sqlite_with_rowid=False,
    )
