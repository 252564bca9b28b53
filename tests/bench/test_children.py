"""No process is left behind, whatever becomes of the driver."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from bench import children
from bench.children import ROOT, ChildFailed, Children

STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(600)"
)
DRIVER = f"""
import asyncio, sys
from pathlib import Path
from bench.children import Children

async def main():
    async with Children(Path(sys.argv[1])) as started:
        child = await started.start("stubborn", [sys.executable, "-c", {STUBBORN!r}])
        await child.ready()
        print("child", child.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def ended(pid: int) -> bool:
    """Whether a process has ended, though perhaps nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def gone(pid: int) -> bool:
    """Whether a process ends within 30 s."""
    for _ in range(3000):
        if ended(pid):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "STOP_LIMIT", 0.2)
    async with Children(tmp_path) as started:
        child = await started.start("stubborn", [sys.executable, "-c", STUBBORN])
        await child.ready()
        await started.stop(child)
    assert await gone(child.pid)


async def test_a_child_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    async with Children(tmp_path) as started:
        child = await started.start("brief", [sys.executable, "-c", "print('hello')"])
        with pytest.raises(ChildFailed, match="brief ended"):
            await child.ready()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has ended")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
async def test_no_child_outlives_a_driver_that_is_ended(tmp_path: Path, how: signal.Signals) -> None:
    driver = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DRIVER,
        str(tmp_path),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert driver.stdout is not None
    pid = int((await driver.stdout.readline()).split()[1])
    os.kill(driver.pid, how)
    await driver.wait()
    assert await gone(pid)
