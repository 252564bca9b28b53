"""Is every payment where it must be? Asked of the rows, of the supplier's books and of the service's own `/stats`."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import Iterable, Mapping
from typing import Any

from bench.checks import WorkNotDone, equal
from bench.config import KEY
from bench.mix import Kind, payments
from bench.postgres import Connection

ASK_LIMIT = 120.0  # seconds; the books of an hour are some megabytes
SHOWN = 5  # numbers that are said of a difference

ENDED = "SELECT external_id, status FROM operations"
# What retention has emptied has no attempts and no history; all else has a call that was done, and every revision.
LEFT = """
SELECT (SELECT count(*) FROM attempts WHERE outcome IS NULL) AS open_attempts,
       (SELECT count(*) FROM operations WHERE stripped_at IS NOT NULL) > 0 AS stripped,
       (SELECT coalesce(sum(revision), 0) FROM operations WHERE stripped_at IS NULL)
     - (SELECT count(*) FROM history) AS history_missing,
       (SELECT count(*) FROM operations AS o
         WHERE stripped_at IS NULL AND NOT EXISTS (
               SELECT FROM attempts AS a WHERE a.bucket = o.bucket AND a.operation_serial = o.serial AND a.outcome = 'done'))
       AS without_attempt,
       (SELECT count(*) FROM events WHERE status = 'accepted') - (SELECT count(*) FROM operations) AS events_over
"""


def get(port: int, path: str) -> Any:
    """A document of a process of the run."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_LIMIT)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {KEY}"})
        return json.load(connection.getresponse())


async def balance(
    connection: Connection, service: int, supplier: int, count: int, unsettled: Iterable[int]
) -> dict[str, Any]:
    """Looks for every payment of so many webhooks, once nothing is under way.

    Args:
        service, supplier: ports.
        unsettled: webhooks whose sender was never told that they are stored: both is right.

    Returns:
        the counts that were found.

    Raises:
        WorkNotDone: some payment is not where it must be.
    """
    rows = await connection.fetch(ENDED)
    found: dict[str, set[int]] = {"succeeded": set(), "refunded": set()}
    for row in rows:
        found.setdefault(row["status"], set()).add(int(row["external_id"].rpartition("_")[2]))
    books, stats = await asyncio.to_thread(get, supplier, "/ledger"), await asyncio.to_thread(get, service, "/stats")
    left: Any = await connection.fetchrow(LEFT)
    compare(found, books, count, set(unsettled))
    zero = dict.fromkeys(("open_attempts", "history_missing", "without_attempt", "events_over"), 0)
    equal(dict(left), zero, "rows")
    wanted = {"difference": 0, "payments": len(rows), "held": 0, "under_way": 0}
    equal(stats["conservation"], wanted, "/stats")
    return {
        "conservation": stats["conservation"],
        "calls": books["calls"],
        "retention has emptied some": left["stripped"],
    }


def compare(found: Mapping[str, set[int]], books: Mapping[str, Any], count: int, unsettled: set[int]) -> None:
    """The operations by their status, the supplier's books and what was sent agree, payment by payment. Raises WorkNotDone."""
    sent = range(count)
    same("succeeded", found["succeeded"], payments(sent, Kind.WELL, Kind.UNKNOWN), unsettled)
    same("refunded", found["refunded"], payments(sent, Kind.REFUSED), unsettled)
    same("the supplier's sales", set(books["sold"]), found["succeeded"], set())
    same("the supplier's refunds", set(books["given_back"]), found["refunded"], set())
    equal({"twice": len(books["twice"])}, {"twice": 0}, "the supplier's books")
    others = {status: len(numbers) for status, numbers in found.items() if status not in {"succeeded", "refunded"}}
    equal(others, dict.fromkeys(others, 0), "operations")


def same(what: str, found: set[int], wanted: set[int], either: set[int]) -> None:
    """Two sets of payments are the same, but for those that may be in either. Raises WorkNotDone."""
    missing, over = sorted(wanted - found - either), sorted(found - wanted)
    if missing or over:
        raise WorkNotDone(f"{what}: {len(missing)} missing {missing[:SHOWN]}, {len(over)} too many {over[:SHOWN]}")
