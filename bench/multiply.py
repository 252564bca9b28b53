"""Many rows like those of one real operation: copied by SQL, with ids, keys and times of their own.

The columns are read from the tables, so the copies are as wide as what the service writes today. The indexes rest
meanwhile and are built afterwards, which is ten times as fast as to keep them up; foreign keys are not looked at.
"""

from collections.abc import Mapping

from bench.postgres import Connection

# i is the copy's number, r the row that is copied. Columns that are not named are copied as they are.
OPERATION, EVENT = "md5('operation ' || i)::uuid", "md5('event ' || i)::uuid"
NEW: Mapping[str, Mapping[str, str]] = {
    "operations": {
        "id": OPERATION,
        "event_id": EVENT,
        "external_id": "'past_' || i",
        "order_id": "'order-past-' || i",
        "transition": "md5('last ' || i)::uuid",
    },
    "events": {
        "id": EVENT,
        "operation_id": OPERATION,
        "external_id": "'past_' || i",
        "delivery_id": "'msg_past_' || i",
    },
    "attempts": {"operation_id": OPERATION, "idempotency_key": "md5('key ' || i)"},
    "history": {"operation_id": OPERATION, "transition": "md5(r.revision || ' transition ' || i)::uuid"},
}
OWNER = {"operations": "id", "events": "operation_id", "attempts": "operation_id", "history": "operation_id"}
APART = "interval '20 milliseconds'"  # between two copies, from the original backwards; of those that wait, onwards

COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type
  FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
 ORDER BY attnum
"""
# An index that is not ready for inserts is passed over; REINDEX builds it and makes it ready. Its definition stays as
# the migrations made it, which making it anew from its printed form does not promise.
REST = """
UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = ANY($1::text[]::regclass[])
"""
UNCHECKED = "SET session_replication_role = replica"  # in this session alone; what is copied has what it points to
MEMORY = "SET maintenance_work_mem = '1GB'"  # for building indexes, in this session alone


async def multiply(connection: Connection, external_id: str, count: int) -> None:
    """Adds so many copies of the operation of that payment, with its event, attempts and history."""
    if not count:
        return
    tables = list(NEW)
    (original,) = await connection.fetch("SELECT id FROM operations WHERE external_id = $1", external_id)
    await connection.execute(f"{MEMORY}; {UNCHECKED}")
    await connection.execute(REST, tables)
    for table in tables:
        await connection.execute(await statement(connection, table), original["id"], count)
    for table in tables:
        await connection.execute(f"REINDEX TABLE {table}")
        await connection.execute(f"VACUUM (ANALYZE) {table}")
    await connection.execute("RESET ALL")


async def statement(connection: Connection, table: str) -> str:
    """The INSERT for one table: $1 is the original's id, $2 how many."""
    columns = await connection.fetch(COLUMNS, table)
    names = ", ".join(column["name"] for column in columns)
    values = ", ".join(value(table, column["name"], column["type"]) for column in columns)
    rows = f"(SELECT * FROM {table} WHERE {OWNER[table]} = $1::uuid) AS r"
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM generate_series(1, $2::bigint) AS i CROSS JOIN {rows}"


def value(table: str, column: str, kind: str) -> str:
    """What a copy has in one column."""
    if column in NEW[table]:
        return NEW[table][column]
    if column == "next_run_at":
        return f"r.{column} + i * {APART}"
    return f"r.{column} - i * {APART}" if kind.startswith("timestamp") else f"r.{column}"
