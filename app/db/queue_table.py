"""The table of what is under way: an index on `operations` that is kept by hand.

An index of PostgreSQL's own on what changes with each claim and each record would make every such update write an entry
into all indexes of the operations, however many millions of them have finished. A row here is written by the very
statements that write its operation, and is gone when that is final or held.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, text
from sqlmodel import Field, SQLModel

from app.db.tables import TIME


class QueueRow(SQLModel, table=True):
    """When somebody has to look at an operation next: `next_run_at` while it waits, `complete_by` while it is claimed.

    Both say what its operation says. `complete_by` is the end of the lease as the claim has set it.
    """

    __tablename__ = "queue"
    __table_args__ = (
        CheckConstraint("(next_run_at is null) <> (complete_by is null)", name="queue_waits_or_is_claimed"),
        # What a worker may claim, soonest first.
        Index(
            "queue_due",
            "bucket",
            "next_run_at",
            "operation_serial",
            postgresql_where=text("next_run_at is not null"),
        ),
        # What a supervisor looks through.
        Index(
            "queue_claimed",
            "bucket",
            "complete_by",
            "operation_serial",
            postgresql_where=text("complete_by is not null"),
        ),
    )

    bucket: int = Field(primary_key=True, sa_type=SmallInteger)
    operation_serial: UUID = Field(primary_key=True)
    next_run_at: datetime | None = Field(sa_type=TIME)
    complete_by: datetime | None = Field(sa_type=TIME)
