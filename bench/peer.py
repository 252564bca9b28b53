"""The peers: other ways to do the same job, each a program of its own in a virtual environment of its own.

They take the same webhook, make the same call, and mark each payment in a table `done`, so that one check fits them all.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.peers.setup import PEERS, NoPython, prepare, program
from bench.stage import Running, Stage, free_port

BARE = "bare"  # one loop with three one-row transactions an operation: what is written first, by hand
BESIDE = " + worker"  # stands behind the name of a peer with a second process that works
NAMES = tuple(PEERS)
ENGINE_LIMIT = 900.0  # seconds


async def set_up(stage: Stage) -> list[str]:
    """Makes the peers' environments where they are missing; returns the names of the peers that can run."""
    found = []
    for name in NAMES if stage.options.peers else ():
        try:
            python = await asyncio.to_thread(prepare, name)
            stage.notes[f"peer {name}"] = await asyncio.to_thread(versions, name, python)
        except (NoPython, OSError, subprocess.CalledProcessError) as error:
            stage.warn(f"the peer {name} is missing from this run: {error}")
        else:
            found.append(name)
    return found


def versions(name: str, python: Path) -> str:
    """What a peer runs on. Raises CalledProcessError."""
    asked = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]), 'on Python', sys.version.split()[0])"
    library = "httpx" if name == BARE else name
    answer = subprocess.run([python, "-c", asked, library], check=True, capture_output=True, encoding="utf-8")
    return f"{library} {answer.stdout.strip()}"


def command(name: str, port: int, url: str, supplier: int, *options: str) -> list[str]:
    """How a peer is started."""
    fixed = ["--port", str(port), "--database", url, "--supplier", f"http://127.0.0.1:{supplier}"]
    return [*program(name), *fixed, *options]


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
