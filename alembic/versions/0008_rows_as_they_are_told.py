"""The types of the rows that the statements under load are given.

They take a batch as one array of rows, not as an array for each column: of each item of an array the client asks first
whether it is a list itself, which costs more than sending it. A statement that needs another column gets a new type, so
that the programs of before still find theirs.

It touches no table.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TYPES = {
    "arrival": """
        id uuid, serial uuid, source text, external_id text, order_id text, amount bigint, currency text, saga text,
        saga_hash text, step text, steps json, deadline timestamptz, occurred_at timestamptz, traceparent text,
        at timestamptz, event_id uuid, event_type text, delivery_id text, payload bytea, taken_at timestamptz,
        leased_until timestamptz, key text, request json
    """,
    "claimed": """
        serial uuid, from_status text, step text, action text, attempt int, key text, request json,
        started_at timestamptz, steps json, last_run_at timestamptz
    """,
    "begun": """
        serial uuid, revision int, lease int, steps json, last_run_at timestamptz, step text, action text, attempt int,
        key text, request json, at timestamptz
    """,
    "decision": """
        serial uuid, revision int, lease int, next_lease int, from_phase text, from_status text, phase text, status text,
        reason text, held_reason text, step text, action text, attempt int, locked_by text, cause text, actor text,
        transition uuid, steps json, at timestamptz, last_run_at timestamptz, next_run_at timestamptz,
        complete_by timestamptz, deadline timestamptz, cancel_requested_at timestamptz, finished_at timestamptz,
        last_error json, note text, expired_before timestamptz, ended int, outcome text, response json,
        ended_at timestamptz
    """,
}


def upgrade() -> None:
    for name, columns in TYPES.items():
        op.execute(f"CREATE TYPE {name} AS ({columns})")


def downgrade() -> None:
    for name in TYPES:
        op.execute(f"DROP TYPE {name}")
