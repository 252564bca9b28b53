"""Where the embedded server keeps its things, and as whom it runs."""

from dataclasses import dataclass
from pathlib import Path

from app.db.embedded.binaries import Binaries

NAME = "makegood"  # of the database, and of the role that owns it


@dataclass(frozen=True, slots=True)
class Account:
    """The user that PostgreSQL runs as where we are root, which it refuses to be."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Place:
    """One cluster's home: all its files lie side by side there, named after the major version.

    Attributes:
        home: the absolute folder, without symbolic links.
        binaries: the programs that run it.
        account: whom the server runs as, or None: as ourselves.
    """

    home: Path
    binaries: Binaries
    account: Account | None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data folder."""
        return self.home / f"pg{self.binaries.major}"

    @property
    def unfinished(self) -> Path:
        """Where a cluster is made before it gets its name."""
        return self._beside("tmp")

    @property
    def lock(self) -> Path:
        """The file whose lock the watcher holds for as long as it lives."""
        return self._beside("lock")

    @property
    def password(self) -> Path:
        """The file with the password of `NAME`."""
        return self._beside("password")

    @property
    def log(self) -> Path:
        """What the server and its watcher have to say."""
        return self._beside("log")

    @property
    def run(self) -> Path:
        """The folder of the sockets, or a link to it where this path is too long or odd for one."""
        return self._beside("run")

    def _beside(self, ending: str) -> Path:
        return self.home / f"pg{self.binaries.major}.{ending}"
