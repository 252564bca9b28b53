"""history: the engine, a listing and a status read beside millions of finished operations. backlog: beside a million that wait.

The rows are copies of one real operation. Each repeat adds its own operations to the same database and works them off.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from statistics import median
from uuid import uuid4

from app.clock import DatabaseClock
from app.db.claim import Claim, claim, nothing_begun
from bench import checks, machine
from bench.config import KEY
from bench.multiply import multiply
from bench.postgres import Connection
from bench.results import Metric, Target
from bench.stage import Options, Stage, tag
from bench.workload import OURS, Side, Workload
from bench.workloads.engine import LIMIT, work_off

RATE, LISTING, STATUS, CLAIM = "operations/s", "GET /operations", "GET status", "claim of 64"
PEAK, RESIDENT = "peak MB", "idle MB"
READS = 200  # of each kind; the figure is their median
CLAIMED = 64  # operations a claim: the free slots of one process
ROOM = 4_000  # bytes of disk that a finished operation takes with its event, attempts, history and indexes; measured: 2,500, and the log needs room too

ORIGINAL = "original"


def past(count: int) -> str:
    """The name of a side."""
    return f"{OURS}, {count:,} finished"


def waiting(count: int) -> str:
    """The name of a side."""
    return f"{OURS}, {count:,} waiting"


async def with_history(stage: Stage, count: int) -> str:
    """A database with so many finished operations."""
    name = await stage.postgres.create(stage.empty)
    connection = await stage.postgres.connect(name)
    async with stage.supplier() as supplier, stage.serving(name, supplier=supplier) as running:
        await stage.load(running.ports, 1, ORIGINAL)
        await checks.until_over(checks.ours_left, connection, LIMIT)
    await checks.succeeded(connection, ORIGINAL, 1)
    await multiply(connection, f"{ORIGINAL}_0", count)
    await connection.close()
    return name


async def with_backlog(stage: Stage, count: int) -> str:
    """A database with so many operations that are due from tomorrow on."""
    name = await stage.postgres.create(stage.empty)
    async with stage.serving(name, supplier=1, roles=["api"]) as running:
        await stage.load(running.ports, 1, ORIGINAL)
    connection = await stage.postgres.connect(name)
    for table in ("operations", "queue"):
        await connection.execute(f"UPDATE {table} SET next_run_at = now() + interval '1 day'")
    await multiply(connection, f"{ORIGINAL}_0", count)
    await connection.close()
    return name


async def beside_history(stage: Stage, database: str) -> Mapping[str, float]:
    """One repeat: the reads, then the engine."""
    wanted = tag()
    async with stage.serving(database, supplier=1, roles=["api"]) as running:
        await stage.load(running.ports, stage.options.operations, wanted)
        connection = await stage.postgres.connect(database)
        ids = await some_ids(connection)
        await connection.close()
        found = {
            LISTING: reading(running.ports[0], ["/operations"] * READS),
            STATUS: reading(running.ports[0], [f"/operations/{id}" for id in ids]),
        }
    rate, _ = await work_off(stage, database, wanted)
    return {RATE: rate, **found}


async def beside_backlog(stage: Stage, database: str) -> Mapping[str, float]:
    """One repeat: the claims, then the engine, then what the worker holds when there is nothing to do."""
    wanted = tag()
    async with stage.serving(database, supplier=1, roles=["api"]) as running:
        await stage.load(running.ports, stage.options.operations, wanted)
    connection = await stage.postgres.connect(database)
    each = await claiming(connection)
    await connection.close()
    rate, peak = await work_off(stage, database, wanted)
    async with stage.serving(database, supplier=1, roles=["worker"]) as running:
        resident, _ = machine.memory(running.children[0].pid)
    return {RATE: rate, CLAIM: each, PEAK: peak, RESIDENT: resident}


async def claiming(connection: Connection) -> float:
    """How long a claim of a process's free slots takes in the database, in ms; each is rolled back."""
    taken = []
    for _ in range(READS):
        now = DatabaseClock().now()
        wanted = Claim(uuid4(), 0, CLAIMED, "bench", now, now + timedelta(seconds=30))
        transaction = connection.transaction()
        await transaction.start()
        began = time.perf_counter()
        claimed = await claim(connection, wanted, nothing_begun, resent=False)
        taken.append(time.perf_counter() - began)
        await transaction.rollback()
        checks.equal({"claimed": len(claimed)}, {"claimed": CLAIMED}, "claim")
    return 1000 * median(taken)


async def some_ids(connection: Connection) -> list[str]:
    """Ids of operations from all over the table; there are fewer of them where it is small."""
    rows = await connection.fetch(
        "SELECT o.id FROM generate_series(1, $1) AS n"
        " CROSS JOIN LATERAL (SELECT id FROM operations WHERE bucket = 0 AND id >= md5(n::text)::uuid ORDER BY id LIMIT 1) AS o",
        READS,
    )
    return [str(row["id"]) for row in rows]


def reading(port: int, paths: Sequence[str]) -> float:
    """The median of some reads one after the other, in ms."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    taken = []
    for path in paths:
        began = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {KEY}"})
        answer = connection.getresponse()
        answer.read()
        taken.append(time.perf_counter() - began)
        checks.equal({path: answer.status}, {path: 200}, "read")
    connection.close()
    return 1000 * median(taken)


async def history_sides(stage: Stage) -> Sequence[Side]:
    """One for each size that has room on the disk."""
    sides = []
    for count in stage.options.history:
        if shutil.disk_usage(stage.postgres.folder).free < count * ROOM:
            stage.warn(f"no room on the disk for {count:,} finished operations: they take {count * ROOM / 1e9:.0f} GB")
            continue
        sides.append(Side(past(count), partial(beside_history, stage, await with_history(stage, count))))
    return sides


async def backlog_sides(stage: Stage) -> Sequence[Side]:
    """With none, and with all."""
    return [
        Side(waiting(count), partial(beside_backlog, stage, await with_backlog(stage, count)))
        for count in (0, stage.options.waiting)
    ]


ALL = Options()
HISTORY = Workload(
    "history",
    "the engine and the reads beside finished operations",
    {
        RATE: Metric("1/s", limits=((past(0), RATE),)),
        LISTING: Metric("ms", less_is_better=True, limits=((past(0), LISTING),)),
        STATUS: Metric("ms", less_is_better=True, limits=((past(0), STATUS),)),
    },
    [
        Target(f"engine beside {count:,} finished, of none", (past(count),), RATE, 0.95, ((past(0), RATE),))
        for count in ALL.history[1:]
    ],
    history_sides,
)
BACKLOG = Workload(
    "backlog",
    "the engine beside operations that are due from tomorrow on",
    {
        RATE: Metric("1/s", limits=((waiting(0), RATE),)),
        CLAIM: Metric("ms", less_is_better=True, limits=((waiting(0), CLAIM),)),
        PEAK: Metric("MB", less_is_better=True, limits=((waiting(0), PEAK),)),
        RESIDENT: Metric("MB", less_is_better=True, limits=((waiting(0), RESIDENT),)),
    },
    [Target("memory over the backlog, MB", (waiting(ALL.waiting),), PEAK, 150.0, at_most=True)],
    backlog_sides,
)
