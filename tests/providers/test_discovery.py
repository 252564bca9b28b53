"""A provider is a file in the folder: what holds for every one that is found."""

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from app import providers
from app.errors import ConfigurationError, SignatureInvalid
from app.settings import Source
from app.settings.expressions import expression_fault

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_the_generic_scheme_is_found() -> None:
    assert "standard-webhooks" in providers.names()
    assert providers.names() == sorted(providers.known())


def test_a_provider_that_does_not_exist_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        providers.provider("nobody")


@pytest.mark.parametrize("name", providers.names())
def test_every_provider_is_known_by_its_own_name(name: str) -> None:
    assert providers.provider(name).name == name


@pytest.mark.parametrize("name", providers.names())
def test_every_default_field_is_an_expression(name: str) -> None:
    default = providers.provider(name).default_fields
    expressions = {field.name: getattr(default, field.name) for field in fields(default)}
    del expressions["payment_events"], expressions["amount_unit"]
    assert {key: expression_fault(expression) for key, expression in expressions.items()} == dict.fromkeys(expressions)
    assert default.payment_events


@pytest.mark.parametrize("name", providers.names())
def test_every_provider_accepts_what_it_has_signed_and_nothing_unsigned(name: str, source: Source) -> None:
    provider = providers.provider(name)
    body = b'{"type": "x"}'
    signed = provider.sign(source, body, NOW, "msg_1")
    lower = {header.lower(): value for header, value in signed.items()}
    provider.verify(source, lower, body, NOW)
    with pytest.raises(SignatureInvalid):
        provider.verify(source, lower, body + b"\n", NOW)
    with pytest.raises(SignatureInvalid):
        provider.verify(source, {}, body, NOW)


@pytest.mark.parametrize("name", providers.names())
def test_no_provider_signs_or_verifies_without_a_secret(name: str, source: Source) -> None:
    provider, bare = providers.provider(name), replace(source, secrets=())
    with pytest.raises(ConfigurationError, match=r"sources\.shop\.secrets"):
        provider.sign(bare, b"{}", NOW, "msg_1")
    with pytest.raises(SignatureInvalid, match="has no secret"):
        provider.verify(bare, provider.sign(source, b"{}", NOW, "msg_1"), b"{}", NOW)
