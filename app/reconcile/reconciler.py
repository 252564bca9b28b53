"""One reconciliation: page after page is read, what no webhook has told of is taken in, and the rest is compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from app import providers
from app.agents import Agents
from app.clock import Clock
from app.db import reads, reconciliations
from app.db.engine import AsyncEngine
from app.db.refunds import told_of
from app.db.rows import bucket_of
from app.db.schema import buckets
from app.db.tables import EventStatus
from app.errors import ConfigurationError
from app.identity import operation_id, unprocessable_id
from app.intake import Intake
from app.providers import Delivery
from app.providers.reading import Ignored, Payment, Unreadable, hints, read
from app.providers.refunds import PaidPage, Payments
from app.reconcile.asking import Asking, Before, at_once
from app.reconcile.comparison import NOTHING_TOLD, Difference, Finding, Told, compare, told_by
from app.saga.model import Operation
from app.settings import Source


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reconciliation has come. Nobody knows beforehand how many payments there are."""

    pages: int = 0
    payments: int = 0
    missing: int = 0
    differences: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a reconciliation has found.

    Args:
        payments: how many the provider has shown, of the source's mode.
    """

    source: str
    since: datetime
    until: datetime
    payments: int
    findings: tuple[Finding, ...] = field(repr=False)

    @property
    def missing(self) -> int:
        """How many payments were taken in that no webhook had told of."""
        return sum(finding.difference is Difference.MISSING for finding in self.findings)

    @property
    def differences(self) -> int:
        """How many findings want somebody to look; those that are missing are among them."""
        return sum(finding.differs for finding in self.findings)


Watch = Callable[[Progress], None]


def unwatched(_progress: Progress) -> None:
    """Nobody looks."""


def reconcilable(source: Source) -> Payments:
    """How the payments of a source are read. Raises ConfigurationError where they cannot be."""
    payments = providers.provider(source.provider).payments
    if payments is None:
        fault = f"sources.{source.name}.provider: the payments of {source.provider} cannot be read from its API"
        raise ConfigurationError([fault])
    if source.api is None:
        raise ConfigurationError([f"sources.{source.name}.api: is needed: the agent at which the payments are read"])
    return payments


class Reconciler:
    """Reconciles sources with their providers."""

    def __init__(self, engine: AsyncEngine, intake: Intake, agents: Agents, clock: Clock) -> None:
        self._engine = engine
        self._intake = intake
        self._agents = agents
        self._clock = clock

    async def reconcile(
        self, source: Source, since: timedelta, *, watch: Watch = unwatched, before: Before = at_once
    ) -> Report:
        """Asks the provider of a source for what was paid, takes in what is missing here, and compares the rest.

        Once more it changes nothing: what it has taken in is known then.

        Args:
            since: how far back.
            watch: hears of the progress after each page.
            before: is awaited before each question; what it raises ends the reconciliation.

        Raises:
            ConfigurationError: the source's payments cannot be read.
            Rejected, Unavailable: its provider does not tell them; what was taken in until then stays.
            DatabaseUnavailable: likewise.
        """
        payments = reconcilable(source)
        until = self._clock.now()
        progress, findings, seen = Progress(), [], set[UUID]()
        asking = Asking(self._agents, source, self._clock, before)
        async for page, asked_at in asking.pages(payments, until - since, until):
            paid, found = await self._look_at(source, page, until - since, asked_at, seen)
            findings += found
            progress = Progress(
                progress.pages + 1,
                progress.payments + paid,
                progress.missing + sum(finding.difference is Difference.MISSING for finding in found),
                progress.differences + sum(finding.differs for finding in found),
            )
            watch(progress)
        return Report(source.name, until - since, until, progress.payments, tuple(findings))

    async def _look_at(
        self, source: Source, page: PaidPage, since: datetime, asked_at: datetime, seen: set[UUID]
    ) -> tuple[int, list[Finding]]:
        """How many payments a page shows that were not seen before, and what is found about them."""
        shown = [_Shown(source, body) for body in page.bodies]
        # A provider may show a payment twice, the second time with less of it; and some list by another time, so that
        # older ones are shown as well: who begins with Makegood today does not want last week's purchases made again.
        new = {one.id: one for one in shown if one.is_asked_for(since) and one.id not in seen}
        seen.update(new)
        known = await reconciliations.known(self._engine, new.keys())
        told = await self._told(known)
        findings: list[Finding] = []
        for id_, one in new.items():
            refunded = page.refunded.get(one.payment_id or "")
            if isinstance(one.reading, Unreadable):
                findings.append(await self._keep(source, one.reading, one))
            elif isinstance(one.reading, Payment) and id_ in known:
                findings += compare(one.reading, known[id_], refunded, told.get(id_, NOTHING_TOLD), asked_at)
            elif isinstance(one.reading, Payment):
                doubt = page.doubtful.get(one.payment_id or "")
                findings += await self._take_in(source, one.reading, one.body, refunded, doubt)
        return len(new), findings

    async def _told(self, known: Mapping[UUID, Operation]) -> dict[UUID, Told]:
        """What events have told of the refunds of these operations, whoever made them."""
        dealt = await buckets(self._engine)
        heard = await told_of(self._engine, [(bucket_of(id_, dealt), id_) for id_ in known])
        return {id_: told_by(refunds) for id_, refunds in heard.items()}

    async def _take_in(
        self, source: Source, payment: Payment, body: bytes, refunded: int | None, doubt: str | None
    ) -> list[Finding]:
        """A payment that no webhook has told of goes the way that one would have brought it."""
        if refunded is not None and refunded >= payment.amount:
            return [_of(Difference.GIVEN_BACK, payment, None)]
        if doubt is not None:
            return [replace(_of(Difference.DOUBTFUL, payment, None), detail=_DETAILS[Difference.DOUBTFUL] + doubt)]
        receipt = await self._intake.receive(source, payment, body)
        # Its webhook may have come in between; a conflict then is found the next time.
        new = receipt.status is EventStatus.ACCEPTED
        return [_of(Difference.MISSING, payment, receipt.operation_id)] if new else []

    async def _keep(self, source: Source, reading: Unreadable, one: "_Shown") -> Finding:
        """One that cannot be read is kept for an operator, unless it is: as it is here, or as a webhook has told it."""
        if one.payment_id is None:
            known = await reads.event_row(self._engine, one.id) is not None
        else:
            known = await reconciliations.is_kept(self._engine, source.name, one.payment_id)
        if not known:
            await self._intake.receive(source, reading, one.body)
        return Finding(Difference.UNREADABLE, one.payment_id, None, None, None, None, None, reading.detail)


class _Shown:
    """What a provider shows, as it is read.

    Attributes:
        id: of the operation of the payment; where nobody can say which one it is, of the event as which it is kept.
    """

    def __init__(self, source: Source, body: bytes) -> None:
        self.body = body
        self.reading = read(source, Delivery(None), body)
        self.payment_id, self.at = hints(source, body)
        if self.payment_id is None and isinstance(self.reading, Unreadable):
            self.id = unprocessable_id(source, self.reading, body)
        else:
            self.id = operation_id(source.identity, self.payment_id or "")

    def is_asked_for(self, since: datetime) -> bool:
        """Whether it is a payment of the window."""
        return not isinstance(self.reading, Ignored) and (self.at is None or self.at >= since)


_DETAILS = {
    Difference.MISSING: "no webhook has told of it; it was taken in now",
    Difference.DOUBTFUL: "no webhook has told of it, and it was not taken in: ",
    Difference.GIVEN_BACK: "no webhook has told of it, and all of it was given back since; it was not taken in",
}


def _of(difference: Difference, payment: Payment, operation: UUID | None) -> Finding:
    return Finding(
        difference=difference,
        payment_id=payment.external_id,
        order_id=payment.order_id,
        operation_id=operation,
        here=None,
        there=payment.amount,
        currency=payment.currency,
        detail=_DETAILS[difference],
    )
