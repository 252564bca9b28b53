"""PayPal: an RSA signature over `{transmission id}|{time}|{webhook id}|{CRC-32 of the body}`, by its own certificate.

The certificates are given in the configuration, and nothing is fetched: the URL in a header is anybody's. There is no
secret; where the source has one, it is the private key with which payments for a try are signed.

CRC-32 is no cryptographic hash: who holds a signed delivery can make another body of the same CRC. What limits him is
that HTTPS is all that carries deliveries; keep them out of logs.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

from app.errors import SignatureInvalid
from app.providers import mac
from app.providers.protocol import Delivery, Provider, Signed
from app.settings import AmountUnit, Fields, Options, Source

_ALGORITHM = "SHA256withRSA"


@dataclass(frozen=True, slots=True)
class PaypalOptions(Options):
    """`webhook_id`: of the subscription, as PayPal shows it. `certificates`: PEM files; any in them may have signed."""

    webhook_id: str
    certificates: tuple[str, ...] = ()

    def faults(self) -> Iterable[tuple[str, str]]:
        """No id, no certificate, or a file that holds none."""
        if not self.webhook_id:
            yield "webhook_id", "must be the id of the webhook, as PayPal shows it"
        if not self.certificates:
            yield "certificates", "must name a PEM file with PayPal's certificate: none is fetched"
        for index, path in enumerate(self.certificates):
            fault = _certificate_fault(path)
            if fault is not None:
                yield f"certificates[{index}]", fault

    @property
    def suffices(self) -> bool:
        """A certificate checks a signature; no secret is needed for it."""
        return True


class _Paypal(Provider):
    name = "paypal"
    default_fields = Fields(
        event_type="event_type",
        payment_events=frozenset({"PAYMENT.CAPTURE.COMPLETED"}),
        payment_id="resource.id",
        order_id="resource.custom_id || resource.invoice_id",
        amount="resource.amount.value",
        amount_unit=AmountUnit.MAJOR,
        currency="resource.amount.currency_code",
        occurred_at="resource.update_time || resource.create_time || create_time",
    )
    options = PaypalOptions
    event_id = "id"
    exponents: ClassVar[Mapping[str, int]] = MappingProxyType({"HUF": 0, "TWD": 0})

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a private key, or None."""
        try:
            key = load_pem_private_key(secret.encode(), None)
        except (TypeError, ValueError):
            key = None
        return None if isinstance(key, RSAPrivateKey) else "must be an RSA private key in PEM, to sign for a try with"

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Checks the signature with each certificate that is valid now. Raises SignatureInvalid."""
        options = cast("PaypalOptions", source.options)
        sent, at, signature = (mac.header(headers, f"paypal-transmission-{part}") for part in ("id", "time", "sig"))
        if mac.header(headers, "paypal-auth-algo") != _ALGORITHM.encode():
            raise SignatureInvalid(f"the header paypal-auth-algo must be {_ALGORITHM}")
        try:
            given = base64.b64decode(signature, validate=True)
        except binascii.Error:
            raise SignatureInvalid("the header paypal-transmission-sig is no base64") from None
        text = _text(sent, at, options.webhook_id, body)
        valid = [each for path in options.certificates for each in _certificates(path) if _is_valid(each, now)]
        if not any(_has_signed(certificate, given, text) for certificate in valid):
            raise SignatureInvalid("the signature is by no valid certificate of this source")
        return Delivery(None)

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:
        """The headers, signed with the private key in `secrets`. Raises ConfigurationError where there is none."""
        key = cast("RSAPrivateKey", load_pem_private_key(mac.signing_secret(source).encode(), None))
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        webhook_id = cast("PaypalOptions", source.options).webhook_id
        signature = key.sign(_text(delivery_id.encode(), at.encode(), webhook_id, body), PKCS1v15(), SHA256())
        headers = {
            "PAYPAL-TRANSMISSION-ID": delivery_id,
            "PAYPAL-TRANSMISSION-TIME": at,
            "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
            "PAYPAL-AUTH-ALGO": _ALGORITHM,
        }
        return Signed(headers, body)


def _text(transmission_id: bytes, at: bytes, webhook_id: str, body: bytes) -> bytes:
    return b"|".join((transmission_id, at, webhook_id.encode(), str(zlib.crc32(body)).encode()))


@cache  # one entry a file of the configuration, read when that is
def _certificates(path: str) -> list[Certificate]:
    return load_pem_x509_certificates(Path(path).read_bytes())


def _certificate_fault(path: str) -> str | None:
    try:
        found = _certificates(path)
    except OSError as wrong:
        return f"cannot be read: {wrong.strerror}"
    except ValueError:
        return "holds no certificate in PEM"
    return None if all(isinstance(each.public_key(), RSAPublicKey) for each in found) else "has a key that is not RSA"


def _is_valid(certificate: Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _has_signed(certificate: Certificate, signature: bytes, text: bytes) -> bool:
    try:
        cast("RSAPublicKey", certificate.public_key()).verify(signature, text, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


PROVIDER: Provider = _Paypal()
