"""`undo = { agent, refund }`: the refund protocol of a provider, and how long its keys last."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.providers import known
from app.saga.definition import HttpCall, Limits, RefundCall
from app.settings import Settings

Load = Callable[..., Settings]

DECLARED = 'undo = { agent = "psp", method = "POST", path = "/refunds" }'
REFUND = 'undo = { agent = "psp", refund = "stripe" }'
PURCHASE = 'undo = { agent = "supplier", method = "POST", path = "/purchases/{operation_id}/cancel" }'
PSP = 'base_url = "https://psp.example"\n'
CALL = RefundCall("psp", "stripe")


def test_the_payment_is_given_back_by_the_protocol_of_a_provider(small: Load) -> None:
    assert small(DECLARED, REFUND).sagas["purchase"].steps[0].undo == CALL


@pytest.mark.parametrize("name", [name for name, provider in known().items() if provider.refunds])
def test_a_key_lasts_as_long_as_its_provider_says_where_the_agent_says_nothing(small: Load, name: str) -> None:
    protocol = known()[name].refunds
    assert protocol is not None
    settings = small(DECLARED, REFUND.replace("stripe", name))
    saga = settings.sagas["purchase"]
    assert saga.limits_of(RefundCall("psp", name)) == Limits(key_lifetime=protocol.key_lifetime)
    assert saga.limits_of(HttpCall("psp", "POST", "/")) == Limits(), "of other calls to the same agent nothing is said"
    assert settings.limits() == saga.limits


def test_what_the_agent_says_of_its_keys_wins(small: Load) -> None:
    said = small(PSP, PSP + 'key_lifetime = "1h"\ntimeout = "3s"\n').sagas["purchase"]
    assert said.limits_of(CALL) == Limits(timeout=timedelta(seconds=3), key_lifetime=timedelta(hours=1))
    never = small(PSP, PSP + 'key_lifetime = "0s"\n').sagas["purchase"]
    assert never.limits_of(CALL).key_lifetime == timedelta(0)


def test_only_the_payment_can_be_given_back(small: Load) -> None:
    with pytest.raises(
        Exception, match=r"steps\[1\]\.undo\.refund: gives the payment back: it is the undo of the first"
    ):
        small(PURCHASE, 'undo = { agent = "supplier", refund = "stripe" }')
