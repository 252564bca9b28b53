"""latency: 20 webhooks a second, whether answered or not. How long until the answer, and until the purchase is committed?"""

from collections.abc import Mapping, Sequence
from functools import partial

from bench import checks, peer
from bench.contestant import Contestant, others, ours
from bench.results import Metric, Target, percentile
from bench.stage import Stage, supplied, tag
from bench.webhooks import external_id
from bench.workload import OURS, Side, Workload
from bench.workloads.through import limit, peers

SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def percentiles(what: str, seconds: Sequence[float]) -> dict[str, float]:
    """Some percentiles in ms: the smallest value that so many are not above."""
    ordered = sorted(seconds)
    return {f"{what} {name}": 1000 * percentile(ordered, share) for name, share in SHARES.items()}


async def run(stage: Stage, contestant: Contestant) -> Mapping[str, float]:
    """One repeat."""
    options, wanted = stage.options, tag()
    count = int(options.rate * options.seconds)
    async with stage.database(contestant.template) as database, stage.supplier() as supplier:
        async with contestant.serve(database, supplier) as running:
            connection = await stage.postgres.connect(database)
            await stage.warm(running.ports)
            await checks.until_over(contestant.left(options.warm), connection, limit(options))
            async with stage.measured(f"latency {contestant.name}"):
                load = await stage.load(running.ports, count, wanted, rate=options.rate)
                await checks.until_over(contestant.left(options.warm + count), connection, limit(options))
        await contestant.check(connection, wanted, count)
        supplied(supplier, options.warm + count)
        finished = await contestant.finished(connection, wanted)
        await connection.close()
    done = [finished[external_id(wanted, number)] - at for number, (at, _) in enumerate(load.sent)]
    acknowledged = [seconds for _, seconds in load.sent]
    return {**percentiles("acknowledged", acknowledged), **percentiles("done", done), "late": 1000 * load.late}


async def sides(stage: Stage) -> Sequence[Side]:
    """Ours in one process, and the peers that are here."""
    contestants = [ours(stage, OURS, ["all"]), *others(stage, await peer.set_up(stage))]
    return [Side(contestant.name, partial(run, stage, contestant)) for contestant in contestants]


def metrics() -> dict[str, Metric]:
    """Each percentile beside the best peer's."""
    names = [f"{what} {name}" for what in ("acknowledged", "done") for name in SHARES]
    return {name: Metric("ms", less_is_better=True, limits=peers(name)) for name in names}


LATENCY = Workload(
    "latency",
    "20 webhooks a second, open loop",
    {**metrics(), "late": Metric("ms, the load's own", less_is_better=True)},
    [
        Target(
            "p99 of webhook to succeeded, of the best peer's", (OURS,), "done p99", 1.0, peers("done p99"), at_most=True
        ),
        Target(
            "p50 of the answer, of the best peer's",
            (OURS,),
            "acknowledged p50",
            0.8,
            peers("acknowledged p50"),
            at_most=True,
        ),
    ],
    sides,
)
