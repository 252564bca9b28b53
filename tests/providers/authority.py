"""A certificate authority for tests, whose leaves are PayPal's for as long as a test lasts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.providers.stages import NOW

LEAF = "messageverificationcerts.paypal.com"


@cache
def key_of(name: str) -> RSAPrivateKey:
    """The key of a name, the same for a whole run: making one takes a while."""
    del name
    return generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Issued:
    """A certificate and the key that it is for."""

    certificate: x509.Certificate
    key: RSAPrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def issued(
    name: str,
    by: Issued | None = None,
    *,
    authority: bool = False,
    begin: datetime = NOW - timedelta(days=10),
    end: datetime = NOW + timedelta(days=10),
) -> Issued:
    """A certificate by another's key, or by its own.

    Args:
        authority: it may issue others.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key = key_of(name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key if by is None else by.key, SHA256())
    )
    return Issued(certificate, key)
