"""Where a source's payments can be read, and how often they are."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from app import providers
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.settings import OAuth, Reconcile, Settings, Source, warnings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

FIRST = 'provider = "standard-webhooks"\nsecrets = ["whsec_c2VjcmV0"]\n'
ASKED = FIRST + 'api = "psp"\n'
SCHEDULE = 'reconcile = { every = "6h", since = "24h" }\n'


class _Payments(Payments):
    def search(self, *_: object) -> Question:
        return Question("GET", "/payments")

    def found(self, source: Source, answered: Answered) -> PaidPage | None:
        del source, answered
        return None


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider of the small configuration can be asked for its payments."""
    monkeypatch.setattr(type(providers.provider("standard-webhooks")), "payments", _Payments())


@pytest.mark.usefixtures("asking")
def test_a_schedule_is_read(small: Load) -> None:
    source = small(FIRST, ASKED + SCHEDULE).sources["shop"]
    assert source.api == "psp"
    assert source.reconcile == Reconcile(timedelta(hours=6), timedelta(hours=24))
    plain = small().sources["shop"]
    assert (plain.api, plain.reconcile) == (None, None)


@pytest.mark.usefixtures("asking")
@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (FIRST + 'api = "pps"\n', 'api: no agent named "pps"'),
        (FIRST + "api = 1\n", "api: must be a string, not an integer"),
        (FIRST + SCHEDULE, "reconcile: needs `api`, the agent at which the payments are read"),
        (ASKED + 'reconcile = { every = "6h" }\n', "reconcile.since: is required"),
        (ASKED + 'reconcile = { since = "6h" }\n', "reconcile.every: is required"),
        (ASKED + 'reconcile = { every = "6h", since = "1h", until = "1h" }\n', "reconcile.until: unknown key"),
        (ASKED + 'reconcile = { every = "1s", since = "24h" }\n', "reconcile.every: must be at least 1m"),
        (ASKED + 'reconcile = { every = "1h", since = "1s" }\n', "reconcile.since: must be at least 1m"),
        (ASKED + 'reconcile = "6h"\n', "reconcile: must be a table, not a string"),
    ],
)
def test_a_schedule_is_checked(faults: Faults, lines: str, fault: str) -> None:
    found = faults(FIRST, lines)
    assert len(found) == 1
    assert found[0].startswith(f"sources.shop.{fault}")


def test_a_provider_that_cannot_be_asked_is_told(faults: Faults) -> None:
    assert faults(FIRST, ASKED + SCHEDULE) == [
        "sources.shop.reconcile: the payments of standard-webhooks cannot be read from its API"
    ]


@pytest.mark.usefixtures("asking")
def test_a_window_with_gaps_is_warned_of(small: Load) -> None:
    gaps = 'reconcile = { every = "24h", since = "6h" }\n'
    assert warnings(small(FIRST, ASKED + gaps))[0].startswith("sources.shop.reconcile.since: shorter than every")
    assert warnings(small(FIRST, ASKED + SCHEDULE)) == []


def test_what_needs_a_secret_is_told_also_where_some_can_be_looked_up(small: Load) -> None:
    lines = 'provider = "mollie"\nsecrets = []\n'
    assert warnings(small(FIRST, lines)) == ["sources.shop.secrets: there is none, so every webhook is refused"]
    asked = small(FIRST, lines + 'api = "psp"\n')
    assert warnings(asked) == ["sources.shop.secrets: there is none, so every signed webhook is refused"]


def test_credentials_of_an_agent_are_read_and_not_shown(small: Load) -> None:
    lines = 'oauth = { token_path = "/v1/oauth2/token", client_id = "shop-id", client_secret = "${S}" }'
    agent = small("", f'[agents.paypal]\nbase_url = "https://h"\n{lines}\n', S="s3cret").agents["paypal"]
    assert agent.oauth == OAuth("/v1/oauth2/token", "shop-id", "s3cret")
    assert "s3cret" not in repr(agent)
    assert "shop-id" not in repr(agent)
