"""A command of its own process, read while it runs."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]

# A bound on waiting for a process on a busy machine, not a time that anything takes.
PATIENCE = 90

_CLEARED = ("MAKEGOOD_CONFIG", "MAKEGOOD_URL", "MAKEGOOD_KEY", "DATABASE_URL")


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, without what would configure the command, and with what is given."""
    kept = {name: value for name, value in os.environ.items() if name not in _CLEARED}
    return kept | dict(given or {})


class Running:
    """A process whose lines of output are kept, and waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, self.out, True), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self.err, False), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], lines: list[str], awaited: bool) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            if awaited:
                self._lines.put(lines[-1])
        if awaited:
            self._lines.put(None)

    def until(self, wanted: str) -> str:
        """The next line of stdout that has the wanted text."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            if wanted in line:
                return line
        raise AssertionError(f"ended without {wanted!r}: {self.out} {self.err}")

    def url(self) -> str:
        """Where it listens."""
        return self.until("makegood: listening on ").removeprefix("makegood: listening on ")

    def terminate(self) -> int:
        """Sends SIGTERM and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit status, when it has ended."""
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status


@contextmanager
def running(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Runs `makegood` with these arguments; what has not ended at the end is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    run = Running(process)
    try:
        yield run
    finally:
        process.kill()
        run.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
