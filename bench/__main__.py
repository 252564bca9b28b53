"""The driver: `python -m bench`, or `make bench`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import machine, report
from bench.alone import run_alone
from bench.children import ROOT, Children
from bench.postgres import Postgres
from bench.results import Figures
from bench.stage import Options, Stage
from bench.workload import Workload
from bench.workloads import WORKLOADS

IDLE_SECONDS = 2.0  # how long the machine is watched before anything runs


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of: {','.join(WORKLOADS)}")
    parser.add_argument("--repeat", type=int, default=5, help="times that each side has its turn")
    parser.add_argument(
        "--quick", action="store_true", help="little of everything, to try the bench; its figures mean nothing"
    )
    parser.add_argument("--no-peers", action="store_true", help="ours and the limits alone")
    parser.add_argument(
        "--side", action="append", default=[], help="this side, by its name in the table; may be repeated"
    )
    parser.add_argument("--history", help="finished operations beside which the engine runs, as 0,1000000")
    parser.add_argument(
        "--home", type=Path, default=ROOT / ".bench", help="where PostgreSQL has its data, and the logs"
    )
    parser.add_argument("--out", type=Path, help="folder of the JSON and the plot; else `results` in --home")
    wanted = parser.parse_args(given)
    wanted.home = wanted.home.resolve()
    unknown = sorted(set(filter(None, wanted.only.split(","))) - set(WORKLOADS))
    if unknown:
        parser.error(f"no workload named {', '.join(unknown)}")
    return wanted


def chosen(only: str) -> list[Workload]:
    """The workloads that are wanted, each once."""
    names = [name for name in only.split(",") if name] or list(WORKLOADS)
    return list({WORKLOADS[name].name: WORKLOADS[name] for name in names}.values())


def options_of(wanted: argparse.Namespace) -> Options:
    """How much is done."""
    options = Options.quick() if wanted.quick else Options(repeat=wanted.repeat)
    history = [int(count) for count in wanted.history.split(",")] if wanted.history else options.history
    return replace(options, peers=not wanted.no_peers, history=tuple(history))


async def compare(stage: Stage, workload: Workload, names: Sequence[str]) -> Figures:
    """Lets the sides take turns: A B C, A B C, ..."""
    figures = Figures(workload.name, workload.about, workload.metrics, workload.targets)
    try:
        sides = [side for side in await workload.sides(stage) if not names or side.name in names]
    except Exception as error:  # noqa: BLE001 - as below
        fail(stage, workload.name, error)
        return figures
    for repeat in range(stage.options.repeat):
        for side in sides:
            report.progress(f"{workload.name} {repeat + 1}/{stage.options.repeat}: {side.name}")
            try:
                figures.add(side.name, await side.run())
            except Exception as error:  # noqa: BLE001 - whatever breaks one side, the others keep their figures
                fail(stage, f"{workload.name}, {side.name}", error)
    return figures


def fail(stage: Stage, what: str, error: Exception) -> None:
    """Puts a failure beside the figures; the bench ends with status 1 then."""
    stage.failures.append(f"{what}: {type(error).__name__}: {error}")
    report.progress(f"  FAILED: {stage.failures[-1]}")


async def run(wanted: argparse.Namespace) -> int:
    """The whole bench; its exit status is 1 where a side has failed."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    folder = wanted.home / "run"
    folder.mkdir(exist_ok=True)
    async with Children(folder) as children:
        postgres = await Postgres.start(wanted.home / "postgres")
        try:
            stage = Stage(children, postgres, folder, options_of(wanted))
            async with stage.closing:
                await stage.watch_idle(IDLE_SECONDS)
                await stage.prepare()
                described, found = machine.describe() | await postgres.settings(), list[Figures]()
                for workload in chosen(wanted.only):
                    found.append(await compare(stage, workload, wanted.side))
                    report.keep(wanted.out or wanted.home / "results", stage, found, described)
                report.show(stage, found, described)
        finally:
            await postgres.close()
    return 1 if stage.failures else 0


def main() -> None:
    """Runs the bench and leaves with its exit status."""
    wanted = arguments(sys.argv[1:])
    run_alone(wanted.home, lambda: run(wanted), "what was measured of whole workloads is written")


if __name__ == "__main__":
    main()
