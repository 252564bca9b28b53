"""Amounts and currencies of a verified body: what is taken, and what is unreadable."""

from dataclasses import replace
from typing import Any

import pytest

from app.providers.reading import Payment, read
from app.settings import AmountUnit, Source
from tests.providers.bodies import DELIVERY, LARGEST, body, unreadable


@pytest.mark.parametrize("amount", [1, 1999, LARGEST])
def test_an_amount_is_an_integer_of_minor_units(source: Source, amount: int) -> None:
    reading = read(source, DELIVERY, body(amount=amount))
    assert isinstance(reading, Payment)
    assert reading.amount == amount


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "9223372036854775808", "9" * 4000, "1.0", "1e3", "1E3", '"1999"', "true", "null", "[1]", "{}", "1e-5"],
)
def test_any_other_amount_is_unreadable(source: Source, text: str) -> None:
    raw = body().replace(b"1999", text.encode())
    assert unreadable(read(source, DELIVERY, raw)).startswith("amount (data.amount) ")


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [("19.99", "EUR", 1999), ("500", "JPY", 500), ("5.000", "KWD", 5000), ("92233720368547758.07", "USD", LARGEST)],
)
def test_a_major_amount_is_exact_in_its_currency(source: Source, amount: str, currency: str, expected: int) -> None:
    major = replace(source, fields=replace(source.fields, amount_unit=AmountUnit.MAJOR))
    reading = read(major, DELIVERY, body(amount=amount, currency=currency))
    assert isinstance(reading, Payment)
    assert reading.amount == expected


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("19.999", "EUR"),
        ("500.5", "JPY"),
        ("1e3", "EUR"),
        ("+1", "EUR"),
        (" 1", "EUR"),
        ("-1", "EUR"),
        ("0.00", "EUR"),
        (19.99, "EUR"),
        (20, "EUR"),
        (True, "EUR"),
        (None, "EUR"),
        ("92233720368547758.08", "EUR"),
        ("1", "XAU"),
    ],
)
def test_a_major_amount_that_is_not_is_unreadable(source: Source, amount: Any, currency: str) -> None:
    major = replace(source, fields=replace(source.fields, amount_unit=AmountUnit.MAJOR))
    detail = unreadable(read(major, DELIVERY, body(amount=amount, currency=currency)))
    assert detail.startswith("amount (data.amount) ")


@pytest.mark.parametrize("currency", ["EUR", "eur", "Eur", "XAU", "XXX"])
def test_a_currency_may_be_in_any_case(source: Source, currency: str) -> None:
    reading = read(source, DELIVERY, body(currency=currency))
    assert isinstance(reading, Payment)
    assert reading.currency == currency.upper()


@pytest.mark.parametrize(
    "currency", ["", "EURO", "XYZ", "DEM", " EUR", "€", "uſd", "978", 978, None, ["EUR"], "E\x00R"]
)
def test_a_currency_that_iso_4217_does_not_have_is_unreadable(source: Source, currency: Any) -> None:
    """Trap: the capital of ſ is S, so that uſd would be the dollar."""
    assert unreadable(read(source, DELIVERY, body(currency=currency))).startswith("currency (data.currency) ")
