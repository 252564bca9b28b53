"""`makegood webhook sign|send`: what is printed or sent is what the source's provider accepts."""

import io
import sys
from pathlib import Path

import pytest

from app.cli.configuration import configured
from app.cli.webhooks import url_of
from app.clock import DatabaseClock
from app.providers import Signed, names, provider
from app.providers.reading import Payment
from app.settings import Server
from tests.cli.conftest import Makegood, Service
from tests.providers.stages import ROOT, configuration_of, hear

BODY = b'{"type":  "payment.received"}\n'


@pytest.fixture
def payment(tmp_path: Path) -> Path:
    path = tmp_path / "payment.json"
    path.write_bytes(BODY)
    return path


def accepted_id(config: Path, headers: dict[str, str]) -> str | None:
    source = configured(config, {}).sources["shop"]
    return provider(source.provider).verify(source, headers, BODY, DatabaseClock().wall()).delivery_id


def test_printed_headers_sign_the_file_byte_for_byte(makegood: Makegood, config: Path, payment: Path) -> None:
    said = makegood("webhook", "sign", "--config", str(config), "--source", "shop", "--id", "msg_7", str(payment))
    headers = dict(line.split(": ", 1) for line in said.out.splitlines())
    assert said.status == 0
    assert accepted_id(config, {name.lower(): value for name, value in headers.items()}) == "msg_7"


def test_standard_input_is_a_file_too(makegood: Makegood, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BODY)))
    said = makegood("webhook", "sign", "--config", str(config), "--source", "shop", "-")
    headers = dict(line.split(": ", 1) for line in said.out.splitlines())
    assert accepted_id(config, {name.lower(): value for name, value in headers.items()})


def test_send_posts_the_signed_file(makegood: Makegood, config: Path, payment: Path, service: Service) -> None:
    service.answer("POST", "/webhooks/shop", (202, {"status": "accepted"}))
    said = makegood("webhook", "send", "--config", str(config), "--source", "shop", str(payment))
    assert (said.status, said.out, said.err) == (0, '{"status": "accepted"}\n', "202 Accepted\n")
    assert service.asked[0].body == BODY
    assert accepted_id(config, service.asked[0].headers)


@pytest.mark.parametrize("name", names())
def test_a_sample_is_signed_and_sent_for_every_provider(
    makegood: Makegood, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is printed, and what is posted, is a payment to the provider's source; also where the body is signed."""
    text, environ = configuration_of(name)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    path = tmp_path / "makegood.toml"
    path.write_text(text, encoding="utf-8")
    (source,) = configured(path, environ).sources.values()
    service.answer("POST", f"/webhooks/{source.name}", (202, {"status": "accepted"}))
    sample = ROOT / "samples" / f"{name}.json"
    arguments = ["--config", str(path), "--source", source.name, str(sample)]
    assert makegood("webhook", "send", *arguments).status == 0
    [posted] = service.asked
    said = makegood("webhook", "sign", *arguments)
    assert said.status == 0
    headers = dict(line.split(": ", 1) for line in said.out.splitlines()) if posted.body == sample.read_bytes() else {}
    printed = (headers, posted.body if headers else said.out.encode())
    for given, body in ((posted.headers, posted.body), printed):
        sent = Signed({header.lower(): value for header, value in given.items()}, body)
        [reading] = hear(source, sent, DatabaseClock().wall())
        assert isinstance(reading, Payment)


def test_a_body_that_cannot_hold_its_signature_is_a_mistake(
    makegood: Makegood, tmp_path: Path, payment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, environ = configuration_of("adyen")
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    path = tmp_path / "makegood.toml"
    path.write_text(text, encoding="utf-8")
    said = makegood("webhook", "sign", "--config", str(path), "--source", "adyen", str(payment))
    assert said.status != 0
    assert "notificationItems" in said.err


def test_url_option_goes_before_the_environment(
    makegood: Makegood, config: Path, payment: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKEGOOD_URL", "http://127.0.0.1:1")
    service.answer("POST", "/webhooks/shop", (200, {"status": "duplicate"}))
    arguments = ["--config", str(config), "--url", service.url, "--source", "shop", str(payment)]
    assert makegood("webhook", "send", *arguments).status == 0


@pytest.mark.parametrize(("answered", "status"), [(401, 1), (413, 1), (404, 3), (400, 2), (503, 5)])
def test_refused_webhook_is_no_success(
    makegood: Makegood, config: Path, payment: Path, service: Service, answered: int, status: int
) -> None:
    service.answer("POST", "/webhooks/shop", (answered, {"detail": "no"}))
    assert makegood("webhook", "send", "--config", str(config), "--source", "shop", str(payment)).status == status


def test_service_that_is_not_there_is_unavailable(makegood: Makegood, config: Path, payment: Path) -> None:
    arguments = ["--config", str(config), "--source", "shop", "--url", "http://127.0.0.1:1", str(payment)]
    assert makegood("webhook", "send", *arguments).status == 5


def test_unknown_source_is_not_found(makegood: Makegood, config: Path, payment: Path) -> None:
    said = makegood("webhook", "sign", "--config", str(config), "--source", "shpo", str(payment))
    assert (said.status, said.out) == (3, "")
    assert '"shpo"' in said.err


def test_missing_file_is_a_mistake(makegood: Makegood, config: Path) -> None:
    said = makegood("webhook", "sign", "--config", str(config), "--source", "shop", str(config.parent / "none.json"))
    assert (said.status, "none.json" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (Server(), "http://127.0.0.1:8080"),
        (Server(host="0.0.0.0", port=80), "http://127.0.0.1:80"),  # noqa: S104 - nothing is bound
        (Server(host="::", port=80), "http://[::1]:80"),
        (Server(host="fd00::1", port=80), "http://[fd00::1]:80"),
    ],
)
def test_service_is_reached_from_this_machine(server: Server, url: str) -> None:
    assert url_of(server) == url
