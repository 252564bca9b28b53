"""Journeys that end in a refund by a provider's own protocol: the list first, then the wish, and nothing twice."""

from app.sandbox.desk import Hold
from tests.fakes.server import Fault, Kind
from tests.road.refunding import RefundWorld, assert_given_back, wishes
from tests.road.service import arrived


async def test_a_refused_purchase_is_refunded_after_a_look_at_the_list(refund_world: RefundWorld) -> None:
    async with refund_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        operation = await shop.settled(id_)
        assert (operation["status"], operation["reason"]) == ("refunded", "rejected")
        assert_given_back(payment, 1999)
        assert await shop.outcomes(id_) == [
            ("purchase", "do", "rejected"),
            ("payment", "lookup", "done"),
            ("payment", "undo", "done"),
        ]
        assert operation["external_refunds"] == []


async def test_both_questions_are_attempts_with_their_place_and_no_credential(refund_world: RefundWorld) -> None:
    async with refund_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await shop.settled(id_)
        looked, wished = (await shop.attempts(id_))[1:]
        assert looked["request"]["method"] == "GET"
        assert payment.id in looked["request"]["url"]
        assert looked["idempotency_key"] is None
        assert looked["response"]["status"] == 200
        [(key, body)] = wishes(refund_world.stripe)
        assert wished["idempotency_key"] == key
        assert wished["request"]["body"]["amount"] == "1999"
        assert b"amount=1999" in body
        assert "sk_test" not in str([looked, wished])
        assert refund_world.stripe.of(Kind.GIVE)[0].headers["authorization"] == "Bearer sk_test_of_the_tests"


async def test_an_answer_lost_after_the_effect_is_no_second_refund(refund_world: RefundWorld) -> None:
    refund_world.stripe.script(Kind.GIVE, Fault(drop=True, acts=True))
    async with refund_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
        assert len(wishes(refund_world.stripe)) == 1
        assert await shop.refunds_asked(id_) == [("lookup", "done"), ("undo", "unknown"), ("lookup", "done")]


async def test_a_wish_lost_before_the_effect_is_repeated_with_the_same_key_and_bytes(refund_world: RefundWorld) -> None:
    refund_world.stripe.script(Kind.GIVE, Fault(drop=True), Fault(status=429), Fault(status=409), Fault(status=500))
    async with refund_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
        asked = wishes(refund_world.stripe)
        assert len(asked) == 5
        assert len(set(asked)) == 1
        sent = [one["attempt"] for one in await shop.attempts(id_) if one["action"] == "undo"]
        assert sent == [1, 2, 3, 4, 5], "sendings of one key are counted on"


async def test_a_list_that_cannot_be_had_lets_no_wish_go_out(refund_world: RefundWorld) -> None:
    refund_world.stripe.script(
        Kind.LIST, Fault(status=500), Fault(drop=True), Fault(status=429), Fault(acts=True, status=200, json={})
    )
    async with refund_world.serving(attempts=4) as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        operation = await shop.settled(id_)
        assert (operation["status"], operation["held_reason"]) == ("held", "undo_exhausted")
        assert_given_back(payment)
        assert wishes(refund_world.stripe) == []
        again = await shop.post(f"/operations/{id_}/retry")
        assert again.status_code == 200, again.text
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)


async def test_what_the_provider_refuses_is_held_and_a_retry_asks_under_a_new_key(refund_world: RefundWorld) -> None:
    refund_world.stripe.script(Kind.GIVE, Fault(status=402, kept=True))
    async with refund_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        operation = await shop.settled(id_)
        assert (operation["status"], operation["held_reason"]) == ("held", "undo_rejected")
        assert (await shop.post(f"/operations/{id_}/retry")).status_code == 200
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
        first, second = wishes(refund_world.stripe)
        assert first[0] != second[0]


async def test_what_others_gave_back_is_looked_up_and_only_the_rest_is_given(refund_world: RefundWorld) -> None:
    async with refund_world.serving() as shop:
        payment = refund_world.stripe.capture("order-1-refused", 1999)
        refund_world.stripe.give_by_hand(payment, 500)
        operation = await shop.settled(await shop.hear_of(payment))
        assert operation["status"] == "refunded"
        assert_given_back(payment, 500, 1499)


async def test_where_others_gave_all_back_nothing_is_sent(refund_world: RefundWorld) -> None:
    async with refund_world.serving() as shop:
        payment = refund_world.stripe.capture("order-1-refused", 1999)
        refund_world.stripe.give_by_hand(payment, 1999)
        operation = await shop.settled(await shop.hear_of(payment))
        assert (operation["status"], operation["reason"]) == ("refunded", "rejected")
        assert_given_back(payment, 1999)
        assert wishes(refund_world.stripe) == []


async def test_a_refund_by_others_between_the_list_and_the_wish_leads_back_to_the_list(
    refund_world: RefundWorld,
) -> None:
    """The wish asks for more than is left then; the provider says so, and nothing is assumed to be ours."""
    hold = Hold()
    refund_world.stripe.script(Kind.GIVE, Fault(hold=hold, acts=True))
    async with refund_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await arrived(hold)
        refund_world.stripe.give_by_hand(payment, 500)
        hold.released.set()
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 500, 1499)
        assert await shop.refunds_asked(id_) == [
            ("lookup", "done"),
            ("undo", "rejected"),
            ("lookup", "done"),
            ("undo", "done"),
        ]
        first, second = wishes(refund_world.stripe)
        assert first[0] != second[0], "a key is refused with another amount"


async def test_a_replayed_failure_is_settled_by_the_list(refund_world: RefundWorld) -> None:
    """The provider made the refund, answered 500 and remembers that: the same key brings the 500 for ever."""
    refund_world.stripe.script(Kind.GIVE, Fault(status=500, acts=True, kept=True))
    async with refund_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
        assert len(wishes(refund_world.stripe)) == 1


async def test_a_replayed_failure_that_did_nothing_is_followed_by_a_new_key_once_that_is_proven(
    refund_world: RefundWorld,
) -> None:
    refund_world.stripe.script(Kind.GIVE, Fault(status=500, kept=True))
    async with refund_world.serving(agent='key_lifetime = "2100ms"') as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
        assert len({key for key, _ in wishes(refund_world.stripe)}) > 1


async def test_a_provider_that_has_forgotten_the_key_is_asked_for_its_list_first(refund_world: RefundWorld) -> None:
    """Past the key's lifetime the list is the proof; it shows the refund whose answer was lost."""
    refund_world.stripe.script(Kind.GIVE, Fault(drop=True, acts=True))
    refund_world.stripe.script(Kind.LIST, Fault(acts=True), *[Fault(status=503)] * 3)
    async with refund_world.serving(agent='key_lifetime = "0s"') as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        refund_world.stripe.forget_keys()
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
