"""What is under way in a table of its own, and what belongs to an operation by a serial of its own.

Until now no update of an operation was heap-only, since its status and times stood in the conditions of indexes: each put
an entry into all seven. And the keys of attempts and history began with a hash. Beside a million finished operations a
payment wrote four times as much log as beside none.

This one takes its time, some minutes for ten million operations, and shuts everybody out meanwhile. A version from before it
can write nothing afterwards: its statements fail, and what it was sent is sent again. So stop all processes first.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

QUEUE = """
CREATE TABLE queue (
    bucket SMALLINT NOT NULL,
    operation_serial UUID NOT NULL,
    next_run_at TIMESTAMP WITH TIME ZONE,
    complete_by TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (bucket, operation_serial),
    CONSTRAINT queue_waits_or_is_claimed CHECK ((next_run_at is null) <> (complete_by is null))
)
"""
# Every row is dead a moment after it was made. Autovacuum comes after some thousands of them, so that the pages are used
# again and a claim does not step over what was claimed before; the table is small, and so is the price.
OFTEN = "autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000"
FILL = """
INSERT INTO queue (bucket, operation_serial, next_run_at, complete_by)
SELECT bucket, serial, next_run_at, complete_by
  FROM operations
 WHERE next_run_at IS NOT NULL OR complete_by IS NOT NULL
"""

# As `app.ids.serial` makes them: the milliseconds of the creation in 48 bits, then the id's lower ones as a UUIDv7.
SERIAL = """
(lpad(to_hex((extract(epoch FROM date_trunc('milliseconds', created_at)) * 1000)::bigint), 12, '0')
 || '7' || substr(replace(id::text, '-', ''), 14))::uuid
"""

INDEXES = {
    "queue_due": "queue (bucket, next_run_at, operation_serial) WHERE next_run_at is not null",
    "queue_claimed": "queue (bucket, complete_by, operation_serial) WHERE complete_by is not null",
    "operations_held": "operations (created_at, id) WHERE held_reason is not null",
    "history_finished": "history (at) WHERE to_status in ('succeeded', 'refunded')",
}
OLD_INDEXES = {
    "operations_claimed": "operations (bucket, complete_by) WHERE status = 'processing'",
    "operations_due": "operations (bucket, next_run_at, id) WHERE status in ('pending', 'error', 'waiting')",
    "operations_finished": "operations (finished_at) WHERE finished_at is not null and stripped_at is null",
    "operations_held": "operations (created_at, id) WHERE status = 'held'",
}
PARTS = {"attempts": "lease", "history": "revision"}  # what leads to a row, behind its operation


def upgrade() -> None:
    drop(OLD_INDEXES)
    op.execute("ALTER TABLE operations ADD COLUMN serial TEXT NOT NULL DEFAULT ''")
    op.execute(f"ALTER TABLE operations ALTER COLUMN serial DROP DEFAULT, ALTER COLUMN serial TYPE UUID USING {SERIAL}")
    op.execute("ALTER TABLE operations ADD CONSTRAINT operations_serial UNIQUE (serial, bucket)")
    for table, place in PARTS.items():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_operation")
        key_anew(table, "operation_serial UUID", "operation_id", ("serial", "id"), place)
    op.execute(f"{QUEUE} WITH ({OFTEN})")
    op.execute(FILL)
    create(INDEXES)
    op.execute("ALTER TABLE operations SET (fillfactor = 36)")


def downgrade() -> None:
    op.execute("ALTER TABLE operations SET (fillfactor = 40)")
    drop(INDEXES)
    op.drop_table("queue")
    for table, place in PARTS.items():
        key_anew(table, "operation_id UUID", "operation_serial", ("id", "serial"), place)
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_operation"
            " FOREIGN KEY (bucket, operation_id) REFERENCES operations (bucket, id)"
        )
    op.execute("ALTER TABLE operations DROP COLUMN serial")
    create(OLD_INDEXES)


def key_anew(table: str, column: str, old: str, operation: tuple[str, str], place: str) -> None:
    """Gives the rows of a table another key.

    Args:
        column: of the key, and its type; `old` is the one in its place until now.
        operation: the columns of the operation that they point to, the new and the old.
        place: the key's last column.
    """
    name = column.split(maxsplit=1)[0]
    points_to, pointed_to = operation
    op.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    its_operation = f"o.bucket = r.bucket AND o.{pointed_to} = r.{old}"
    op.execute(f"UPDATE {table} AS r SET {name} = o.{points_to} FROM operations AS o WHERE {its_operation}")  # noqa: S608 - our names
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, DROP COLUMN {old}")
    op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL, ADD PRIMARY KEY (bucket, {name}, {place})")


def create(indexes: dict[str, str]) -> None:
    for name, what in indexes.items():
        op.execute(f"CREATE INDEX {name} ON {what}")


def drop(indexes: dict[str, str]) -> None:
    for name in indexes:
        op.execute(f"DROP INDEX {name}")
