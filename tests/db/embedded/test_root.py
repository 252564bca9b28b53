"""Where we are root: PostgreSQL is another user, who may not reach what root reaches."""

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from app.db import embedded
from app.db.embedded import binaries, root
from app.errors import EmbeddedDatabaseError
from tests.db.embedded.holding import ask, place_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="these tests need to be root")


@pytest.fixture
def private(base: Path) -> Path:
    """A folder that only root can enter, as root's own home is."""
    folder = base / "private"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def _elsewhere(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place that every user reaches, without touching this machine's."""
    monkeypatch.setattr(root, "REACHABLE_BASE", base / "reachable")


def test_the_server_runs_as_another_user(made_dir: Path) -> None:
    with contextlib.closing(embedded.start(made_dir, fsync=False)):
        pid = (place_of(made_dir).cluster / "postmaster.pid").read_text().split("\n")[0]
        user = subprocess.run(
            ["ps", "-o", "user=", "-p", pid], capture_output=True, text=True, check=True
        ).stdout.strip()
    assert user in root.ACCOUNTS


@pytest.mark.usefixtures("_elsewhere")
def test_data_that_the_server_could_not_reach_is_kept_elsewhere_and_that_is_said(
    private: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = private / "data"
    with contextlib.closing(embedded.start(wanted, fsync=False)) as server:
        assert server.data_dir.parent == root.REACHABLE_BASE
        assert str(server.data_dir) in capsys.readouterr().err
        ask(server.url, "CREATE TABLE payments AS SELECT 7 AS id")
        with contextlib.closing(embedded.start(wanted)) as second:
            assert ask(second.url, "SELECT id FROM payments") == 7
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@pytest.mark.usefixtures("_elsewhere")
def test_data_kept_elsewhere_is_found_again_when_the_wanted_folder_can_be_reached(private: Path) -> None:
    wanted = private / "data"
    with contextlib.closing(embedded.start(wanted, fsync=False)) as server:
        ask(server.url, "CREATE TABLE payments AS SELECT 7 AS id")
    private.chmod(0o711)
    with contextlib.closing(embedded.start(wanted, fsync=False)) as server:
        assert ask(server.url, "SELECT id FROM payments") == 7


@pytest.mark.usefixtures("_elsewhere")
def test_data_that_can_no_longer_be_reached_is_not_left_for_an_empty_database(made_dir: Path) -> None:
    made_dir.chmod(0o700)
    with pytest.raises(EmbeddedDatabaseError, match="can no longer reach it"):
        embedded.start(made_dir, fsync=False)
    made_dir.chmod(0o711)


@pytest.mark.usefixtures("_elsewhere")
def test_programs_that_the_server_could_not_reach_are_copied_and_that_is_said(
    private: Path, made_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = binaries.find()
    assert found.install is not None
    assert found.libraries is not None
    copied = private / found.install.parent.name / found.install.name
    shutil.copytree(found.install, copied, symlinks=True)
    shutil.copytree(found.libraries, private / found.libraries.name)
    monkeypatch.setenv(binaries.FOLDER_VARIABLE, str(copied / "bin"))
    with contextlib.closing(embedded.start(made_dir, fsync=False)) as server:
        assert ask(server.url, "SELECT 1") == 1
        assert server.data_dir == made_dir
        assert f"cannot reach {copied / 'bin'}: a copy is in {root.REACHABLE_BASE}" in capsys.readouterr().err
    with contextlib.closing(embedded.start(made_dir, fsync=False)) as server:
        assert ask(server.url, "SELECT 1") == 1


@pytest.mark.usefixtures("_elsewhere")
def test_system_programs_that_cannot_be_reached_are_said(
    private: Path, made_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (private / "bin").symlink_to(binaries.find().folder)
    monkeypatch.setenv(binaries.FOLDER_VARIABLE, str(private / "bin"))
    with pytest.raises(EmbeddedDatabaseError, match="Install PostgreSQL where every user can"):
        embedded.start(made_dir, fsync=False)
