"""Amounts as decimal text in major units, as some providers write them: their own decimals outside, exactly."""

from collections.abc import Mapping

from app.providers.amounts import inward, outward
from app.providers.currencies import EXPONENTS
from app.saga.model import Json
from app.saga.money import minor_units


def decimal_text(amount: int, currency: str, exponents: Mapping[str, int]) -> str:
    """An amount of ISO minor units with as many decimals as the provider has.

    Args:
        exponents: how many decimals the provider has, where that is not what ISO 4217 says.

    Raises:
        Rejected: the provider has too few decimals for it.
    """
    units = str(outward(amount, currency, exponents))
    decimals = exponents.get(currency, EXPONENTS[currency]) or 0
    units = units.rjust(decimals + 1, "0")
    return f"{units[:-decimals]}.{units[-decimals:]}" if decimals else units


def decimal_amount(text: Json, currency: Json, exponents: Mapping[str, int]) -> tuple[int, str] | None:
    """What a provider wrote, as (ISO minor units, currency in upper case); None where it is not exactly that, or nothing.

    Args:
        exponents: as in `decimal_text`.
    """
    if not isinstance(text, str) or not isinstance(currency, str) or not currency.isascii():
        return None
    code = currency.upper()
    decimals = exponents.get(code, EXPONENTS.get(code))
    return None if decimals is None else inward(minor_units(text, decimals), code, exponents)
