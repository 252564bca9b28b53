"""The calls out: an operation's document goes in, an answer comes out."""

from app.agents.calls import Agents, Exchange
from app.agents.document import RequestRefused
from app.agents.gate import Gate, Slot, SlotUnavailable
from app.agents.local import LocalFunction, run_local
from app.agents.request import Request
from app.errors import Rejected, Unavailable

__all__ = [
    "Agents",
    "Exchange",
    "Gate",
    "LocalFunction",
    "Rejected",
    "Request",
    "RequestRefused",
    "Slot",
    "SlotUnavailable",
    "Unavailable",
    "run_local",
]
