"""What a payment provider is to the rest of the program. Each is a file or a folder here with one `PROVIDER`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from app.providers.refunds import Payments, Question, RefundNews, Refunds
from app.saga.model import Json
from app.settings import Fields, Options, Source


class Delivery(NamedTuple):
    """A webhook whose signature is right, as its headers tell of it: hints, and no more.

    Args:
        delivery_id: what its sender calls it; None where the body says it, or nothing does.
        event_type: for those whose bodies do not say it.
    """

    delivery_id: str | None
    event_type: str | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A webhook as its provider would send it. `body` differs from what was to be signed where it holds the signature."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """What is to be read at a URL of the provider's own, with no credentials and no redirects, and kept once it has proved good.

    Args:
        url: on a host that the provider knows for its own, whatever a header said.
    """

    url: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A webhook that was found true with what was fetched for it.

    Args:
        body: what is read and stored: the webhook's own, or what its provider answered about it.
    """

    delivery: Delivery
    body: bytes


class Provider(ABC):
    """One provider. It opens no connection and reads no clock.

    What has a value here is what most of them do; a provider says where it differs. The expressions are JMESPath.
    """

    # What `provider` in the configuration says, and where its payments have their facts.
    name: ClassVar[str]
    default_fields: ClassVar[Fields]

    # The keys of its own that a source of this provider has.
    options: ClassVar[type[Options]] = Options

    # The part of the body that the fields are relative to; None: all of it.
    facts: ClassVar[str | None] = None

    # Over the whole body: what the delivery is called, where no header tells it.
    event_id: ClassVar[str | None] = None

    # What must be true of those facts, besides the type of the event, for money to have been received; None: nothing.
    # Where it is neither true nor false, nothing tells, and the event is kept as one that cannot be read.
    received: ClassVar[str | None] = None

    # Over the whole body: true or "live", false or "test"; None, or anything else: it is not told.
    mode: ClassVar[str | None] = None

    # How many decimals its amounts have, in those currencies where that is not what ISO 4217 says.
    exponents: ClassVar[Mapping[str, int]] = MappingProxyType({})

    # The text that it wants for an answer, with 200, whatever became of the event; None: the contract's own.
    acknowledgement: ClassVar[str | None] = None

    # How it gives money back, and how its payments are read; None where it cannot be asked.
    refunds: ClassVar[Refunds | None] = None
    payments: ClassVar[Payments | None] = None

    @abstractmethod
    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a configured secret, without repeating it; None if it can be used."""

    @abstractmethod
    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Checks the signature over the body's bytes as they came.

        Args:
            headers: by their names in lower case.
            now: the wall clock, for the tolerance.

        Raises:
            SignatureInvalid: with what is wrong with it, whatever the headers hold.
            MalformedBody: the signature is in the body, and that is not JSON.
        """

    def wanted(
        self,
        source: Source,  # noqa: ARG002 - most want nothing
        headers: Mapping[str, str],  # noqa: ARG002
        body: bytes,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> Address | Question | None:
        """What must be fetched before a webhook can be verified; None: nothing, and `verify` is asked.

        A question goes to the `api` agent of the source. Where that knows nothing of it (404), there was nothing to hear;
        who sent it is not told so, as nobody knows who he is: every such webhook has the same answer.

        Raises:
            SignatureInvalid: what it names is not the provider's, or no source can be asked.
        """
        return None

    def verify_with(
        self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime, fetched: bytes
    ) -> Verified:
        """As `verify`, with what `wanted` had wanted.

        Args:
            fetched: the body of the answer.

        Raises:
            SignatureInvalid, MalformedBody: as for `verify`.
        """
        del fetched  # who wants something says what it is for
        return Verified(self.verify(source, headers, body, now), body)

    @abstractmethod
    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:
        """The body as this provider would send it, signed with the source's first secret.

        Raises:
            ConfigurationError: the source has no secret.
            MalformedBody: the signature belongs into the body, which is not one of this provider's.
        """

    def event_id_of(self, source: Source) -> str | None:  # noqa: ARG002 - for those whose configuration says it
        """`event_id`, as it is for a source."""
        return self.event_id

    def doubt(self, facts: Json) -> str | None:  # noqa: ARG002 - most have none
        """Why the facts of a payment cannot be believed though they are signed, or None; it is kept for a human."""
        return None

    def refund_news(self, source: Source, event: Json) -> Sequence[RefundNews]:  # noqa: ARG002 - some tell of none
        """What one message tells of refunds and disputes, ours and others'; one that tells of none gives none.

        Args:
            event: the JSON of one of `messages`; of any shape.
        """
        return ()

    def messages(self, body: bytes) -> Sequence[bytes]:
        """The events that a verified body holds, each a body of its own; one that sends several has an `acknowledgement`.

        Each is read for itself, and the delivery is acknowledged when all are stored.
        """
        return (body,)
