"""What all fakes of providers share: real HTTP, books, idempotency keys, and faults that a test scripts.

A fake says what a request is about (`kind_of`), where its key is (`key_of`), and answers it (`answer`), synchronously:
what it does to the books is done as one. Everything else is here:

    fake = StripeFake()
    payment = fake.capture("order-1", 1999, "EUR")
    fake.script(Kind.GIVE, Fault(429), Fault(drop=True, acts=True))     # the first two wishes; the third meets nothing
    async with fake.listening() as base_url, httpx.AsyncClient(base_url=base_url) as client:
        answered = await carried(client, refunds.give(wanted))
"""

import contextlib
import itertools
import json
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from app.providers.refunds import Answered, Question, RefundStatus
from app.sandbox.desk import Hold
from app.sandbox.server import drop, listening
from tests.fakes.ledger import Captured, Given, Ledger


class Kind(StrEnum):
    """What a request is about; faults are scripted by it."""

    LIST = "list"  # the refunds of a payment
    GIVE = "give"  # the wish for a refund
    PAYMENTS = "payments"  # what was paid
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: its path still quoted, the names of its headers in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    content: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form."""
        return dict(parse_qsl(self.content.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The JSON of the body. Raises ValueError where it is none."""
        return json.loads(self.content)

    @property
    def meaning(self) -> tuple[str, str, str]:
        """What is compared when a key comes again: the parameters, however they are written."""
        if "json" in self.headers.get("content-type", ""):
            with contextlib.suppress(ValueError):
                return self.method, self.path, json.dumps(self.json, sort_keys=True)
        return self.method, self.path, str(sorted(parse_qsl(self.content.decode("latin-1"), keep_blank_values=True)))

    def one(self, name: str) -> str | None:
        """One parameter of the query, the last of its name."""
        return dict(self.query).get(name)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Args:
        kept: whether it is given again to the same key. What never began to be carried out is not.
    """

    status: int
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """What one request meets.

    Args:
        status: what is answered instead; None: the answer as it is.
        acts: whether the request is carried out nevertheless.
        drop: the connection is broken without an answer.
        kept: the false answer is what the key is remembered with, and given again to it.
        hold: keeps the request until the test releases it: before it is carried out, or with `after` behind it.
        json: of the answer; None: as the provider words such a status.
    """

    status: int | None = None
    acts: bool = False
    drop: bool = False
    kept: bool = False
    hold: Hold | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None


_NONE = Fault(acts=True)


@dataclass(frozen=True, slots=True)
class _Kept:
    request: tuple[str, str, str]
    reply: Reply
    at: datetime


class Fake(ABC):
    """One payment provider.

    Args:
        now: its clock.
        key_lifetime: how long it remembers a key; None: as long as the real one says it does.
    """

    lifetime: ClassVar[timedelta] = timedelta(hours=24)

    def __init__(
        self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), key_lifetime: timedelta | None = None
    ) -> None:
        self.now = now
        self.ledger = Ledger()
        self.asked: list[Asked] = []
        # What a refund is when it is made; a test settles it later by the ledger.
        self.outcome = RefundStatus.SUCCEEDED
        self.key_lifetime = self.lifetime if key_lifetime is None else key_lifetime
        self._numbers = itertools.count(1)
        self._faults: defaultdict[Kind, deque[Fault]] = defaultdict(deque)
        self._kept: dict[str, _Kept] = {}
        self._running: set[str] = set()
        self.app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        self.app.add_api_route("/{rest:path}", self._take, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])

    # --- for tests ---

    def script(self, kind: Kind, *faults: Fault) -> None:
        """Says what the next requests of a kind meet, one after the other; those behind them meet nothing."""
        self._faults[kind].extend(faults)

    def capture(self, order_id: str, amount: int, currency: str = "EUR") -> Captured:
        """Takes a payment, in the provider's own unit; nobody is told."""
        return self.ledger.capture(Captured(self.fresh(self.payment_prefix), amount, currency, self.now(), order_id))

    def give_by_hand(
        self, payment: Captured, amount: int, status: RefundStatus = RefundStatus.SUCCEEDED, key: str | None = None
    ) -> Given:
        """A refund that nobody asked the API for, such as one made in the provider's dashboard."""
        return self.ledger.give(Given(self.fresh(self.refund_prefix), payment.id, amount, status, self.now(), key))

    def forget_keys(self) -> None:
        """Forgets every key at once."""
        self._kept.clear()

    def of(self, kind: Kind) -> list[Asked]:
        """The requests of a kind that came, oldest first."""
        return [asked for asked in self.asked if self.kind_of(asked) is kind]

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serves the fake on a port of its own while the block runs, and gives its base URL."""
        async with listening(self.app) as base_url:
            yield base_url

    def fresh(self, prefix: str) -> str:
        """A new id."""
        return f"{prefix}{next(self._numbers):08d}"

    # --- what a provider says ---

    payment_prefix: ClassVar[str]
    refund_prefix: ClassVar[str]

    # It receives any wish, and tells later by an event what became of it.
    tells_later: ClassVar[bool] = False
    # Its payments tell how much of them went back; else only that all did.
    tells_parts: ClassVar[bool] = True
    # Refunds of one payment that its list is read to the end with.
    most_refunds: ClassVar[int] = 95

    def basis_of(self, payment: Captured) -> Any:  # noqa: ARG002 - most need none
        """What the list gives for a wish to rest on, before anything was given back."""
        return None

    @abstractmethod
    def kind_of(self, asked: Asked) -> Kind:
        """What a request is about."""

    @abstractmethod
    def key_of(self, asked: Asked) -> str | None:
        """The idempotency key of a request; None where it has none, and where it is not looked at."""

    @abstractmethod
    def answer(self, asked: Asked) -> Reply:
        """Carries a request out. Its key, if it has one, has not been seen."""

    @abstractmethod
    def refusal(self, status: int) -> Reply:
        """How the provider words a status of its own making: 429, 500 and so on."""

    @abstractmethod
    def in_use(self) -> Reply:
        """The answer where the first request with this key is still running."""

    @abstractmethod
    def reused(self) -> Reply:
        """The answer where the key came with another request before."""

    @abstractmethod
    def payment_event(self, payment: Captured) -> dict[str, Any]:
        """The body of the webhook that tells of a payment."""

    @abstractmethod
    def refund_event(self, refund: Given) -> dict[str, Any]:
        """The body of the webhook that tells of a refund, as it is now."""

    def replayed(self, reply: Reply) -> Reply:
        """An answer that is given again."""
        return reply

    # --- the wire ---

    async def _take(self, request: Request) -> Response:
        asked = Asked(
            request.method,
            request.scope["raw_path"].decode(),
            tuple(parse_qsl(request.url.query, keep_blank_values=True)),
            {name.lower(): value for name, value in request.headers.items()},
            await request.body(),
        )
        self.asked.append(asked)
        faults = self._faults[self.kind_of(asked)]
        fault = faults.popleft() if faults else _NONE
        reply = await self._keyed(asked, fault) if fault.acts or fault.kept or fault.hold else self._false(fault)
        if fault.drop:
            await drop(request)
        return JSONResponse(reply.json, reply.status, {**reply.headers})

    async def _keyed(self, asked: Asked, fault: Fault) -> Reply:
        key = self.key_of(asked)
        if key is None:
            return (await self._act(asked, fault))[0]
        kept = self._kept.get(key)
        if kept is not None and self.now() - kept.at < self.key_lifetime:
            return self.reused() if kept.request != asked.meaning else self.replayed(kept.reply)
        if key in self._running:
            return self.in_use()
        self._running.add(key)
        try:
            sent, result = await self._act(asked, fault)
        finally:
            self._running.discard(key)
        if result.kept:
            self._kept[key] = _Kept(asked.meaning, result, self.now())
        return sent

    async def _act(self, asked: Asked, fault: Fault) -> tuple[Reply, Reply]:
        """What is sent, and what the key is remembered with."""
        if fault.hold is not None and not fault.hold.after:
            await fault.hold.wait()
        result = self.answer(asked) if fault.acts else self._false(fault)
        if fault.hold is not None and fault.hold.after:
            await fault.hold.wait()
        sent = result if fault.status is None else self._false(fault)
        return sent, sent if fault.kept else result

    def _false(self, fault: Fault) -> Reply:
        reply = self.refusal(fault.status or 503)
        body = reply.json if fault.json is None else fault.json
        return replace(reply, json=body, headers={**reply.headers, **fault.headers}, kept=fault.kept)


async def carried(client: httpx.AsyncClient, question: Question) -> Answered:
    """Sends what a provider wants asked, and reads the answer, as the worker does.

    Raises:
        httpx.TransportError: no whole answer came.
    """
    answer = await client.request(
        question.method, question.path, headers=dict(question.headers), content=question.content
    )
    try:
        read = answer.json()
    except ValueError:
        read = None
    return Answered(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, read)
