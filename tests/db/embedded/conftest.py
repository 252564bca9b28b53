"""Folders for servers that a test starts, stops and kills itself, and the processes that hold them."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.db import embedded
from app.db.embedded import client
from app.db.embedded.binaries import Binaries
from app.db.embedded.place import Place
from tests.db.embedded.holding import Holder, place_of
from tests.postgres import scratch


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that the server's user can pass through, also where we are root; the servers in it end with the test."""
    folder = Path(tempfile.mkdtemp(prefix="makegood-t-", dir=scratch())).resolve()
    folder.chmod(0o711)
    yield folder
    for lock in folder.glob("**/pg*.lock"):
        major = int(lock.stem.removeprefix("pg"))
        client.wait_until_stopped(Place(lock.parent, Binaries(folder, major), None))
    shutil.rmtree(folder)


@pytest.fixture
def data_dir(base: Path) -> Path:
    """A folder that does not exist yet."""
    return base / "data"


@pytest.fixture(scope="session")
def _made() -> Iterator[Path]:
    """A cluster that is made once, for the tests of what comes after the first start."""
    folder = Path(tempfile.mkdtemp(prefix="makegood-t-", dir=scratch())).resolve()
    folder.chmod(0o711)
    embedded.start(folder / "data", fsync=False).close()
    client.wait_until_stopped(place_of(folder / "data"))
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def made_dir(_made: Path, data_dir: Path) -> Path:
    """A folder with a cluster whose server has ended in good order."""
    subprocess.run(["cp", "-a", _made, data_dir], check=True)
    return data_dir


@pytest.fixture
def holder() -> Iterator[Callable[[Path], Holder]]:
    """Starts holders; those that still live are killed at the end."""
    started: list[Holder] = []

    def start(data_dir: Path) -> Holder:
        started.append(Holder(data_dir))
        return started[-1]

    yield start
    for one in started:
        one.kill()
