"""A place for answers that are kept to be given again, and how much room they take"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cached_answer",
        sa.Column("seq", SEQ, primary_key=True),
        sa.Column("key", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_cached_answer_expires_at_ms", "cached_answer", ["expires_at_ms", "size_bytes"])
    op.create_index("ix_cached_answer_used_at_ms", "cached_answer", ["used_at_ms", "seq", "size_bytes"])
    op.create_table(
        "cached_answer_total",
        sa.Column("id", SEQ, primary_key=True, autoincrement=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("cached_answer_total")
    op.drop_table("cached_answer")
