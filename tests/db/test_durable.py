"""What is written by one statement is on disk when it is answered, also where the server would not wait for that."""

from typing import Any

import pytest

from app.db.store import Store
from tests.builders import arrival_of, operation_for
from tests.db.claims import begun, claim_of, done
from tests.db.starts import started

# A deferred trigger is carried out right before the commit, which waits for the disk or not as the setting says then.
WATCHED = """
CREATE TABLE committed (level text NOT NULL);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO committed VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER noted AFTER INSERT OR UPDATE ON {} DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION note();
"""


@pytest.mark.parametrize("table", ["events", "history", "attempts", "operations"])
async def test_each_write_waits_for_the_disk(store: Store, database: Any, table: str) -> None:
    """Trap 35: an acknowledgement that a power cut takes back."""
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await database.execute(WATCHED.format(table))
    arrival = arrival_of(operation_for("pay_1"))
    await store.ingest(arrival)
    assert arrival.operation is not None
    assert await store.redelivered(arrival.id, arrival.operation.id) is not None
    await store.ingest(arrival_of(operation_for("pay_1"), delivery_id="msg_2"))
    await store.ingest(started(operation_for("pay_2"))[0])
    [claimed] = await store.claim(claim_of())
    assert await store.record(done(await begun(store, claimed.operation)), actor="worker-1")
    levels = [row["level"] for row in await database.fetch("SELECT level FROM committed")]
    assert levels
    assert set(levels) == {"on"}
