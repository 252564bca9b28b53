"""The bench itself, run as a whole with little of everything."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from app.db.embedded import binaries, client, root
from bench.children import ROOT
from tests.postgres import scratch


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's user reaches; its server has stopped when it is removed."""
    folder = Path(tempfile.mkdtemp(prefix="makegood-bench-", dir=scratch()))
    folder.chmod(0o711)
    yield folder
    place = root.settle(folder / "postgres", binaries.find(), lambda _: None)
    client.wait_until_stopped(place)
    for each in {folder, place.home}:
        shutil.rmtree(each, ignore_errors=True)


def test_a_run_measures_checks_and_leaves_a_table_a_document_and_a_plot(home: Path) -> None:
    wanted = ["--quick", "--only", "through", "--no-peers", "--side", "makegood"]
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "--home", str(home), *wanted],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "FAILED" not in ended.stdout
    document = json.loads((home / "results/bench.json").read_text(encoding="utf-8"))
    found = {(one["side"], one["metric"]): one["median"] for one in document["workloads"]["through"]}
    assert found["makegood", "done/s"] > 0
    assert found["makegood", "transactions/op"] > 0
    judged = {one["text"]: one["met"] for one in document["targets"]}
    assert judged["through in one process, times the best peer in one"] is None
    assert judged["memory of a process, MB"] is not None
    ET.fromstring((home / "results/bench.svg").read_text(encoding="utf-8"))  # noqa: S314 - the bench has drawn it


def test_a_long_run_made_short_samples_finds_every_payment_and_leaves_a_document(home: Path) -> None:
    wanted = ["--minutes", "0.05", "--every", "1", "--rate", "50", "--retention", "1s"]
    ended = subprocess.run(
        [sys.executable, "-m", "bench.endurance", "--home", str(home), *wanted],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    document = json.loads((home / "results/endurance.json").read_text(encoding="utf-8"))
    assert document["failure"] is None, ended.stdout + ended.stderr
    assert document["balance"]["conservation"] == {
        "payments": 147,
        "succeeded": 144,
        "refunded": 3,
        "held": 0,
        "under_way": 0,
        "difference": 0,
    }
    assert len(document["samples"]) + len(document["missed"]) == 3


@pytest.mark.parametrize("arguments", [["--only", "speed"], ["--repeat", "none"]])
def test_what_is_asked_for_wrongly_is_said(home: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "bench", "--home", str(home), *arguments]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "error:" in ended.stderr
