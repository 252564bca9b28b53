"""The supplier: sells purchases, flights and hotel rooms, and takes them back.

`POST /purchases {id, order, amount}` · `POST /purchases/{id}/cancel` · `GET /purchases/{id}`, and the same under
`/flights` and `/hotels`; `GET /ledger`.
"""

from enum import StrEnum
from typing import Annotated

from fastapi import FastAPI, Header, Request, Response
from pydantic import BaseModel, Field

from app.saga.model import Action, Json
from app.sandbox.desk import Desk, Refusal, Visit
from app.sandbox.ledger import Deed, Entry, Ledger
from app.sandbox.manners import Ware


class Shelf(StrEnum):
    """The first segment of the path: where a ware stands."""

    PURCHASES = "purchases"
    FLIGHTS = "flights"
    HOTELS = "hotels"

    @property
    def ware(self) -> Ware:
        """What stands there."""
        return Ware(self.value.removesuffix("s"))


class Wish(BaseModel):
    """The body of a purchase. `id` is the buyer's own, and the purchase goes by it; `amount` is in minor units."""

    id: str = Field(min_length=1)
    order: str
    amount: int = Field(gt=0)


Key = Annotated[str | None, Header(alias="Idempotency-Key")]
Attempt = Annotated[str | None, Header(alias="Makegood-Attempt")]


class Supplier:
    """One supplier with its ledger.

    Args:
        patience: seconds until a late answer.
        tombstones: whether a cancel of something unknown makes it refuse a purchase of that id that comes later.
    """

    def __init__(self, *, patience: float = 1.5, tombstones: bool = True) -> None:
        self.ledger = Ledger()
        self.desk = Desk(patience)
        self._tombstones = tombstones
        self._buried: set[tuple[Ware, str]] = set()
        self.app = FastAPI(title="Makegood sandbox: supplier", docs_url=None, redoc_url=None)
        self.app.add_api_route("/ledger", self._show_ledger)
        self.app.add_api_route("/{shelf}", self._post, methods=["POST"])
        self.app.add_api_route("/{shelf}/{ware_id}/cancel", self._post_cancel, methods=["POST"])
        self.app.add_api_route("/{shelf}/{ware_id}", self._get)

    async def _show_ledger(self) -> Json:
        return self.ledger.to_json()

    async def _post(
        self, shelf: Shelf, wish: Wish, request: Request, key: Key = None, attempt: Attempt = None
    ) -> Response:
        visit = Visit(shelf.ware, Action.DO, wish.id, wish.order, key, attempt)
        return await self.desk.take(request, visit, lambda: self._buy(shelf.ware, wish, key))

    async def _post_cancel(
        self,
        shelf: Shelf,
        ware_id: str,
        request: Request,
        key: Key = None,
        attempt: Attempt = None,
    ) -> Response:
        visit = Visit(shelf.ware, Action.UNDO, ware_id, self._order_of(shelf.ware, ware_id), key, attempt)
        return await self.desk.take(request, visit, lambda: self._cancel(shelf.ware, ware_id, key))

    async def _get(self, shelf: Shelf, ware_id: str, request: Request) -> Response:
        visit = Visit(shelf.ware, Action.LOOKUP, ware_id, self._order_of(shelf.ware, ware_id))
        return await self.desk.take(request, visit, lambda: self._show(shelf.ware, ware_id))

    def _buy(self, ware: Ware, wish: Wish, key: str | None) -> Json:
        if (ware, wish.id) in self._buried:
            raise Refusal(410, f"{ware} {wish.id} was cancelled before it was asked for")
        if self.ledger.of(Deed.CANCELLED, entry_id=wish.id, ware=ware):
            raise Refusal(410, f"{ware} {wish.id} was cancelled")
        self.ledger.write(Entry(Deed.BOUGHT, ware, wish.id, wish.order, wish.amount, key=key))
        return self._show(ware, wish.id)

    def _cancel(self, ware: Ware, ware_id: str, key: str | None) -> Json:
        bought = self.ledger.of(Deed.BOUGHT, entry_id=ware_id, ware=ware)
        if not bought:
            if self._tombstones:
                self._buried.add((ware, ware_id))
            raise Refusal(404, f"there is no {ware} {ware_id}")
        if self.ledger.stands(ware, ware_id):
            self.ledger.write(Entry(Deed.CANCELLED, ware, ware_id, bought[0].order_id, bought[0].amount, key=key))
        return self._show(ware, ware_id)

    def _show(self, ware: Ware, ware_id: str) -> Json:
        bought = self.ledger.of(Deed.BOUGHT, entry_id=ware_id, ware=ware)
        if not bought:
            raise Refusal(404, f"there is no {ware} {ware_id}")
        status = "confirmed" if self.ledger.stands(ware, ware_id) else "cancelled"
        number = 1 + self.ledger.entries.index(bought[0])
        return {
            "id": ware_id,
            "ref": f"{ware}-{number}",
            "order": bought[0].order_id,
            "amount": bought[0].amount,
            "status": status,
        }

    def _order_of(self, ware: Ware, ware_id: str) -> str:
        """The order that something was asked for with, also where it was never sold."""
        asked = (visit.order_id for visit in self.desk.visits if visit.ware is ware and visit.id == ware_id)
        return next(asked, "")
