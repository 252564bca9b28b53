"""processes: what scales with more of them, and what PostgreSQL has to do for an operation then.

Statements are what pg_stat_statements counts; with our driver each is one round trip. They are counted apart, on a
server that has it loaded, once: it costs something for each statement, so no rate is taken there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench.contestant import ours
from bench.postgres import COUNTING, Postgres
from bench.results import Metric
from bench.stage import Stage, supplied, tag
from bench.workload import OURS, Side, Workload
from bench.workloads.through import COUNTED, DONE, first_time

STATEMENTS = "round trips/op"
ARRANGEMENTS = {
    OURS: ("all",),
    f"{OURS}, api + 1 worker": ("api", "worker"),
    f"{OURS}, api + 2 workers": ("api", *["worker"] * 2),
    f"{OURS}, api + 4 workers": ("api", *["worker"] * 4),
    f"{OURS}, 2 api + 1 worker": ("api", "api", "worker"),
    f"{OURS}, 2 api + 2 workers": ("api", "api", *["worker"] * 2),
    f"{OURS}, 2 api + 4 workers": ("api", "api", *["worker"] * 4),
}
CALLS = """
SELECT coalesce(sum(s.calls), 0)::bigint
  FROM pg_stat_statements AS s
  JOIN pg_database AS d ON d.oid = s.dbid
 WHERE d.datname = $1 AND s.query NOT LIKE '%/* bench */%'
"""


@dataclass(slots=True)
class Counting:
    """The other server, and the arrangements that were counted on it."""

    stage: Stage
    done: set[str]

    async def statements(self, name: str, roles: Sequence[str]) -> float:
        """Statements an operation, of all that the service's processes sent."""
        stage, options = self.stage, self.stage.options
        async with stage.database(stage.empty) as database, stage.supplier() as supplier:
            await first_time(stage, ours(stage, name, roles), database, supplier, tag())
            calls = await self._calls(database)
            supplied(supplier, options.webhooks + options.warm)
        self.done.add(name)
        return calls / (options.webhooks + options.warm)

    async def _calls(self, database: str) -> int:
        connection = await self.stage.postgres.connect("makegood")
        try:
            return int(await connection.fetchval(CALLS, database))
        finally:
            await connection.close()


async def run(stage: Stage, counting: Counting, name: str, roles: Sequence[str]) -> Mapping[str, float]:
    """One repeat; the first one is counted too."""
    async with stage.database(stage.empty) as database, stage.supplier() as supplier:
        found = await first_time(stage, ours(stage, name, roles), database, supplier, tag())
    if name not in counting.done:
        found[STATEMENTS] = await counting.statements(name, roles)
    return {metric: value for metric, value in found.items() if metric in PROCESSES.metrics}


async def sides(stage: Stage) -> Sequence[Side]:
    """Each arrangement."""
    postgres = await Postgres.start(stage.folder.parent / "postgres-counting", COUNTING)
    stage.closing.push_async_callback(postgres.close)
    connection = await postgres.connect("makegood")
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    await connection.close()
    other = replace(stage, postgres=postgres, _stored={})
    await other.prepare()
    counting = Counting(other, set())
    return [Side(name, partial(run, stage, counting, name, roles)) for name, roles in ARRANGEMENTS.items()]


PROCESSES = Workload(
    "processes",
    "through, with more processes",
    {DONE: Metric("1/s", limits=((OURS, DONE),)), STATEMENTS: Metric("", less_is_better=True), **COUNTED},
    [],
    sides,
)
