"""When each source is reconciled with its provider next, and who does it.

A new table: nothing that is written meanwhile waits for it.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

RECONCILIATIONS = """
CREATE TABLE reconciliations (
    source TEXT NOT NULL,
    lease INTEGER NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    payments INTEGER,
    missing INTEGER,
    differences INTEGER,
    PRIMARY KEY (source),
    CONSTRAINT reconciliations_counted_when_ended CHECK ((ended_at is null) = (payments is null))
)
"""


def upgrade() -> None:
    op.execute(RECONCILIATIONS)


def downgrade() -> None:
    op.drop_table("reconciliations")
