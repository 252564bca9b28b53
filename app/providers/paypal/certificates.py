"""PayPal's certificates: which are trusted now, and where the one that has signed may be fetched.

The configuration gives files with a leaf, with authorities, or with a chain. A leaf that is given is trusted for itself,
as far as those of its chain that are given beside it are valid too. Where no leaf is given, the one that has signed is
fetched: from PayPal's own hosts alone, since the URL stands in a header that nobody has signed.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import BasicConstraints, Certificate, ExtensionNotFound, load_pem_x509_certificates
from cryptography.x509.oid import NameOID

from app.errors import SignatureInvalid
from app.providers import mac

MOST_CERTIFICATES = 8  # of a file that was fetched: a leaf and its chain have three or four

_HOSTS = {"api.paypal.com", "api.sandbox.paypal.com"}
_HTTPS_PORT = 443
_PATH = re.compile(r"/v1/notifications/certs/[A-Za-z0-9-]{1,128}")
_COMMON_NAME = ".paypal.com"


@cache  # one entry a file of the configuration, read when that is
def in_file(path: str) -> Sequence[Certificate]:
    """The certificates of a PEM file. Raises OSError, ValueError."""
    return load_pem_x509_certificates(Path(path).read_bytes())


def file_fault(path: str) -> str | None:
    """What is wrong with a file of certificates, or None."""
    try:
        found = in_file(path)
    except OSError as wrong:
        return f"cannot be read: {wrong.strerror}"
    except ValueError:
        return "holds no certificate in PEM"
    leaves = [each for each in found if not is_authority(each)]
    return None if all(isinstance(each.public_key(), RSAPublicKey) for each in leaves) else "has a key that is not RSA"


def is_authority(certificate: Certificate) -> bool:
    """Whether it may issue others."""
    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except (ExtensionNotFound, ValueError):  # a certificate whose extensions cannot be read issues nothing
        return False


def trusted(given: Sequence[Certificate], now: datetime) -> list[Certificate]:
    """Those of the configuration that may have signed something now."""
    ends = [each for each in given if not _issuers(each, given)]
    return [each for each in given if is_chained(each, given, ends, now)]


def is_chained(
    certificate: Certificate, between: Sequence[Certificate], ends: Sequence[Certificate], now: datetime
) -> bool:
    """Whether a certificate leads to one of the `ends`, through authorities of `between`, all of them valid now."""
    if not _is_valid(certificate, now):
        return False
    if certificate in ends or any(_is_valid(each, now) for each in _issuers(certificate, ends)):
        return True
    issuers = _issuers(certificate, between)
    rest = [each for each in between if each != certificate]  # each is passed once: chains may run in circles
    return any(is_chained(issuer, rest, ends, now) for issuer in issuers)


def certificate_url(headers: Mapping[str, str]) -> str:
    """Where the certificate of a delivery may be fetched. Raises SignatureInvalid where that is not PayPal's place."""
    url = mac.header(headers, "paypal-cert-url").decode("latin-1")
    refusal = SignatureInvalid("the header paypal-cert-url names no certificate of PayPal's")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refusal from None
    plain = f"https://{parts.hostname}" + (f":{port}" if port is not None else "") + parts.path
    if parts.hostname not in _HOSTS or port not in {None, _HTTPS_PORT} or not _PATH.fullmatch(parts.path):
        raise refusal
    if url != plain:  # another scheme, a name and password, a query, a fragment, or another way to write it
        raise refusal
    return url


def fetched(pem: bytes, given: Sequence[Certificate], now: datetime) -> Certificate:
    """The certificate of a file that PayPal's own host has sent over TLS; the first of it, its chain behind it.

    Args:
        given: authorities of the configuration: it must lead to one of them; without any, the host vouches for it.

    Raises:
        SignatureInvalid: it is none, is not valid now, is not PayPal's, or leads to no authority that is given.
    """
    try:
        found = load_pem_x509_certificates(pem)
        is_rsa = isinstance(found[0].public_key(), RSAPublicKey)
    except (UnsupportedAlgorithm, ValueError):
        raise SignatureInvalid("what was fetched holds no certificate in PEM that can be read") from None
    if len(found) > MOST_CERTIFICATES:
        raise SignatureInvalid(f"what was fetched holds more than {MOST_CERTIFICATES} certificates")
    leaf, *chain = found
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not str(names[0].value).endswith(_COMMON_NAME):
        raise SignatureInvalid("the certificate that was fetched is not PayPal's")
    if not is_rsa:
        raise SignatureInvalid("the certificate that was fetched has a key that is not RSA")
    if not is_chained(leaf, [*chain, *given], given or [leaf], now):
        raise SignatureInvalid("the certificate that was fetched is not valid now, or by no authority of this source")
    return leaf


def _is_valid(certificate: Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _issuers(certificate: Certificate, among: Sequence[Certificate]) -> list[Certificate]:
    """The authorities that have issued it, itself left out."""
    return [each for each in among if each != certificate and is_authority(each) and _has_issued(each, certificate)]


def _has_issued(issuer: Certificate, certificate: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True
