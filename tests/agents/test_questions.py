"""The pages of a list of refunds are one list: what they tell adds up, and what a wish needs stands on any of them."""

from datetime import timedelta

import pytest

from app.agents.questions import Listing
from app.providers.refunds import Answered, Listed, Question, Refund, Refunds, RefundStatus, Wanted
from app.saga.model import Json
from app.saga.signals import Found, LookupAnswered, RefundsListed, StepDone

WANTED = Wanted("pay_1", "order-1", 1999, "EUR", "key", {})


class Paged(Refunds):
    """A provider whose answers are its pages already."""

    key_lifetime = timedelta(hours=1)

    def __init__(self, pages: list[Listed | None]) -> None:
        self.pages = iter(pages)

    def found(self, wanted: Wanted, answered: Answered) -> Listed | None:  # noqa: ARG002
        """The next page."""
        return next(self.pages)

    def give(self, wanted: Wanted) -> Question:  # noqa: ARG002
        """Is not asked."""
        raise AssertionError

    def given(self, wanted: Wanted, answered: Answered) -> None:  # noqa: ARG002
        """Is not asked."""
        raise AssertionError


def page(id_: str, *, paid: int | None = None, basis: Json = None, more: bool = True) -> Listed:
    """A page with one refund."""
    refund = Refund(id_, 1, "EUR", RefundStatus.SUCCEEDED)
    return Listed((refund,), paid, "more" if more else None, basis)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_what_was_paid_and_what_a_wish_rests_on_may_stand_on_any_page(first: int) -> None:
    pages: list[Listed | None] = [
        page(str(number), more=number < 2)
        if number != first
        else page(str(number), paid=5, basis={"a": []}, more=number < 2)
        for number in range(3)
    ]
    listing = Listing(Paged(pages), WANTED, ())
    for _ in range(2):
        listing.read(Answered(200), StepDone())
        assert listing.next_page == "more"
    said = listing.read(Answered(200), StepDone())
    assert listing.next_page is None
    assert isinstance(said, RefundsListed)
    assert [refund.id for refund in said.refunds] == ["0", "1", "2"]
    assert (said.paid, said.basis) == (5, {"a": []})


def test_a_basis_that_is_empty_is_one() -> None:
    listing = Listing(Paged([page("0", basis=[]), page("1", more=False)]), WANTED, ())
    listing.read(Answered(200), StepDone())
    said = listing.read(Answered(200), StepDone())
    assert isinstance(said, RefundsListed)
    assert said.basis == []


def test_a_page_that_cannot_be_read_leaves_the_list_unknown() -> None:
    listing = Listing(Paged([page("0"), None]), WANTED, ())
    listing.read(Answered(200), StepDone())
    said = listing.read(Answered(200), StepDone())
    assert isinstance(said, LookupAnswered)
    assert said.found is Found.UNCLEAR
