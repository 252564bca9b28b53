"""Whose the time of the processors was."""

import os
import subprocess
import sys
import time

import pytest

from bench import machine
from bench.machine import Reading

pytestmark = pytest.mark.skipif(not machine.PROC.joinpath("stat").exists(), reason="there is no /proc here")

BURN = "import time\nwhile time.process_time() < 0.3: pass"


def test_what_a_child_has_used_is_ours_also_when_it_has_ended() -> None:
    before = machine.read([os.getpid()])
    subprocess.run([sys.executable, "-c", BURN], check=True)
    after = machine.read([os.getpid()])
    assert after.ours - before.ours >= 0.25
    assert after.all >= before.all


def test_what_a_process_used_that_is_none_of_ours_is_foreign() -> None:
    with subprocess.Popen([sys.executable, "-c", BURN + "\ninput()"], stdin=subprocess.PIPE) as other:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as ours:
            before = machine.read([ours.pid])
            until = time.monotonic() + 30
            while machine.read([other.pid]).ours < 0.25 and time.monotonic() < until:
                time.sleep(0.01)
            after = machine.read([ours.pid])
            used = machine.between(before, after)
            ours.communicate(b"\n")
        other.communicate(b"\n")
    assert used.foreign > 0
    assert after.ours - before.ours < 0.2


def test_shares_are_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    used = machine.between(Reading(10.0, 4.0, 1.0, 100.0), Reading(16.0, 9.0, 1.2, 110.0))
    assert used.ours == pytest.approx(5 / 20)
    assert used.foreign == pytest.approx(1 / 20)
    assert used.stolen == pytest.approx(0.2 / 20)
    assert used.disturbed


def test_the_memory_of_a_process_is_in_megabytes() -> None:
    now, most = machine.memory(os.getpid())
    assert 10 < now <= most < 10_000
