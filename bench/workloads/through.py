"""through: webhook, purchase call, succeeded, until the last one is done; and the same webhooks again.

One process of ours and more of them, against the peers. When the last one was done says the commit that finished it.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from bench import checks, machine, peer
from bench.results import Metric, Target
from bench.stage import Options, Stage, supplied, tag
from bench.workload import OURS, Side, Workload

# Processes of ours, beside the one that does all.
ARRANGEMENTS = {
    OURS: ("all",),
    f"{OURS} api + worker": ("api", "worker"),
    f"{OURS} all + worker": ("all", "worker"),
    f"{OURS} all + all": ("all", "all"),
}

DONE, ACKNOWLEDGED, DUPLICATES, PEAK = "done/s", "acknowledged/s", "duplicates/s", "peak MB"
BESIDE = " + worker"  # a second process that works
PEERS = tuple((name, DONE) for name in peer.NAMES)
ARRANGED = (*PEERS, *((f"{name}{BESIDE}", DONE) for name in peer.NAMES))
# A process that is slower than this is not waited for.
SLOWEST = 20.0  # operations a second


def limit(options: Options) -> float:
    """Seconds in which a load must be done."""
    return 30.0 + options.webhooks / SLOWEST


async def makegood(stage: Stage, roles: Sequence[str]) -> Mapping[str, float]:
    """One repeat of ours."""
    count, name = stage.options.webhooks, tag()
    async with stage.database(stage.empty) as database, stage.supplier() as supplier:
        connection = await stage.postgres.connect(database)
        async with stage.serving(database, supplier=supplier, roles=roles) as running:
            await stage.warm(running.ports)
            await checks.until_over(checks.ours_left, connection, limit(stage.options))
            async with stage.measured(f"through {OURS} {roles}"):
                load = await stage.load(running.ports, count, name)
                await checks.until_over(checks.ours_left, connection, limit(stage.options))
            last = await connection.fetchval(checks.LAST_OURS)
            peaks = [machine.memory(child.pid)[1] for child in running.children]
            again = await stage.load(running.ports, count, name, status=200)
        await checks.succeeded(connection, name, count)
        supplied(supplier, count + stage.options.warm)
        await connection.close()
    return figures(count, load.began, load.seconds, again.seconds, last) | {PEAK: max(peaks)}


async def other(stage: Stage, name: str, workers: int) -> Mapping[str, float]:
    """One repeat of a peer."""
    count, wanted = stage.options.webhooks, tag()
    async with stage.database() as database, stage.supplier() as supplier:
        async with peer.serving(stage, name, database, supplier, "--workers", str(workers)) as running:
            connection = await stage.postgres.connect(database)
            await stage.warm(running.ports)
            await checks.until_over(checks.peer_left(stage.options.warm), connection, limit(stage.options))
            async with stage.measured(f"through {name}"):
                load = await stage.load(running.ports, count, wanted)
                await checks.until_over(checks.peer_left(count + stage.options.warm), connection, limit(stage.options))
            last = await connection.fetchval(checks.LAST_PEER)
            peaks = [machine.memory(child.pid)[1] for child in running.children]
            again = await stage.load(running.ports, count, wanted, status=200)
        await checks.peer_done(connection, wanted, count)
        supplied(supplier, count + stage.options.warm)
        await connection.close()
    return figures(count, load.began, load.seconds, again.seconds, last) | {PEAK: max(peaks)}


def figures(count: int, began: float, acknowledged: float, again: float, last: float) -> dict[str, float]:
    """The rates, from the times."""
    return {DONE: count / (last - began), ACKNOWLEDGED: count / acknowledged, DUPLICATES: count / again}


async def sides(stage: Stage) -> Sequence[Side]:
    """Ours in each arrangement, and the peers that are here."""
    ours = [Side(name, partial(makegood, stage, roles)) for name, roles in ARRANGEMENTS.items()]
    here = peer.set_up(stage)
    alone = [Side(name, partial(other, stage, name, 1)) for name in here]
    return [
        *ours,
        *alone,
        *(Side(f"{name}{BESIDE}", partial(other, stage, name, 2)) for name in here if name != peer.BARE),
    ]


THROUGH = Workload(
    "through",
    "webhook, purchase call, succeeded, until the last is done",
    {
        DONE: Metric("1/s", limits=ARRANGED),
        ACKNOWLEDGED: Metric("1/s", limits=tuple((name, ACKNOWLEDGED) for name in peer.NAMES)),
        DUPLICATES: Metric("1/s", limits=tuple((name, DUPLICATES) for name in peer.NAMES)),
        PEAK: Metric("MB", less_is_better=True),
    },
    [
        Target("through in one process, times the best peer in one", (OURS,), DONE, 2.0, PEERS),
        Target("through in the best arrangement, times the best peer in its", tuple(ARRANGEMENTS), DONE, 3.0, ARRANGED),
        Target("memory of a process, MB", (OURS,), PEAK, 150.0, at_most=True),
    ],
    sides,
)
