"""Processes of the service that are there at once: forked from one that has imported everything already.

Starting Python and importing takes two seconds of a processor, and a dozen tests need a process to kill. They run what
`makegood serve` runs; the command itself is run where a test is about it.
"""

import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from app import main
from app import settings as configuration
from app.cli.service import run
from app.providers import known
from app.wiring import Role

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])

# A bound on waiting on a busy machine, not a time that anything takes.
PATIENCE = 90


def serve(config: Path, database_url: str, role: Role, ready: "Connection[str, str]") -> None:
    """Serves, in the child."""
    settings = configuration.load(config, {"DATABASE_URL": database_url}, known())
    run(main.serve(settings, role=role, ready=ready.send))


class Forked:
    """A child that serves."""

    def __init__(self, config: Path, database_url: str, role: Role) -> None:
        self._ready, theirs = FORKS.Pipe(duplex=False)
        self._child = FORKS.Process(target=serve, args=(config, database_url, role, theirs), daemon=True)
        self._child.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process."""
        assert self._child.pid is not None
        return self._child.pid

    def url(self) -> str:
        """Where it listens, once it does."""
        assert self._ready.poll(PATIENCE), "it is not ready"
        url: str = self._ready.recv()
        return url

    def wait(self) -> int:
        """The exit status, once it has ended."""
        self._child.join(PATIENCE)
        assert self._child.exitcode is not None, "it does not end"
        return self._child.exitcode

    def close(self) -> None:
        """Kills it if it is still there."""
        self._child.kill()
        self._child.join()
        self._child.close()
        self._ready.close()


@contextlib.contextmanager
def forked(config: Path, database_url: str, role: Role) -> Iterator[Forked]:
    """A child that serves while the block runs; one that has not ended then is killed."""
    child = Forked(config, database_url, role)
    try:
        yield child
    finally:
        child.close()
