"""What a partner of the sandbox really did: the truth that Makegood's own tables are compared with."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

from app.saga.model import Json


class Deed(StrEnum):
    """What a partner did."""

    CAPTURED = "captured"
    REFUNDED = "refunded"
    BOUGHT = "bought"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a ledger.

    Args:
        ware: what it was done to: `payment`, `purchase`, `flight` or `hotel`.
        id: the payment's id at the payment provider, the operation's id at the supplier.
        amount: in minor units.
        key: the `Idempotency-Key` of the request that brought it.
    """

    deed: Deed
    ware: str
    id: str
    order_id: str
    amount: int
    currency: str | None = None
    key: str | None = None


class Ledger:
    """A list of deeds that only grows, and that can be waited upon."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._grown = asyncio.Event()

    def write(self, entry: Entry) -> None:
        """Adds a line and wakes whoever waits for one."""
        self.entries.append(entry)
        self._grown.set()
        self._grown = asyncio.Event()

    def of(
        self, deed: Deed, *, entry_id: str | None = None, order_id: str | None = None, ware: str | None = None
    ) -> list[Entry]:
        """The lines of one deed, oldest first, narrowed by whatever is given."""
        return [
            entry
            for entry in self.entries
            if entry.deed is deed
            and entry_id in (None, entry.id)
            and order_id in (None, entry.order_id)
            and ware in (None, entry.ware)
        ]

    def stands(self, ware: str, entry_id: str) -> bool:
        """Whether something was bought and not cancelled since."""
        return len(self.of(Deed.BOUGHT, entry_id=entry_id, ware=ware)) > len(
            self.of(Deed.CANCELLED, entry_id=entry_id, ware=ware)
        )

    async def until(self, holds: Callable[["Ledger"], bool]) -> None:
        """Waits until something holds of the ledger. The caller bounds the wait."""
        while not holds(self):
            await self._grown.wait()

    def to_json(self) -> Json:
        """The lines as `GET /ledger` shows them."""
        return {"entries": [asdict(entry) for entry in self.entries]}
