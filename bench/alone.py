"""The lock of a folder: two runs in it would measure each other."""

import asyncio
import contextlib
import fcntl
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NoReturn


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """Holds the lock that a second bench does not get."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"bench: another bench runs in {home}")
        yield


def run_alone(home: Path, run: Callable[[], Coroutine[Any, Any, int]], kept: str) -> NoReturn:
    """Runs a bench under the lock and leaves with its exit status.

    Args:
        kept: what there is of a run that was ended before its time.
    """
    with alone(home):
        try:
            sys.exit(asyncio.run(run()))
        except (asyncio.CancelledError, KeyboardInterrupt):
            sys.exit(f"bench: ended before its time; {kept}")
