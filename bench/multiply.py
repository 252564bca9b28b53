"""Many rows like those of one real operation: copied by SQL, with ids, keys and times of their own.

The columns are read from the tables, so the copies are as wide as what the service writes today. The indexes rest
meanwhile and are built afterwards, which is ten times as fast as to keep them up; foreign keys are not looked at.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.postgres import Connection

# i is the copy's number, r the row that is copied. Columns that are not named are copied as they are. Serials rise with
# time, and those of the copies are before all others.
SERIAL = "lpad(to_hex(i), 32, '0')::uuid"
NEW: Mapping[str, Mapping[str, str]] = {
    "operations": {
        "id": "md5('operation ' || i)::uuid",
        "serial": SERIAL,
        "external_id": "'past_' || i",
        "order_id": "'order-past-' || i",
        "transition": "md5('last ' || i)::uuid",
    },
    "events": {
        "id": "md5('event ' || i)::uuid",
        "operation_serial": SERIAL,
        "external_id": "'past_' || i",
        "delivery_id": "'msg_past_' || i",
    },
    "queue": {"operation_serial": SERIAL},
    "attempts": {"operation_serial": SERIAL, "idempotency_key": "md5('key ' || i)"},
    "history": {"operation_serial": SERIAL, "transition": "md5(r.revision || ' transition ' || i)::uuid"},
}
# The column by which a row is the original's own, and the original's column that it is equal to.
OWNER = {
    "operations": ("id", "id"),
    "events": ("operation_serial", "serial"),
    "queue": ("operation_serial", "serial"),
    "attempts": ("operation_serial", "serial"),
    "history": ("operation_serial", "serial"),
}
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
# An operation grows while it is worked on. A copy is inserted as it is in the end: so the pages are filled further, that as
# many lie on one as the service itself leaves there (measured: 6). Filled less, each would have room for one new row.
GROWN = {"operations": 45}
MEMORY = "SET maintenance_work_mem = '1GB'"  # for building indexes, in this session alone


async def multiply(connection: Connection, external_id: str, count: int) -> None:
    """Adds so many copies of the operation of that payment, with its event, attempts and history."""
    if not count:
        return
    tables = list(NEW)
    (original,) = await connection.fetch("SELECT id, serial FROM operations WHERE external_id = $1", external_id)
    await connection.execute(f"{MEMORY}; {UNCHECKED}")
    await connection.execute(REST, tables)
    for table in tables:
        async with filled(connection, table):
            await connection.execute(await statement(connection, table), original[OWNER[table][1]], count)
    for table in tables:
        await connection.execute(f"REINDEX TABLE {table}")
        await connection.execute(f"VACUUM (ANALYZE) {table}")
    await connection.execute("RESET ALL")


@asynccontextmanager
async def filled(connection: Connection, table: str) -> AsyncIterator[None]:
    """Within it, the pages of a table are filled as far as copies ask for."""
    if table not in GROWN:
        yield
        return
    options = await connection.fetchval("SELECT reloptions FROM pg_class WHERE oid = $1::text::regclass", table)
    await connection.execute(f"ALTER TABLE {table} SET (fillfactor = {GROWN[table]})")
    yield
    await connection.execute(f"ALTER TABLE {table} SET ({', '.join(options)})")


async def statement(connection: Connection, table: str) -> str:
    """The INSERT for one table: $1 is the original's id or serial, $2 how many."""
    columns = await connection.fetch(COLUMNS, table)
    names = ", ".join(column["name"] for column in columns)
    values = ", ".join(value(table, column["name"], column["type"]) for column in columns)
    rows = f"(SELECT * FROM {table} WHERE {OWNER[table][0]} = $1::uuid) AS r"
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM generate_series(1, $2::bigint) AS i CROSS JOIN {rows}"


def value(table: str, column: str, kind: str) -> str:
    """What a copy has in one column."""
    if column in NEW[table]:
        return NEW[table][column]
    if column == "next_run_at":
        return f"r.{column} + i * {APART}"
    return f"r.{column} - i * {APART}" if kind.startswith("timestamp") else f"r.{column}"
