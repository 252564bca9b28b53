"""Amounts on their way to a provider and back: its own decimals outside, the minor unit of ISO 4217 inside, exactly."""

from collections.abc import Mapping

from app.errors import Rejected
from app.providers.currencies import EXPONENTS
from app.saga.model import Json
from app.saga.money import MAXIMUM_AMOUNT, rescaled


def outward(amount: int, currency: str, exponents: Mapping[str, int]) -> int:
    """An amount of ISO minor units in those of a provider.

    Args:
        exponents: how many decimals the provider has, where that is not what ISO 4217 says.

    Raises:
        Rejected: the provider has too few decimals for it.
    """
    kept = EXPONENTS.get(currency)
    sent = None if kept is None else rescaled(amount, kept, exponents.get(currency, kept))
    if sent is None:
        raise Rejected(f"{amount} minor units of {currency} cannot be written as this provider writes amounts")
    return sent


def inward(amount: Json, currency: Json, exponents: Mapping[str, int]) -> tuple[int, str] | None:
    """What a provider wrote, as (ISO minor units, currency in upper case); None where it is not exactly that.

    Args:
        amount: must be an integer of the provider's minor units, from 1 on.
        currency: must be of ISO 4217, in any case.
        exponents: as in `outward`.
    """
    if type(amount) is not int or not isinstance(currency, str) or not currency.isascii():
        return None
    code = currency.upper()
    kept = EXPONENTS.get(code)
    read = None if kept is None else rescaled(amount, exponents.get(code, kept), kept)
    return (read, code) if read is not None and 1 <= read <= MAXIMUM_AMOUNT else None
