"""Mollie's classic webhook: a form with the id of a payment, signed by nobody. What counts is the payment that is read.

It comes for every change, also for refunds and chargebacks, so these are read with it. The answer is 200 whatever the id
is: it must not tell which there are.
"""

import json
import re
from urllib.parse import parse_qsl

from app.providers.ids import name_at
from app.providers.pieces import text
from app.providers.refunds import Answered, Question

_LONGEST_FORM = 1024  # bytes; an id takes a few dozen
_PAYMENT_ID = re.compile(r"tr_[A-Za-z0-9]{1,64}")


def classic_payment_id(body: bytes) -> str | None:
    """The id of the payment that a form names; None where the body is no such form."""
    if len(body) > _LONGEST_FORM:
        return None
    try:
        form = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        return None
    named = [value for name, value in form if name == "id"]
    return named[0] if len(named) == 1 and _PAYMENT_ID.fullmatch(named[0]) else None


def classic_question(payment_id: str) -> Question:
    """Asks for a payment with its refunds and chargebacks; the id is one of `classic_payment_id`."""
    return Question("GET", f"/v2/payments/{payment_id}?embed=refunds,chargebacks")


def classic_body(payment_id: str, answered: Answered) -> bytes | None:
    """The body to be read in the form's place: the payment that a 2xx answer holds. None where it is another thing."""
    if text(answered.json, "resource") != "payment" or name_at(answered.json, "id") != payment_id:
        return None
    return json.dumps(answered.json).encode()
