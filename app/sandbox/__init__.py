"""A payment provider and a supplier to try Makegood with: real HTTP, ledgers of their own, and manners to order.

Nothing on the road of a payment needs this folder: it stands at both ends of the road, in the demo and in the tests.
What an order meets there is named in its id: the supplier refuses `order-7-refused` and loses its answer to
`order-8-lost` (`app.sandbox.manners` lists them all).
"""

from app.sandbox.ledger import Deed, Entry, Ledger
from app.sandbox.manners import MANNERS, Turn, Ware
from app.sandbox.psp import PaymentProvider
from app.sandbox.server import listening
from app.sandbox.supplier import Supplier

__all__ = ["MANNERS", "Deed", "Entry", "Ledger", "PaymentProvider", "Supplier", "Turn", "Ware", "listening"]
