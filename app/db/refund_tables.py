"""The tables of refunds: what providers tell of them, and whose turn it is to ask for one."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Integer, SmallInteger, Text, text
from sqlmodel import Field, SQLModel

from app.db.tables import TIME, words
from app.saga.refund_facts import RefundStanding


class ExternalRefundRow(SQLModel, table=True):
    """A refund or a dispute that a payment's provider has told of by itself, whoever made it; once by the provider's id.

    It may be told before its payment, so there need be no operation of that id. Which ones are ours follows from the
    operation: see `app.saga.refund_facts`. `at` is the provider's time of it, `told_at` when it was last told.
    """

    __tablename__ = "external_refunds"
    __table_args__ = (CheckConstraint("amount > 0", name="external_refunds_amount_positive"),)

    bucket: int = Field(primary_key=True, sa_type=SmallInteger)
    operation_id: UUID = Field(primary_key=True)
    refund_id: str = Field(primary_key=True, sa_type=Text)
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    standing: RefundStanding = Field(sa_type=words(RefundStanding, "external_refunds_standing"))
    key: str | None = Field(sa_type=Text)
    at: datetime = Field(sa_type=TIME)
    told_at: datetime = Field(sa_type=TIME, sa_column_kwargs={"server_default": text("now()")})


class RefundClaimRow(SQLModel, table=True):
    """Which operation may ask an agent for a refund of a payment now: one at a time.

    Two sources may tell of one payment, and make two operations in two buckets of it; so no bucket leads this key.
    `lease` is of the claim under which the row was taken.
    """

    __tablename__ = "refund_claims"

    agent: str = Field(primary_key=True, sa_type=Text)
    payment_id: str = Field(primary_key=True, sa_type=Text)
    operation_id: UUID
    lease: int = Field(sa_type=Integer)
    taken_at: datetime = Field(sa_type=TIME)
