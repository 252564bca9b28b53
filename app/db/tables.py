"""The tables. Every rule that one row can break is a CHECK; every queue that is scanned has a partial index.

How the rows of one payment hang together:

    events (what was delivered) ─────────────────> operations (one a payment) <── attempts (each call out)
                                                              │            <── history (each change)
                     external_refunds (what others gave back) ┘│           <── queue (while it is under way)
                                                               └── saga_hash ──> sagas (the definition it began with)

Every table that belongs to an operation has `bucket` in its primary key, so that all rows of one operation can sit on one
node of a distributed PostgreSQL; on one server there is one bucket. JSON is kept in `json`, not `jsonb`: it is
never searched, and `jsonb` refuses the NUL that a sender may write as an escape.

What stays cheap beside millions of finished operations does so for two reasons. No index of `operations` has a column
that changes on the way to success, so its updates are heap-only; what is under way is found by `queue`. And what belongs
to an operation lies by its `serial`, beside that of its neighbours in time: by its id, which is a hash, each row would be
on an index page of its own, read for that row alone, and each page go into the log whole after a checkpoint.
No foreign key leads from attempts, history and queue: their rows are inserted by the statement that has just inserted or
changed their operation, from what that gave back, and no operation is ever deleted; asking again was a quarter of the
database's time.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from app.saga.model import Action, HeldReason, Outcome, Phase, Reason, Status


class EventStatus(StrEnum):
    """What became of a delivered event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    UNPROCESSABLE = "unprocessable"
    CONFLICT = "conflict"


def words(kind: type[StrEnum], name: str) -> Enum:
    """A text column that takes the words of one StrEnum alone."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


TIME = DateTime(timezone=True)


class InstallationRow(SQLModel, table=True):
    """One row: what was fixed when this database was made."""

    __tablename__ = "installation"
    __table_args__ = (
        CheckConstraint("single", name="installation_is_one_row"),
        CheckConstraint("buckets between 1 and 1024", name="installation_buckets"),
    )

    single: bool = Field(default=True, primary_key=True)
    buckets: int = Field(sa_type=SmallInteger)


class SagaRow(SQLModel, table=True):
    """The definition of a saga, stored once by its hash."""

    __tablename__ = "sagas"

    hash: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    definition: Any = Field(sa_type=JSON, nullable=False)


class OperationRow(SQLModel, table=True):
    """One payment on its way to be made good.

    `leased_until` is the end of the lease as the heartbeat has moved it; it is in no index, so that a heartbeat stays a
    heap-only update. `transition` is the id of the last decision written, by which a resend finds that it has won.
    `serial` is an id that rises with time, said to nobody: the tables that are written with each change mean the operation by it.
    `stripped_at` is when retention took away all but what a redelivery is compared with.
    """

    __tablename__ = "operations"
    __table_args__ = (
        CheckConstraint("amount > 0", name="operations_amount_positive"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="operations_currency_iso"),
        CheckConstraint("attempt >= 0 and lease >= 0 and revision >= 1", name="operations_counters"),
        CheckConstraint(
            "(status = 'processing') = (complete_by is not null)"
            " and (status = 'processing') = (locked_by is not null)"
            " and (status = 'processing') = (leased_until is not null)",
            name="operations_lease_while_processing",
        ),
        CheckConstraint(
            "(status in ('pending', 'error', 'waiting')) = (next_run_at is not null)",
            name="operations_never_wait_for_ever",
        ),
        CheckConstraint(
            "(status in ('succeeded', 'refunded')) = (finished_at is not null)", name="operations_finished_when_final"
        ),
        CheckConstraint("(status = 'held') = (held_reason is not null)", name="operations_held_has_reason"),
        CheckConstraint("status <> 'refunded' or phase = 'refund'", name="operations_refunded_in_refund"),
        ForeignKeyConstraint(["saga_hash"], ["sagas.hash"], name="operations_saga"),
        # Neither begins with the bucket: on a young table, which was never analysed, the planner thinks that a bucket has
        # few rows, and would read all of it by whichever index begins with it.
        PrimaryKeyConstraint("id", "bucket"),
        UniqueConstraint("serial", "bucket", name="operations_serial"),
        # The listings of people: newest first, and what is held.
        Index("operations_newest", "created_at", "id"),
        Index("operations_order", "order_id", "created_at", "id"),
        Index("operations_external", "external_id", "created_at", "id"),
        Index("operations_held", "created_at", "id", postgresql_where=text("held_reason is not null")),
    )

    bucket: int = Field(primary_key=True, sa_type=SmallInteger)
    id: UUID = Field(primary_key=True)
    serial: UUID
    source: str = Field(sa_type=Text)
    external_id: str = Field(sa_type=Text)
    order_id: str = Field(sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    saga: str = Field(sa_type=Text)
    saga_hash: str = Field(sa_type=Text)
    phase: Phase = Field(sa_type=words(Phase, "operations_phase"))
    status: Status = Field(sa_type=words(Status, "operations_status"))
    reason: Reason | None = Field(sa_type=words(Reason, "operations_reason"))
    held_reason: HeldReason | None = Field(sa_type=words(HeldReason, "operations_held_reason"))
    step: str = Field(sa_type=Text)
    action: Action = Field(sa_type=words(Action, "operations_action"))
    attempt: int = Field(sa_type=Integer)
    revision: int = Field(sa_type=Integer)
    lease: int = Field(sa_type=Integer)
    next_run_at: datetime | None = Field(sa_type=TIME)
    complete_by: datetime | None = Field(sa_type=TIME)
    leased_until: datetime | None = Field(sa_type=TIME)
    locked_by: str | None = Field(sa_type=Text)
    deadline: datetime = Field(sa_type=TIME)
    cancel_requested_at: datetime | None = Field(sa_type=TIME)
    occurred_at: datetime | None = Field(sa_type=TIME)
    last_error: Any = Field(sa_type=JSON, nullable=True)
    steps: Any = Field(sa_type=JSON, nullable=False)
    traceparent: str | None = Field(sa_type=Text)
    transition: UUID | None
    last_run_at: datetime | None = Field(sa_type=TIME)
    created_at: datetime = Field(sa_type=TIME)
    updated_at: datetime = Field(sa_type=TIME)
    finished_at: datetime | None = Field(sa_type=TIME)
    stripped_at: datetime | None = Field(sa_type=TIME)


class EventRow(SQLModel, table=True):
    """One delivered event; its redeliveries are counted. The id is made from what the event says, so it is its own key.

    `payload` is the raw body as it was signed; it is emptied when retention has passed.
    """

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("deliveries > 0", name="events_deliveries_positive"),
        CheckConstraint(
            "(status in ('accepted', 'duplicate', 'conflict')) = (operation_serial is not null)",
            name="events_of_an_operation",
        ),
        ForeignKeyConstraint(
            ["operation_serial", "bucket"], ["operations.serial", "operations.bucket"], name="events_operation"
        ),
        # One event, and no more, has made the operation: what /stats counts payments by, and what a claim finds it by.
        Index(
            "events_accepted_once",
            "bucket",
            "operation_serial",
            unique=True,
            postgresql_where=text("status = 'accepted'"),
        ),
        Index("events_newest", "received_at", "id"),
        # What waits for an operator, and what retention drops: never the accepted ones.
        Index("events_not_accepted", "status", "received_at", "id", postgresql_where=text("status <> 'accepted'")),
    )

    bucket: int = Field(primary_key=True, sa_type=SmallInteger)
    id: UUID = Field(primary_key=True)
    source: str = Field(sa_type=Text)
    delivery_id: str | None = Field(sa_type=Text)
    external_id: str | None = Field(sa_type=Text)
    event_type: str | None = Field(sa_type=Text)
    deliveries: int = Field(sa_type=Integer)
    status: EventStatus = Field(sa_type=words(EventStatus, "events_status"))
    detail: str | None = Field(sa_type=Text)
    operation_serial: UUID | None
    received_at: datetime = Field(sa_type=TIME)
    payload: bytes | None = Field(sa_type=LargeBinary)


class AttemptRow(SQLModel, table=True):
    """One call out. Each claim makes at most one, so the lease number is its place among the operation's calls.

    It is written before the call goes out, with no outcome: a crash leaves it open, and that is how it is seen.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint("(outcome is null) = (finished_at is null)", name="attempts_open_until_finished"),
    )

    bucket: int = Field(primary_key=True, sa_type=SmallInteger)
    operation_serial: UUID = Field(primary_key=True)
    lease: int = Field(primary_key=True, sa_type=Integer)
    step: str = Field(sa_type=Text)
    action: Action = Field(sa_type=words(Action, "attempts_action"))
    attempt: int = Field(sa_type=Integer)
    idempotency_key: str | None = Field(sa_type=Text)
    worker: str = Field(sa_type=Text)
    request: Any = Field(sa_type=JSON, nullable=False)
    response: Any = Field(sa_type=JSON, nullable=True)
    outcome: Outcome | None = Field(sa_type=words(Outcome, "attempts_outcome"))
    started_at: datetime = Field(sa_type=TIME)
    finished_at: datetime | None = Field(sa_type=TIME)


class HistoryRow(SQLModel, table=True):
    """One change of an operation: one row a revision."""

    __tablename__ = "history"
    __table_args__ = (
        CheckConstraint("(revision = 1) = (from_status is null)", name="history_begins_with_creation"),
        CheckConstraint("(from_status is null) = (from_phase is null)", name="history_from_is_whole"),
        # What has finished in the last minute, and what retention is to strip.
        Index("history_finished", "at", postgresql_where=text("to_status in ('succeeded', 'refunded')")),
    )

    bucket: int = Field(primary_key=True, sa_type=SmallInteger)
    operation_serial: UUID = Field(primary_key=True)
    revision: int = Field(primary_key=True, sa_type=Integer)
    transition: UUID
    from_phase: Phase | None = Field(sa_type=words(Phase, "history_from_phase"))
    from_status: Status | None = Field(sa_type=words(Status, "history_from_status"))
    to_phase: Phase = Field(sa_type=words(Phase, "history_to_phase"))
    to_status: Status = Field(sa_type=words(Status, "history_to_status"))
    cause: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=TIME)
    note: str | None = Field(sa_type=Text)


class OperatorRequestRow(SQLModel, table=True):
    """The answer to an operator's call, by its `Idempotency-Key`; written in the transaction of its effect."""

    __tablename__ = "operator_requests"

    api_key: str = Field(primary_key=True, sa_type=Text)
    idempotency_key: str = Field(primary_key=True, sa_type=Text)
    fingerprint: str = Field(sa_type=Text)
    status: int = Field(sa_type=SmallInteger)
    body: Any = Field(sa_type=JSON, nullable=True)
    created_at: datetime = Field(sa_type=TIME)
