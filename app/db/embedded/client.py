"""How a process comes to hold the embedded server: it joins the running one, or starts one."""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from urllib.parse import quote

import asyncpg

from app.db.embedded import cluster, watcher
from app.db.embedded.place import NAME, Place
from app.errors import EmbeddedDatabaseError

CONTROL = "watch.sock"  # beside PostgreSQL's own socket, and shorter than its name
BACKLOG = 128  # processes that start at the same moment
POLL = 0.02  # seconds
LIMIT = 60.0  # seconds for a server to come up, or for one that is going down to be gone
PATIENCE = 2.0  # seconds before a start is worth a word
FAST_SHUTDOWN_LIMIT = 20.0  # seconds from the SIGINT that ends a server to the SIGQUIT that it cannot put off
WELCOME_LIMIT = 30.0  # seconds for a watcher to answer: it does nothing that takes long, but the machine may be busy

# What the watcher and PostgreSQL see of our environment. The rest may hold secrets, and PG... settings meant for others.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

# How a server answers that is starting, ending, or full for a moment.
NOT_YET = (
    OSError,
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.TooManyConnectionsError,
)


class _Gone(Exception):
    """The watcher ended while we were joining it."""


def hold(place: Place, log: Callable[[str], None], *, fsync: bool) -> tuple[socket.socket, str]:
    """Holds the server of this place, starting it where nobody has.

    Returns:
        The connection that is the hold, and the server's URL.

    Raises:
        EmbeddedDatabaseError: there is no server, and why.
    """
    for _ in range(int(LIMIT / POLL)):
        held = _join(place) or _launch(place, fsync=fsync)
        if held is not None:
            try:
                return held, asyncio.run(_reach(place, held, log))
            except _Gone:
                held.close()
            except BaseException:
                held.close()
                raise
        # Another process starts it just now, or the server's last holder has gone and it is still going down.
        Event().wait(POLL)
    raise EmbeddedDatabaseError(
        f"The embedded PostgreSQL in {place.home} neither came up nor ended within {LIMIT:.0f} s. Look into {place.log}."
    )


def url(place: Place, *, database: str = NAME) -> str:
    """The URL of a database of this server. It holds the password: it is for connecting, never for printing."""
    folder = quote(os.path.realpath(place.run))
    # The port is named because the environment may hold a PGPORT that is meant for another server.
    return f"postgresql://{NAME}:{cluster.password(place)}@/{database}?host={folder}&port={cluster.PORT}"


def wait_until_stopped(place: Place) -> None:
    """Waits until no watcher, and so no server, is left here. Something to do before the folder is removed.

    Raises:
        EmbeddedDatabaseError: one is still there after `LIMIT` seconds.
    """
    for _ in range(int(LIMIT / POLL)):
        with _lock(place) as lock:
            if lock is not None:
                return
        Event().wait(POLL)
    raise EmbeddedDatabaseError(f"The embedded PostgreSQL in {place.home} is still held by another process.")


def _join(place: Place) -> socket.socket | None:
    """Connects to the watcher, or None where there is none, or one that is going."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    held.settimeout(WELCOME_LIMIT)
    try:
        held.connect(os.path.realpath(place.run / CONTROL))
        _expect_welcome(held)
    except PermissionError as error:
        held.close()
        raise EmbeddedDatabaseError(
            f"The embedded PostgreSQL in {place.home} belongs to another user. Run Makegood as that user,"
            " choose another [database] data_dir, or set [database] url."
        ) from error
    except (OSError, _Gone):
        held.close()
        return None
    return held


def _expect_welcome(held: socket.socket) -> None:
    said = b""
    while len(said) < len(watcher.HELD):
        chunk = held.recv(len(watcher.HELD) - len(said))
        if not chunk:
            raise _Gone
        said += chunk


@contextmanager
def _lock(place: Place) -> Iterator[int | None]:
    """The lock's descriptor, or None where a watcher or another starter has it."""
    descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _launch(place: Place, *, fsync: bool) -> socket.socket | None:
    """Starts a watcher, or None where somebody else has the lock."""
    with _lock(place) as lock:
        if lock is None:
            return None
        sockets = cluster.prepare(place)
        control = sockets / CONTROL
        control.unlink(missing_ok=True)
        held = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, contextlib.ExitStack() as undo:
            undo.callback(held.close)
            listener.bind(str(control))
            listener.listen(BACKLOG)
            # The hold begins before the watcher lives: should we be killed from here on, it finds nobody and ends.
            held.settimeout(WELCOME_LIMIT)
            held.connect(str(control))
            _spawn(place, _job(place, sockets, lock, listener.fileno(), fsync=fsync))
            try:
                _expect_welcome(held)
            except (OSError, _Gone) as error:
                raise EmbeddedDatabaseError(
                    f"The watcher of the embedded PostgreSQL did not start. Look into {place.log}."
                ) from error
            undo.pop_all()
        return held


def _job(place: Place, sockets: Path, lock: int, listener: int, *, fsync: bool) -> dict[str, object]:
    account = place.account
    return {
        "home": str(place.home),
        "cluster": str(place.cluster),
        "unfinished": str(place.unfinished),
        "log": str(place.log),
        "run": str(place.run),
        "sockets": str(sockets),
        "temporary": sockets != place.run,
        "socket": str(sockets / CONTROL),
        "pwfile": str(cluster.pwfile(sockets)),
        "pid_files": [str(place.cluster / "postmaster.pid"), str(sockets / f".s.PGSQL.{cluster.PORT}.lock")],
        "initdb": cluster.initdb_command(place, sockets, fsync=fsync),
        "server": cluster.server_command(place, sockets, fsync=fsync),
        "account": {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []},
        "fast_shutdown": FAST_SHUTDOWN_LIMIT,
        "lock": lock,
        "listener": listener,
    }


def _spawn(place: Place, job: dict[str, object]) -> None:
    lock, listener = job["lock"], job["listener"]
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    with place.log.open("ab") as log:
        place.log.chmod(0o600)
        started = subprocess.run(
            [sys.executable, "-S", "-E", "-P", watcher.__file__],
            input=json.dumps(job).encode(),
            stdout=log,
            stderr=log,
            env=environment | {"LC_ALL": "C"},
            cwd="/",
            pass_fds=[descriptor for descriptor in (lock, listener) if isinstance(descriptor, int)],
            start_new_session=True,  # Ctrl-C in the terminal reaches the service, which still needs its database to end well
            check=False,
        )
    if started.returncode != 0:
        raise EmbeddedDatabaseError(
            f"The watcher of the embedded PostgreSQL ended with status {started.returncode}. Look into {place.log}."
        )


async def _reach(place: Place, held: socket.socket, log: Callable[[str], None]) -> str:
    """Waits until the server takes connections, and makes the database where it is missing."""
    held.setblocking(False)
    told = False
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        _raise_failure(place, held)
        try:
            await _make_database(place)
        except NOT_YET as error:
            waited = loop.time() - begun
            if waited > LIMIT:
                raise EmbeddedDatabaseError(
                    f"The embedded PostgreSQL took no connection within {LIMIT:.0f} s. Look into {place.log}."
                ) from error
            if waited > PATIENCE and not told:
                log(f"makegood: PostgreSQL in {place.home} is still starting; waiting for it")
                told = True
            await asyncio.sleep(POLL)
        except asyncpg.InvalidPasswordError as error:
            raise EmbeddedDatabaseError(
                f"The password in {place.password} is not that of the data in {place.cluster}: they must be kept together."
            ) from error
        except asyncpg.PostgresError as error:
            raise EmbeddedDatabaseError(
                f"The embedded PostgreSQL in {place.home} cannot be used. It said: {error}. Its whole log is {place.log}."
            ) from error
        else:
            held.send(watcher.READY)
            return url(place)


def _raise_failure(place: Place, held: socket.socket) -> None:
    try:
        said = held.recv(65536)
    except BlockingIOError:
        return
    except ConnectionError:
        said = b""
    if not said:
        raise _Gone
    reason = json.loads(said.removeprefix(watcher.FAILED))
    raise EmbeddedDatabaseError(
        f"The embedded PostgreSQL in {place.home} did not start. It said:\n{reason}\n"
        f"Its whole log is {place.log}. To use another server, set [database] url."
    )


async def _make_database(place: Place) -> None:
    try:
        connection = await asyncpg.connect(url(place), timeout=LIMIT)
    except asyncpg.InvalidCatalogNameError:
        connection = await asyncpg.connect(url(place, database="postgres"), timeout=LIMIT)
        # Two first starts at once: one of them makes it, and both go on.
        with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            await connection.execute(f"CREATE DATABASE {NAME}")
    try:
        data = await connection.fetchval("SHOW data_directory")
    finally:
        await connection.close()
    # Both are free of symbolic links: the home was resolved, and PostgreSQL says what it was given.
    if data != str(place.cluster):
        raise EmbeddedDatabaseError(
            f"Another PostgreSQL, of {data}, answers on the socket of {place.home}. Stop it first."
        )
