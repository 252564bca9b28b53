"""What is made on disk before the embedded server runs: password, folders, and the commands that make and run it."""

import os
import re
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

from app.db.embedded.place import NAME, Place
from app.db.embedded.root import reaches
from app.errors import EmbeddedDatabaseError

PORT = 5432  # names the socket; nothing listens on TCP
LONGEST_SOCKET = 99  # bytes; the kernel takes 107 on Linux, 103 on macOS
PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")
TEMPORARY = "makegood-"  # begins the name of a temporary folder of sockets
CONNECTIONS = 200  # a few processes with a pool each, and an operator's psql
SHARED_BUFFERS = "64MB"  # enough to try the service, small beside everything else on a laptop
BUILTIN_LOCALE_MAJOR = 17  # the first with a locale provider of its own; before it, plain C sorts the same


def prepare(place: Place) -> Path:
    """Makes the folder of the sockets, and for a new cluster its password and its empty folder.

    The caller holds the lock, so nothing else looks at these files meanwhile.

    Returns:
        The folder of the sockets, short enough for one.

    Raises:
        EmbeddedDatabaseError: the data is of another PostgreSQL, or its password is gone.
    """
    sockets = _socket_folder(place)
    if place.cluster.exists():
        if not place.password.exists():
            raise EmbeddedDatabaseError(
                f"The password of the embedded PostgreSQL is gone: {place.password} does not exist."
                f" Put the file back, or move {place.cluster} away to begin with an empty database."
            )
        return sockets
    _refuse_other_major(place)
    # An earlier initdb was killed: what it left is nobody's data yet.
    shutil.rmtree(place.unfinished, ignore_errors=True)
    _make_folder(place, place.unfinished)
    _write_password(place, sockets)
    return sockets


def _refuse_other_major(place: Place) -> None:
    for other in sorted(place.home.glob("pg[0-9][0-9]")):
        major = other.name.removeprefix("pg")
        raise EmbeddedDatabaseError(
            f"The data in {other} is of PostgreSQL {major}, and this machine's programs are of {place.binaries.major}."
            f" With the service still on PostgreSQL {major}, write it out:"
            f' pg_dump --host "$(realpath {other}.run)" --username {NAME} {NAME} > {NAME}.sql (the password is in {other}.password);'
            f" then move {other} away, start again, and read it in with psql."
        )


def password(place: Place) -> str:
    """The password of the cluster's only role."""
    return place.password.read_text(encoding="ascii").strip()


def pwfile(sockets: Path) -> Path:
    """Where initdb reads the password: a copy that its user may read, gone once the cluster is made."""
    return sockets / "password"


def _write_password(place: Place, sockets: Path) -> None:
    chosen = secrets.token_urlsafe(32)
    copy = pwfile(sockets)
    copy.unlink(missing_ok=True)
    for path in (place.password.with_suffix(".password-new"), copy):
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{chosen}\n")
            file.flush()
            os.fsync(descriptor)
    # Renamed when it is whole: a start that is killed here leaves no half password behind.
    place.password.with_suffix(".password-new").replace(place.password)
    if place.account is not None:
        os.chown(copy, place.account.uid, place.account.gid)


def _make_folder(place: Place, folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if place.account is not None:
        os.chown(folder, place.account.uid, place.account.gid)


def _socket_folder(place: Place) -> Path:
    fits = _fits(place.run)
    if place.run.is_symlink():
        known = Path(os.path.realpath(place.run))
        ours = known.name.startswith(TEMPORARY) and _is_ours(place, known)
        if ours and not fits:
            return known
        place.run.unlink()
        if ours:
            shutil.rmtree(known)
    if fits:
        _make_folder(place, place.run)
        return place.run
    folder = _temporary_folder(place)
    shutil.rmtree(place.run, ignore_errors=True)  # of the time when the home had another path
    place.run.symlink_to(folder)
    return folder


def _temporary_folder(place: Place) -> Path:
    for base in dict.fromkeys((tempfile.gettempdir(), "/tmp")):  # noqa: S108 - mkdtemp makes an unguessable folder of mode 0700
        parent = Path(os.path.realpath(base))
        if _fits(parent / f"{TEMPORARY}12345678") and (place.account is None or reaches(place.account, parent)):
            folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))
            _make_folder(place, folder)
            return folder
    raise EmbeddedDatabaseError(
        f"The path of {place.run} is too long or too odd for a socket, and so is every temporary folder."
        " Choose a shorter [database] data_dir, or set [database] url to use another server."
    )


def _fits(folder: Path) -> bool:
    """Whether the sockets can be in a folder: its path is short, and nothing in it means something in a URL or a list."""
    return PLAIN.fullmatch(str(folder)) is not None and len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET


def _is_ours(place: Place, folder: Path) -> bool:
    """Whether a temporary folder of an earlier run is still there and was not taken by another user since."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    owner = os.geteuid() if place.account is None else place.account.uid
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and stat.S_IMODE(found.st_mode) == stat.S_IRWXU


def initdb_command(place: Place, sockets: Path, *, fsync: bool) -> list[str]:
    """The command that makes the cluster. No password is in it."""
    command = [
        str(place.binaries.folder / "initdb"),
        f"--pgdata={place.unfinished}",
        f"--username={NAME}",
        f"--pwfile={pwfile(sockets)}",
        "--auth-local=scram-sha-256",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
    ]
    if place.binaries.major >= BUILTIN_LOCALE_MAJOR:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return command if fsync else [*command, "--no-sync"]


def server_command(place: Place, sockets: Path, *, fsync: bool) -> list[str]:
    """The command that runs the server: on a socket alone, with its log on stderr."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        "max_connections": str(CONNECTIONS),
        "shared_buffers": SHARED_BUFFERS,
        "logging_collector": "off",
        "log_destination": "stderr",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    if not fsync:
        settings |= {"fsync": "off", "full_page_writes": "off"}
    command = [str(place.binaries.folder / "postgres"), "-D", str(place.cluster)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return command
