"""The driver of a long run: `python -m bench.endurance`."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from bench import checks, machine
from bench.alone import run_alone
from bench.children import ROOT, Child, Children
from bench.endurance import report
from bench.endurance.balance import balance
from bench.endurance.report import Found
from bench.endurance.sample import Sample, ask, values
from bench.postgres import Postgres
from bench.report import progress
from bench.stage import Options, Stage, free_port, tag

SAMPLE_LIMIT = 20.0  # seconds; a busy machine makes us miss a sample, and no more
LOAD_SLOW = 60.0  # seconds that a window of the load may be late
LOAD_END = 180.0  # seconds after the last webhook was due until the load has ended: it gives up before
DRAIN = 180.0  # seconds until nothing is under way any more
AROUND = 900.0  # seconds for all that is before and after the load, with the checks at the end


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__)
    parser.add_argument("--minutes", type=positive, default=60.0, help="how long the load runs")
    parser.add_argument("--rate", type=positive, default=100.0, help="webhooks a second")
    parser.add_argument("--every", type=positive, default=30.0, help="seconds between two samples")
    parser.add_argument(
        "--retention", default="10m", help="how long what has finished is kept, as in the configuration"
    )
    parser.add_argument(
        "--home", type=Path, default=ROOT / ".bench", help="where PostgreSQL has its data, and the logs"
    )
    parser.add_argument("--out", type=Path, help="folder of the JSON and the plot; else `results` in --home")
    wanted = parser.parse_args(given)
    if wanted.minutes * 60 < wanted.every:
        parser.error("not one sample would be taken")
    wanted.home = wanted.home.resolve()
    return wanted


def positive(text: str) -> float:
    """A number above 0. Raises ValueError."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


@dataclass(slots=True)
class Run:
    """The service under its load, and what the samples are taken from.

    Args:
        began, seen: when the load began, and until when its windows are known, in seconds since 1970.
    """

    stage: Stage
    database: str
    service: Child
    found: Found
    out: Path
    began: float = 0.0
    seen: float = 0.0
    wal: float = 0.0
    used: machine.Reading = field(init=False)

    async def start(self) -> None:
        """Remembers how all stood before the load."""
        connection = await self.stage.postgres.connect(self.database)
        asked = await ask(connection, 0.0, 0.0)
        await connection.close()
        self.wal, self.used = asked.wal, machine.read(self.stage.ours())

    async def window(self, said: Mapping[str, float]) -> None:
        """Takes the sample of a window that the load has just told of; one that fails is missed, and its work counts in the next.

        Raises:
            ChildFailed: the service has ended.
        """
        self.service.check()
        try:
            async with asyncio.timeout(SAMPLE_LIMIT):
                sample = await self._sample(said)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self.found.missed.append(f"{(said['at'] - self.began) / 60:.1f} min: {type(error).__name__}: {error}")
            progress(f"missed: {self.found.missed[-1]}")
            return
        self.found.samples.append(sample)
        report.say(sample)
        report.keep(self.out, self.found)

    async def _sample(self, said: Mapping[str, float]) -> Sample:
        connection = await self.stage.postgres.connect(self.database)
        try:
            asked = await ask(connection, self.seen, said["at"])
        finally:
            connection.terminate()
        now = machine.read(self.stage.ours())
        used = machine.between(self.used, now)
        found = values(asked, said, self.wal)
        found |= {"memory": machine.memory(self.service.pid)[0], "foreign": 100 * (used.foreign + used.stolen)}
        self.seen, self.wal, self.used = said["at"], asked.wal, now
        return Sample(said["at"] - self.began, found, asked.tables, asked.indexes, said, used.disturbed)


async def load(run: Run, port: int, name: str) -> list[int]:
    """Lets the load run to its end and takes a sample of each of its windows; returns the webhooks that were never settled."""
    options, unsettled = run.found.options, run.stage.folder / "unsettled.json"
    numbers = {"--rate": options["rate"], "--seconds": options["seconds"], "--every": options["every"]}
    flags = ["--port", str(port), "--tag", name, "--unsettled", str(unsettled)]
    flags += [str(part) for pair in numbers.items() for part in pair]
    async with run.stage.program("steady", *flags) as child:
        await run.start()
        child.tell("go")
        said: dict[str, Any] = json.loads(await child.line("{", seconds=LOAD_SLOW))
        run.began = run.seen = said["began"]
        limit = options["every"] + LOAD_SLOW + LOAD_END
        while "ended" not in (said := json.loads(await child.line("{", seconds=limit))):
            await run.window(said)
    progress(f"the load has ended: {said}")
    return [int(number) for number in json.loads(unsettled.read_text(encoding="ascii"))]


async def under_load(stage: Stage, found: Found, out: Path) -> None:
    """The whole run on a fresh database."""
    kept, supplier = found.options["retention"], free_port()
    further = f"\n[retention]\nfinished = {json.dumps(kept)}\nevents = {json.dumps(kept)}\n"
    async with (
        stage.database(stage.empty) as database,
        stage.program("ledger", "--port", str(supplier)),
        stage.serving(database, supplier=supplier, further=further) as running,
    ):
        (service,), (port,) = running.children, running.ports
        unsettled = await load(Run(stage, database, service, found, out), port, tag())
        connection = await stage.postgres.connect(database)
        await checks.until_over(checks.ours_left, connection, DRAIN)
        count = int(found.options["rate"] * found.options["seconds"])
        found.balance = await balance(connection, port, supplier, count, unsettled)
        await connection.close()


async def run(wanted: argparse.Namespace) -> int:
    """The run; its exit status is 1 where something has failed or has not stayed level."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    folder, out = wanted.home / "endurance", wanted.out or wanted.home / "results"
    folder.mkdir(exist_ok=True)
    options = {name: getattr(wanted, name) for name in ("minutes", "rate", "every", "retention")}
    async with Children(folder) as children:
        postgres = await Postgres.start(wanted.home / "postgres")
        try:
            described = machine.describe() | await postgres.settings()
            found = Found({**options, "seconds": wanted.minutes * 60}, described)
            stage = Stage(children, postgres, folder, Options())
            try:
                async with asyncio.timeout(found.options["seconds"] + AROUND):
                    await stage.prepare()
                    await under_load(stage, found, out)
            except Exception as error:  # noqa: BLE001 - whatever has ended it, what was sampled is shown and kept
                found.failure = f"{type(error).__name__}: {error}"
            report.show(found)
            report.keep(out, found)
            progress(f"written: {out}/endurance.json, {out}/endurance.svg")
        finally:
            await postgres.close()
    return 0 if found.good else 1


def main() -> None:
    """Runs it and leaves with its exit status."""
    wanted = arguments(sys.argv[1:])
    run_alone(wanted.home, lambda: run(wanted), "the samples that were taken are written")


if __name__ == "__main__":
    main()
