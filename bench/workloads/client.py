"""client: our outgoing transport beside httpx, aiohttp and the least that asyncio can do it with."""

import json
from collections.abc import Mapping, Sequence
from functools import partial

from bench.results import Metric, Target
from bench.stage import LOAD_LIMIT, Stage, supplied
from bench.workload import OURS, Side, Workload

CALLS, COST = "calls/s", "µs of CPU a call"
HTTPX = "httpx"
AIOHTTP = "client_aiohttp"
# What each is called in the table, and what the program calls it.
KINDS = {
    OURS: "makegood",
    HTTPX: "httpx",
    "httpx, its transport alone": "borrowed",
    "aiohttp": "aiohttp",
    "bare": "bare",
}


async def run(stage: Stage, kind: str) -> Mapping[str, float]:
    """One repeat."""
    count, concurrency = stage.options.calls, str(stage.options.concurrency)
    async with stage.supplier() as port:
        arguments = ["--kind", kind, "--port", str(port), "--count", str(count), "--concurrency", concurrency]
        module = AIOHTTP if kind == "aiohttp" else "client"
        async with stage.program(module, *arguments) as child, stage.measured(f"client {kind}"):
            child.tell("go")
            said = json.loads(await child.line("{", seconds=LOAD_LIMIT))
        supplied(port, count)
    return {CALLS: count / said["seconds"], COST: 1e6 * said["cpu"] / count}


async def sides(stage: Stage) -> Sequence[Side]:
    """Each client."""
    return [Side(name, partial(run, stage, kind)) for name, kind in KINDS.items()]


CLIENT = Workload(
    "client",
    "calls of the outgoing client, 32 in flight",
    {
        CALLS: Metric("1/s", limits=((HTTPX, CALLS),)),
        COST: Metric("µs", less_is_better=True, limits=((HTTPX, COST),)),
    },
    [Target("the outgoing client, times httpx", (OURS,), CALLS, 6.0, ((HTTPX, CALLS),))],
    sides,
)
