"""A migration keeps what is there: taken back and made again, every row says what it said."""

from typing import Any

from app.db import schema
from app.db.journal import AttemptEnd
from app.db.store import Store
from app.saga.model import Outcome
from tests.builders import NOW, arrival_of, operation_for
from tests.db.claims import begun, claimed, done
from tests.queued import strays

TABLES = ("operations", "queue", "history", "attempts", "events")


async def rows(database: Any) -> dict[str, list[list[tuple[str, Any]]]]:
    """All rows, by their columns' names: a migration may put columns and rows in another order."""
    found = {table: await database.fetch(f"SELECT * FROM {table}") for table in TABLES}
    return {table: sorted([sorted(row.items()) for row in part], key=str) for table, part in found.items()}


async def test_what_is_stored_is_the_same_after_the_queue_was_taken_away_and_made_again(
    store: Store, database: Any, database_url: str
) -> None:
    """One has succeeded, one is being called for, one is claimed, one waits; of one a second event contradicts the first."""
    ended = await begun(store, await claimed(store, "pay_1"))
    answered = AttemptEnd(ended.lease, Outcome.DONE, {"status": 200, "body": {"ref": "A"}}, NOW)
    assert await store.record(done(ended), actor="worker-1", attempt=answered)
    await begun(store, await claimed(store, "pay_2"))
    waiting = await claimed(store, "pay_3")
    assert await store.record(done(waiting), actor="worker-1")
    await claimed(store, "pay_4")
    await store.ingest(arrival_of(operation_for("pay_4", amount=2999), delivery_id="msg_2"))
    before = await rows(database)
    assert {table: bool(found) for table, found in before.items()} == dict.fromkeys(TABLES, True)

    await schema.downgrade(database_url, "0005")
    old = await database.fetch("SELECT operation_id FROM history UNION ALL SELECT operation_id FROM attempts")
    assert {row["operation_id"] for row in old} == {dict(row)["id"] for row in before["operations"]}
    await schema.upgrade(database_url)

    await database.reload_schema_state()
    assert await rows(database) == before
    assert await strays(database) == 0
