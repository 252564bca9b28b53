"""The processes that hold a server for the tests, and how a test looks into one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import asyncpg
import pytest

from app.db.embedded import binaries, root
from app.db.embedded.place import Place

HOLDER = Path(__file__).with_name("holder.py")
ANSWER_LIMIT = 60  # seconds


def place_of(data_dir: Path) -> Place:
    """Where the server of a folder keeps its things."""
    return root.settle(data_dir, binaries.find(), lambda _: None)


def ask(url: str, statement: str) -> object:
    """The first value of a statement's answer."""

    async def answer() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(answer())


def poll(condition: Callable[[], bool]) -> None:
    """Waits for a condition, for 30 s at most."""
    for _ in range(3000):
        if condition():
            return
        Event().wait(0.01)
    pytest.fail("it did not come about within 30 s")


def postmaster(place: Place) -> int:
    """The pid that the server's pid file names."""
    return int((place.cluster / "postmaster.pid").read_text().split("\n")[0])


def parent(pid: int) -> int:
    """The pid of a process's parent: of a server, its watcher."""
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout)


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


class Holder:
    """Another process that holds the server of a folder."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, HOLDER, data_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([".", *sys.path])},
        )

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, statement: str) -> str:
        """What a statement answers there."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{statement}\n")
        self.process.stdin.flush()
        return self.line()

    def end(self) -> int:
        """Lets it end by itself, and tells its exit status."""
        self.process.communicate(timeout=ANSWER_LIMIT)
        return self.process.returncode

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self.process.kill()
        self.process.communicate(timeout=ANSWER_LIMIT)
