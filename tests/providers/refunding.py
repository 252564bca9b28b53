"""A refund asked of a provider's fake as the worker asks for it: the list first, page by page, then the wish."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx
from hypothesis import strategies as st

from app import providers
from app.providers import Provider
from app.providers.refunds import Listed, PaidPage, Refund, Refunds, Refusal, Wanted
from app.settings import Source
from tests.fakes.ledger import Captured
from tests.fakes.server import Fake, carried
from tests.fakes.teller import KEY

MOST_PAGES = 50

# JSON of any shape, as small as it is odd.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@dataclass
class Desk:
    """Where one provider's refunds meet its fake, over real HTTP."""

    provider: str
    fake: Fake

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        base_url = await self._stack.enter_async_context(self.fake.listening())
        self.client = await self._stack.enter_async_context(httpx.AsyncClient(base_url=base_url, timeout=5))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def teller(self) -> Provider:
        """The provider itself."""
        return providers.provider(self.provider)

    @property
    def refunds(self) -> Refunds:
        """Its refund protocol."""
        found = self.teller.refunds
        assert found is not None
        return found

    def wanted(self, payment: Captured, amount: int | None = None, key: str = KEY) -> Wanted:
        """The wish to give a payment back, in the unit of ISO 4217, which rests on nothing yet."""
        event, whole = self.fake.payment_event(payment), payment.amount if amount is None else amount
        return Wanted(payment.id, payment.order_id, whole, payment.currency, key, event)

    async def looked(self, wanted: Wanted) -> Listed | None:
        """All pages of the list as one, empty where there is no list; None where one cannot be read."""
        found: list[Refund] = []
        paid, basis, page = None, None, None
        for _ in range(MOST_PAGES):
            question = self.refunds.search(wanted, page)
            if question is None:
                return Listed(())
            listed = self.refunds.found(wanted, await carried(self.client, question))
            if listed is None:
                return None
            found += listed.refunds
            paid, basis, page = listed.paid or paid, listed.basis or basis, listed.next_page
            if page is None:
                return Listed(tuple(found), paid, basis=basis)
        raise AssertionError("the list has no end")

    async def wished(self, wanted: Wanted) -> Refund | Refusal | None:
        """What the answer to the wish says. Raises httpx.TransportError where none came."""
        return self.refunds.given(wanted, await carried(self.client, self.refunds.give(wanted)))

    async def resting(self, wanted: Wanted) -> Wanted:
        """The wish, resting on the list."""
        listed = await self.looked(wanted)
        assert listed is not None
        return replace(wanted, basis=listed.basis)

    async def given(self, wanted: Wanted) -> Refund | Refusal | None:
        """The list, and the wish that rests on it."""
        return await self.wished(await self.resting(wanted))

    async def paid(self, source: Source, since: Any, until: Any) -> Sequence[PaidPage]:
        """All pages of what was paid."""
        payments, page = self.teller.payments, None
        pages: list[PaidPage] = []
        assert payments is not None
        for _ in range(MOST_PAGES):
            question = payments.search(source, since, until, page)
            if question is None:
                return pages
            found = payments.found(source, await carried(self.client, question))
            assert found is not None
            pages.append(found)
            page = found.next_page
            if page is None:
                return pages
        raise AssertionError("the list has no end")
