"""through: webhook, purchase call, succeeded, until the last one is done; then the same webhooks again.

One process of ours and more of them, against the peers. When the last one was done says the commit that finished it.
What PostgreSQL has counted is counted from before the first process starts until the last has ended.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from bench import checks, machine, peer
from bench.config import PLACES, PLACES_APART
from bench.contestant import Contestant, others, ours
from bench.results import Metric, Target
from bench.stage import Options, Stage, supplied, tag
from bench.workload import OURS, Side, Workload

# Processes of ours, beside the one that does all, and the places of each.
ARRANGEMENTS: Mapping[str, tuple[Sequence[str], int]] = {
    OURS: (("all",), PLACES),
    f"{OURS}, api + worker": (("api", "worker"), PLACES),
    f"{OURS}, api + worker, more places": (("api", "worker"), PLACES_APART),
    f"{OURS}, all + worker": (("all", "worker"), PLACES),
    f"{OURS}, all + all": (("all", "all"), PLACES),
}

DONE, ACKNOWLEDGED, DUPLICATES, PEAK = "done/s", "acknowledged/s", "duplicates/s", "peak MB"
TRANSACTIONS, FSYNCS, WAL = "transactions/op", "fsyncs/op", "WAL bytes/op"
COUNTED = {
    TRANSACTIONS: Metric("", less_is_better=True),
    FSYNCS: Metric("", less_is_better=True),
    WAL: Metric("bytes", less_is_better=True),
    PEAK: Metric("MB", less_is_better=True),
}
# A process that is slower than this is not waited for.
SLOWEST = 20.0  # operations a second


def peers(metric: str) -> tuple[tuple[str, str], ...]:
    """A metric of every peer in one process. The bare loop is none: what it has begun when it ends is lost."""
    return tuple((name, metric) for name in peer.NAMES if name != peer.BARE)


ARRANGED = (*peers(DONE), *((f"{name}{peer.BESIDE}", DONE) for name in peer.NAMES if name != peer.BARE))


def limit(options: Options) -> float:
    """Seconds in which a load must be done."""
    return 30.0 + options.webhooks / SLOWEST


async def run(stage: Stage, contestant: Contestant) -> Mapping[str, float]:
    """One repeat: all of them until the last is done, and all of them again."""
    options, wanted = stage.options, tag()
    async with stage.database(contestant.template) as database, stage.supplier() as supplier:
        found = await first_time(stage, contestant, database, supplier, wanted)
        async with contestant.serve(database, supplier) as running:
            again = await stage.load(running.ports, options.webhooks, wanted, status=200)
        supplied(supplier, options.webhooks + options.warm)
    return {**found, DUPLICATES: options.webhooks / again.seconds}


async def first_time(
    stage: Stage, contestant: Contestant, database: str, supplier: int, wanted: str
) -> dict[str, float]:
    """All of them until the last is done; the contestant has ended before PostgreSQL is asked what it has counted."""
    options, counted = stage.options, await stage.postgres.counters(database)
    count, all_in_all = options.webhooks, options.webhooks + options.warm
    async with contestant.serve(database, supplier) as running:
        connection = await stage.postgres.connect(database)
        await stage.warm(running.ports)
        looks = await checks.until_over(contestant.left(options.warm), connection, limit(options))
        async with stage.measured(f"through {contestant.name}"):
            load = await stage.load(running.ports, count, wanted)
            looks += await checks.until_over(contestant.left(all_in_all), connection, limit(options))
        peak = max(machine.memory(child.pid)[1] for child in running.children)
    await contestant.check(connection, wanted, count)
    supplied(supplier, all_in_all)
    last = max((await contestant.finished(connection, wanted)).values())
    await connection.close()
    used = (await stage.postgres.counters(database)).since(counted)
    return {
        DONE: count / (last - load.began),
        ACKNOWLEDGED: count / load.seconds,
        TRANSACTIONS: (used.transactions - looks) / all_in_all,
        FSYNCS: used.fsyncs / all_in_all,
        WAL: used.wal_bytes / all_in_all,
        PEAK: peak,
    }


async def sides(stage: Stage) -> Sequence[Side]:
    """Ours in each arrangement, and the peers that are here, alone and with a second process."""
    here = await peer.set_up(stage)
    contestants = [ours(stage, name, *arrangement) for name, arrangement in ARRANGEMENTS.items()]
    contestants += others(stage, here)
    contestants += others(stage, [name for name in here if name != peer.BARE], workers=2)
    return [Side(contestant.name, partial(run, stage, contestant)) for contestant in contestants]


THROUGH = Workload(
    "through",
    "webhook, purchase call, succeeded, until the last is done",
    {
        DONE: Metric("1/s", limits=ARRANGED),
        ACKNOWLEDGED: Metric("1/s", limits=peers(ACKNOWLEDGED)),
        DUPLICATES: Metric("1/s", limits=peers(DUPLICATES)),
        **COUNTED,
    },
    [
        Target("through in one process, times the best peer in one", (OURS,), DONE, 2.0, peers(DONE)),
        Target("through in the best arrangement, times the best peer", tuple(ARRANGEMENTS), DONE, 3.0, ARRANGED),
        Target("transactions an operation", (OURS,), TRANSACTIONS, 0.3, at_most=True),
        Target("fsyncs an operation", (OURS,), FSYNCS, 0.3, at_most=True),
        Target("memory of a process, MB", (OURS,), PEAK, 150.0, at_most=True),
    ],
    sides,
)
