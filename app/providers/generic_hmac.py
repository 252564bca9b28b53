"""Any sender that signs its webhooks with an HMAC, by configuration alone.

`header` holds the signature, behind `prefix`, in hex or base64; `signed` says what it is made over. Without a time in it,
a delivery that somebody has seen verifies for ever: the payment's id is what keeps it from being a second payment.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import cast

from app.errors import SignatureInvalid
from app.providers import mac
from app.providers.protocol import Delivery, Provider, Signed
from app.providers.standard_webhooks import PROVIDER as STANDARD
from app.providers.text import storable
from app.settings import Options, Source
from app.settings.expressions import expression_fault

_HEADER = "header:"  # what an `event_id` begins with that is no expression
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Algorithm(StrEnum):
    """The hash in the HMAC."""

    SHA256 = "sha256"
    SHA512 = "sha512"


class Encoding(StrEnum):
    """How the header writes the signature's bytes."""

    HEX = "hex"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class HmacOptions(Options):
    """How the sender signs; the page of the configuration tells each."""

    header: str
    algorithm: Algorithm = Algorithm.SHA256
    encoding: Encoding = Encoding.HEX
    prefix: str = ""
    signed: str = "{body}"
    timestamp_header: str = ""
    url: str = ""
    event_id: str = ""

    def faults(self) -> Iterable[tuple[str, str]]:
        """Names that no header has, a template that cannot be filled, an id that cannot be found."""
        for key, name in (("header", self.header), ("timestamp_header", self.timestamp_header or "x")):
            if _TOKEN.fullmatch(name) is None:
                yield key, "must be the name of a header"
        parts = _PLACEHOLDER.findall(self.signed)
        rest = _PLACEHOLDER.sub("", self.signed)
        if parts.count("body") != 1 or not set(parts) <= {"body", "timestamp", "url"} or "{" in rest or "}" in rest:
            yield "signed", 'must have {body} once, and else {timestamp}, {url} and text, such as "{timestamp}.{body}"'
        for key, value, part in (("timestamp_header", self.timestamp_header, "timestamp"), ("url", self.url, "url")):
            if part in parts and not value:
                yield key, f"is required: `signed` has {{{part}}}"
            if value and part not in parts:
                yield key, f"is not signed: `signed` has no {{{part}}}"
        if self.event_id.startswith(_HEADER):
            if _TOKEN.fullmatch(self.event_id.removeprefix(_HEADER)) is None:
                yield "event_id", "must name a header behind header:"
        elif self.event_id and (fault := expression_fault(self.event_id)):
            yield "event_id", fault


class _Hmac(Provider):
    name = "hmac"
    default_fields = STANDARD.default_fields
    options = HmacOptions

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a secret, or None."""
        return mac.text_secret_fault(secret)

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Checks the signature, and the time where one is signed. Raises SignatureInvalid."""
        options = _options(source)
        given = _given(options, mac.header(headers, options.header.lower()))
        timestamp = b""
        if options.timestamp_header:
            timestamp = mac.header(headers, options.timestamp_header.lower())
            mac.check_time(timestamp, source, now)
        text = _text(options, timestamp, body)
        mac.check((hmac.digest(key, text, options.algorithm.value) for key in mac.keys(source)), [given])
        name = options.event_id.lower().removeprefix(_HEADER)
        return Delivery(storable(headers.get(name, "")) if options.event_id.startswith(_HEADER) else None)

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:
        """The headers. Raises ConfigurationError where the source has no secret."""
        options, secret = _options(source), mac.signing_secret(source)
        timestamp = str(int(now.timestamp()))
        digest = hmac.digest(secret.encode(), _text(options, timestamp.encode(), body), options.algorithm.value)
        shown = digest.hex() if options.encoding is Encoding.HEX else base64.b64encode(digest).decode()
        headers = {options.header: options.prefix + shown}
        if options.timestamp_header:
            headers[options.timestamp_header] = timestamp
        if options.event_id.startswith(_HEADER):
            headers[options.event_id.removeprefix(_HEADER)] = delivery_id
        return Signed(headers, body)

    def event_id_of(self, source: Source) -> str | None:
        """The expression, where the id is in the body."""
        expression = _options(source).event_id
        return None if not expression or expression.startswith(_HEADER) else expression


def _options(source: Source) -> HmacOptions:
    return cast("HmacOptions", source.options)


def _given(options: HmacOptions, value: bytes) -> bytes:
    """The signature's bytes. Raises SignatureInvalid."""
    prefix = options.prefix.encode()
    if not value.startswith(prefix):
        raise SignatureInvalid(f"the header {options.header.lower()} does not begin with the prefix of its signatures")
    text = value.removeprefix(prefix)
    try:
        return binascii.unhexlify(text) if options.encoding is Encoding.HEX else base64.b64decode(text, validate=True)
    except binascii.Error:
        sentence = f"the header {options.header.lower()} holds no signature in {options.encoding}"
        raise SignatureInvalid(sentence) from None


def _text(options: HmacOptions, timestamp: bytes, body: bytes) -> bytes:
    """What is signed. The pieces are put together in one pass: a body that holds a placeholder stays as it is."""
    pieces = {"body": body, "timestamp": timestamp, "url": options.url.encode()}
    split = _PLACEHOLDER.split(options.signed)  # text and names in turn
    return b"".join(pieces[part] if index % 2 else part.encode() for index, part in enumerate(split))


PROVIDER: Provider = _Hmac()
