"""What may be meant, but most often is not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.settings import Settings, warnings

Load = Callable[..., Settings]

REFUND = 'undo = { agent = "psp", method = "POST", path = "/refunds" }'
CANCEL = 'undo = { agent = "supplier", method = "POST", path = "/purchases/{operation_id}/cancel" }'
DO = 'do = { agent = "supplier", method = "POST", path = "/purchases" }'
LOOKUP = 'lookup = { agent = "supplier", method = "GET", path = "/purchases/{operation_id}" }'
NAMES_NEITHER = "names neither operation_id, external_id nor results"
UNDO = 'undo = {{ agent = "supplier", method = "{}", path = "{}"{} }}'


def test_the_small_configuration_needs_no_advice(small: Load) -> None:
    assert warnings(small()) == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/purchases/{order_id}", 'body = "amount"'),
        ("POST", "/cancel", 'body = "{order: order_id}"'),
        ("GET", "/orders/{order_id}/cancel", ""),
        ("POST", "/cancel", 'body = "{id: event.operation_id}"'),
    ],
)
def test_an_undo_that_names_the_order_alone_is_warned_of(small: Load, method: str, path: str, body: str) -> None:
    found = warnings(small(CANCEL, UNDO.format(method, path, f", {body}" if body else "")))
    assert [line for line in found if NAMES_NEITHER in line] == found
    assert found[0].startswith("sagas.purchase.steps[1].undo: ")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/cancel", ""),  # sends the whole document
        ("POST", "/cancel", 'body = "@"'),
        ("POST", "/cancel", 'body = "{id: @.operation_id}"'),
        ("POST", "/cancel", 'body = "results.purchase | {id: id}"'),
        ("POST", "/cancel", 'body = "{ids: [external_id], order: order_id}"'),
        ("POST", "/cancel", "body = \"join('-', [order_id, operation_id])\""),
        ("GET", "/cancel/{results.purchase.ref}", ""),
        ("DELETE", "/cancel/{external_id}", 'body = "order_id"'),
    ],
)
def test_an_undo_that_names_its_own_act_is_fine(small: Load, method: str, path: str, body: str) -> None:
    undo = UNDO.format(method, path, f", {body}" if body else "")
    assert warnings(small(CANCEL, f"{undo}\n{LOOKUP}")) == []


def test_a_lookup_by_the_order_alone_is_warned_of(small: Load) -> None:
    lookup = '\nlookup = { agent = "supplier", method = "GET", path = "/purchases?order={order_id}" }'
    found = warnings(small(CANCEL, CANCEL + lookup))
    assert [line.partition(":")[0] for line in found] == ["sagas.purchase.steps[1].lookup"]
    assert NAMES_NEITHER in found[0]


def test_a_refund_by_the_payment_is_fine_and_by_the_amount_alone_is_not(small: Load) -> None:
    by_payment = REFUND.replace(" }", ', body = "{id: external_id}" }')
    by_amount = REFUND.replace(" }", ', body = "{amount: amount}" }')
    assert warnings(small(REFUND, by_payment)) == []
    assert [line.partition(":")[0] for line in warnings(small(REFUND, by_amount))] == ["sagas.purchase.steps[0].undo"]


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        (DO, DO.replace(" }", ', body = "{a: ordr_id}" }'), "do: reads ordr_id, which no call's document has"),
        (DO, DO.replace("/purchases", "/{ordr_id}"), "do: reads ordr_id, which no call's document has"),
        (DO, DO.replace("/purchases", "/{results.hotel.id}"), "do: reads the result of hotel, which is never there"),
        (DO, DO.replace("/purchases", "/{results.payment.id}"), "do: reads the result of payment, which"),
        (DO, DO.replace("/purchases", "/{results.purchase.id}"), "do: reads the result of purchase, which"),
        (CANCEL, "", ": has no undo: when it must be undone, the operation is held for a human"),
    ],
)
def test_what_can_never_work_is_warned_of(small: Load, old: str, new: str, warning: str) -> None:
    found = warnings(small(old, new))
    assert len(found) == 1
    assert found[0].startswith(f"sagas.purchase.steps[1]{warning if warning[0] == ':' else '.' + warning}")


def test_a_later_step_may_read_the_result_of_an_earlier_one(small: Load) -> None:
    step = '[[sagas.purchase.steps]]\nname = "hotel"\nundo = false\n'
    do = 'do = { agent = "supplier", method = "PUT", path = "/h", body = "{after: results.purchase.ref}" }\n'
    assert warnings(small("", step + do)) == []


def test_a_worker_that_died_may_have_sent_until_its_lease_and_the_timeout_are_over(small: Load) -> None:
    base_url = 'base_url = "https://psp.example"'
    assert warnings(small(base_url, base_url + '\nin_flight = "40s"')) == []
    found = warnings(small(base_url, base_url + '\nin_flight = "39s"'))
    assert [line.partition(":")[0] for line in found] == ["agents.psp.in_flight"]


def test_a_key_that_is_forgotten_before_the_call_ends_is_warned_of(small: Load) -> None:
    base_url = 'base_url = "https://psp.example"'
    found = warnings(small(base_url, base_url + '\nkey_lifetime = "9s"'))
    assert [line.partition(":")[0] for line in found] == ["agents.psp.key_lifetime"]


@pytest.mark.parametrize("secrets", ["", "secrets = []"])
def test_a_source_without_secrets_takes_nothing(small: Load, secrets: str) -> None:
    found = warnings(small('secrets = ["whsec_c2VjcmV0"]', secrets))
    assert found == ["sources.shop.secrets: there is none, so every webhook is refused"]


def test_two_sources_of_one_identity_share_their_payments(small: Load) -> None:
    other = '[sources.other]\nprovider = "standard-webhooks"\nsecrets = ["c2VjcmV0"]\nsaga = "purchase"\n'
    assert warnings(small("", other)) == []
    assert warnings(small("", other + 'identity = "shop"\n')) == [
        "sources.other.identity: the same as that of shop: one payment id in both is one payment"
    ]


def test_an_undo_that_needs_the_answer_that_may_be_lost_is_warned_of(small: Load) -> None:
    """Held for every lost answer is most often not meant; a lookup would bring the answer after all."""
    undo = UNDO.format("POST", "/purchases/{results.purchase.ref}/cancel", "")
    [found] = warnings(small(CANCEL, undo))
    assert found.startswith("sagas.purchase.steps[1].undo: reads the result of purchase, and there is no lookup")
    assert warnings(small(CANCEL, f"{undo}\n{LOOKUP}")) == []


def test_a_secret_that_two_sources_share_is_warned_of(small: Load) -> None:
    """The signature does not say which source it is for: a webhook to one can be sent on to the other."""
    loaded = small()
    [shop] = loaded.sources.values()
    other = replace(shop, name="other", identity="other")
    [found] = warnings(replace(loaded, sources={"shop": shop, "other": other}))
    assert found.startswith("sources.other.secrets: shared with shop: ")
    assert shop.secrets[0] not in found
