"""The keys that a provider has of its own: read by the types of its options, and faults as all others are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings, warnings
from tests.providers.stages import key_and_certificate

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

FIRST = 'provider = "standard-webhooks"\nsecrets = ["whsec_c2VjcmV0"]\n'
HMAC = 'provider = "hmac"\nsecrets = ["s"]\nheader = "X-Signature"\n'
PAYPAL = 'provider = "paypal"\nwebhook_id = "W"\n'


def test_options_are_read_with_their_defaults(small: Load) -> None:
    options: Any = small(FIRST, HMAC + 'algorithm = "sha512"\n').sources["shop"].options
    said = (options.header, options.algorithm, options.encoding, options.prefix, options.signed, options.event_id)
    assert said == ("X-Signature", "sha512", "hex", "", "{body}", "")


def test_a_value_may_come_from_the_environment(small: Load) -> None:
    lines = 'provider = "adyen"\nsecrets = []\nmerchant_account = "${ACCOUNT}"\n'
    options: Any = small(FIRST, lines, ACCOUNT="ShopECOM").sources["shop"].options
    assert options.merchant_account == "ShopECOM"


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (FIRST + 'url = "https://x.example"\n', "url: unknown key"),
        ('provider = "stripe"\nsecrets = ["s"]\nmerchant_account = "x"\n', "merchant_account: unknown key"),
        ('provider = "stripe"\nsecrets = [""]\n', "secrets[0]: is empty"),
        ('provider = "stripe"\nsecrets = ["s\\u0000"]\n', "secrets[0]: has a character that cannot be printed"),
        ('provider = "stripe"\nsecrets = ["s"]\nmode = "prod"\n', 'mode: must be one of live, test, not "prod"'),
        (
            'provider = "adyen"\nsecrets = ["x"]\nmerchant_account = "M"\n',
            "secrets[0]: must be the HMAC key: 64 hex digits",
        ),
        ('provider = "adyen"\nsecrets = []\n', "merchant_account: is required"),
        (
            'provider = "adyen"\nsecrets = []\nmerchant_account = "a:b"\n',
            "merchant_account: must be the code of the merchant account",
        ),
        (
            'provider = "adyen"\nsecrets = []\nmerchant_acount = "M"\nmerchant_account = "M"\n',
            'merchant_acount: unknown key (did you mean "merchant_account"?)',
        ),
        (
            'provider = "square"\nsecrets = ["s"]\nurl = "shop.example"\n',
            'url: must be the notification URL as registered, such as "https://shop.example/webhooks/square"',
        ),
        (PAYPAL + 'certificates = "x.pem"\n', "certificates: must be an array, not a string"),
        (PAYPAL + 'certificates = ["none.pem"]\n', "certificates[0]: cannot be read: No such file or directory"),
        (HMAC + 'algorithm = "md5"\n', 'algorithm: must be one of sha256, sha512, not "md5"'),
        (HMAC + "prefix = 1\n", "prefix: must be a string, not an integer"),
        (HMAC.replace("X-Signature", "X Signature"), "header: must be the name of a header"),
        (HMAC + 'signed = "{timestamp}.{body}"\n', "timestamp_header: is required: `signed` has {timestamp}"),
        (HMAC + 'timestamp_header = "X-Time"\n', "timestamp_header: is not signed: `signed` has no {timestamp}"),
        (HMAC + 'signed = "{url}{body}"\n', "url: is required: `signed` has {url}"),
        (HMAC + 'event_id = "header:"\n', "event_id: must name a header behind header:"),
        (HMAC + 'event_id = "a b"\n', "event_id: is no JMESPath expression: it breaks off or goes wrong at column 3"),
    ],
)
def test_what_is_wrong_with_a_source_is_told(faults: Faults, lines: str, fault: str) -> None:
    assert faults(FIRST, lines) == [f"sources.shop.{fault}"]


@pytest.mark.parametrize("signed", ["", "{timestamp}", "{body}{body}", "{body}{id}", "{body", "{body}}"])
def test_a_template_that_cannot_be_filled_is_told(faults: Faults, signed: str) -> None:
    told = faults(FIRST, HMAC + f'signed = "{signed}"\n')
    assert any(fault.startswith("sources.shop.signed: must have {body} once") for fault in told)


def test_a_file_without_a_certificate_is_told(faults: Faults, tmp_path: Path) -> None:
    path = tmp_path / "x.pem"
    path.write_text("no certificate")
    assert faults(FIRST, PAYPAL + f'certificates = ["{path}"]\n') == [
        "sources.shop.certificates[0]: holds no certificate in PEM"
    ]


def test_of_an_unknown_provider_only_the_provider_is_told(faults: Faults) -> None:
    """One mistake in a name is one fault: the keys that go with the right name are no faults of their own."""
    told = faults(FIRST, 'provider = "sqare"\nsecrets = ["s"]\nurl = "https://x.example"\n')
    assert [fault.split(":")[0] for fault in told] == ["sources.shop.provider"]


def test_a_source_that_needs_a_secret_and_has_none_is_warned_of(small: Load) -> None:
    loaded = small(FIRST, 'provider = "stripe"\nsecrets = []\n')
    assert "sources.shop.secrets: there is none, so every webhook is refused" in warnings(loaded)


def test_a_source_whose_options_suffice_needs_no_secret(small: Load) -> None:
    _, certificate = key_and_certificate(0)
    loaded = small(FIRST, PAYPAL + f'certificates = ["{certificate}"]\n')
    assert [line for line in warnings(loaded) if line.startswith("sources")] == []
