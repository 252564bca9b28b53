"""The embedded PostgreSQL: what runs where no server's URL is given, for trying the service and for its tests.

The programs come from a wheel or from this machine. The server belongs to no one process: a watcher is its
parent, every process that uses it holds a connection to the watcher, and it stops when the last holder has ended,
however that was.

    start ── join ──> watcher.sock held ──> connect ──> EmbeddedServer
      └─ nobody there: take the lock, make password and folders, spawn the watcher ──> initdb ──> postgres
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from app.errors import EmbeddedDatabaseError

if sys.platform != "win32":
    from app.db.embedded import binaries, client, root

__all__ = ["EmbeddedServer", "start"]


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """This process's hold on a running server.

    Attributes:
        url: of the database `makegood`. It holds the password, so it is left out of the repr; never print it.
        data_dir: the folder where the data really is, which may be another than was asked for where we are root.
    """

    url: str = field(repr=False)
    data_dir: Path
    _hold: socket = field(repr=False, compare=False)

    def close(self) -> None:
        """Gives up this process's hold; the server stops when the last holder has gone. Once more does nothing."""
        self._hold.close()


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def start(data_dir: Path, *, fsync: bool = True, log: Callable[[str], None] = _to_stderr) -> EmbeddedServer:
    """Joins the server of this folder, or starts it, and makes cluster and database at the first time.

    It blocks, within 60 s, and needs a thread without a running event loop: async code calls it by `asyncio.to_thread`.

    Args:
        data_dir: the folder; made where it is missing.
        fsync: False only where a crash of the machine may cost the data: in tests.
        log: is told what the user should know: that the data is elsewhere, that it takes a while.

    Raises:
        EmbeddedDatabaseError: it cannot be started; the message says what to do.
    """
    if sys.platform == "win32":
        raise EmbeddedDatabaseError(
            "The embedded PostgreSQL does not run on Windows. Set [database] url to a PostgreSQL server, or use WSL."
        )
    try:
        place = root.settle(data_dir, binaries.find(), log)
        hold, url = client.hold(place, log, fsync=fsync)
    except OSError as error:
        raise EmbeddedDatabaseError(
            f"The embedded PostgreSQL cannot use {data_dir}: {error.strerror} ({error.filename})."
            " Choose another [database] data_dir, or set [database] url to use another server."
        ) from error
    return EmbeddedServer(url=url, data_dir=place.home, _hold=hold)
