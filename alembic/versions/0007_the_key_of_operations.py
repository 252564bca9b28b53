"""The primary key of operations leads with the id.

No index of theirs is to begin with the bucket. Where a table has some hundred rows and was never analysed, PostgreSQL takes
a condition on any column for a rare one, and asked by the index that begins with the bucket: each flush read all
operations, until the first ANALYZE came, a minute later. With one worker process beside the one that receives, a burst on
a new database was worked off at half the speed.

It builds an index, some seconds for a million operations, and shuts everybody out meanwhile.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

EVENTS_FOLLOW = """
ALTER TABLE events ADD CONSTRAINT events_operation
    FOREIGN KEY (bucket, operation_id) REFERENCES operations (bucket, id)
"""


def upgrade() -> None:
    lead_with("id, bucket")


def downgrade() -> None:
    lead_with("bucket, id")


def lead_with(columns: str) -> None:
    op.execute("ALTER TABLE events DROP CONSTRAINT events_operation")
    op.execute("ALTER TABLE operations DROP CONSTRAINT operations_pkey")
    op.execute(f"ALTER TABLE operations ADD CONSTRAINT operations_pkey PRIMARY KEY ({columns})")
    op.execute(EVENTS_FOLLOW)
