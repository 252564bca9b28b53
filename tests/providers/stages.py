"""Each provider on stage: a source as its page of the documentation has it, and a payment as it would tell of one."""

import json
import re
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from app import providers
from app.providers import Delivery, Signed
from app.providers.reading import Reading, read
from app.settings import Settings, Source, load

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
NOW = datetime(2026, 1, 5, 9, 31, tzinfo=UTC)

PURCHASE = """
[agents.psp]
base_url = "https://psp.example"
[[sagas.purchase.steps]]
name = "payment"
undo = { agent = "psp", method = "POST", path = "/refunds" }
"""

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Script:
    """What the suite must know of a provider: its secrets, and where its sample has order, amount and currency."""

    secrets: tuple[str, str] = ("first secret", "second secret")
    order: Path_ = ("data", "order_id")
    amount: Path_ = ("data", "amount")
    currency: Path_ = ("data", "currency")
    decimal: bool = False
    time_is_signed: bool = False
    bytes_are_signed: bool = True


_STRIPE: Path_ = ("data", "object")
_ITEM: Path_ = ("notificationItems", 0, "NotificationRequestItem")
_SQUARE: Path_ = ("data", "object", "payment")
_MOLLIE: Path_ = ("_embedded", "entity")
_RAZORPAY: Path_ = ("payload", "payment", "entity")
_GENERIC = Script(secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2Vjb25kIHNlY3JldA=="), time_is_signed=True)

SCRIPTS = {
    "standard-webhooks": _GENERIC,
    "hmac": Script(time_is_signed=True),
    "stripe": Script(
        order=(*_STRIPE, "metadata", "order_id"),
        amount=(*_STRIPE, "amount_received"),
        currency=(*_STRIPE, "currency"),
        time_is_signed=True,
    ),
    "adyen": Script(
        secrets=("0f" * 32, "AB" * 32),
        order=(*_ITEM, "merchantReference"),
        amount=(*_ITEM, "amount", "value"),
        currency=(*_ITEM, "amount", "currency"),
        bytes_are_signed=False,
    ),
    "paypal": Script(
        order=("resource", "custom_id"),
        amount=("resource", "amount", "value"),
        currency=("resource", "amount", "currency_code"),
        decimal=True,
    ),
    "mollie": Script(
        order=(*_MOLLIE, "metadata", "order_id"),
        amount=(*_MOLLIE, "amount", "value"),
        currency=(*_MOLLIE, "amount", "currency"),
        decimal=True,
    ),
    "square": Script(
        order=(*_SQUARE, "reference_id"),
        amount=(*_SQUARE, "amount_money", "amount"),
        currency=(*_SQUARE, "amount_money", "currency"),
    ),
    "razorpay": Script(
        order=(*_RAZORPAY, "notes", "order_id"), amount=(*_RAZORPAY, "amount"), currency=(*_RAZORPAY, "currency")
    ),
    "shopify": Script(order=("name",), amount=("total_price",), currency=("currency",), decimal=True),
}


@dataclass(frozen=True)
class Stage:
    """One provider: a source with its first secret, one with its second, one with both; and a payment's body."""

    script: Script
    source: Source
    other: Source
    both: Source
    sample: bytes

    def with_(self, path: Path_, value: object) -> bytes:
        """The sample with one value of it replaced."""
        event = json.loads(self.sample)
        place = event
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return json.dumps(event).encode()

    def money(self, amount: object, currency: str) -> bytes:
        """The sample with another amount."""
        return replace(self, sample=self.with_(self.script.amount, amount)).with_(self.script.currency, currency)


def signed(source: Source, body: bytes, delivery_id: str = "msg_1", now: datetime = NOW) -> Signed:
    """A body as the source's provider would send it, its headers by their names in lower case."""
    sent = providers.provider(source.provider).sign(source, body, now, delivery_id)
    return Signed({name.lower(): value for name, value in sent.headers.items()}, sent.body)


def hear(source: Source, sent: Signed, now: datetime = NOW + timedelta(seconds=1)) -> list[Reading]:
    """What a source makes of a delivery. Raises SignatureInvalid, MalformedBody."""
    provider = providers.provider(source.provider)
    delivery: Delivery = provider.verify(source, sent.headers, sent.body, now)
    return [read(source, delivery, message) for message in provider.messages(sent.body)]


@cache
def stage_of(provider: str) -> Stage:
    """The stage of a provider."""
    script = SCRIPTS[provider]
    first, second = _configured(provider, 0), _configured(provider, 1)
    options: Any = first.options
    if provider == "paypal":
        options = replace(options, certificates=(*options.certificates, *_certificates_of(second)))
    both = replace(first, secrets=(*second.secrets, *first.secrets), options=options)
    return Stage(script, first, second, both, (ROOT / "samples" / f"{provider}.json").read_bytes())


def configuration_of(provider: str, which: int = 0) -> tuple[str, dict[str, str]]:
    """A configuration with the source that the provider's page shows, and its environment, with one of the secrets."""
    text = shown(provider)
    secret = SCRIPTS[provider].secrets[which]
    if provider == "paypal":
        secret, certificate = key_and_certificate(which)
        text = text.replace('"paypal.pem"', json.dumps(str(certificate))) + 'secrets = ["${PAYPAL_KEY}"]\n'
    return text + PURCHASE, dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), secret)


def settings_of(provider: str, which: int = 0) -> Settings:
    """That configuration, loaded."""
    text, environ = configuration_of(provider, which)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "makegood.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ, providers.known())


def shown(provider: str) -> str:
    """The lines of TOML on the provider's page."""
    (block,) = (
        block
        for block in re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if f'provider = "{provider}"' in block
    )
    return str(block)


def _configured(provider: str, which: int) -> Source:
    (source,) = settings_of(provider, which).sources.values()
    return source


def _certificates_of(source: Source) -> tuple[str, ...]:
    options: Any = source.options
    return tuple(options.certificates)


@cache
def key_and_certificate(which: int) -> tuple[str, Path]:
    """A private key in PEM, and a file with a certificate for it; `which` tells them apart."""
    key = generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"messageverificationcerts{which}.paypal.com")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(which + 1)
        .not_valid_before(NOW - timedelta(days=365))
        .not_valid_after(NOW + timedelta(days=3650))
        .sign(key, SHA256())
    )
    path = Path(tempfile.mkdtemp()) / f"paypal-{which}.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), path
