"""Which certificate may have signed for PayPal: given, with its chain, or fetched from PayPal's own place."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.errors import SignatureInvalid
from app.providers import Delivery, Signed
from app.providers.paypal import certificate_needed, verify_fetched
from app.providers.paypal.certificates import MOST_CERTIFICATES, certificate_url
from app.providers.reading import Payment
from app.settings import Source
from tests.providers.authority import LEAF, Issued, issued
from tests.providers.stages import NOW, hear, signed, stage_of

URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-7a8bba74"

ROOT = issued("Root", authority=True)
BETWEEN = issued("Between", ROOT, authority=True)
SIGNER = issued(LEAF, BETWEEN)


def source_with(folder: Path, *given: Issued) -> Source:
    """A source that is given these certificates, and the leaf's key to sign with."""
    files = []
    for number, each in enumerate(given):
        path = folder / f"{len(list(folder.iterdir()))}-{number}.pem"
        path.write_bytes(each.pem)
        files.append(str(path))
    source = stage_of("paypal").source
    options: Any = source.options
    key = SIGNER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return replace(source, secrets=(key,), options=replace(options, certificates=tuple(files)))


def delivery(source: Source, url: str = URL) -> Signed:
    sent = signed(source, stage_of("paypal").sample)
    return replace(sent, headers={**sent.headers, "paypal-cert-url": url})


def needed(source: Source, sent: Signed) -> str | None:
    return certificate_needed(source, sent.headers, sent.body, NOW)


def fetched(source: Source, sent: Signed, *pem: Issued) -> Delivery:
    return verify_fetched(source, sent.headers, sent.body, NOW, b"".join(each.pem for each in pem))


GIVEN: list[Sequence[Issued]] = [
    [SIGNER],
    [SIGNER, BETWEEN],
    [ROOT, BETWEEN, SIGNER],
    [SIGNER, issued("Elsewhere", authority=True)],
]


@pytest.mark.parametrize("given", GIVEN)
def test_a_leaf_that_is_given_checks_with_or_without_its_chain(tmp_path: Path, given: Sequence[Issued]) -> None:
    source = source_with(tmp_path, *given)
    sent = delivery(source, "http://127.0.0.1:1/x")
    assert isinstance(hear(source, sent)[0], Payment)
    assert needed(source, sent) is None


@pytest.mark.parametrize("over", ["Root", "Between", LEAF])
@pytest.mark.parametrize("early", [True, False])
def test_a_chain_with_a_link_that_is_not_valid_now_checks_nothing(tmp_path: Path, over: str, *, early: bool) -> None:
    def times(name: str) -> dict[str, Any]:
        off = {"begin": NOW + timedelta(days=1)} if early else {"end": NOW - timedelta(days=1)}
        return off if name == over else {}

    root = issued("Root", authority=True, **times("Root"))
    between = issued("Between", root, authority=True, **times("Between"))
    leaf = issued(LEAF, between, **times(LEAF))
    source = source_with(tmp_path, root, between, leaf)
    with pytest.raises(SignatureInvalid, match="no valid certificate"):
        hear(source, delivery(source))


def test_two_authorities_that_vouch_for_each_other_are_no_end(tmp_path: Path) -> None:
    first, second = issued("First", authority=True), issued("Second", authority=True)
    crossed = [issued("First", second, authority=True), issued("Second", first, authority=True)]
    source = source_with(tmp_path, *crossed, issued(LEAF, first))
    with pytest.raises(SignatureInvalid, match="no valid certificate"):
        hear(source, delivery(source))


def test_where_none_is_given_it_is_fetched_and_its_host_vouches_for_it(tmp_path: Path) -> None:
    source = source_with(tmp_path)
    sent = delivery(source)
    with pytest.raises(SignatureInvalid, match="no valid certificate"):
        hear(source, sent)
    assert needed(source, sent) == URL
    assert fetched(source, sent, SIGNER) == Delivery(None)
    assert fetched(source, sent, SIGNER, BETWEEN, ROOT) == Delivery(None)


def test_what_was_fetched_must_lead_to_an_authority_that_is_given(tmp_path: Path) -> None:
    for given in ([ROOT], [ROOT, BETWEEN], [BETWEEN]):
        source = source_with(tmp_path, *given)
        sent = delivery(source)
        assert needed(source, sent) == URL
        assert fetched(source, sent, SIGNER, BETWEEN) == Delivery(None)
        alone = given == [ROOT]  # with what lies between not given, and not sent
        if alone:
            with pytest.raises(SignatureInvalid, match="by no authority"):
                fetched(source, sent, SIGNER)
        else:
            assert fetched(source, sent, SIGNER) == Delivery(None)
    source = source_with(tmp_path, issued("Elsewhere", authority=True))
    with pytest.raises(SignatureInvalid, match="by no authority"):
        fetched(source, delivery(source), SIGNER, BETWEEN, ROOT)


def test_only_an_authority_can_lie_between(tmp_path: Path) -> None:
    """Trap: whoever has any certificate of an authority's could issue PayPal's with it."""
    somebody = issued("somebody.example", ROOT)
    forged = issued(LEAF, somebody)
    source = source_with(tmp_path, ROOT)
    with pytest.raises(SignatureInvalid, match="by no authority"):
        fetched(source, delivery(source), forged, somebody, ROOT)


@pytest.mark.parametrize("name", ["paypal.com.example", "evilpaypal.com", "paypal.com", "x.paypal.com.", ""])
def test_what_was_fetched_must_be_of_paypals_name(tmp_path: Path, name: str) -> None:
    source = source_with(tmp_path)
    named = issued(name or "x", BETWEEN)
    with pytest.raises(SignatureInvalid, match="is not PayPal's"):
        fetched(source, delivery(source), named)


def test_what_was_fetched_must_be_valid_now_and_must_have_signed(tmp_path: Path) -> None:
    source = source_with(tmp_path)
    sent = delivery(source)
    day = timedelta(days=1)
    for leaf in (issued(LEAF, BETWEEN, begin=NOW + day), issued(LEAF, BETWEEN, end=NOW - day)):
        with pytest.raises(SignatureInvalid, match="not valid now"):
            fetched(source, sent, leaf)
    with pytest.raises(SignatureInvalid, match="not by the certificate"):
        fetched(source, sent, issued("other.paypal.com"))
    with pytest.raises(SignatureInvalid, match="not by the certificate"):
        fetched(source, replace(sent, body=sent.body + b" "), SIGNER)


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(tmp_path: Path, pem: bytes) -> None:
    source = source_with(tmp_path)
    sent = delivery(source)
    with pytest.raises(SignatureInvalid, match="holds no certificate"):
        verify_fetched(source, sent.headers, sent.body, NOW, pem)


def test_more_certificates_than_a_chain_has_are_refused(tmp_path: Path) -> None:
    source = source_with(tmp_path)
    with pytest.raises(SignatureInvalid, match="more than"):
        fetched(source, delivery(source), SIGNER, *[BETWEEN] * MOST_CERTIFICATES)


def test_what_is_malformed_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    source = source_with(tmp_path)
    sent = delivery(source)
    for name in ("paypal-transmission-sig", "paypal-auth-algo", "paypal-transmission-id", "paypal-cert-url"):
        without = {other: value for other, value in sent.headers.items() if other != name}
        with pytest.raises(SignatureInvalid, match=name):
            needed(source, replace(sent, headers=without))


@pytest.mark.parametrize(
    "url",
    [
        URL,
        URL.replace("api.", "api.sandbox."),
        URL.replace(".com/", ".com:443/"),
    ],
)
def test_paypals_own_places_are_known(url: str) -> None:
    assert certificate_url({"paypal-cert-url": url}) == url


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("https", "http"),
        URL.replace(".com/", ".com:80/"),
        URL.replace(".com/", ".com:99999/"),
        URL.replace(".com/", ".com:x/"),
        URL.replace("api.paypal.com", "api.paypal.com.example"),
        URL.replace("api.paypal.com", "evil.example"),
        URL.replace("api.paypal.com", "www.paypal.com"),
        URL.replace("api.paypal.com", "api.paypal.com@evil.example"),
        URL.replace("api.paypal.com", "evil@api.paypal.com"),
        URL.replace("api.paypal.com", "evil:x@api.paypal.com"),
        URL.replace("api.paypal.com", "API.paypal.com"),
        URL.replace("api.paypal.com", "api.paypal.com."),
        URL.replace("api.paypal.com", "[::1]"),
        URL.replace("api.paypal.com", "[api.paypal.com"),
        URL.replace("api.paypal.com", "api.paypal.com\\.evil.example"),
        URL + "?x=1",
        URL + "?",
        URL + "#x",
        URL + "#",
        URL + "/../../x",
        URL.replace("CERT-", "..%2f"),
        URL.replace("/v1/notifications/certs/", "/v1/oauth2/token/"),
        URL.replace("CERT", "C\u00e9RT"),
        " " + URL,
        URL + "\n",
        URL.replace("api", "a\tpi"),
        "//api.paypal.com/v1/notifications/certs/CERT-1",
        "x",
    ],
)
def test_no_other_place_is(url: str) -> None:
    with pytest.raises(SignatureInvalid, match="names no certificate of PayPal's"):
        certificate_url({"paypal-cert-url": url})
