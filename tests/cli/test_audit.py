"""The demo's audit finds every way in which the ledgers and the operations can contradict each other."""

from typing import Any

import pytest

from app.cli.demo.audit import disagreements, summary
from app.sandbox import Deed, Entry, Ledger

BOUGHT = Entry(Deed.BOUGHT, "purchase", "op-1", "order-1", 100)
CANCELLED = Entry(Deed.CANCELLED, "purchase", "op-1", "order-1", 100)
CAPTURED = Entry(Deed.CAPTURED, "payment", "pay_1", "order-1", 100, "EUR")
REFUNDED = Entry(Deed.REFUNDED, "payment", "pay_1", "order-1", 100, "EUR")
PART = Entry(Deed.REFUNDED, "payment", "pay_1", "order-1", 60, "EUR")


def ledger(*entries: Entry) -> Ledger:
    made = Ledger()
    for entry in entries:
        made.write(entry)
    return made


def operation(status: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "op-1",
        "external_id": "pay_1",
        "order_id": "order-1",
        "source": "shop",
        "status": status,
        **fields,
    }


@pytest.mark.parametrize(
    ("status", "sold", "returned"),
    [
        ("succeeded", [BOUGHT], []),
        ("refunded", [], [REFUNDED]),
        ("refunded", [BOUGHT, CANCELLED], [REFUNDED]),
    ],
)
def test_what_is_as_it_must_be_is_no_disagreement(status: str, sold: list[Entry], returned: list[Entry]) -> None:
    assert disagreements(ledger(CAPTURED, *returned), ledger(*sold), [operation(status)]) == []


@pytest.mark.parametrize(
    ("status", "sold", "returned", "fault"),
    [
        ("succeeded", [], [], "succeeded without its purchase"),
        ("succeeded", [BOUGHT, CANCELLED], [], "succeeded without its purchase"),
        ("succeeded", [BOUGHT], [REFUNDED], "succeeded, and 100 given back"),
        ("succeeded", [BOUGHT, BOUGHT], [], "purchase bought 2 times"),
        ("refunded", [BOUGHT], [REFUNDED], "refunded, and its purchase stands"),
        ("refunded", [], [], "refunded 0 of 100"),
        ("refunded", [], [PART], "refunded 60 of 100"),
        ("held", [], [], "is still held"),
    ],
)
def test_contradiction_is_found(status: str, sold: list[Entry], returned: list[Entry], fault: str) -> None:
    found = disagreements(ledger(CAPTURED, *returned), ledger(*sold), [operation(status)])
    assert found == [f"order-1: {fault}"]


def test_trip_needs_both_its_wares() -> None:
    flight = Entry(Deed.BOUGHT, "flight", "op-1", "order-1", 100)
    found = disagreements(ledger(CAPTURED), ledger(flight), [operation("succeeded", source="travel")])
    assert found == ["order-1: succeeded without its hotel"]


def test_payment_without_an_operation_is_found() -> None:
    assert disagreements(ledger(CAPTURED), ledger(), []) == ["order-1: 0 operations, not one"]


def test_operation_without_a_payment_is_found() -> None:
    found = disagreements(ledger(), ledger(), [operation("refunded")])
    assert found == ["order-1: an operation for a payment that was never made"]


def test_summary_sets_both_sides_beside_each_other() -> None:
    lines = summary(ledger(CAPTURED, REFUNDED), ledger(BOUGHT, CANCELLED), [operation("refunded")])
    assert lines == [
        ("payments", "1", "1"),
        ("purchased", "0 things stand", "0 things of 0 payments"),
        ("cancelled", "1 things", ""),
        ("refunded", "1 refunds", "1 payments"),
    ]
