"""engine: operations that are stored already, worked off by processes whose agents answer in them.

Both halves of each attempt are written. The limits: pgbench with one INSERT and two UPDATEs an operation, as three
transactions, which is what a queue commits, and as one. A step in Python is apart: each is a transaction of its own, and so
is the pgbench that it stands beside.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from app.db.embedded import binaries
from bench import checks, machine, peer
from bench.config import PLACES_FOR_BACKLOG
from bench.results import Metric, Target
from bench.stage import Stage, free_port
from bench.workload import OURS, Side, Workload

RATE, LOCAL, PEAK = "operations/s", "local steps/s", "peak MB"
ONE, THREE = "pgbench, one transaction", "pgbench, three transactions"
TWO = f"{OURS}, two workers"
CLIENTS = 32
LIMIT = 600.0  # seconds for one run

TABLE = """
CREATE TABLE work (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status text NOT NULL, attempt int NOT NULL, payload text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz
)
"""
THREE_STATEMENTS = f"""
INSERT INTO work (status, attempt, payload) VALUES ('pending', 0, '{"x" * 200}') RETURNING id \\gset
UPDATE work SET status = 'processing', attempt = attempt + 1 WHERE id = :id;
UPDATE work SET status = 'succeeded', finished_at = now() WHERE id = :id;
"""


async def makegood(stage: Stage, *, local: bool, workers: int = 1) -> Mapping[str, float]:
    """One repeat of ours, on a copy of the stored operations."""
    count = stage.options.operations
    async with stage.database(await stage.stored(count, local=local)) as database:
        rate, peak = await work_off(stage, database, "stored", local=local, workers=workers)
    return {LOCAL: rate} if local else {RATE: rate, PEAK: peak}


async def work_off(
    stage: Stage, database: str, tag: str, *, local: bool = False, workers: int = 1
) -> tuple[float, float]:
    """Lets workers work off what is due: operations a second from the first claim to the last commit, and the largest peak MB.

    Workers that are several start at the same time; that one is at work before the other counts against them.
    """
    count = stage.options.operations
    settings = stage.config(database, 1, local=local, places=PLACES_FOR_BACKLOG)
    connection = await stage.postgres.connect(database)
    await stage.postgres.checkpoint()
    async with AsyncExitStack() as running:
        programs = [
            stage.program("engine", "--config", str(settings), "--port", str(free_port())) for _ in range(workers)
        ]
        children = await asyncio.gather(*map(running.enter_async_context, programs))
        async with stage.measured(f"engine {tag}"):
            await checks.until_over(checks.ours_left, connection, LIMIT)
            peak = max(machine.memory(child.pid)[1] for child in children)
    said = [json.loads(await child.line("{", seconds=LIMIT)) for child in children]
    checks.equal({"calls": sum(one["calls"] for one in said)}, {"calls": 0 if local else count}, "engine")
    await checks.succeeded(connection, tag, count)
    seconds = await connection.fetchval(checks.WORKED, *checks.reach(tag))
    await connection.close()
    return count / seconds, peak


async def pgbench(stage: Stage, *, whole: bool) -> Mapping[str, float]:
    """One repeat of a limit; `whole`: the three statements of an operation are one transaction."""
    script = stage.folder / "pgbench.sql"
    script.write_text(f"BEGIN;{THREE_STATEMENTS}COMMIT;" if whole else THREE_STATEMENTS, encoding="ascii")
    each = stage.options.operations // CLIENTS
    async with stage.database() as database:
        connection = await stage.postgres.connect(database)
        await connection.execute(TABLE)
        await stage.postgres.checkpoint()
        program = str(binaries.find().folder / "pgbench")
        options = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-t", str(each), "-f", str(script)]
        async with stage.measured("engine pgbench"):
            child = await stage.children.start("pgbench", [program, *options, stage.postgres.url(database)])
            line = await child.line("tps = ", seconds=LIMIT)
        await stage.children.stop(child)
        done = await connection.fetchval("SELECT count(*) FROM work WHERE status = 'succeeded' AND attempt = 1")
        checks.equal({"done": done}, {"done": each * CLIENTS}, "pgbench")
        await connection.close()
    return {RATE: float(line.split()[2])}


async def other(stage: Stage, name: str) -> Mapping[str, float]:
    """One repeat of a peer."""
    async with stage.measured(f"engine {name}"):
        return {RATE: stage.options.operations / await peer.engine(stage, name, stage.options.operations)}


async def sides(stage: Stage) -> Sequence[Side]:
    """Ours in one process and in two, ours with a step in Python, the two limits, and the peers that are here."""
    return [
        Side(OURS, partial(makegood, stage, local=False)),
        Side(TWO, partial(makegood, stage, local=False, workers=2)),
        Side(ONE, partial(pgbench, stage, whole=True)),
        Side(THREE, partial(pgbench, stage, whole=False)),
        Side(f"{OURS}, a step in Python", partial(makegood, stage, local=True)),
        *(Side(name, partial(other, stage, name)) for name in await peer.set_up(stage)),
    ]


ENGINE = Workload(
    "engine",
    "stored operations, one HTTP step answered in the process",
    {
        RATE: Metric("1/s", limits=((THREE, RATE),)),
        LOCAL: Metric("1/s", limits=((ONE, RATE),)),
        PEAK: Metric("MB", less_is_better=True),
    },
    [
        Target("engine, of pgbench in three transactions", (OURS, TWO), RATE, 1.0, ((THREE, RATE),)),
        Target("engine, of pgbench in one transaction", (OURS, TWO), RATE, 1.0, ((ONE, RATE),)),
    ],
    sides,
)
