"""The tables, as they began.

Written as SQL, so that it can be read and pasted; it says what `app.db.tables` said at the time, and a test compares.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTALLATION = """
CREATE TABLE installation (
    single BOOLEAN NOT NULL,
    buckets SMALLINT NOT NULL,
    PRIMARY KEY (single),
    CONSTRAINT installation_is_one_row CHECK (single),
    CONSTRAINT installation_buckets CHECK (buckets between 1 and 1024)
)
"""

OPERATOR_REQUESTS = """
CREATE TABLE operator_requests (
    api_key TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status SMALLINT NOT NULL,
    body JSON,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (api_key, idempotency_key)
)
"""

SAGAS = """
CREATE TABLE sagas (
    hash TEXT NOT NULL,
    name TEXT NOT NULL,
    definition JSON NOT NULL,
    PRIMARY KEY (hash)
)
"""

# A heartbeat, and the note that a call is going out, change no indexed column: where their page has room they add no
# index entry. An operation is written some six times, so four tenths of a page are left for what comes after the insert.
OPERATIONS = """
CREATE TABLE operations (
    bucket SMALLINT NOT NULL,
    id UUID NOT NULL,
    source TEXT NOT NULL,
    external_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    saga TEXT NOT NULL,
    saga_hash TEXT NOT NULL,
    event_id UUID NOT NULL,
    phase VARCHAR(32) NOT NULL,
    status VARCHAR(32) NOT NULL,
    reason VARCHAR(32),
    held_reason VARCHAR(32),
    step TEXT NOT NULL,
    action VARCHAR(32) NOT NULL,
    attempt INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    next_run_at TIMESTAMP WITH TIME ZONE,
    complete_by TIMESTAMP WITH TIME ZONE,
    leased_until TIMESTAMP WITH TIME ZONE,
    locked_by TEXT,
    deadline TIMESTAMP WITH TIME ZONE NOT NULL,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    occurred_at TIMESTAMP WITH TIME ZONE,
    last_error JSON,
    steps JSON NOT NULL,
    traceparent TEXT,
    transition UUID,
    last_run_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    stripped_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (bucket, id),
    CONSTRAINT operations_amount_positive CHECK (amount > 0),
    CONSTRAINT operations_currency_iso CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT operations_counters CHECK (attempt >= 0 and lease >= 0 and revision >= 1),
    CONSTRAINT operations_lease_while_processing CHECK ((status = 'processing') = (complete_by is not null) and (status = 'processing') = (locked_by is not null) and (status = 'processing') = (leased_until is not null)),
    CONSTRAINT operations_never_wait_for_ever CHECK ((status in ('pending', 'error', 'waiting')) = (next_run_at is not null)),
    CONSTRAINT operations_finished_when_final CHECK ((status in ('succeeded', 'refunded')) = (finished_at is not null)),
    CONSTRAINT operations_held_has_reason CHECK ((status = 'held') = (held_reason is not null)),
    CONSTRAINT operations_refunded_in_refund CHECK (status <> 'refunded' or phase = 'refund'),
    CONSTRAINT operations_saga FOREIGN KEY(saga_hash) REFERENCES sagas (hash),
    CONSTRAINT operations_phase CHECK (phase IN ('purchase', 'refund')),
    CONSTRAINT operations_status CHECK (status IN ('pending', 'processing', 'error', 'waiting', 'succeeded', 'refunded', 'held')),
    CONSTRAINT operations_reason CHECK (reason IN ('rejected', 'attempts_exhausted', 'deadline_passed', 'cancelled', 'refunded_elsewhere')),
    CONSTRAINT operations_held_reason CHECK (held_reason IN ('undo_rejected', 'undo_exhausted', 'cannot_undo', 'refund_failed', 'contradicted')),
    CONSTRAINT operations_action CHECK (action IN ('do', 'undo', 'lookup'))
) WITH (fillfactor = 60)
"""

ATTEMPTS = """
CREATE TABLE attempts (
    bucket SMALLINT NOT NULL,
    operation_id UUID NOT NULL,
    lease INTEGER NOT NULL,
    step TEXT NOT NULL,
    action VARCHAR(32) NOT NULL,
    attempt INTEGER NOT NULL,
    idempotency_key TEXT,
    worker TEXT NOT NULL,
    request JSON NOT NULL,
    response JSON,
    outcome VARCHAR(32),
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (bucket, operation_id, lease),
    CONSTRAINT attempts_open_until_finished CHECK ((outcome is null) = (finished_at is null)),
    CONSTRAINT attempts_operation FOREIGN KEY(bucket, operation_id) REFERENCES operations (bucket, id),
    CONSTRAINT attempts_action CHECK (action IN ('do', 'undo', 'lookup')),
    CONSTRAINT attempts_outcome CHECK (outcome IN ('done', 'rejected', 'unavailable', 'unknown', 'crashed'))
)
"""

EVENTS = """
CREATE TABLE events (
    bucket SMALLINT NOT NULL,
    id UUID NOT NULL,
    source TEXT NOT NULL,
    delivery_id TEXT,
    external_id TEXT,
    event_type TEXT,
    deliveries INTEGER NOT NULL,
    status VARCHAR(32) NOT NULL,
    detail TEXT,
    operation_id UUID,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    payload BYTEA,
    PRIMARY KEY (bucket, id),
    CONSTRAINT events_deliveries_positive CHECK (deliveries > 0),
    CONSTRAINT events_of_an_operation CHECK ((status in ('accepted', 'duplicate', 'conflict')) = (operation_id is not null)),
    CONSTRAINT events_operation FOREIGN KEY(bucket, operation_id) REFERENCES operations (bucket, id),
    CONSTRAINT events_status CHECK (status IN ('accepted', 'duplicate', 'ignored', 'unprocessable', 'conflict'))
)
"""

HISTORY = """
CREATE TABLE history (
    bucket SMALLINT NOT NULL,
    operation_id UUID NOT NULL,
    revision INTEGER NOT NULL,
    transition UUID NOT NULL,
    from_phase VARCHAR(32),
    from_status VARCHAR(32),
    to_phase VARCHAR(32) NOT NULL,
    to_status VARCHAR(32) NOT NULL,
    cause TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    note TEXT,
    PRIMARY KEY (bucket, operation_id, revision),
    CONSTRAINT history_begins_with_creation CHECK ((revision = 1) = (from_status is null)),
    CONSTRAINT history_from_is_whole CHECK ((from_status is null) = (from_phase is null)),
    CONSTRAINT history_operation FOREIGN KEY(bucket, operation_id) REFERENCES operations (bucket, id),
    CONSTRAINT history_from_phase CHECK (from_phase IN ('purchase', 'refund')),
    CONSTRAINT history_from_status CHECK (from_status IN ('pending', 'processing', 'error', 'waiting', 'succeeded', 'refunded', 'held')),
    CONSTRAINT history_to_phase CHECK (to_phase IN ('purchase', 'refund')),
    CONSTRAINT history_to_status CHECK (to_status IN ('pending', 'processing', 'error', 'waiting', 'succeeded', 'refunded', 'held'))
)
"""

INDEXES = (
    "CREATE INDEX operations_claimed ON operations (bucket, complete_by) WHERE status = 'processing'",
    "CREATE INDEX operations_due ON operations (bucket, next_run_at, id) WHERE status in ('pending', 'error', 'waiting')",
    "CREATE INDEX operations_external ON operations (external_id, created_at, id)",
    "CREATE INDEX operations_finished ON operations (finished_at) WHERE finished_at is not null and stripped_at is null",
    "CREATE INDEX operations_held ON operations (created_at, id) WHERE status = 'held'",
    "CREATE INDEX operations_newest ON operations (created_at, id)",
    "CREATE INDEX operations_order ON operations (order_id, created_at, id)",
    "CREATE UNIQUE INDEX events_accepted_once ON events (bucket, operation_id) WHERE status = 'accepted'",
    "CREATE INDEX events_newest ON events (received_at, id)",
    "CREATE INDEX events_not_accepted ON events (status, received_at, id) WHERE status <> 'accepted'",
)


def upgrade() -> None:
    for statement in (INSTALLATION, OPERATOR_REQUESTS, SAGAS, OPERATIONS, ATTEMPTS, EVENTS, HISTORY, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    for table in ("history", "events", "attempts", "operations", "sagas", "operator_requests", "installation"):
        op.drop_table(table)
