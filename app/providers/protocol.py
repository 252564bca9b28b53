"""What a payment provider is to the rest of the program. Each is one file in this folder with one `PROVIDER`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.settings import Fields, Source


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook whose signature is right. `delivery_id` is what its sender calls it, a hint and no more."""

    delivery_id: str | None


class Provider(Protocol):
    """One provider. It opens no connection and reads no clock."""

    @property
    def name(self) -> str:
        """What `provider` in the configuration says."""
        ...

    @property
    def default_fields(self) -> Fields:
        """Where its payments have their facts."""
        ...

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a configured secret, without repeating it; None if it can be used."""
        ...

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Checks the signature over the body's bytes as they came.

        Args:
            headers: by their names in lower case.
            now: the wall clock, for the tolerance.

        Raises:
            SignatureInvalid: with what is wrong with it, whatever the headers hold.
        """
        ...

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> dict[str, str]:
        """The headers with which this provider would send the body, signed with the source's first secret.

        Raises:
            ConfigurationError: the source has no secret.
        """
        ...
