"""The command line, run as a person runs it, and a stand-in for the service that its commands speak to."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from app.cli import main

CONFIG = """
[[api_keys]]
name = "shop"
scope = "read"
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

[sources.shop]
provider = "standard-webhooks"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
saga = "purchase"

[agents.psp]
base_url = "http://127.0.0.1:1"

[sagas.purchase]

[[sagas.purchase.steps]]
name = "payment"
undo = { agent = "psp", method = "POST", path = "/refunds" }
"""


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


Makegood = Callable[..., Said]


@pytest.fixture
def makegood(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Makegood:
    """Runs the command line in this process."""
    for name in ("MAKEGOOD_CONFIG", "MAKEGOOD_URL", "MAKEGOOD_KEY", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["makegood", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        said = capsys.readouterr()
        return Said(code if isinstance(code, int) else int(code is not None), said.out, said.err)

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "makegood.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Asked:
    """One request that the stand-in got."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """Answers by a table; an unknown path is a problem with status 404."""

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, method: str, path: str, *answers: tuple[int, Any]) -> None:
        """Says what a path is answered with, one after the other; the last one stays."""
        self.answers[method, path] = list(answers)

    def take(self, asked: Asked) -> tuple[int, Any]:
        self.asked.append(asked)
        answers = self.answers.get((asked.method, asked.path))
        if answers is None:
            return 404, {"code": "not-found", "detail": f"there is no {asked.path}"}
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, makegood: Makegood) -> Iterator[Service]:
    """A stand-in for the service on a port of its own, which the environment names."""
    standing = Service()

    class Handler(BaseHTTPRequestHandler):
        def answer_any(self) -> None:
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, split.path, parse_qsl(split.query), headers, body)
            status, value = standing.take(asked)
            sent = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def do_GET(self) -> None:
            self.answer_any()

        def do_POST(self) -> None:
            self.answer_any()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
            """The tests read what was asked, not a log."""

    del makegood  # it has cleared the environment first
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        standing.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MAKEGOOD_URL", standing.url)
        monkeypatch.setenv("MAKEGOOD_KEY", "mg_secret")
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield standing
        server.shutdown()
        serving.join()
