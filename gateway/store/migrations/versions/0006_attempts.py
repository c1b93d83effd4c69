"""Which target answered an exchange, what came of the cache, and every attempt where there were several"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("target", sa.Text()),
    ("cache_status", sa.Text()),
    ("attempt_count", sa.Integer()),
    ("attempts", sa.Text()),
)


def upgrade() -> None:
    for name, kind in _COLUMNS:
        op.add_column("exchange", sa.Column(name, kind, nullable=True))
    op.create_index(
        "ix_exchange_retried",
        "exchange",
        ["key_id", "attempt_count", "trace_id"],
        sqlite_where=sa.text("attempt_count > 1"),
    )
    for name in ("target", "cache_status"):
        op.create_index(
            f"ix_exchange_{name}",
            "exchange",
            ["key_id", name, "trace_id"],
            sqlite_where=sa.text(f"{name} IS NOT NULL"),
        )


def downgrade() -> None:
    for name in ("cache_status", "target", "retried"):
        op.drop_index(f"ix_exchange_{name}", "exchange")
    for name, _ in reversed(_COLUMNS):
        op.drop_column("exchange", name)
