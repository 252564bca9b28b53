"""Shopify's own library as a judge. It is for Node: `tests/oracles/shopify` asks it, and is installed once per lock."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import SignatureInvalid
from app.providers import Signed
from app.providers.reading import Payment
from tests.providers.stages import NOW, ROOT, hear, signed, stage_of

ORACLE = ROOT / "tests" / "oracles" / "shopify"
INSTALLED = ROOT / ".oracles"
ODD = '{"note": "grün ☃ \\u00e9 \\" </x>"}'.encode()
# What Shopify sends beside what counts here, and its library insists on: which shop, which version, which delivery.
INSISTED = {
    "x-shopify-shop-domain": "shop.myshopify.com",
    "x-shopify-api-version": "2026-01",
    "x-shopify-webhook-id": "b-1",
}

Ask = Callable[..., list[dict[str, Any]]]

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="needs node and npm, for Shopify's own library"
)


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Puts questions to the library, and returns its answers in their order."""
    folder = installed()

    def asked(*questions: dict[str, Any]) -> list[dict[str, Any]]:
        lines = "".join(f"{json.dumps(question)}\n" for question in questions)
        command = ["node", "sign.mjs"]
        ended = subprocess.run(command, cwd=folder, input=lines.encode(), capture_output=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr.decode()
        answers = [json.loads(line) for line in ended.stdout.splitlines()]
        assert len(answers) == len(questions)
        return answers

    return asked


def installed() -> Path:
    """The folder of the library, installed by its lock. Two workers may both install it: the first to be done counts."""
    files = b"".join(path.read_bytes() for path in sorted(ORACLE.iterdir()) if path.is_file())
    ready = INSTALLED / f"shopify-{hashlib.sha256(files).hexdigest()[:16]}"
    if ready.exists():
        return ready
    INSTALLED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=INSTALLED) as made:
        folder = Path(made) / "shopify"
        shutil.copytree(ORACLE, folder, ignore=shutil.ignore_patterns("node_modules"))
        npm = [str(shutil.which("npm")), "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
        ended = subprocess.run(npm, cwd=folder, capture_output=True, timeout=300, check=False)
        assert ended.returncode == 0, ended.stderr.decode()
        try:
            folder.rename(ready)
        except OSError:
            if not ready.exists():  # no other worker was first: something else is wrong
                raise
    return ready


def question(sent: Signed, secret: str, *, body: bytes | None = None) -> dict[str, Any]:
    """Whether the library accepts a delivery, or another body in its place."""
    return {
        "verify": (sent.body if body is None else body).decode(),
        "secret": secret,
        "headers": {**sent.headers, **INSISTED},
    }


def test_shopify_accepts_what_is_signed_here(ask: Ask) -> None:
    stage = stage_of("shopify")
    (secret,) = stage.source.secrets
    answers = ask(*(question(signed(stage.source, body), secret) for body in (stage.sample, ODD)))
    for answer in answers:
        assert answer["valid"], answer
        assert (answer["topic"], answer["eventId"], answer["webhookId"]) == ("ORDERS_PAID", "msg_1", "b-1")


def test_shopify_refuses_another_body_and_another_secret(ask: Ask) -> None:
    stage = stage_of("shopify")
    (first,), (second,) = stage.source.secrets, stage.other.secrets
    sent = signed(stage.source, stage.sample)
    changed = stage.with_(stage.script.amount, "0.01")
    answers = ask(question(sent, first, body=changed), question(sent, second), question(sent, first))
    assert answers[:2] == [{"valid": False, "reason": "invalid_hmac"}] * 2
    assert answers[2]["valid"]


@pytest.mark.parametrize("family", ["x-", ""])
def test_what_shopify_signs_is_accepted(ask: Ask, family: str) -> None:
    stage = stage_of("shopify")
    (first,), (second,) = stage.source.secrets, stage.other.secrets
    wanted = ({"sign": stage.sample.decode(), "secret": secret} for secret in (first, second))
    signature, rolled = (
        {f"{family}shopify-hmac-sha256": answer["signature"], f"{family}shopify-topic": "orders/paid"}
        for answer in ask(*wanted)
    )
    for source, headers in ((stage.source, signature), (stage.both, signature), (stage.both, rolled)):
        [reading] = hear(source, Signed(headers, stage.sample), NOW)
        assert isinstance(reading, Payment)
    sent = Signed(signature, stage.sample)
    for refused in (replace(sent, body=stage.with_(stage.script.amount, "0.01")), replace(sent, headers=rolled)):
        with pytest.raises(SignatureInvalid, match="no signature is by a secret of this source"):
            hear(stage.source, refused, NOW)
