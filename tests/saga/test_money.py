"""Money is whole minor units, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.saga.money import minor_units, rescaled


@pytest.mark.parametrize(
    ("text", "exponent", "amount"),
    [
        ("19.99", 2, 1999),
        ("500", 0, 500),
        ("5.000", 3, 5000),
        ("5", 3, 5000),
        ("19.9", 2, 1990),
        ("19.990", 2, 1999),
        ("500.00", 0, 500),
        ("0.01", 2, 1),
        ("0.00", 2, 0),
        ("007", 2, 700),
        ("0.0001", 4, 1),
        ("92233720368547758.07", 2, 2**63 - 1),
        ("99999999999999999999", 2, 9999999999999999999900),
    ],
)
def test_a_decimal_string_is_so_many_minor_units(text: str, exponent: int, amount: int) -> None:
    assert minor_units(text, exponent) == amount


@pytest.mark.parametrize(
    "text",
    [
        "19.999",
        "0.001",
        "1e3",
        "+1",
        "-1",
        " 1",
        "1 ",
        "1\n",
        ".5",
        "5.",
        "",
        ".",
        "1,00",
        "1_0",
        "0x1",
        "NaN",
        "٣",
        "1" * 41,
    ],
)
def test_what_is_not_exact_is_no_amount(text: str) -> None:
    assert minor_units(text, 2) is None


@given(st.integers(min_value=0, max_value=2**70), st.integers(min_value=0, max_value=4))
def test_the_way_there_and_back_loses_nothing(amount: int, exponent: int) -> None:
    assert minor_units(f"{Decimal(amount).scaleb(-exponent):f}", exponent) == amount


@pytest.mark.parametrize(
    ("amount", "sent", "kept", "found"),
    [
        (100000, 2, 0, 1000),
        (100050, 2, 0, None),
        (1000, 0, 2, 100000),
        (1999, 2, 2, 1999),
        (10, 2, 3, 100),
        (0, 3, 0, 0),
        (2**63, 0, 2, 2**63 * 100),
    ],
)
def test_an_amount_of_other_decimals_is_exact_or_none(amount: int, sent: int, kept: int, found: int | None) -> None:
    assert rescaled(amount, sent, kept) == found


@given(amount=st.integers(0, 2**63), fewer=st.integers(0, 4), more=st.integers(0, 4))
def test_decimals_that_are_added_can_be_taken_away_again(amount: int, fewer: int, more: int) -> None:
    up = rescaled(amount, fewer, fewer + more)
    assert up is not None
    assert rescaled(up, fewer + more, fewer) == amount
