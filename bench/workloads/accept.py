"""accept and duplicates: webhooks to a service whose workers are off, then the very same ones again.

The limits: our application without a database, a plain FastAPI application, and asyncpg writing the same rows.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial

from bench import checks, machine
from bench.results import Metric, Target
from bench.stage import LOAD_LIMIT, Stage, free_port, tag
from bench.workload import OURS, Side, Workload

APPLICATION, PLAIN = "framework: our application", "framework: plain FastAPI"
# What each is called in the table, and what the program calls it. The first two are the framework limit; the others show
# what is left of it: what we do ourselves without a database, and what the server costs without a framework.
KINDS = {
    APPLICATION: "application",
    PLAIN: "plain",
    "our deliveries, nothing stored": "deliveries",
    "bare ASGI": "asgi",
}
FRAMEWORKS = (APPLICATION, PLAIN)
DATABASE = "database, {} rows a statement"
# As large as the service's own batches may become, and as large as they can be when 32 webhooks wait.
BATCHES = (500, 32)

ACCEPTED, DUPLICATES = "accepted/s", "duplicates/s"
LIMITS = tuple((side, ACCEPTED) for side in FRAMEWORKS)


async def makegood(stage: Stage) -> Mapping[str, float]:
    """One repeat of ours: all of them, and all of them again."""
    count, name = stage.options.webhooks, tag()
    async with stage.database(stage.empty) as database:
        async with stage.serving(database, supplier=1, roles=["api"]) as running:
            await stage.warm(running.ports)
            async with stage.measured("accept makegood"):
                first = await stage.load(running.ports, count, name)
                again = await stage.load(running.ports, count, name, status=200)
            resident, _ = machine.memory(running.children[0].pid)
        connection = await stage.postgres.connect(database)
        await checks.accepted(connection, count + stage.options.warm, deliveries=2 * count + stage.options.warm)
        await connection.close()
    return {
        ACCEPTED: count / first.seconds,
        DUPLICATES: count / again.seconds,
        "MB": resident,
        "load's share": first.cpu / first.seconds,
    }


async def framework(stage: Stage, kind: str) -> Mapping[str, float]:
    """One repeat of a framework limit."""
    count, port = stage.options.webhooks, free_port()
    arguments = ["--port", str(port), "--config", str(stage.config(stage.empty, 1)), "--kind", kind]
    async with stage.program("framework", *arguments):
        await stage.warm([port])
        async with stage.measured("accept framework"):
            load = await stage.load([port], count, tag())
    return {ACCEPTED: count / load.seconds, "load's share": load.cpu / load.seconds}


async def rows(stage: Stage, batch: int) -> Mapping[str, float]:
    """One repeat of the database limit."""
    source = await stage.stored(stage.options.webhooks)
    async with stage.database(stage.empty) as database:
        urls = ["--from", stage.postgres.url(source), "--into", stage.postgres.url(database)]
        async with stage.program("rows", *urls, "--batch", str(batch)) as child, stage.measured("accept database"):
            await stage.postgres.checkpoint()
            child.tell("go")
            said = json.loads(await child.line("{", seconds=LOAD_LIMIT))
        connection = await stage.postgres.connect(database)
        await checks.accepted(connection, stage.options.webhooks, deliveries=stage.options.webhooks)
        await connection.close()
    return {ACCEPTED: said["webhooks"] / said["seconds"]}


async def sides(stage: Stage) -> Sequence[Side]:
    """Ours, the framework limits, the database limits."""
    return [
        Side(OURS, partial(makegood, stage)),
        *(Side(name, partial(framework, stage, kind)) for name, kind in KINDS.items()),
        *(Side(DATABASE.format(batch), partial(rows, stage, batch)) for batch in BATCHES),
    ]


ACCEPT = Workload(
    "accept",
    "distinct signed webhooks, workers off; then the same ones again",
    {
        ACCEPTED: Metric("1/s", limits=LIMITS),
        DUPLICATES: Metric("1/s", limits=LIMITS),
        "MB": Metric("MB", less_is_better=True),
        "load's share": Metric("of a core", less_is_better=True),
    },
    [
        Target("accept, of the framework limit (the faster of both)", (OURS,), ACCEPTED, 0.75, LIMITS),
        Target("duplicates, of the framework limit (the faster of both)", (OURS,), DUPLICATES, 0.7, LIMITS),
    ],
    sides,
)
