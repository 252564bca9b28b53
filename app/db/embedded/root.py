"""Where the embedded server lives, which takes thought where we are root: PostgreSQL refuses to be that.

It then runs as `postgres` or `nobody`. Such a user often cannot reach root's own folders. Neither users nor
anybody's modes are changed for it: what it cannot reach is put where it can.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.db.embedded.binaries import Binaries
from app.db.embedded.place import Account, Place
from app.errors import EmbeddedDatabaseError

ACCOUNTS = ("postgres", "nobody")
REACHABLE_BASE = Path("/var/lib/makegood")
PASSABLE = 0o711  # of folders that root makes: the server's user passes through, and lists nothing


def settle(data_dir: Path, binaries: Binaries, log: Callable[[str], None]) -> Place:
    """Chooses the cluster's home and its user, and makes the home.

    Raises:
        EmbeddedDatabaseError: there is no place for it.
        OSError: a folder cannot be made or looked at.
    """
    wanted = Path(os.path.realpath(data_dir))
    if os.geteuid() == 0:
        return _settle_as_root(wanted, binaries, log)
    wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Place(wanted, binaries, None)


def _settle_as_root(wanted: Path, binaries: Binaries, log: Callable[[str], None]) -> Place:
    elsewhere = REACHABLE_BASE / hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    here = Place(wanted, binaries, _owner(wanted / f"pg{binaries.major}") or _stranger())
    there = replace(here, home=elsewhere, account=_owner(elsewhere / f"pg{binaries.major}") or _stranger())
    place = _choose(here, there, log)
    return _with_reachable_programs(place, elsewhere, log)


def _choose(here: Place, there: Place, log: Callable[[str], None]) -> Place:
    """The wanted home where the server's user reaches it; data that exists is never left for an empty place."""
    account = here.account
    if account is None:
        return here
    if here.cluster.exists():
        if not reaches(account, here.cluster):
            raise EmbeddedDatabaseError(
                f"User {account.name}, who owns the data in {here.cluster}, can no longer reach it."
                " Let that user pass through the folders above it, or move it to where it can be reached."
            )
        return here
    if not there.cluster.exists():
        _make(here.home)
        if reaches(account, here.home):
            return here
        _make(there.home)
    log(f"makegood: PostgreSQL runs as {account.name}, who cannot reach {here.home}: its data is in {there.home}")
    return there


def _with_reachable_programs(place: Place, elsewhere: Path, log: Callable[[str], None]) -> Place:
    account, binaries = place.account, place.binaries
    if account is None or _runs(account, binaries.folder):
        return place
    if binaries.install is None:
        raise EmbeddedDatabaseError(
            f"User {account.name}, whom PostgreSQL runs as, cannot reach its programs in {binaries.folder}."
            " Install PostgreSQL where every user can, or set [database] url to use another server."
        )
    programs = elsewhere / f"programs{binaries.major}"
    copied = programs / binaries.install.parent.name / binaries.install.name / binaries.folder.name
    if not programs.exists():
        _copy(binaries, programs)
    if not _runs(account, copied):
        raise EmbeddedDatabaseError(
            f"The copy of PostgreSQL's programs in {programs} does not run. Remove it and start again."
        )
    log(f"makegood: PostgreSQL runs as {account.name}, who cannot reach {binaries.folder}: a copy is in {programs}")
    return replace(place, binaries=replace(binaries, folder=copied))


def _copy(binaries: Binaries, programs: Path) -> None:
    """Copies both folders of a wheel; the name is given when they are whole, so no half copy is ever run."""
    if binaries.install is None:
        return
    _make(programs.parent)
    package = binaries.install.parent.name
    unfinished = programs.with_name(f"{programs.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(binaries.install, unfinished / package / binaries.install.name, symlinks=True)
    if binaries.libraries is not None:
        shutil.copytree(binaries.libraries, unfinished / binaries.libraries.name, symlinks=True)
    for folder, _, files in os.walk(unfinished):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(path.stat().st_mode | 0o444)
    try:
        unfinished.rename(programs)
    except OSError:
        # Another process was first; its copy is as good.
        shutil.rmtree(unfinished)


def _make(folder: Path) -> None:
    """Makes a folder the server's user may pass through. One that exists keeps its mode: it is not ours."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        folder.chmod(PASSABLE)


def _owner(cluster: Path) -> Account | None:
    """Who made the cluster: PostgreSQL runs as nobody else."""
    try:
        found = cluster.stat()
    except FileNotFoundError:
        return None
    if found.st_uid == 0:
        return None
    return Account(f"uid {found.st_uid}", found.st_uid, found.st_gid)


def _stranger() -> Account:
    for name in ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, found.pw_uid, found.pw_gid)
    raise EmbeddedDatabaseError(
        "PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody."
        " Run Makegood as another user, or set [database] url to use another server."
    )


def reaches(account: Account, folder: Path) -> bool:
    """Whether that user can enter the folder, asked of the kernel by being that user."""
    return _as(account, ["/bin/sh", "-c", 'test -x "$0"', str(folder)])


def _runs(account: Account, programs: Path) -> bool:
    """Whether that user can run the programs, and so reaches the libraries beside them too."""
    return all(_as(account, [str(programs / name), "--version"]) for name in ("postgres", "initdb"))


def _as(account: Account, command: list[str]) -> bool:
    try:
        return (
            subprocess.run(
                command,
                cwd="/",
                check=False,
                user=account.uid,
                group=account.gid,
                extra_groups=[],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ).returncode
            == 0
        )
    except OSError:
        return False
