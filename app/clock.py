"""The only reader of the clock.

The database's clock is the one that counts. A process carries it along: it asks the database once in a while what
time it is and adds what its own monotonic clock has counted since. So a wrong wall clock on a machine changes neither
claims nor deadlines. The wall clock itself decides nothing but whether a signature is too old or too early.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the rest of the program asks for the time."""

    def now(self) -> datetime:
        """The database's present time, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on this process's monotonic clock, for what this process must stop by itself."""
        ...

    def wall(self) -> datetime:
        """This machine's wall clock, UTC: for the tolerance of a signature alone."""
        ...


class DatabaseClock:
    """The database's clock, carried along by a monotonic offset.

    Until `synchronise` was called once it stands on this machine's wall clock.
    """

    def __init__(self) -> None:
        self._at = datetime.now(UTC)
        self._measured = time.monotonic()

    def now(self) -> datetime:
        """The database's present time, UTC."""
        return self._at + timedelta(seconds=time.monotonic() - self._measured)

    def monotonic(self) -> float:
        """Seconds on this process's monotonic clock."""
        return time.monotonic()

    def wall(self) -> datetime:
        """This machine's wall clock, UTC."""
        return datetime.now(UTC)

    def synchronise(self, database_time: datetime, asked: float, answered: float) -> None:
        """Takes a reading of the database's clock.

        Args:
            database_time: what `clock_timestamp()` said, aware.
            asked: `monotonic()` before the question was sent.
            answered: `monotonic()` after the answer came. The reading is taken to be of the middle between them.
        """
        self._at = database_time.astimezone(UTC)
        self._measured = (asked + answered) / 2
