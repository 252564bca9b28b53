"""The processes that the driver starts: each is waited for with a bound, and none is left behind."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = Path(__file__).with_name("launch.py")

READY = ("ready", "makegood: listening")  # how a program says that it can be used
START_LIMIT = 60.0  # seconds until it says so; most take one, and a peer that migrates takes ten
STOP_LIMIT = 20.0  # seconds after SIGTERM; then it is killed


class ChildFailed(Exception):
    """A process has ended, or said nothing, where the bench needed it."""


class Child:
    """One process. Its stdout comes as lines; its stderr is in a file of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.log = log
        self._process = process
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def line(self, *begins: str, seconds: float) -> str:
        """The next line that begins so; others are passed over.

        Raises:
            ChildFailed: it ended, or the time is over.
        """
        try:
            async with asyncio.timeout(seconds):
                while (line := await self._lines.get()) is not None:
                    if line.startswith(begins):
                        return line
        except TimeoutError as error:
            raise ChildFailed(f"{self.name} said nothing within {seconds:g} s; its log is {self.log}") from error
        raise ChildFailed(f"{self.name} ended; its log is {self.log}")

    async def ready(self) -> None:
        """Waits until it can be used. Raises ChildFailed."""
        await self.line(*READY, seconds=START_LIMIT)

    def check(self) -> None:
        """Raises ChildFailed where it has ended."""
        if self._process.returncode is not None:
            raise ChildFailed(f"{self.name} ended; its log is {self.log}")

    def tell(self, line: str) -> None:
        """Writes a line to its stdin."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())

    async def stop(self) -> None:
        """Ends it: SIGTERM, and SIGKILL to all of its session where that does not do."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_LIMIT):
                        await self._process.wait()
            finally:
                self.kill()  # itself where it has not ended, and what it has started
        await self._process.wait()
        await self._reading

    def kill(self) -> None:
        """Kills it and whatever it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _read(self) -> None:
        stdout = self._process.stdout
        while stdout is not None and (line := await stdout.readline()):
            self._lines.put_nowait(line.decode(errors="replace").rstrip("\n"))
        self._lines.put_nowait(None)


class Children:
    """All processes of the driver; leaving it ends those that still run.

    Args:
        logs: the folder of their logs.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._running:
            child.kill()
        await self.stop(*self._running)

    async def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path = ROOT
    ) -> Child:
        """Starts a program in a session of its own, whose end is the driver's at the latest."""
        log = self._logs / f"{name.replace(' ', '-')}.log"
        # -S: the launcher needs no package, and starts in a tenth of the time without them.
        launched = [sys.executable, "-S", "-E", str(LAUNCH), str(os.getpid()), *command]
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *launched,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._running.append(child)
        return child

    async def stop(self, *children: Child) -> None:
        """Ends some of them, all at once."""
        await asyncio.gather(*(child.stop() for child in children))
        self._running = [child for child in self._running if child not in children]
