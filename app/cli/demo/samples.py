"""The payments of the demo: what each is to show, and how the payment provider tells of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.sandbox import Entry, PaymentProvider
from app.sandbox.ledger import Deed
from app.sandbox.psp import PAYMENT


@dataclass(frozen=True, slots=True)
class Sample:
    """One payment to be made.

    Args:
        about: what happens to it, for the table.
        amount: in minor units.
        deliveries: how often each event is delivered.
        events: how many different events tell of it.
        forged: it was never made; somebody makes up a webhook without knowing the secret.
    """

    order_id: str
    about: str
    amount: int
    source: str = "shop"
    currency: str = "EUR"
    deliveries: int = 1
    events: int = 1
    forged: bool = False


SAMPLES: Sequence[Sample] = (
    Sample("order-1", "all goes well", 1999),
    Sample("order-2-refused", "the supplier refuses", 4900),
    Sample("order-3-busy", "the supplier is busy: come back in 1 s", 950),
    Sample("order-4-lost", "it buys, and its answer is lost", 12000),
    Sample("order-5-late", "it buys, and answers too late", 3350),
    Sample("order-6-down", "it answers 500 for ever, having bought nothing", 780),
    Sample("order-7", "one event, delivered three times", 2500, deliveries=3),
    Sample("order-8", "two different events of one payment", 1500, currency="JPY", events=2),
    Sample("order-9", "a webhook that somebody made up", 990000, forged=True),
    Sample("order-10-refused-refund-lost", "refused, and the refund's answer is lost", 6400),
    Sample("trip-1", "flight and hotel", 64000, source="travel"),
    Sample("trip-2-hotel-refused", "the hotel refuses, the flight is booked", 81000, source="travel"),
)


@dataclass(slots=True)
class Told:
    """A sample on its way: the payment, and what its deliveries were answered."""

    sample: Sample
    payment: Entry
    answers: list[int] = field(default_factory=list)


async def tell(psp: PaymentProvider, told: Told, base_url: str) -> None:
    """Has the payment provider tell of a payment, until it is acknowledged; a made-up one is tried once."""
    for _ in range(told.sample.events):
        event = psp.event(told.payment, url=f"{base_url}/webhooks/{told.sample.source}")
        if told.sample.forged:
            answer = await psp.send(event, forged=True)
            told.answers += [] if answer is None else [answer.status_code]
            continue
        for _ in range(told.sample.deliveries):
            told.answers.append(await psp.tell(event))


async def tell_all(psp: PaymentProvider, base_url: str, told: list[Told]) -> None:
    """Makes all payments of the demo and tells of them at once; `told` fills as it goes."""
    async with asyncio.TaskGroup() as telling:
        for sample in SAMPLES:
            if sample.forged:
                payment = Entry(Deed.CAPTURED, PAYMENT, "pay_made_up", sample.order_id, sample.amount, sample.currency)
            else:
                payment = psp.capture(sample.order_id, sample.amount, sample.currency)
            told.append(Told(sample, payment))
            telling.create_task(tell(psp, told[-1], base_url))
