"""When a refund was told, so that what belongs to no payment here need not be kept for ever.

The column has one value for all rows that are there, so none of them is written: the lock is held for a moment.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE external_refunds ADD COLUMN told_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL")


def downgrade() -> None:
    op.drop_column("external_refunds", "told_at")
