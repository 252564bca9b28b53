"""The payment provider: captures payments, tells of them by signed webhooks, and gives money back.

`POST /payments {order_id, amount, currency}` · `POST /refunds {payment_id, amount, currency}` · `GET /ledger`.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import httpx
from fastapi import FastAPI, Header, Request, Response
from pydantic import BaseModel, Field

from app.saga.model import Action, Json
from app.sandbox.desk import Desk, Refusal, Visit
from app.sandbox.ledger import Deed, Entry, Ledger
from app.sandbox.manners import Ware

PAYMENT = "payment"


class Order(BaseModel):
    """The body of a payment; `amount` is in minor units."""

    order_id: str = Field(min_length=1)
    amount: int = Field(gt=0)
    currency: str = "EUR"


class RefundWish(BaseModel):
    """The body of a refund; `amount` is in minor units."""

    payment_id: str
    amount: int = Field(gt=0)
    currency: str


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook to send: a redelivery carries the same id, a second event of one payment another."""

    id: str
    payment_id: str
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One sending of an event and what it was answered; None: no answer came."""

    event: Event
    status: int | None


Sign = Callable[[bytes, str], Mapping[str, str]]


class PaymentProvider:
    """One payment provider with its ledger.

    Args:
        sign: (body, delivery id) to the headers that sign it.
        now: the time that an event says it happened at.
        client: what the webhooks are sent with.
        redeliver_after: seconds until an event that was not acknowledged is sent again.
        patience: seconds until a late answer.
    """

    def __init__(
        self,
        sign: Sign,
        now: Callable[[], datetime],
        client: httpx.AsyncClient,
        *,
        redeliver_after: float = 0.5,
        patience: float = 1.5,
    ) -> None:
        self.ledger = Ledger()
        self.desk = Desk(patience)
        self.deliveries: list[Delivery] = []
        self.webhook_url = ""
        self._sign, self._now, self._client = sign, now, client
        self._redeliver_after = redeliver_after
        self._telling: set[asyncio.Task[int]] = set()
        self.app = FastAPI(title="Makegood sandbox: payment provider", docs_url=None, redoc_url=None)
        self.app.add_api_route("/ledger", self._show_ledger)
        self.app.add_api_route("/payments", self._post_payment, methods=["POST"], status_code=201)
        self.app.add_api_route("/refunds", self._post_refund, methods=["POST"])

    # --- payments and what is told of them ---

    def capture(self, order_id: str, amount: int, currency: str = "EUR") -> Entry:
        """Takes a payment of minor units; nobody is told yet."""
        payment = Entry(Deed.CAPTURED, PAYMENT, f"pay_{uuid.uuid4().hex[:16]}", order_id, amount, currency)
        self.ledger.write(payment)
        return payment

    def event(self, payment: Entry, kind: str = "payment.received", *, url: str | None = None) -> Event:
        """A new event that tells of a payment; each call makes another one.

        Args:
            url: where it is sent to, if not to the `webhook_url`.
        """
        data = {
            "payment_id": payment.id,
            "order_id": payment.order_id,
            "amount": payment.amount,
            "currency": payment.currency,
        }
        body = {"type": kind, "timestamp": self._now().isoformat(), "data": data}
        return Event(f"msg_{uuid.uuid4().hex[:16]}", payment.id, json.dumps(body).encode(), url or self.webhook_url)

    async def send(self, event: Event, *, forged: bool = False) -> httpx.Response | None:
        """Sends an event once; None where no answer came.

        Args:
            forged: the body is changed after it was signed.
        """
        headers = {**self._sign(event.body, event.id), "Content-Type": "application/json"}
        body = event.body + b" " if forged else event.body
        try:
            answer = await self._client.post(event.url, content=body, headers=headers)
        except httpx.TransportError:
            self.deliveries.append(Delivery(event, None))
            return None
        self.deliveries.append(Delivery(event, answer.status_code))
        return answer

    async def tell(self, event: Event) -> int:
        """Sends an event until it is acknowledged, and returns the status that did it."""
        while True:
            answer = await self.send(event)
            if answer is not None and answer.is_success:
                return answer.status_code
            await asyncio.sleep(self._redeliver_after)

    async def close(self) -> None:
        """Stops telling what was not acknowledged."""
        for telling in self._telling:
            telling.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    # --- the API ---

    async def _show_ledger(self) -> Json:
        return self.ledger.to_json()

    async def _post_payment(self, order: Order) -> Json:
        payment = self.capture(order.order_id, order.amount, order.currency)
        telling = asyncio.create_task(self.tell(self.event(payment)))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        return {"payment_id": payment.id, "order_id": payment.order_id, "amount": payment.amount}

    async def _post_refund(
        self,
        wish: RefundWish,
        request: Request,
        key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
        attempt: Annotated[str | None, Header(alias="Makegood-Attempt")] = None,
    ) -> Response:
        captured = self.ledger.of(Deed.CAPTURED, entry_id=wish.payment_id)
        order_id = captured[0].order_id if captured else ""
        visit = Visit(Ware.REFUND, Action.DO, wish.payment_id, order_id, key, attempt)
        return await self.desk.take(request, visit, lambda: self._refund(wish, key))

    def _refund(self, wish: RefundWish, key: str | None) -> Json:
        captured = self.ledger.of(Deed.CAPTURED, entry_id=wish.payment_id)
        if not captured:
            raise Refusal(404, f"there is no payment {wish.payment_id}")
        if wish.currency.upper() != (captured[0].currency or "").upper():
            raise Refusal(422, f"the payment was made in {captured[0].currency}")
        refunds = self.ledger.of(Deed.REFUNDED, entry_id=wish.payment_id)
        if sum(refund.amount for refund in refunds) + wish.amount > captured[0].amount:
            raise Refusal(422, "more than was paid is never given back")
        order_id = captured[0].order_id
        self.ledger.write(Entry(Deed.REFUNDED, PAYMENT, wish.payment_id, order_id, wish.amount, wish.currency, key))
        return {"refund_id": f"re_{uuid.uuid4().hex[:16]}", "payment_id": wish.payment_id, "amount": wish.amount}
