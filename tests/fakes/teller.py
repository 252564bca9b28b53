"""Carries a provider's questions to its fake over real HTTP, and says what the answers mean, as the worker does."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from app import providers
from app.agents.answer import Reply, step_answer
from app.providers.refunds import Answered, Refund, Refunds, Refusal, Verdict, Wanted
from app.saga.signals import StepRejected, StepUnavailable, StepUnknown
from tests.fakes.ledger import Captured
from tests.fakes.server import Fake, carried

KEY = "5f0c1b9e-0f5b-5d2e-9d6e-3a1f0c9b7e21"
OTHER_KEY = "9a2d7c44-8e0f-5b1a-8c3d-1e2f3a4b5c6d"

_MOST_PAGES = 20

_BY_TABLE = {
    StepRejected: Verdict.REJECTED,
    StepUnavailable: Verdict.UNAVAILABLE,
    StepUnknown: Verdict.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Teller:
    """Between one provider's refunds and its fake."""

    fake: Fake
    refunds: Refunds
    client: httpx.AsyncClient

    def wanted(self, payment: Captured, amount: int | None = None, key: str = KEY) -> Wanted:
        """A wish for all of a payment, or for some of it, in the unit of ISO 4217."""
        event = self.fake.payment_event(payment)
        whole = payment.amount if amount is None else amount
        basis = self.fake.basis_of(payment)
        return Wanted(payment.id, payment.order_id, whole, payment.currency, key, event, basis)

    async def give(self, wanted: Wanted) -> Refund | Verdict:
        """Sends a wish. Raises httpx.TransportError where no answer came."""
        return self.meaning(wanted, await carried(self.client, self.refunds.give(wanted)))

    def meaning(self, wanted: Wanted, answered: Answered) -> Refund | Verdict:
        """What an answer to a wish says, by the provider or else by the table for all agents."""
        said = self.refunds.given(wanted, answered)
        if isinstance(said, Refund):
            return said
        if isinstance(said, Refusal):
            assert said.detail.startswith(str(answered.status))
            return said.verdict
        by_table = step_answer(
            Reply(answered.status, answered.headers.get("retry-after")), datetime(2026, 1, 5, tzinfo=UTC), ""
        )
        return _BY_TABLE.get(type(by_table), Verdict.UNKNOWN)

    async def look(self, wanted: Wanted) -> list[Refund] | None:
        """The refunds of a payment, all pages of them; None where the provider has no list."""
        found: list[Refund] = []
        page = None
        for _ in range(_MOST_PAGES):
            question = self.refunds.search(wanted, page)
            if question is None:
                return None
            listed = self.refunds.found(wanted, await carried(self.client, question))
            assert listed is not None
            found += listed.refunds
            page = listed.next_page
            if page is None:
                return found
        raise AssertionError("the list has no end")


@contextlib.asynccontextmanager
async def telling(name: str, fake: Fake) -> AsyncIterator[Teller]:
    """A provider's refunds, and its fake on a port of its own."""
    refunds = providers.provider(name).refunds
    assert refunds is not None
    async with fake.listening() as base_url, httpx.AsyncClient(base_url=base_url) as client:
        yield Teller(fake, refunds, client)
