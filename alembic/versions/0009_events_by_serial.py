"""An event means its operation by the serial, as attempts, history and queue do since 0006.

A claim found the event by its id, which is a hash: beside ten million of them each was on an index page of its own, read for
that one alone. By the serial it lies beside those that came with it. `operations.event_id` was for that alone.

It writes `events` and its indexes anew, some minutes for ten million of them, and shuts everybody out meanwhile. A version
from before it can write nothing afterwards: its statements fail, and what it was sent is sent again. So stop all processes
first.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# As an update of each row would leave as many dead ones behind, in the table and in each index.
TOLD_ANEW = """
CREATE FUNCTION of_events(smallint, uuid) RETURNS uuid STABLE LANGUAGE sql AS
    'SELECT {new} FROM operations WHERE bucket = $1 AND {old} = $2';
ALTER TABLE events DROP CONSTRAINT events_operation, DROP CONSTRAINT events_of_an_operation;
ALTER TABLE events RENAME COLUMN operation_{old} TO operation_{new};
ALTER TABLE events ALTER COLUMN operation_{new} TYPE uuid USING of_events(bucket, operation_{new});
DROP FUNCTION of_events
"""
POINTING = """
ALTER TABLE events
    ADD CONSTRAINT events_of_an_operation
        CHECK ((status in ('accepted', 'duplicate', 'conflict')) = (operation_{part} is not null)),
    ADD CONSTRAINT events_operation FOREIGN KEY ({key}) REFERENCES operations ({key_of_operations})
"""

EVENT_IDS = """
ALTER TABLE operations ADD COLUMN event_id UUID;
UPDATE operations AS o
   SET event_id = e.id
  FROM events AS e
 WHERE e.bucket = o.bucket AND e.operation_id = o.id AND e.status = 'accepted';
ALTER TABLE operations ALTER COLUMN event_id SET NOT NULL
"""


def upgrade() -> None:
    run(TOLD_ANEW.format(old="id", new="serial"))
    run(POINTING.format(part="serial", key="operation_serial, bucket", key_of_operations="serial, bucket"))
    run("ALTER TABLE operations DROP COLUMN event_id")


def downgrade() -> None:
    run(TOLD_ANEW.format(old="serial", new="id"))
    run(EVENT_IDS)
    run(POINTING.format(part="id", key="bucket, operation_id", key_of_operations="bucket, id"))


def run(statements: str) -> None:
    """One at a time: the driver takes no more."""
    for statement in statements.split(";\n"):
        op.execute(statement)
