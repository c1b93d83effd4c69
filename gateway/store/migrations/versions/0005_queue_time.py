"""How long an exchange waited before its request went upstream"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exchange", sa.Column("queue_ms", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("exchange", "queue_ms")
