"""What the webhooks of a long run are: mostly payments that go well, and a few of everything else.

The number of a webhook says what it is. So load, supplier and driver know the same without a word between them.
"""

from collections.abc import Iterable
from enum import StrEnum

ROUND = 100  # webhooks after which the mix begins again


class Kind(StrEnum):
    """What a webhook tells of, or what becomes of its payment."""

    WELL = "well"
    REFUSED = "refused"  # the supplier refuses the purchase, so the money goes back
    UNKNOWN = "unknown"  # the supplier makes the purchase and answers 500; asked again under the same key, it says so
    REDELIVERED = "redelivered"  # a webhook that came a moment ago, once more
    SECOND = "second"  # another event of a payment that came long ago


# Places in a round; all others go well. 2% are refused, 1% unknown, 2% duplicates of one sort or the other.
PLACES = {17: Kind.REFUSED, 67: Kind.REFUSED, 41: Kind.UNKNOWN, 30: Kind.REDELIVERED, 80: Kind.SECOND}
MOMENT = 10  # webhooks between one and its redelivery: its payment may still be under way


def kind(number: int) -> Kind:
    """What a webhook is."""
    return PLACES.get(number % ROUND, Kind.WELL)


def told(number: int) -> int:
    """The payment that a webhook tells of, by the number of its first webhook.

    The second event's payment came when half of the webhooks until now had come: in a long run retention has emptied it.
    """
    match kind(number):
        case Kind.REDELIVERED:
            return number - MOMENT
        case Kind.SECOND:
            return number // 2 // ROUND * ROUND
        case _:
            return number


def payments(numbers: Iterable[int], *kinds: Kind) -> set[int]:
    """The numbers among these whose webhooks are of these kinds."""
    return {number for number in numbers if kind(number) in kinds}
