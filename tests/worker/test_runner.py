"""The duties of a process: kept up whatever happens, and ended in order."""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from app import providers
from app.settings import load
from app.worker.execution import Execution
from app.worker.runner import DRAIN_MARGIN, Runner, keep_up, worker_name
from tests.api.desk import CONFIG
from tests.builders import FixedClock
from tests.worker.stage import SaidAgents, SaidStore, SaidWakeup, as_wakeup, claimed, execution_of

AT_ONCE = timedelta(0)


async def test_a_duty_that_fails_is_taken_up_again_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Trap 31: a process that lives on, answers its probes, and claims nothing any more because of one error."""
    carried_out, times = asyncio.Event(), 0

    async def duty() -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise KeyError("a mistake")
        carried_out.set()
        await asyncio.Event().wait()

    keeping = asyncio.create_task(keep_up(duty, AT_ONCE), name="claim")
    async with asyncio.timeout(10):
        await carried_out.wait()
    keeping.cancel()
    await asyncio.wait({keeping})
    assert keeping.cancelled()
    assert times == 2
    [told] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert (told.getMessage(), vars(told)["duty"]) == ("duty_failed", "claim")


def test_no_two_workers_have_one_name() -> None:
    """Trap 26: the same name after a restart, and what the dead process held seems to be ours."""
    assert len({worker_name() for _ in range(100)}) == 100


LONG_STEP = """
[[sagas.purchase.steps]]
name = "pack"
do = { local = "tests.road.steps:pack", timeout = "45s" }
undo = false
"""


def drain_limit(config: str, folder: Path) -> timedelta:
    path = folder / "makegood.toml"
    path.write_text(config)
    settings = load(path, {}, providers.known())
    parts = execution_of(Execution, SaidStore(), SaidAgents(), FixedClock(), claimed()).parts
    return Runner(settings, parts, as_wakeup(SaidWakeup()))._drain_limit()


def test_a_step_in_python_gets_its_timeout_to_end_as_a_call_does(tmp_path: Path) -> None:
    assert drain_limit(CONFIG, tmp_path) == timedelta(seconds=10) + DRAIN_MARGIN
    assert drain_limit(CONFIG + LONG_STEP, tmp_path) == timedelta(seconds=45) + DRAIN_MARGIN
