"""Every fake there is, by the name of its provider: what holds for one provider's refunds is tried with each."""

from collections.abc import Mapping

from tests.fakes.adyen import AdyenFake
from tests.fakes.mollie import MollieFake
from tests.fakes.paypal import PaypalFake
from tests.fakes.razorpay import RazorpayFake
from tests.fakes.server import Fake
from tests.fakes.shopify import ShopifyFake
from tests.fakes.square import SquareFake
from tests.fakes.stripe import StripeFake

FAKES: Mapping[str, type[Fake]] = {
    "adyen": AdyenFake,
    "mollie": MollieFake,
    "paypal": PaypalFake,
    "razorpay": RazorpayFake,
    "shopify": ShopifyFake,
    "square": SquareFake,
    "stripe": StripeFake,
}
