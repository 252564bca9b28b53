"""PayPal: an RSA signature over `{transmission id}|{time}|{webhook id}|{CRC-32 of the body}`, by its own certificate.

The certificate that has signed is given in the configuration, or it is fetched: `certificate_needed` says from where, and
`verify_fetched` checks with what came. There is no secret; where the source has one, it is the private key with which
payments for a try are signed.

CRC-32 is no cryptographic hash: who holds a signed delivery can make another body of the same CRC. What limits him is
that HTTPS is all that carries deliveries; keep them out of logs.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate

from app.errors import SignatureInvalid
from app.providers import mac
from app.providers.paypal import certificates
from app.providers.paypal.payments import PaypalPayments
from app.providers.paypal.refunds import EXPONENTS, PaypalRefunds, refund_news
from app.providers.protocol import Address, Delivery, Provider, Signed, Verified
from app.providers.refunds import Payments, RefundNews, Refunds
from app.saga.model import Json
from app.settings import AmountUnit, Fields, Options, Source

_ALGORITHM = "SHA256withRSA"


@dataclass(frozen=True, slots=True)
class PaypalOptions(Options):
    """`webhook_id`: of the subscription, as PayPal shows it. `certificates`: PEM files with a leaf, or with authorities."""

    webhook_id: str
    certificates: tuple[str, ...] = ()

    def faults(self) -> Iterable[tuple[str, str]]:
        """No id, or a file that holds no certificate."""
        if not self.webhook_id:
            yield "webhook_id", "must be the id of the webhook, as PayPal shows it"
        for index, path in enumerate(self.certificates):
            fault = certificates.file_fault(path)
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
    exponents: ClassVar[Mapping[str, int]] = EXPONENTS
    refunds: ClassVar[Refunds | None] = PaypalRefunds()
    payments: ClassVar[Payments | None] = PaypalPayments()

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a private key, or None."""
        try:
            key = load_pem_private_key(secret.encode(), None)
        except (TypeError, ValueError):
            key = None
        return None if isinstance(key, RSAPrivateKey) else "must be an RSA private key in PEM, to sign for a try with"

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Checks the signature with each certificate that is given and valid now. Raises SignatureInvalid."""
        parts = _parts(source, headers, body)
        if not _is_signed(parts, certificates.trusted(_given(source), now)):
            raise SignatureInvalid("the signature is by no valid certificate of this source")
        return Delivery(None)

    def wanted(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Address | None:
        """Where the certificate is, if those that are given do not decide. Raises SignatureInvalid."""
        url = certificate_needed(source, headers, body, now)
        return None if url is None else Address(url)

    def verify_with(
        self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime, fetched: bytes
    ) -> Verified:
        """Checks the signature with the certificate that was fetched. Raises SignatureInvalid."""
        return Verified(verify_fetched(source, headers, body, now, fetched), body)

    def refund_news(self, source: Source, event: Json) -> Sequence[RefundNews]:  # noqa: ARG002 - the same for all
        """What an event tells of a refund, a reversal or a dispute."""
        return refund_news(event)

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


def certificate_needed(source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> str | None:
    """The URL of the certificate that a delivery must be checked with; None where those that are given decide.

    Whoever fetches it follows no redirect, and may keep the answer for as long as the certificate is valid.

    Raises:
        SignatureInvalid: a header is missing or malformed, or the URL is not of PayPal's own place.
    """
    given = _given(source)
    if not all(certificates.is_authority(each) for each in given):
        return None
    parts = _parts(source, headers, body)  # what is malformed is refused before anything is fetched for it
    if _is_signed(parts, certificates.trusted(given, now)):
        return None
    return certificates.certificate_url(headers)


def verify_fetched(source: Source, headers: Mapping[str, str], body: bytes, now: datetime, pem: bytes) -> Delivery:
    """Checks the signature with a certificate that was fetched from the URL of `certificate_needed`.

    Raises:
        SignatureInvalid: the certificate is none to be trusted, or has not signed this.
    """
    parts = _parts(source, headers, body)
    if not _is_signed(parts, [certificates.fetched(pem, _given(source), now)]):
        raise SignatureInvalid("the signature is not by the certificate that the delivery names")
    return Delivery(None)


def _given(source: Source) -> list[Certificate]:
    options = cast("PaypalOptions", source.options)
    return [each for path in options.certificates for each in certificates.in_file(path)]


def _is_signed(parts: tuple[bytes, bytes], by: Sequence[Certificate]) -> bool:
    signature, text = parts
    return any(_has_signed(certificate, signature, text) for certificate in by)


def _parts(source: Source, headers: Mapping[str, str], body: bytes) -> tuple[bytes, bytes]:
    """The signature, and the text that it must be of. Raises SignatureInvalid."""
    sent, at, signature = (mac.header(headers, f"paypal-transmission-{part}") for part in ("id", "time", "sig"))
    if mac.header(headers, "paypal-auth-algo") != _ALGORITHM.encode():
        raise SignatureInvalid(f"the header paypal-auth-algo must be {_ALGORITHM}")
    try:
        given = base64.b64decode(signature, validate=True)
    except binascii.Error:
        raise SignatureInvalid("the header paypal-transmission-sig is no base64") from None
    return given, _text(sent, at, cast("PaypalOptions", source.options).webhook_id, body)


def _text(transmission_id: bytes, at: bytes, webhook_id: str, body: bytes) -> bytes:
    return b"|".join((transmission_id, at, webhook_id.encode(), str(zlib.crc32(body)).encode()))


def _has_signed(certificate: Certificate, signature: bytes, text: bytes) -> bool:
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        return False
    try:
        key.verify(signature, text, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


PROVIDER: Provider = _Paypal()
