"""The answers to operators' calls that came with an `Idempotency-Key`: given once, and the same again ever after.

The answer is inserted in the transaction of its effect, and the key is its primary key. So PostgreSQL decides a race:
of two calls with one key that run at the same time, in whatever processes, the second one's insert waits for the first
to commit and then fails, and its effect is rolled back with it. Nothing is reserved beforehand, so a process that dies
in between leaves nothing behind.

How a call goes, in the API:

    async with requests.running(key):            # IdempotencyKeyInUse while this process has it running: 409
        stored = await requests.find(key)        # an answer: the same fingerprint: give it again; another: 422
        ... control.act(..., receipt=OperatorReceipt(...))   # effect and answer commit together
                                                 # IdempotencyKeyInUse: another process was sooner; 409, nothing was done
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from app.db.engine import AsyncEngine, translated
from app.db.rows import storable_json
from app.db.tables import OperatorRequestRow
from app.errors import IdempotencyKeyInUse
from app.saga.model import Json

ADD_RECEIPTS = """
INSERT INTO operator_requests (api_key, idempotency_key, fingerprint, status, body, created_at)
SELECT t.api_key, t.idempotency_key, t.fingerprint, t.status, t.body::json, $6
  FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[])
       AS t(api_key, idempotency_key, fingerprint, status, body)
"""


@dataclass(frozen=True, slots=True)
class OperatorReceipt:
    """An answer to be given again.

    Args:
        api_key: the name of the API key that called; keys of two callers never meet.
        fingerprint: of the request: its method, path, query and body.
    """

    api_key: str
    idempotency_key: str
    fingerprint: str
    status: int
    body: Json


class OperatorRequests:
    """What was answered, and what this process is about to answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._running: set[tuple[str, str]] = set()

    @contextmanager
    def running(self, api_key: str, idempotency_key: str) -> Iterator[None]:
        """Around a call with this key.

        Raises:
            IdempotencyKeyInUse: another one with it is running in this process.
        """
        key = (api_key, idempotency_key)
        if key in self._running:
            raise IdempotencyKeyInUse("the first request with this Idempotency-Key is still running")
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    async def find(self, api_key: str, idempotency_key: str) -> OperatorReceipt | None:
        """The answer that was given to this key, or None.

        Raises:
            DatabaseUnavailable: the database cannot be asked.
        """
        row = OperatorRequestRow
        wanted = select(col(row.fingerprint), col(row.status), col(row.body)).where(
            col(row.api_key) == api_key, col(row.idempotency_key) == idempotency_key
        )
        with translated():
            async with self._engine.connect() as connection:
                found = (await connection.execute(wanted)).one_or_none()
        if found is None:
            return None
        return OperatorReceipt(api_key, idempotency_key, found.fingerprint, found.status, found.body)

    async def keep(self, receipt: OperatorReceipt, at: datetime) -> None:
        """Stores the answer to a call whose effects were committed one by one: a bulk call.

        Raises:
            IdempotencyKeyInUse: another process has answered this key meanwhile.
            DatabaseUnavailable: perhaps it is not stored.
        """
        row = {
            "api_key": receipt.api_key,
            "idempotency_key": receipt.idempotency_key,
            "fingerprint": receipt.fingerprint,
            "status": receipt.status,
            "body": receipt.body,
            "created_at": at,
        }
        adding = insert(OperatorRequestRow).values(row)
        with translated():
            async with self._engine.begin() as connection:
                once = adding.on_conflict_do_nothing(index_elements=["api_key", "idempotency_key"])
                added = await connection.execute(once.returning(col(OperatorRequestRow.api_key)))
                if added.first() is None:
                    raise IdempotencyKeyInUse("another request with this Idempotency-Key was answered meanwhile")


async def add_receipts(
    connection: "asyncpg.Connection[Any]", receipts: Sequence[OperatorReceipt], at: datetime
) -> None:
    """Inserts answers in the transaction of their effects, which rolls back where a key was answered before.

    A resend after a commit that broke on the wire leaves out those that have landed: they are there.

    Raises:
        asyncpg.UniqueViolationError: a key was answered before; `answered_once` says it in the program's words.
    """
    await connection.execute(
        ADD_RECEIPTS,
        [receipt.api_key for receipt in receipts],
        [receipt.idempotency_key for receipt in receipts],
        [receipt.fingerprint for receipt in receipts],
        [receipt.status for receipt in receipts],
        [storable_json(receipt.body) for receipt in receipts],
        at,
    )


@contextmanager
def answered_once() -> Iterator[None]:
    """Around a write that may carry a receipt.

    Raises:
        IdempotencyKeyInUse: another process has answered its key meanwhile; the effect was rolled back with it.
    """
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise IdempotencyKeyInUse("another request with this Idempotency-Key was answered meanwhile") from error
