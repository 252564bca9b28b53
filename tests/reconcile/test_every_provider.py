"""What holds for every provider whose payments can be read: each is reconciled with a fake that keeps its books."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.db.tables import EventStatus
from tests.reconcile.books import DAY, Books, fakes, opened, said


@pytest.fixture(params=sorted(fakes()))
async def books(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Books]:
    async with opened(database_url, request.param) as books:
        yield books


async def test_what_is_missing_is_taken_in_once_and_its_webhook_is_a_duplicate_then(books: Books) -> None:
    told, lost = await books.told(1), books.paid(2)
    first = await books.reconcile()
    assert [(kind, payment) for kind, payment, *_ in said(first)] == [("missing", lost.id)]
    assert first.payments == 2
    before = await books.all()
    second = await books.reconcile()
    assert (second.findings, second.payments) == ((), 2)
    assert await books.all() == before
    assert {(await books.tell(payment)).status for payment in (told, lost)} == {EventStatus.DUPLICATE}


async def test_more_than_a_page_is_read_and_none_twice(books: Books) -> None:
    paid = [books.paid(number) for number in range(120)]
    report = await books.reconcile()
    assert sorted(finding.payment_id or "" for finding in report.findings) == sorted(payment.id for payment in paid)
    assert report.payments == report.missing == 120


async def test_what_was_paid_before_the_window_is_left_alone(books: Books) -> None:
    """Some list by no time at all; who begins with Makegood today does not want last week's purchases made again."""
    books.paid(1)
    books.clock.advance(DAY)
    new = books.paid(2)
    assert [payment for _, payment, *_ in said(await books.reconcile(DAY - timedelta(hours=1)))] == [new.id]


async def test_what_went_back_by_hand_is_a_difference_of_one_that_is_known_only(books: Books) -> None:
    known, unknown = await books.told(1), books.paid(2)
    for payment in (known, unknown):
        books.give_back(payment, 1999)  # the whole of it, as some tell of no part
    report = await books.reconcile()
    assert sorted(said(report)) == [("given_back", unknown.id, None, 1999), ("refunded", known.id, 0, 1999)]
    assert report.differences == 1
