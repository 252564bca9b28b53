"""How a partner of the sandbox behaves towards an order: one table, chosen by the words in the order's id."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.saga.model import Action


class Ware(StrEnum):
    """What can be bought at the supplier, and what can be asked of the payment provider."""

    PURCHASE = "purchase"
    FLIGHT = "flight"
    HOTEL = "hotel"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one sending meets.

    Args:
        status: what is answered; None drops the connection without an answer.
        acts: whether it is carried out, whatever is answered.
        late: it is carried out, and answered, only when the caller has lost patience.
        retry_after: seconds, for the header of that name.
        detail: what the answer says, where it is a refusal.
    """

    status: int | None = 200
    acts: bool = True
    late: bool = False
    retry_after: int | None = None
    detail: str = "not now"


WELL = Turn()

# Each sending takes the next turn of its call; the last turn serves for all that follow.
MANNERS: Mapping[str, Mapping[Action, tuple[Turn, ...]]] = {
    "refused": {Action.DO: (Turn(422, acts=False, detail="this customer is not served"),)},
    "sold-out": {Action.DO: (Turn(410, acts=False, detail="sold out"),)},
    "busy": {Action.DO: (Turn(503, acts=False, retry_after=1), WELL)},
    "lost": {Action.DO: (Turn(None), WELL)},
    "late": {Action.DO: (Turn(late=True), WELL)},
    "down": {Action.DO: (Turn(500, acts=False),)},
    "down-bought": {Action.DO: (Turn(500),)},
    "unreturnable": {Action.UNDO: (Turn(422, acts=False, detail="cannot be returned"),)},
    "cancel-lost": {Action.UNDO: (Turn(None), WELL)},
}

_NAMES = "|".join(sorted(MANNERS, key=len, reverse=True))
_NAMED = re.compile(rf"-(?:(?P<ware>{'|'.join(Ware)})-)?(?P<name>{_NAMES})(?=-|$)")


def manners_of(order_id: str, ware: Ware) -> Mapping[Action, tuple[Turn, ...]]:
    """The manners that an order's id names for a ware; none named: all goes well.

    `order-7-refused` is the purchase's; other wares are named: `trip-1-hotel-refused`, `order-7-refused-refund-lost`.
    """
    for found in _NAMED.finditer(order_id):
        if (found["ware"] or Ware.PURCHASE) == ware:
            return MANNERS[found["name"]]
    return {}
