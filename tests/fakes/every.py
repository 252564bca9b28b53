"""Every fake there is, by the name of its provider: what holds for one provider's refunds is tried with each."""

from collections.abc import Mapping

from tests.fakes.razorpay import RazorpayFake
from tests.fakes.server import Fake
from tests.fakes.square import SquareFake
from tests.fakes.stripe import StripeFake

FAKES: Mapping[str, type[Fake]] = {"razorpay": RazorpayFake, "square": SquareFake, "stripe": StripeFake}
