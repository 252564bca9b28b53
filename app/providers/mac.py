"""What the providers' signatures have in common: a header's bytes, comparing in constant time, a time that is signed."""

import hmac
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from app.errors import ConfigurationError, SignatureInvalid
from app.settings import Source

_LONGEST_TIME = 12  # digits; they reach beyond the year 30,000


def text_secret_fault(secret: str) -> str | None:
    """What is wrong with a secret whose UTF-8 is the key."""
    if not secret:
        return "is empty"
    return None if secret.isprintable() else "has a character that cannot be printed"


def header(headers: Mapping[str, str], name: str) -> bytes:
    """The bytes of a header as they were sent. Raises SignatureInvalid where it is missing or empty."""
    value = headers.get(name)
    if not value:
        raise SignatureInvalid(f"the header {name} is missing or empty")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise SignatureInvalid(f"the header {name} has characters that no header can have") from None


def keys(source: Source) -> list[bytes]:
    """The secrets as keys. Raises SignatureInvalid where the source has none."""
    if not source.secrets:
        raise SignatureInvalid("the source has no secret to check a signature with")
    return [secret.encode() for secret in source.secrets]


def check(expected: Iterable[bytes], given: Collection[bytes]) -> None:
    """Raises SignatureInvalid unless one of the signatures that were given is one of those that are right.

    Bytes with bytes: compared as text, a header with a non-ASCII character would raise instead of being wrong.
    """
    for right in expected:
        for each in given:
            if hmac.compare_digest(right, each):
                return
    raise SignatureInvalid("no signature is by a secret of this source")


def check_time(timestamp: bytes, source: Source, now: datetime) -> None:
    """Raises SignatureInvalid where the signed time, in seconds since 1970, is further off than the source tolerates."""
    if not timestamp.isdigit() or len(timestamp) > _LONGEST_TIME:  # of bytes: the digits of ASCII alone
        raise SignatureInvalid("the signed time is not a whole number of seconds since 1970")
    age = now.timestamp() - int(timestamp)
    tolerance = source.tolerance.total_seconds()
    if abs(age) > tolerance:
        late = "too old" if age > 0 else "too early"
        raise SignatureInvalid(f"the signed time is {late}: it is {abs(age):.0f} s off, {tolerance:.0f} s are allowed")


def signing_secret(source: Source) -> str:
    """The secret that signs what is sent for a try. Raises ConfigurationError where the source has none."""
    if not source.secrets:
        raise ConfigurationError([f"sources.{source.name}.secrets: there is none to sign with"])
    return source.secrets[0]
