"""What this process has taken in not long ago: where it comes again, it is known without being made anew.

It is a hint and no more: the database decides, and what is not here is found there. What comes again comes in bursts, after
an outage: where the last payment was known to the database and not here (this process is young, or another took it in),
the next one is thought to be so too, and the other way round.
"""

from uuid import UUID

# Providers send again within minutes what was not acknowledged in time. So many are remembered once or twice over: some
# minutes at a hundred a second, in about 8 MB.
GENERATION = 20_000


class Recent:
    """The operations of the payments' events that were stored last, by the events' ids.

    The younger half is filled; when it is full it becomes the older one, and the older one is forgotten.

    Args:
        generation: events in a half.

    Attributes:
        known_last: whether the payment that came last was known already.
    """

    def __init__(self, generation: int = GENERATION) -> None:
        self._generation = generation
        self._young: dict[bytes, UUID] = {}
        self._old: dict[bytes, UUID] = {}
        self.known_last = False

    def add(self, event: UUID, operation: UUID) -> None:
        """Remembers an event that is on disk, and its operation."""
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        self._young[event.bytes] = operation

    def get(self, event: UUID) -> UUID | None:
        """The operation of an event that is remembered."""
        return self._young.get(event.bytes) or self._old.get(event.bytes)
