"""`[sources.*]`: the senders of webhooks. What each provider has for defaults and secrets comes in as its scheme."""

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol, get_type_hints

from app.settings.document import Table
from app.settings.expressions import expression_fault
from app.settings.model import AmountUnit, Fields, Mode, Options, Reconcile, Source

DEFAULT_TOLERANCE = timedelta(minutes=5)
SHORTEST_SCHEDULE = timedelta(minutes=1)  # providers count our questions; what is sooner than this comes by webhook
_LONGEST_IDENTITY = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNKNOWN_FIELDS = Fields("", frozenset(), "", "", "", AmountUnit.MINOR, "", "")


class RefundProtocol(Protocol):
    """What the configuration needs to know of a provider's refund protocol."""

    @property
    def key_lifetime(self) -> timedelta:
        """How long the provider remembers a key."""
        ...


class Scheme(Protocol):
    """What the configuration needs to know of a provider."""

    @property
    def default_fields(self) -> Fields:
        """Where this provider's payments have their facts."""
        ...

    @property
    def options(self) -> type[Options]:
        """The keys of its own that its sources have."""
        ...

    @property
    def payments(self) -> object | None:
        """How its payments are read from its API; None where they cannot be."""
        ...

    @property
    def refunds(self) -> RefundProtocol | None:
        """How it gives money back, if it can be asked to."""
        ...

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a secret, without repeating it; None if it can be used."""
        ...


def read_source(
    name: str, table: Table, schemes: Mapping[str, Scheme], sagas: Collection[str], agents: Collection[str]
) -> Source:
    """One source; `schemes` are the providers by name, `sagas` what it may start, `agents` who may be its `api`."""

    def provider_fault(provider: str) -> str | None:
        if provider in schemes:
            return None
        return f"no provider named {table.document.quote(provider)}; there are: {', '.join(sorted(schemes))}"

    def saga_fault(saga: str) -> str | None:
        return None if saga in sagas else f"no saga named {table.document.quote(saga)}"

    def agent_fault(agent: str) -> str | None:
        return None if agent in agents else f"no agent named {table.document.quote(agent)}"

    provider = table.text("provider", check=provider_fault)
    scheme = schemes.get(provider)
    return Source(
        name=name,
        provider=provider,
        secrets=table.texts("secrets", check=scheme.secret_fault if scheme else None),
        saga=table.text("saga", check=saga_fault),
        tolerance=table.duration("tolerance", DEFAULT_TOLERANCE),
        identity=table.text("identity", name, _identity_fault),
        fields=_read_fields(table.table("fields"), scheme.default_fields if scheme else _UNKNOWN_FIELDS),
        mode=table.word("mode", Mode, Mode.LIVE),
        options=_read_options(table, scheme.options) if scheme else _no_options(table, schemes),
        api=table.optional_text("api", agent_fault),
        reconcile=_read_reconcile(table, provider, scheme),
    )


def _read_reconcile(table: Table, provider: str, scheme: Scheme | None) -> Reconcile | None:
    if not table.has("reconcile"):
        return None
    if scheme is not None and scheme.payments is None:
        table.fault("reconcile", f"the payments of {provider} cannot be read from its API")
    elif not table.has("api"):
        table.fault("reconcile", "needs `api`, the agent at which the payments are read")
    schedule = table.table("reconcile")
    return Reconcile(
        every=_required_duration(schedule, "every", SHORTEST_SCHEDULE),
        since=_required_duration(schedule, "since", SHORTEST_SCHEDULE),
    )


def _required_duration(table: Table, key: str, minimum: timedelta) -> timedelta:
    if table.lacks(key):
        table.fault(key, "is required")
    return table.duration(key, minimum, minimum=minimum)


def _read_options(table: Table, kind: type[Options]) -> Options:
    """The provider's own keys, by the types of the fields of its options."""
    faults = len(table.document.faults)
    types = get_type_hints(kind)
    options = kind(**{field.name: _option(table, field, types[field.name]) for field in fields(kind)})
    if len(table.document.faults) == faults:  # else some of them are stand-ins
        for key, sentence in options.faults():
            table.document.fault(f"{table.path}.{key}", sentence)
    return options


def _option(table: Table, field: Field[Any], kind: Any) -> str | tuple[str, ...]:
    default = None if field.default is MISSING else field.default
    if kind is str:
        return table.text(field.name, default)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        word: StrEnum = table.word(field.name, kind, default)
        return word
    return table.texts(field.name, default or ())


def _no_options(table: Table, schemes: Mapping[str, Scheme]) -> Options:
    """Of a provider that there is not, no key is known to be wrong."""
    for scheme in schemes.values():
        table.know(*(field.name for field in fields(scheme.options)))
    return Options()


def _identity_fault(identity: str) -> str | None:
    if not identity or len(identity) > _LONGEST_IDENTITY or _CONTROL.search(identity):
        return f"must have from 1 to {_LONGEST_IDENTITY} characters, and no control characters"
    return None


def _read_fields(table: Table, default: Fields) -> Fields:
    def expression(key: str, default: str) -> str:
        return table.text(key, default, expression_fault)

    def not_empty(event: str) -> str | None:
        return None if event else "must not be empty"

    payment_events = table.text_or_texts("payment_event", default.payment_events, not_empty)
    if table.has("payment_event") and not payment_events:
        table.fault("payment_event", "must name at least one event type")
    return Fields(
        event_type=expression("event_type", default.event_type),
        payment_events=frozenset(payment_events),
        payment_id=expression("payment_id", default.payment_id),
        order_id=expression("order_id", default.order_id),
        amount=expression("amount", default.amount),
        amount_unit=table.word("amount_unit", AmountUnit, default.amount_unit),
        currency=expression("currency", default.currency),
        occurred_at=expression("occurred_at", default.occurred_at),
    )
