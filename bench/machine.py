"""The machine: what it is, and whether something else used it while a figure was taken."""

import os
import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
# Of all cores: what the system itself needs beside us, and the interrupts of our own network that belong to no process.
FOREIGN_ALLOWED = 0.05
# Fields of /proc/PID/stat, counted from behind the program's name: parent; user, system, and both of waited-for children.
PARENT, TIMES = 1, slice(11, 15)
# Fields of the first line of /proc/stat.
IDLE, IOWAIT, STEAL = 3, 4, 7


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds since the machine and our processes began."""

    all: float
    ours: float
    stolen: float
    at: float


@dataclass(frozen=True, slots=True)
class Used:
    """What was used between two readings, as shares of all cores.

    Args:
        foreign: by processes that are not the bench's.
        stolen: by other machines on the same hardware.
    """

    ours: float
    foreign: float
    stolen: float

    @property
    def disturbed(self) -> bool:
        """Whether so much else ran that the figure is in doubt."""
        return self.foreign + self.stolen > FOREIGN_ALLOWED


def kernel() -> list[int]:
    """The parent of the kernel's own threads, where it can be seen: among them are those that write what we have written."""
    name = PROC / "2" / "comm"
    return [2] if name.exists() and name.read_text() == "kthreadd\n" else []


def read(roots: Iterable[int]) -> Reading:
    """A reading; `roots` are the processes that are ours, with all that they have started."""
    fields = (PROC / "stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(field) for field in fields]
    busy = sum(ticks) - ticks[IDLE] - ticks[IOWAIT] - ticks[STEAL]
    return Reading(
        busy / TICKS,
        sum(_times(set(roots))) / TICKS,
        ticks[STEAL] / TICKS,
        time.monotonic(),
    )


def between(before: Reading, after: Reading) -> Used:
    """What was used from one reading to the next."""
    capacity = max(after.at - before.at, 1 / TICKS) * (os.cpu_count() or 1)
    ours = after.ours - before.ours
    foreign = max(0.0, after.all - before.all - ours)  # what is counted in ticks may come to more than the whole
    return Used(ours / capacity, min(1.0, foreign / capacity), (after.stolen - before.stolen) / capacity)


def memory(pid: int) -> tuple[float, float]:
    """A process's resident memory now, and the most it ever had, in MB of 10^6 bytes."""
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    found = {
        name: int(rest.split()[0]) * 1024 / 1e6
        for name, _, rest in (x.partition(":") for x in lines)
        if name[:2] == "Vm"
    }
    return found["VmRSS"], found["VmHWM"]


def describe() -> dict[str, str]:
    """What the figures were taken on."""
    names = [line.partition(":")[2].strip() for line in _lines("cpuinfo") if line.startswith("model name")]
    packages = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "asyncpg", "httpx")
    return {
        "cores": str(os.cpu_count()),
        "processor": names[0] if names else platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _times(roots: set[int]) -> Iterator[int]:
    """The ticks of all processes below the roots.

    Those of a process that has ended are in its parent's `waited for`, so nothing is lost between two readings.
    """
    found: dict[int, tuple[int, int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(stat.parent.name)] = (int(fields[PARENT]), sum(int(field) for field in fields[TIMES]))
    for pid, (_, ticks) in found.items():
        ancestor = pid
        while ancestor in found and ancestor not in roots:
            ancestor = found[ancestor][0]
        if ancestor in roots:
            yield ticks


def _lines(name: str) -> list[str]:
    file = PROC / name
    return file.read_text().splitlines() if file.exists() else []
