"""Money: whole minor units, exactly, from what a sender writes in major ones."""

import re

MAXIMUM_AMOUNT = 2**63 - 1  # the largest that a bigint column holds

_DECIMAL = re.compile(r"([0-9]{1,40})(?:\.([0-9]{1,40}))?")


def minor_units(text: str, exponent: int) -> int | None:
    """The amount of a decimal string of major units, in minor units; None where it is not exactly one.

    Digits beyond the exponent are allowed only as zeros, since those take nothing away: "5.00" is 5 yen.

    Args:
        text: digits, and a point with digits behind it if need be; no sign, no exponent, no spaces.
        exponent: how many decimals the currency has.
    """
    form = _DECIMAL.fullmatch(text)
    if form is None:
        return None
    whole, decimals = form[1], form[2] or ""
    if decimals[exponent:].strip("0"):
        return None
    return int(whole + decimals[:exponent].ljust(exponent, "0"))


def rescaled(amount: int, sent: int, kept: int) -> int | None:
    """An amount in units of `sent` decimals, in units of `kept` decimals; None where it is not exactly one."""
    if sent <= kept:
        return amount * int(10 ** (kept - sent))
    whole, rest = divmod(amount, int(10 ** (sent - kept)))
    return None if rest else whole
