"""What happens next is decided here: pure functions over frozen values, with no I/O, no clock and no chance."""

from app.saga.machine import advance
from app.saga.operator import allowed_actions
from app.saga.sending import Sending, overdue, prepare

__all__ = ["Sending", "advance", "allowed_actions", "overdue", "prepare"]
