"""The currencies of ISO 4217 and their exponents."""

from collections.abc import Mapping
from types import MappingProxyType

import iso4217


def _exponent(minor_units: str) -> int | None:
    return int(minor_units) if minor_units.isdigit() else None


# How many decimals each has; None for those that have no minor unit, such as gold (XAU).
EXPONENTS: Mapping[str, int | None] = MappingProxyType(
    {code: _exponent(str(entry["CcyMnrUnts"])) for code, entry in iso4217.raw_table.items() if code}
)
