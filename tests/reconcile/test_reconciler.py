"""What is found between a provider's books and ours, and that finding it twice changes nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.db.tables import EventStatus
from app.errors import ConfigurationError, Rejected
from app.providers.refunds import RefundStatus
from app.reconcile import Progress
from app.settings import Mode
from tests.fakes.server import Fault, Kind
from tests.fakes.stripe import StripeFake
from tests.reconcile.books import DAY, SHOP, Books, said

FINAL = {"next_run_at": "NULL", "finished_at": "now()"}


async def test_books_that_agree_say_so(books: Books) -> None:
    for number in range(3):
        await books.told(number)
    report = await books.reconcile()
    assert (report.payments, report.findings, report.differences, report.missing) == (3, (), 0, 0)
    assert (report.source, report.until - report.since) == ("shop", DAY)


async def test_a_payment_that_no_webhook_told_is_taken_in_as_its_webhook_would_have_brought_it(books: Books) -> None:
    await books.told(1)
    lost = books.paid(2)
    report = await books.reconcile()
    assert said(report) == [("missing", lost.id, None, 1999)]
    assert report.findings[0].operation_id == books.id(lost)
    assert (report.payments, report.missing, report.differences) == (2, 1, 1)
    row = await books.database.fetchrow("SELECT * FROM operations WHERE id = $1", books.id(lost))
    assert row is not None
    assert (row["status"], row["order_id"], row["amount"], row["currency"]) == ("pending", "order-2", 1999, "EUR")
    late = await books.tell(lost)  # the webhook comes after all
    assert (late.status, late.operation_id) == (EventStatus.DUPLICATE, books.id(lost))


async def test_running_it_twice_changes_nothing(books: Books) -> None:
    """Also what cannot be read is kept once, and what differs goes on differing."""
    await books.told(1)
    books.fake.capture("", 500)  # without an order
    books.paid(2)
    first = await books.reconcile()
    assert {one.difference.value for one in first.findings} == {"missing", "unreadable"}
    before = await books.all()
    books.clock.advance(timedelta(minutes=1))
    second = await books.reconcile()
    assert await books.all() == before
    assert [kind for kind, *_ in said(second)] == ["unreadable"]
    assert (second.missing, second.payments) == (0, first.payments)


async def test_what_cannot_be_read_is_kept_for_an_operator(books: Books) -> None:
    books.fake.capture("", 500)
    books.clock.advance(timedelta(seconds=1))
    [finding] = (await books.reconcile()).findings
    assert finding.detail.startswith("order_id (data.object.metadata.order_id)")
    assert finding.differs
    rows = await books.database.fetch("SELECT status, deliveries FROM events")
    assert [tuple(row) for row in rows] == [("unprocessable", 1)]


async def test_what_a_webhook_has_told_and_nobody_can_read_is_not_kept_twice(books: Books) -> None:
    payment = books.fake.capture("", 500)
    assert (await books.tell(payment)).status is EventStatus.UNPROCESSABLE
    books.clock.advance(timedelta(seconds=1))
    before = await books.all()
    [finding] = (await books.reconcile()).findings
    assert (finding.difference.value, finding.payment_id) == ("unreadable", payment.id)
    assert await books.all() == before


async def test_another_amount_and_another_currency_are_differences(books: Books) -> None:
    dear, foreign = await books.told(1), await books.told(2)
    dear.amount = 2999
    foreign.currency = "USD"
    report = await books.reconcile()
    assert sorted(said(report)) == [("amount", dear.id, 1999, 2999), ("currency", foreign.id, "EUR", "USD")]
    assert report.differences == 2


async def test_a_window_ends_where_it_is_told(books: Books) -> None:
    old = books.paid(1)
    books.clock.advance(DAY)
    new = books.paid(2)
    assert said(await books.reconcile()) == [("missing", new.id, None, 1999)]
    assert said(await books.reconcile(2 * DAY)) == [("missing", old.id, None, 1999)]


async def test_many_pages_are_read_to_the_last_one(books: Books) -> None:
    payments = [books.paid(number) for number in range(120)]
    seen: list[Progress] = []
    report = await books.reconciler.reconcile(SHOP, DAY, watch=seen.append)
    assert (report.payments, report.missing) == (120, 120)
    assert {one.payment_id for one in report.findings} == {payment.id for payment in payments}
    assert [one.pages for one in seen] == list(range(1, len(seen) + 1))
    assert (seen[-1].payments, seen[-1].missing, seen[-1].differences) == (120, 120, 120)
    assert len(seen) >= 3


async def test_a_test_payment_is_none_of_a_live_source(books: Books) -> None:
    books.paid()
    report = await books.reconcile(source=replace(SHOP, mode=Mode.TEST))
    assert (report.payments, report.findings) == (0, ())


# --- what was given back ---


async def test_a_refund_that_nobody_here_knows_of_is_a_difference(books: Books) -> None:
    payment = await books.told()
    await books.set(payment, status="'succeeded'", **FINAL)
    books.give_back(payment, 700)
    [finding] = (await books.reconcile()).findings
    assert (finding.difference.value, finding.here, finding.there, finding.currency) == ("refunded", 0, 700, "EUR")
    assert finding.detail == "the operation is succeeded, and more is given back there than is known here"


async def test_a_refund_of_ours_that_is_there_agrees_and_one_that_is_not_differs(books: Books) -> None:
    done, undone = await books.told(1), await books.told(2)
    for payment in (done, undone):
        await books.set(payment, status="'refunded'", phase="'refund'", reason="'rejected'", **FINAL)
    books.give_back(done, 1999)
    assert said(await books.reconcile()) == [("refunded", undone.id, 1999, 0)]


@pytest.mark.parametrize("given", [0, 700, 1999])
async def test_a_refund_that_is_under_way_is_no_difference(books: Books, given: int) -> None:
    payment = await books.told()
    await books.set(payment, status="'waiting'", phase="'refund'", reason="'rejected'", action="'undo'")
    if given:
        books.give_back(payment, given, RefundStatus.PENDING)
    assert (await books.reconcile()).findings == ()


async def test_a_payment_that_was_given_back_before_anyone_heard_of_it_is_not_purchased(books: Books) -> None:
    """Taken in now, it would be bought for money that has gone back."""
    payment = books.paid()
    books.give_back(payment, 1999)
    report = await books.reconcile()
    assert said(report) == [("given_back", payment.id, None, 1999)]
    assert (report.differences, report.missing, report.payments) == (0, 0, 1)
    assert (await books.all())["operations"] == []


async def test_a_payment_whose_payer_disputes_it_is_left_to_a_human(books: Books) -> None:
    """The dispute's event was lost with the payment's: it would be bought while the bank takes the money back."""
    payment = books.paid()
    assert isinstance(books.fake, StripeFake)
    books.fake.disputed.add(payment.id)
    for _ in range(2):
        report = await books.reconcile()
        assert said(report) == [("doubtful", payment.id, None, 1999)]
        assert (report.differences, report.missing) == (1, 0)
        assert report.findings[0].detail.endswith("it was not taken in: the payer disputes it, or did")
    assert (await books.all())["operations"] == []


async def test_what_has_changed_here_since_the_question_is_not_compared(books: Books) -> None:
    """A refund of ours that came to its end while the provider's answer was on its way."""
    payment = await books.told()
    books.give_back(payment, 1999)
    await books.set(payment, updated_at=f"'{books.clock.now().isoformat()}'")
    assert (await books.reconcile()).findings == ()
    books.clock.advance(timedelta(seconds=1))
    assert len((await books.reconcile()).findings) == 1


# --- what cannot be asked ---


async def test_a_source_that_cannot_be_asked_says_why(books: Books) -> None:
    with pytest.raises(ConfigurationError, match=r"sources\.shop\.api: is needed"):
        await books.reconcile(source=replace(SHOP, api=None))
    with pytest.raises(ConfigurationError, match="the payments of hmac cannot be read"):
        await books.reconcile(source=replace(SHOP, provider="hmac"))


async def test_what_was_taken_in_before_it_broke_off_stays(books: Books) -> None:
    for number in range(60):
        books.paid(number)
    books.fake.script(Kind.PAYMENTS, Fault(acts=True), Fault(403))
    with pytest.raises(Rejected, match="psp answered 403"):
        await books.reconcile()
    first = len((await books.all())["operations"])
    assert 0 < first < 60
    report = await books.reconcile()
    assert (report.missing, report.payments) == (60 - first, 60)
