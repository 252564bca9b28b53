"""Makegood makes good on every payment it hears of: the purchase is made, or the money goes back.

The road of one payment, folder by folder:

1. `api` takes the webhook in and answers only when it is on disk.
2. `providers` proves who sent it and reads the payment; `intake` stores event and operation in one group commit.
3. `worker` claims the operation under a lease and makes the next call, one task an operation.
4. `agents` makes that call over HTTP, or in Python, and says which of the outcomes it had.
5. `saga` decides, as a pure function, what happens next; `db` writes the decision through one fenced door.
6. `control` lets an operator retry, cancel or resolve, through that same decision and that same door.
"""
