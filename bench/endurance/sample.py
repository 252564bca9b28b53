"""One sample: what PostgreSQL says of the tables, the operations that ended since the last one, and the service's memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.mix import Kind, kind
from bench.postgres import Connection
from bench.results import percentile

# Of each table: its rows (exactly, as they were inserted and deleted), the dead ones by PostgreSQL's estimate, bytes.
TABLES = """
SELECT relname AS name, n_tup_ins - n_tup_del AS rows, n_live_tup AS live, n_dead_tup AS dead,
       n_tup_upd AS updated, n_tup_hot_upd AS hot, autovacuum_count AS autovacuums,
       pg_table_size(relid) AS bytes, pg_indexes_size(relid) AS index_bytes
  FROM pg_stat_user_tables WHERE n_tup_ins > 0 ORDER BY relname
"""
INDEXES = """
SELECT indexrelname AS name, pg_relation_size(indexrelid) AS bytes
  FROM pg_stat_user_indexes WHERE idx_scan > 0 OR pg_relation_size(indexrelid) > 8192 ORDER BY indexrelname
"""
# Each by an index of its own.
OPEN = """
SELECT (SELECT count(*) FROM queue) AS open, (SELECT count(*) FROM operations WHERE held_reason IS NOT NULL) AS held
"""
WAL = "SELECT wal_bytes::float8 FROM pg_stat_wal"
# What ended in a window of time: until its commit, from when its webhook first wanted to go out; both by the machine's clock.
ENDED = """
SELECT o.external_id, extract(epoch FROM pg_xact_commit_timestamp(o.xmin) - o.occurred_at)::float8 AS seconds
  FROM history AS h
  JOIN operations AS o ON o.bucket = h.bucket AND o.serial = h.operation_serial
 WHERE h.to_status IN ('succeeded', 'refunded') AND h.at >= to_timestamp($1) AND h.at < to_timestamp($2)
   AND o.finished_at = h.at
"""
# Seconds that a window ends before the sample: what is finished by its own time must be committed by now.
LAG = 2.0
# Indexes on what is under way or not yet emptied: they must not know how many payments there ever were.
QUEUES = ("queue_pkey", "queue_due", "queue_claimed", "operations_held", "history_finished", "events_not_accepted")
KEPT = ("operations", "events")  # a row a payment, for ever: their size is judged by the row
MB = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """What was found at one time.

    Args:
        at: seconds since the load began.
        values: by the measures' names.
        tables, indexes: as PostgreSQL has said it.
        load: as the load has said it.
        disturbed: whether something else used the machine meanwhile.
    """

    at: float
    values: Mapping[str, float]
    tables: Mapping[str, Mapping[str, int]]
    indexes: Mapping[str, int]
    load: Mapping[str, float]
    disturbed: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What PostgreSQL has said. `ended` are the external ids, and the seconds that each has taken."""

    tables: Mapping[str, Mapping[str, int]]
    indexes: Mapping[str, int]
    open: int
    held: int
    wal: float
    ended: Iterable[tuple[str, float]]


async def ask(connection: Connection, since: float, until: float) -> Asked:
    """Asks PostgreSQL for all of it; the window's times are seconds since 1970."""
    tables = {row["name"]: {key: row[key] for key in list(row.keys())[1:]} for row in await connection.fetch(TABLES)}
    indexes = {row["name"]: row["bytes"] for row in await connection.fetch(INDEXES)}
    under_way: Any = await connection.fetchrow(OPEN)
    ended = [(row["external_id"], row["seconds"]) for row in await connection.fetch(ENDED, since - LAG, until - LAG)]
    wal = await connection.fetchval(WAL)
    return Asked(tables, indexes, under_way["open"], under_way["held"], wal, ended)


def took(ended: Iterable[tuple[str, float]]) -> dict[str, float]:
    """How long it took from webhook to the end, in ms. What the supplier first left unknown waits for its retry, by design."""
    seconds: dict[Kind, list[float]] = {one: [] for one in Kind}
    for external_id, each in ended:
        seconds[kind(int(external_id.rpartition("_")[2]))].append(each)
    shares = {"done p50": (Kind.WELL, 0.5), "done p99": (Kind.WELL, 0.99)}
    shares |= {"refunded p50": (Kind.REFUSED, 0.5), "after unknown p50": (Kind.UNKNOWN, 0.5)}
    return {
        name: 1000 * percentile(sorted(seconds[one]), share) for name, (one, share) in shares.items() if seconds[one]
    }


def values(asked: Asked, load: Mapping[str, float], wal_before: float) -> dict[str, float]:
    """The measures of one window; those that say nothing in it are missing."""
    ended = list(asked.ended)
    found = {f"acknowledged {share}": 1000 * load[share] for share in ("p50", "p99") if share in load}
    found |= took(ended)
    found["load late"] = 1000 * load.get("late", 0.0)
    found |= {"open operations": asked.open, "held operations": asked.held}
    if ended:
        found["WAL"] = (asked.wal - wal_before) / len(ended)
    for name, table in asked.tables.items():
        if name in KEPT and table["rows"]:
            found |= {
                f"{name} row": table["bytes"] / table["rows"],
                f"{name} indexes": table["index_bytes"] / table["rows"],
            }
        found |= {f"{name} dead": table["dead"], f"{name} rows": table["rows"]}
        found[f"{name} size"] = (table["bytes"] + table["index_bytes"]) / MB
    found["queues"] = sum(asked.indexes.get(name, 0) for name in QUEUES) / MB
    found["autovacuums"] = sum(table["autovacuums"] for table in asked.tables.values())
    return found
