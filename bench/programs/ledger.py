"""The supplier of a long run: as bench.programs.supplier, but it keeps books of what it has sold and given back.

Some purchases it refuses; some it makes and answers 500, until it is asked again.

    python -m bench.programs.ledger --port 9000

`GET /ledger` shows the books: the payments by their numbers.
"""

import json
from typing import ClassVar

import uvloop

from bench.mix import Kind, kind
from bench.programs import supplier
from bench.programs.supplier import BOUGHT, KEY, NOT_UNDERSTOOD, Supplier, answer

REFUSED = answer(b'{"error":"sold out"}', b"422 Unprocessable Content")
GIVEN_BACK = answer(b'{"ref":"given-back-1"}')
LOST = answer(b"{}", b"500 Internal Server Error")


class Ledger(Supplier):
    """One connection. The books are one for all."""

    sold: ClassVar[dict[int, bytes]] = {}
    given_back: ClassVar[dict[int, bytes]] = {}
    twice: ClassVar[list[int]] = []  # what came again under another key

    def answer(self, head: bytes, body: bytes) -> bytes:
        """Books what is asked for."""
        if head.startswith(b"get /ledger "):
            books = {"sold": list(self.sold), "given_back": list(self.given_back), "twice": self.twice}
            return answer(json.dumps({**books, "calls": Supplier.calls}).encode())
        at = head.find(KEY)
        key = head[at + len(KEY) :].split(b"\r\n", 1)[0].strip() if at >= 0 else b""
        Supplier.calls += 1
        if head.startswith(b"post /purchases "):
            return self._sell(int(json.loads(body)["order"].rpartition("-")[2]), key)
        if head.startswith(b"post /refunds "):
            self._book(self.given_back, int(json.loads(body)["payment_id"].rpartition("_")[2]), key)
            return GIVEN_BACK
        return NOT_UNDERSTOOD

    def _sell(self, number: int, key: bytes) -> bytes:
        if kind(number) is Kind.REFUSED:
            return REFUSED
        first = self._book(self.sold, number, key)
        return LOST if first and kind(number) is Kind.UNKNOWN else BOUGHT

    def _book(self, book: dict[int, bytes], number: int, key: bytes) -> bool:
        first = number not in book
        if not key or book.setdefault(number, key) != key:
            self.twice.append(number)
        return first


if __name__ == "__main__":
    uvloop.run(supplier.main(Ledger))
