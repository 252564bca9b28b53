"""Adyen's refunds: received, and told of by events; its own library asks in the same way."""

import asyncio
import json

import Adyen
import pytest

from app import providers
from app.errors import Rejected
from app.providers import Signed
from app.providers.reading import Ignored
from app.providers.refunds import Answered, Refund, RefundStatus, Refusal, Verdict, Wanted
from tests.fakes.adyen import ACCOUNT, AdyenFake
from tests.fakes.server import Kind
from tests.fakes.teller import KEY
from tests.providers.refunding import Desk
from tests.providers.stages import hear, signed, stage_of


def news(event: object) -> list[tuple[str, Refund]]:
    """What an event tells, signed and parted as it comes."""
    stage = stage_of("adyen")
    sent = signed(stage.source, json.dumps(event).encode())
    [reading] = hear(stage.source, Signed({}, sent.body))
    assert isinstance(reading, Ignored)
    provider = providers.provider("adyen")
    told = [
        each for part in provider.messages(sent.body) for each in provider.refund_news(stage.source, json.loads(part))
    ]
    return [(each.payment_id, each.refund) for each in told]


async def test_adyens_library_asks_for_the_same_refund_in_the_same_way() -> None:
    async with Desk("adyen", AdyenFake()) as desk:
        payment = desk.fake.capture("order-1", 1999)
        ours = desk.refunds.give(desk.wanted(payment))
        library = Adyen.Adyen(xapikey="key", platform="test")
        modifications = library.checkout.modifications_api
        modifications.baseUrl = modifications.baseUrl.replace(
            "https://checkout-test.adyen.com", str(desk.client.base_url).rstrip("/")
        )
        made = await asyncio.to_thread(
            modifications.refund_captured_payment, ours.recorded, payment.id, idempotency_key=KEY
        )
        again = await desk.wished(desk.wanted(payment))
        theirs, replayed = desk.fake.of(Kind.GIVE)
        assert (theirs.method, theirs.path, theirs.json) == (replayed.method, replayed.path, replayed.json)
        assert theirs.headers["idempotency-key"] == replayed.headers["idempotency-key"]
        assert isinstance(again, Refund) or theirs.content != replayed.content  # a key knows its bytes
        assert made.message["status"] == "received"
        assert len(payment.refunds) == 1


async def test_what_becomes_of_a_refund_is_told_by_events() -> None:
    async with Desk("adyen", AdyenFake()) as desk:
        fake = desk.fake
        assert isinstance(fake, AdyenFake)
        payment = fake.capture("order-1", 1999)
        made = await desk.given(desk.wanted(payment))
        assert isinstance(made, Refund)
        refund = fake.ledger.refund(made.id)
        for code, success, status in (
            ("REFUND", True, RefundStatus.SUCCEEDED),
            ("REFUND", False, RefundStatus.FAILED),
            ("REFUND_FAILED", True, RefundStatus.FAILED),
            ("REFUNDED_REVERSED", True, RefundStatus.FAILED),
        ):
            [(payment_id, told)] = news(fake.refund_event(refund, code, success=success))
            assert payment_id == payment.id
            assert (told.id, told.amount, told.currency, told.status) == (made.id, 1999, "EUR", status)
            assert told.key == KEY
            assert told.at is not None


async def test_a_refund_of_more_than_is_left_fails_by_its_event() -> None:
    async with Desk("adyen", AdyenFake()) as desk:
        fake = desk.fake
        assert isinstance(fake, AdyenFake)
        payment = fake.capture("order-1", 1999)
        other = desk.fake.give_by_hand(payment, 500)
        made = await desk.given(desk.wanted(payment))
        assert isinstance(made, Refund)
        assert made.status is RefundStatus.PENDING
        [(_, told)] = news(fake.refund_event(fake.ledger.refund(made.id)))
        assert told.status is RefundStatus.FAILED
        [(_, others)] = news(fake.refund_event(other))
        assert (others.id, others.amount, others.key, others.status) == (other.id, 500, None, RefundStatus.SUCCEEDED)
        assert payment.refunded == 500


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("NOTIFICATION_OF_CHARGEBACK", RefundStatus.DISPUTED),
        ("CHARGEBACK", RefundStatus.DISPUTED),
        ("SECOND_CHARGEBACK", RefundStatus.DISPUTED),
        ("CHARGEBACK_REVERSED", RefundStatus.FAILED),
    ],
)
def test_a_chargeback_is_a_dispute_until_it_is_reversed(code: str, status: RefundStatus) -> None:
    fake = AdyenFake()
    payment = fake.capture("order-1", 1999)
    after = ".second" if code == "SECOND_CHARGEBACK" else ""  # the first was reversed, and stays so
    [(payment_id, told)] = news(fake.dispute_event(payment, 1999, code))
    assert (payment_id, told.id, told.status) == (payment.id, f"DIS{payment.id}{after}", status)


def test_a_refund_with_a_colon_in_a_field_is_not_believed() -> None:
    """Trap: nothing is escaped, so that a signature holds for other fields too."""
    fake = AdyenFake()
    payment = fake.capture("order-1", 1999)
    event = fake.refund_event(fake.give_by_hand(payment, 500))
    item = event["notificationItems"][0]["NotificationRequestItem"]
    assert len(news(event)) == 1
    item["merchantReference"] = "a:b"
    assert not news(event)


def test_amounts_of_events_are_in_adyens_own_decimals() -> None:
    fake = AdyenFake()
    payment = fake.capture("order-1", 100000, "ISK")
    [(_, told)] = news(fake.refund_event(fake.give_by_hand(payment, 100000)))
    assert (told.amount, told.currency) == (1000, "ISK")


def test_without_its_account_a_refund_is_not_asked_for() -> None:
    refunds = providers.provider("adyen").refunds
    assert refunds is not None
    with pytest.raises(Rejected, match="merchant account"):
        refunds.give(Wanted("PSP1", "order-1", 1999, "EUR", KEY, {}))
    assert ACCOUNT == "ShopECOM"


@pytest.mark.parametrize(
    ("status", "headers", "said", "verdict"),
    [
        (422, {}, {"errorCode": "704", "message": "in progress"}, Verdict.UNKNOWN),
        (422, {"transient-error": "true"}, {"errorCode": "1"}, Verdict.UNKNOWN),
        (422, {}, {"errorCode": "167", "message": "Original pspReference required"}, None),
        (403, {}, {"errorCode": "901"}, None),
        (500, {}, {"errorCode": "905"}, Verdict.UNKNOWN),
        (201, {}, {"status": "received"}, None),
        (201, {}, {"status": "other", "pspReference": "R"}, None),
    ],
)
def test_what_adyen_answers_is_left_to_the_table_but_for_what_may_still_run(
    status: int, headers: dict[str, str], said: object, verdict: Verdict | None
) -> None:
    refunds = providers.provider("adyen").refunds
    assert refunds is not None
    wanted = Wanted("PSP1", "order-1", 1999, "EUR", KEY, {})
    read = refunds.given(wanted, Answered(status, headers, said))
    assert (read.verdict if isinstance(read, Refusal) else read) == verdict
    assert refunds.search(wanted, None) is None
