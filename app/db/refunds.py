"""What providers have told of refunds, and whose turn it is to ask for one.

What is told is put on disk with its event, before the operation hears of it: and a claim looks for it after the
operation is on disk. So of the two, a payment and a refund that come at the same moment, one finds the other.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import ARRAY, Uuid, any_, bindparam, select, text
from sqlmodel import col

from app.db.engine import AsyncEngine, translated
from app.db.refund_tables import ExternalRefundRow
from app.saga.refund_facts import ORDER, KnownRefund, fold

# The events of one refund come in any order: the standing that comes later in a refund's life stays.
_LIFE = "ARRAY[" + ", ".join(f"'{standing}'" for standing in ORDER) + "]::text[]"
ADD_TOLD = f"""
INSERT INTO external_refunds AS known (bucket, operation_id, refund_id, amount, currency, standing, key, at, told_at)
SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
                     $8::timestamptz[], $9::timestamptz[])
    ON CONFLICT (bucket, operation_id, refund_id) DO UPDATE
   SET amount = excluded.amount, currency = excluded.currency, standing = excluded.standing, at = excluded.at,
       key = coalesce(excluded.key, known.key), told_at = excluded.told_at
 WHERE array_position({_LIFE}, excluded.standing::text) >= array_position({_LIFE}, known.standing::text)
"""

TAKE = text("""
INSERT INTO refund_claims AS held (agent, payment_id, operation_id, lease, taken_at)
VALUES (:agent, :payment_id, :operation_id, :lease, :at)
    ON CONFLICT (agent, payment_id) DO UPDATE SET lease = excluded.lease, taken_at = excluded.taken_at
 WHERE held.operation_id = excluded.operation_id
RETURNING held.lease
""")
HOLDER = text("SELECT operation_id, lease FROM refund_claims WHERE agent = :agent AND payment_id = :payment_id")
TAKE_OVER = text("""
UPDATE refund_claims
   SET operation_id = :operation_id, lease = :lease, taken_at = :at
 WHERE agent = :agent AND payment_id = :payment_id AND operation_id = :holder AND lease = :holders_lease
RETURNING lease
""")
# Under a later claim the row is somebody's who works on the operation now.
GIVE_BACK = text("""
DELETE FROM refund_claims
 WHERE agent = :agent AND payment_id = :payment_id AND operation_id = :operation_id AND lease <= :lease
""")


@dataclass(frozen=True, slots=True)
class Told:
    """A refund that an event tells of, and the operation that its payment has, or will have."""

    bucket: int
    operation_id: UUID
    refund: KnownRefund
    at: datetime


@dataclass(frozen=True, slots=True)
class RefundClaim:
    """The wish of an operation to be the only one that asks for a refund of a payment.

    Args:
        lease: the number of the operation's own claim.
    """

    agent: str
    payment_id: str
    operation_id: UUID
    lease: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Holder:
    """The operation that has the turn, and under which of its claims it took it."""

    operation_id: UUID
    lease: int


async def add_told(connection: "asyncpg.Connection", told: Sequence[Told]) -> None:
    """Puts on disk what events tell of refunds, in the transaction of the events."""
    by_refund: dict[tuple[int, UUID, str], list[Told]] = defaultdict(list)
    for one in told:
        by_refund[one.bucket, one.operation_id, one.refund.id].append(one)
    columns = []
    for place in sorted(by_refund):
        [refund] = fold(one.refund for one in by_refund[place])
        told_at = max(one.at for one in by_refund[place])
        at = refund.at or told_at
        columns.append((*place, refund.amount, refund.currency, refund.standing, refund.key, at, told_at))
    await connection.execute(ADD_TOLD, *[list(column) for column in zip(*columns, strict=True)])


async def told_of(engine: AsyncEngine, places: Collection[tuple[int, UUID]]) -> dict[UUID, tuple[KnownRefund, ...]]:
    """What was told of the refunds of operations, in one statement.

    Args:
        places: bucket and id of each operation.

    Returns:
        Those of which something was told.

    Raises:
        DatabaseUnavailable: the database cannot be asked; so do all functions here that take the engine.
    """
    row = ExternalRefundRow
    wanted = (
        select(row)
        .where(
            col(row.bucket).in_({bucket for bucket, _ in places}),
            col(row.operation_id) == any_(bindparam("ids", [id_ for _, id_ in places], type_=ARRAY(Uuid()))),
        )
        .order_by(col(row.at), col(row.refund_id))
    )
    with translated():
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            rows = (await connection.execute(wanted)).all()
    found: dict[UUID, list[KnownRefund]] = defaultdict(list)
    for one in rows:
        refund = KnownRefund(one.refund_id, one.amount, one.currency, one.standing, one.key, one.at)
        found[one.operation_id].append(refund)
    return {id_: tuple(refunds) for id_, refunds in found.items()}


async def take(engine: AsyncEngine, wanted: RefundClaim) -> Holder | None:
    """Takes the turn where it is free or this operation's already; else says who has it."""
    row = {
        "agent": wanted.agent,
        "payment_id": wanted.payment_id,
        "operation_id": wanted.operation_id,
        "lease": wanted.lease,
        "at": wanted.at,
    }
    with translated():
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            while (await connection.execute(TAKE, row)).first() is None:
                holder = (await connection.execute(HOLDER, row)).first()
                if holder is not None:
                    return Holder(holder.operation_id, holder.lease)
    return None


async def take_over(engine: AsyncEngine, wanted: RefundClaim, holder: Holder) -> bool:
    """Takes the turn from an operation that does not need it any more; False where it has taken it anew meanwhile."""
    row = {
        "agent": wanted.agent,
        "payment_id": wanted.payment_id,
        "operation_id": wanted.operation_id,
        "lease": wanted.lease,
        "at": wanted.at,
        "holder": holder.operation_id,
        "holders_lease": holder.lease,
    }
    with translated():
        async with engine.begin() as connection:
            return (await connection.execute(TAKE_OVER, row)).first() is not None


async def give_back(engine: AsyncEngine, agent: str, payment_id: str, operation_id: UUID, lease: int) -> None:
    """Ends an operation's turn, unless it was taken under a later claim."""
    row = {"agent": agent, "payment_id": payment_id, "operation_id": operation_id, "lease": lease}
    with translated():
        async with engine.begin() as connection:
            await connection.execute(GIVE_BACK, row)
