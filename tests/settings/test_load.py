"""The whole configuration as the README shows it, and what holds where it says nothing."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.saga.definition import HttpCall, Limits, LocalCall, Lookup, RetryPolicy, from_json, to_json
from app.settings import (
    AmountUnit,
    ApiKey,
    Breaker,
    Database,
    Retention,
    Scope,
    Server,
    Settings,
    Worker,
    find,
    load,
    warnings,
)

Load = Callable[..., Settings]

SAMPLE = """
[server]
host = "127.0.0.1"
port = 8080
max_body = 1048576

[database]
url = "postgresql://user@host/db"
data_dir = ".makegood"
pool_size = 10

[worker]
concurrency = 64
lease = "30s"
poll_interval = "1s"

[retention]
finished = "90d"
events = "30d"

[[api_keys]]
name = "shop"
scope = "read"
sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"

[sources.shop]
provider = "standard-webhooks"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2VjcmV0"]
saga = "purchase"
tolerance = "5m"
identity = "shop"
[sources.shop.fields]
event_type = "type"
payment_event = "payment.received"
payment_id = "data.payment_id"
order_id = "data.order_id"
amount = "data.amount"
amount_unit = "minor"
currency = "data.currency"
occurred_at = "timestamp"

[agents.psp]
base_url = "https://psp.example/v1"

[agents.supplier]
base_url = "https://supplier.example"
timeout = "10s"
max_concurrency = 64
key_lifetime = "24h"
in_flight = "1m"
breaker = { failures = 10, open = "30s" }
headers = { Authorization = "Bearer ${SUPPLIER_TOKEN}" }

[sagas.purchase]
deadline = "1h"
undo_deadline = "7d"

[[sagas.purchase.steps]]
name = "payment"
undo = { agent = "psp", method = "POST", path = "/refunds", body = "{payment_id: external_id, amount: amount, currency: currency}" }

[[sagas.purchase.steps]]
name = "purchase"
do   = { agent = "supplier", method = "POST", path = "/purchases", body = "{id: operation_id, order: order_id, amount: amount}" }
undo = { agent = "supplier", method = "POST", path = "/purchases/{operation_id}/cancel" }
lookup = { agent = "supplier", method = "GET", path = "/purchases/{operation_id}", done = "status == 'confirmed'" }
retry = { maximum_attempts = 5, initial_interval = "1s", backoff_coefficient = 2.0, maximum_interval = "1m" }
undo_retry = { maximum_attempts = 20, initial_interval = "1s", backoff_coefficient = 2.0, maximum_interval = "5m" }
"""


@pytest.fixture
def sample(load_text: Load) -> Settings:
    return load_text(SAMPLE, SUPPLIER_TOKEN="tok-1")


def test_every_key_of_the_sample_is_read(sample: Settings) -> None:
    assert sample.server == Server("127.0.0.1", 8080, 1048576)
    assert sample.database == Database("postgresql://user@host/db", Path(".makegood"), 10)
    assert sample.worker == Worker(64, timedelta(seconds=30), timedelta(seconds=1))
    assert sample.retention == Retention(timedelta(days=90), timedelta(days=30))
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    assert sample.api_keys == (ApiKey("shop", Scope.READ, digest),)
    assert list(sample.sources) == ["shop"]
    assert list(sample.agents) == ["psp", "supplier"]
    assert list(sample.sagas) == ["purchase"]
    assert warnings(sample) == []


def test_the_samples_source_is_read(sample: Settings) -> None:
    source = sample.sources["shop"]
    assert (source.name, source.provider, source.saga, source.identity) == (
        "shop",
        "standard-webhooks",
        "purchase",
        "shop",
    )
    assert source.secrets == ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2VjcmV0")
    assert source.tolerance == timedelta(minutes=5)
    fields = source.fields
    assert (fields.event_type, fields.payment_events) == ("type", frozenset({"payment.received"}))
    assert (fields.payment_id, fields.order_id) == ("data.payment_id", "data.order_id")
    assert (fields.amount, fields.amount_unit, fields.currency) == ("data.amount", AmountUnit.MINOR, "data.currency")
    assert fields.occurred_at == "timestamp"


def test_the_samples_agent_is_read(sample: Settings) -> None:
    agent = sample.agents["supplier"]
    assert (agent.base_url, agent.timeout, agent.max_concurrency) == (
        "https://supplier.example",
        timedelta(seconds=10),
        64,
    )
    assert (agent.key_lifetime, agent.in_flight) == (timedelta(hours=24), timedelta(minutes=1))
    assert agent.breaker == Breaker(10, timedelta(seconds=30))
    assert agent.headers == {"Authorization": "Bearer tok-1"}


def test_the_samples_saga_is_read(sample: Settings) -> None:
    saga = sample.sagas["purchase"]
    assert (saga.name, saga.deadline, saga.undo_deadline) == ("purchase", timedelta(hours=1), timedelta(days=7))
    payment, purchase = saga.steps
    assert (payment.name, payment.do, payment.lookup) == ("payment", None, None)
    refund_body = "{payment_id: external_id, amount: amount, currency: currency}"
    assert payment.undo == HttpCall("psp", "POST", "/refunds", refund_body)
    assert purchase.do == HttpCall(
        "supplier", "POST", "/purchases", "{id: operation_id, order: order_id, amount: amount}"
    )
    assert purchase.undo == HttpCall("supplier", "POST", "/purchases/{operation_id}/cancel")
    assert purchase.lookup == Lookup("supplier", "GET", "/purchases/{operation_id}", done="status == 'confirmed'")
    assert purchase.retry == RetryPolicy(5, timedelta(seconds=1), 2.0, timedelta(minutes=1))
    assert purchase.undo_retry == RetryPolicy(20, timedelta(seconds=1), 2.0, timedelta(minutes=5))
    assert purchase.undo_needed
    assert saga.limits["supplier"] == Limits(timedelta(seconds=10), timedelta(hours=24), timedelta(minutes=1))
    assert sample.limits() == saga.limits


def test_what_is_left_out_has_the_value_of_the_sample(sample: Settings, small: Load) -> None:
    bare: Settings = small()
    assert bare.server == sample.server
    assert bare.database == Database(None, sample.database.data_dir, sample.database.pool_size)
    assert bare.worker == sample.worker
    assert bare.retention == Retention(None, sample.retention.events)
    assert bare.api_keys == ()
    assert bare.sources["shop"].tolerance == sample.sources["shop"].tolerance
    assert bare.sources["shop"].identity == "shop"
    assert bare.sources["shop"].fields == sample.sources["shop"].fields
    agent, described = bare.agents["supplier"], sample.agents["supplier"]
    assert agent.limits == described.limits
    assert (agent.max_concurrency, agent.breaker) == (described.max_concurrency, described.breaker)
    assert agent.headers == {}
    saga = bare.sagas["purchase"]
    assert (saga.deadline, saga.undo_deadline) == (timedelta(hours=24), timedelta(days=7))
    assert saga.steps[1].retry == sample.sagas["purchase"].steps[1].retry
    assert saga.steps[1].undo_retry == sample.sagas["purchase"].steps[1].undo_retry


def test_an_empty_file_is_all_defaults(load_text: Load) -> None:
    settings = load_text("")
    assert (settings.server, settings.worker) == (Server(), Worker())
    assert warnings(settings) == ["sources: there is none, so no webhook is taken"]


def test_an_absent_undo_is_told_from_one_that_need_not_be(small: Load) -> None:
    undo = 'undo = { agent = "supplier", method = "POST", path = "/purchases/{operation_id}/cancel" }'
    absent = small(undo, "").sagas["purchase"].steps[1]
    needless = small(undo, "undo = false").sagas["purchase"].steps[1]
    assert (absent.undo, absent.undo_needed) == (None, True)
    assert (needless.undo, needless.undo_needed) == (None, False)


@pytest.mark.parametrize(("more", "timeout"), [("", 10), (', timeout = "3s"', 3)])
def test_a_step_may_be_a_function(small: Load, more: str, timeout: int) -> None:
    do = 'do = { agent = "supplier", method = "POST", path = "/purchases" }'
    saga = small(do, f'do = {{ local = "shop.steps:reserve"{more} }}').sagas["purchase"]
    assert saga.steps[1].do == LocalCall("shop.steps:reserve", timedelta(seconds=timeout))


def test_payment_events_may_be_a_list(small: Load) -> None:
    settings = small("", '[sources.shop.fields]\npayment_event = ["paid", "captured"]\namount_unit = "major"\n')
    fields = settings.sources["shop"].fields
    assert fields.payment_events == frozenset({"paid", "captured"})
    assert fields.amount_unit is AmountUnit.MAJOR


def test_a_saga_that_was_read_can_be_stored_and_read_again(sample: Settings) -> None:
    saga = sample.sagas["purchase"]
    assert from_json(to_json(saga)) == saga


def test_variables_are_replaced_wherever_a_string_stands(small: Load) -> None:
    settings = small("https://psp.example", "https://${HOST}:${PORT}/${HOST}", HOST="psp", PORT="81")
    assert settings.agents["psp"].base_url == "https://psp:81/psp"


def test_what_comes_out_of_a_variable_is_not_replaced_again(small: Load) -> None:
    settings = small("", '[agents.third]\nbase_url = "http://third"\nheaders = { X = "${ONE}" }\n', ONE="${TWO}")
    assert settings.agents["third"].headers["X"] == "${TWO}"


def test_the_database_is_the_environments_where_the_file_names_none(small: Load) -> None:
    assert small(DATABASE_URL="postgres://here/db").database.url == "postgres://here/db"
    assert small(DATABASE_URL="").database.url is None
    named = small("", '[database]\nurl = "postgresql://there/db"\n', DATABASE_URL="postgres://here/db")
    assert named.database.url == "postgresql://there/db"


def test_a_byte_order_mark_before_the_file_is_passed_over(small: Load) -> None:
    assert small("\n[sources.shop]", "﻿[sources.shop]").sources.keys() == {"shop"}


def test_the_settings_cannot_be_changed(sample: Settings) -> None:
    with pytest.raises(AttributeError):
        sample.server.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        sample.agents["supplier"].headers["Authorization"] = "x"  # type: ignore[index]
    with pytest.raises(TypeError):
        sample.sources["other"] = sample.sources["shop"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("option", "environ", "expected"),
    [
        (Path("a.toml"), {"MAKEGOOD_CONFIG": "b.toml"}, Path("a.toml")),
        (None, {"MAKEGOOD_CONFIG": "b.toml"}, Path("b.toml")),
        (None, {"MAKEGOOD_CONFIG": ""}, Path("makegood.toml")),
        (None, {}, Path("makegood.toml")),
    ],
)
def test_the_option_comes_before_the_environment_and_both_before_the_folder(
    option: Path | None, environ: dict[str, str], expected: Path
) -> None:
    assert find(option, environ) == expected


def test_a_file_that_is_not_there_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    from_nowhere = tmp_path / "none.toml"
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read: No such file"):
        load(from_nowhere, {}, {})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[server]\nport = = 1\n", r"is not TOML: .*\(at line 2, column 8\)"),
        (b'host = "\xff"', "is not UTF-8 at byte 9"),
        (b"x = " + b"[" * 5000, "nested too deeply"),
        (b"port = " + b"9" * 5000, "out of range"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_its_place(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "makegood.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        load(path, {}, {})
    assert len(caught.value.faults) == 1
