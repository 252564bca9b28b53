"""The numbers of the whole, and the law that no payment is missing from them."""

from datetime import timedelta
from uuid import uuid4

from app.db.engine import AsyncEngine, connect
from app.db.sagas import Sagas
from app.db.stats import StatusCount, stats
from app.db.store import Store
from app.saga.model import Phase, Status
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.queued import put_in_step

ENDS = {
    "pay_1": "status = 'succeeded', next_run_at = NULL, finished_at = $1::timestamptz - interval '30 s'",
    "pay_2": "status = 'succeeded', next_run_at = NULL, finished_at = $1::timestamptz - interval '90 s'",
    "pay_3": "status = 'refunded', phase = 'refund', next_run_at = NULL, finished_at = $1",
    "pay_4": "status = 'held', phase = 'refund', next_run_at = NULL, held_reason = 'cannot_undo', updated_at = $1",
    "pay_5": "status = 'error', updated_at = $1",
    "pay_6": "next_run_at = $1::timestamptz - interval '8 s'",
    "pay_7": "next_run_at = $1::timestamptz + interval '1 s'",
}


async def test_every_payment_is_counted_once_by_what_became_of_it(engine: AsyncEngine, database_url: str) -> None:
    await Sagas(engine, {}).store(purchase_saga())
    store = Store(database_url, 1, FixedClock())
    connection = await connect(database_url)
    for external_id, end in ENDS.items():
        await store.ingest(arrival_of(operation_for(external_id)))
        await connection.execute(f"UPDATE operations SET {end} WHERE external_id = '{external_id}'", NOW)
    await put_in_step(connection)
    await store.close()
    counted = await stats(engine, NOW)
    assert set(counted.operations) == {
        StatusCount(Status.SUCCEEDED, Phase.PURCHASE, 2),
        StatusCount(Status.REFUNDED, Phase.REFUND, 1),
        StatusCount(Status.HELD, Phase.REFUND, 1),
        StatusCount(Status.ERROR, Phase.PURCHASE, 1),
        StatusCount(Status.PENDING, Phase.PURCHASE, 2),
    }
    assert (counted.payments, counted.succeeded, counted.refunded, counted.held, counted.under_way) == (7, 2, 1, 1, 3)
    assert counted.difference == 0
    assert counted.oldest_pending_seconds == 8.0
    assert counted.finished_per_minute == 2
    # Payments are counted by their events: an operation that went missing shows.
    await connection.execute(
        "UPDATE events SET status = 'ignored', operation_serial = NULL WHERE external_id = 'pay_1'"
    )
    await connection.close()
    assert (await stats(engine, NOW)).difference == -1


async def test_nothing_is_pending_in_an_empty_database(engine: AsyncEngine) -> None:
    counted = await stats(engine, NOW)
    assert (counted.operations, counted.payments, counted.oldest_pending_seconds) == ((), 0, 0.0)
    assert counted.finished_per_minute == 0


async def test_what_was_ignored_is_no_payment(engine: AsyncEngine, database_url: str) -> None:
    connection = await connect(database_url)
    await connection.execute(
        "INSERT INTO events (bucket, id, source, deliveries, status, received_at) VALUES (0, $1, 'shop', 1, 'ignored', $2)",
        uuid4(),
        NOW - timedelta(days=1),
    )
    await connection.close()
    assert (await stats(engine, NOW)).payments == 0
