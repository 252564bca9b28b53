"""A provider is a file in the folder: what holds for every one that is found."""

from dataclasses import fields

import pytest

from app import providers
from app.settings.expressions import expression_fault
from tests.fakes.every import FAKES


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
def test_whatever_else_a_provider_finds_by_is_an_expression(name: str) -> None:
    provider = providers.provider(name)
    said = [provider.facts, provider.received, provider.mode, provider.event_id]
    assert [expression_fault(expression) for expression in said if expression is not None] == [None] * (
        4 - said.count(None)
    )


def test_every_provider_that_can_be_asked_has_a_fake() -> None:
    """What holds for refunds and payments is tried with the fakes: a provider without one would be tried with nothing."""
    known = providers.known().values()
    assert {each.name for each in known if each.refunds is not None or each.payments is not None} == FAKES.keys()
