"""The peers: other ways to do the same job, each a program of its own in a virtual environment of its own.

They take the same webhook, make the same call, and mark each payment in a table `done`, so that one check fits them all.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.children import ROOT
from bench.stage import Running, Stage, free_port

FOLDER = ROOT / "bench" / "peers"
MADE = ROOT / ".bench"
BARE = "bare"  # one loop with three one-row transactions an operation: what is written first, by hand
BESIDE = " + worker"  # stands behind the name of a peer with a second process that works
NAMES = ("pgqueuer", "oban", "dbos", "procrastinate", BARE)
ENGINE_LIMIT = 900.0  # seconds


def python(name: str) -> Path:
    """The interpreter of a peer's environment."""
    return MADE / name / "bin" / "python"


async def set_up(stage: Stage) -> list[str]:
    """Makes the peers' environments where they are missing; returns the names of the peers that can run."""
    if not stage.options.peers:
        return []
    command = [sys.executable, str(FOLDER / "setup.py")]
    ended = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False, stdout=sys.stderr)
    found = [name for name in NAMES if python(name).exists() and (FOLDER / f"{name}.py").exists()]
    missing = sorted(set(NAMES) - set(found))
    if ended.returncode or missing:
        stage.warn(f"peers that are missing from this run: {', '.join(missing) or 'none'}")
    return found


def command(name: str, port: int, url: str, supplier: int, *options: str) -> list[str]:
    """How a peer is started."""
    fixed = ["--port", str(port), "--database", url, "--supplier", f"http://127.0.0.1:{supplier}"]
    return [str(python(name)), str(FOLDER / f"{name}.py"), *fixed, *options]


@asynccontextmanager
async def serving(stage: Stage, name: str, database: str, supplier: int, *options: str) -> AsyncIterator[Running]:
    """A peer that serves; it has ended before this returns."""
    port = free_port()
    started = command(name, port, stage.postgres.url(database), supplier, *options)
    child = await stage.children.start(name, started)
    try:
        await child.ready()
        yield Running([child], [port])
    finally:
        await stage.children.stop(child)


async def engine(stage: Stage, name: str, count: int) -> float:
    """Lets a peer work off so many stored jobs, with calls that are answered in its process: seconds, as it measures them."""
    async with stage.database() as database:
        started = command(name, free_port(), stage.postgres.url(database), 1, "--engine", str(count))
        child = await stage.children.start(f"{name}-engine", started)
        try:
            await child.ready()
            said = json.loads(await child.line("{", seconds=ENGINE_LIMIT))
        finally:
            await stage.children.stop(child)
    return float(said["seconds"]) * count / float(said["operations"])
