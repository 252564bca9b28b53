"""The page of the states is what the machine of today makes it."""

import re
from pathlib import Path

import pytest

from app.saga.model import Phase, Status
from tools import states

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "states.md"


@pytest.fixture(scope="module")
def generated() -> str:
    return states.text()


def arrows(page: str) -> dict[tuple[str, str], set[str]]:
    found = re.findall(r"^    (\w+) --> (\w+): (.+)$", page, re.MULTILINE)
    return {(before, after): set(causes.split(", ")) for before, after, causes in found}


def test_the_page_is_what_the_machine_of_today_makes_it(generated: str) -> None:
    """After a change: python tools/states.py > docs/states.md."""
    assert PAGE.read_text(encoding="utf-8") == generated


def test_the_walk_comes_to_every_status(generated: str) -> None:
    reached = {state.partition("_")[2] for _, state in arrows(generated)}
    assert reached == set(Status)


def test_only_a_provider_that_confirms_later_lets_an_operation_wait(generated: str) -> None:
    leading = {
        cause
        for (before, after), causes in arrows(generated).items()
        if after == "refund_waiting" and before != after
        for cause in causes
    }
    assert leading == {"refund_answered", "refunds_listed"}


def test_there_is_no_way_back_from_the_refund(generated: str) -> None:
    back = [
        (before, after)
        for before, after in arrows(generated)
        if before.startswith(Phase.REFUND) and after.startswith(Phase.PURCHASE)
    ]
    assert back == []


def test_the_ends_are_left_by_a_proof_to_the_contrary_or_a_cancel_alone(generated: str) -> None:
    ends = ("purchase_succeeded", "refund_succeeded", "refund_refunded")
    leaving = {cause for (before, _), causes in arrows(generated).items() if before in ends for cause in causes}
    assert leaving == {"late_answer", "cancel_requested", "refund_heard"}


def test_only_a_claim_puts_an_operation_into_a_workers_hands(generated: str) -> None:
    taking = {
        cause
        for (before, after), causes in arrows(generated).items()
        if after.endswith("processing") and not before.endswith("processing")
        for cause in causes
    }
    assert taking == {"claimed"}
