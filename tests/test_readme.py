"""The README and the pages beside it tell the truth: what they show is run, loaded, or compared with the code."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from app import providers, settings
from app.cli import app
from app.cli.configuration import check
from app.cli.status import ExitStatus
from app.providers.refunds import Refunds
from app.saga.definition import DEFAULT_RETRY, DEFAULT_UNDO_RETRY, RetryPolicy, Saga
from app.settings.durations import duration
from app.settings.model import Agent, ApiKey, Database, Fields, Retention, Server, Source, Worker
from tests.cli.process import environment, running
from tests.providers.stages import SCRIPTS, settings_of, shown

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
PROVIDERS = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")

NO_OPERATION = "00000000-0000-0000-0000-000000000000"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# --- what is shown can be used ---


@pytest.mark.parametrize("toml", [block for text in (README, CONFIGURATION) for block in blocks(text, "toml")])
def test_configuration_that_is_shown_has_no_fault_and_no_warning(toml: str, tmp_path: Path) -> None:
    shown = tomllib.loads(toml)
    text = toml
    if "provider" not in next(iter(shown.get("sources", {"": {"provider": ""}}).values())):
        text += '[sources.shop]\nprovider = "standard-webhooks"\nsecrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]\n'
        text += 'saga = "purchase"\n[[sagas.purchase.steps]]\nname = "payment"\nundo = { agent = "psp", path = "/", method = "POST" }\n'
    for agent in set(re.findall(r'agent = "(\w+)"', text)) - set(shown.get("agents", {})):
        text += f'[agents.{agent}]\nbase_url = "https://{agent}.example"\n'
    path = tmp_path / "makegood.toml"
    path.write_text(text, encoding="utf-8")
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", toml), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    loaded = settings.load(path, environ, providers.known())
    assert [line for line in settings.warnings(loaded) if not line.startswith("sources: there is none")] == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="the quick start is pasted into a shell with curl")
def test_first_payment_can_be_pasted(tmp_path: Path) -> None:
    first, second = blocks(README.split("\n## A first payment\n")[1], "sh")[:2]
    with running("demo", "--data-dir", ".makegood", cwd=tmp_path) as demo:
        url = demo.url()
        demo.until("API keys")
        key = demo.until("operate").split()[-1]
        env = environment({"MAKEGOOD_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})

        def paste(text: str) -> str:
            command = ["bash", "-e", "-u", "-o", "pipefail", "-c", text.replace("http://127.0.0.1:8080", url)]
            return subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout

        answers = [paste(first), paste(first)]
        assert [re.findall(r"HTTP/1.1 (\d+)", answer) for answer in answers] == [["202"], ["200"]]
        assert '"duplicate"' in answers[1]
        operation = re.findall(r"location: /operations/(\S+)", answers[0], re.IGNORECASE)[0]
        shown = paste(second.replace("mg_...", key).replace(NO_OPERATION, f"{operation} --wait 20"))
        assert "succeeded" in shown
        assert demo.terminate() == 0


def test_json_that_is_shown_is_json() -> None:
    shown = [json.loads(block) for text in (README, CONFIGURATION) for block in blocks(text, "json")]
    assert {"operation_id", "results", "event"} <= shown[0].keys()


def test_python_that_is_shown_compiles_and_imports_what_there_is() -> None:
    for block in blocks(CONFIGURATION, "python"):
        names: dict[str, Any] = {}
        exec(compile(block, "docs/configuration.md", "exec"), names)  # noqa: S102 - our own page
        assert names["reserve"].__name__ == "reserve"


# --- what there is is shown ---


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    found = getattr(command, "commands", None)
    if not found:
        yield path, command
        return
    for name, below in found.items():
        yield from commands(below, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app), "makegood"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_documented(command: str) -> None:
    options = [option for parameter in COMMANDS[command].params for option in parameter.opts if option[0] == "-"]
    assert command in COMMAND_LINE
    assert [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", COMMAND_LINE)] == []


@pytest.mark.parametrize("status", ExitStatus)
def test_every_exit_status_is_documented(status: ExitStatus) -> None:
    assert f"| {status.value} |" in COMMAND_LINE


# The names in the file, where the code has another one.
SPELLED = {"payment_events": "payment_event", "undo_needed": "undo", "open": "breaker"}
TABLES = (Server, Database, Worker, Retention, ApiKey, Source, Fields, Agent, Saga, RetryPolicy)


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_is_documented(table: type[Any]) -> None:
    names = {SPELLED.get(field.name, field.name) for field in dataclasses.fields(table)}
    kept_elsewhere = {"limits"}  # of a saga: they are its agents'
    missing = [name for name in names - kept_elsewhere if not re.search(rf"\b{name}\b", CONFIGURATION)]
    assert missing == []


def documented_defaults(heading: str) -> dict[str, Any]:
    section = CONFIGURATION.split(f"## `[{heading}]`\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `([^|]+)` \|", section, re.MULTILINE)
    return {name: tomllib.loads(f"value = {default}")["value"] for name, default in rows}


def spoken(value: Any) -> Any:
    """A documented default as the code has it."""
    if isinstance(value, str) and re.fullmatch(r"\d+(ms|s|m|h|d)", value):
        return duration(value)
    return {name: spoken(part) for name, part in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("heading", "default"),
    [
        ("server", Server()),
        ("database", Database()),
        ("worker", Worker()),
        ("retention", Retention()),
        ("agents.NAME", Agent("", "")),
    ],
)
def test_documented_defaults_are_the_codes(heading: str, default: Any) -> None:
    said = documented_defaults(heading)
    assert said
    for name, value in said.items():
        meant = getattr(default, name)
        kept = dataclasses.asdict(meant) if dataclasses.is_dataclass(meant) and not isinstance(meant, type) else meant
        assert spoken(value) == (str(kept) if isinstance(kept, Path) else kept), name


@pytest.mark.parametrize(("name", "policy"), [("retry", DEFAULT_RETRY), ("undo_retry", DEFAULT_UNDO_RETRY)])
def test_documented_retry_policies_are_the_codes(name: str, policy: RetryPolicy) -> None:
    found = re.search(rf"^\| `{name}` \| `([^|]+)` \|", CONFIGURATION, re.MULTILINE)
    assert found is not None
    assert spoken(tomllib.loads(f"value = {found[1]}")["value"]) == dataclasses.asdict(policy)


def rows(heading: str) -> list[list[str]]:
    """The cells of the README's table whose heading begins so."""
    table = README.split(f"\n| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def lines(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# By the provider's name: the lines of its source and of its agent; and what it can do.
SHOWN = {tomllib.loads(lines(row[1])[0])["provider"]: (lines(row[1]), lines(row[2])) for row in rows("provider")}
ABLE = {row[0].strip("`"): row[1:] for row in rows("`provider`")}


@pytest.mark.parametrize("name", SHOWN)
def test_the_lines_of_a_provider_in_the_readme_pass_the_check(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a saga around them, and with all that the README says the provider can do."""
    source, agent = SHOWN[name]
    refund, reconcile = ABLE[name][1] == "yes", ABLE[name][3] == "yes"
    undo = f'refund = "{name}"' if refund else 'method = "POST", path = "/refunds"'
    asked = ['api = "psp"', 'reconcile = { every = "6h", since = "24h" }'] if reconcile else []
    text = ["[sources.shop]", *source, 'saga = "purchase"', *asked]
    text += ["[agents.psp]", *(agent or ['base_url = "https://psp.example"'])]
    text += ["[[sagas.purchase.steps]]", 'name = "payment"', f'undo = {{ agent = "psp", {undo} }}']
    path = tmp_path / "makegood.toml"
    path.write_text("\n".join(text).replace('"whsec_..."', '"${SECRET}"'), encoding="utf-8")
    for variable in {"SECRET", *re.findall(r"\$\{(\w+)\}", path.read_text(encoding="utf-8"))}:
        monkeypatch.setenv(variable, SCRIPTS[name].secrets[0])
    check(path)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("ok\n", "")


@pytest.mark.parametrize("name", ABLE)
def test_what_the_readme_says_a_provider_can_do_is_what_it_can(name: str) -> None:
    there = providers.provider(name)
    _, refund, result, reconcile = ABLE[name]
    assert (refund == "yes") == (there.refunds is not None) == bool(SHOWN[name][1])
    has_list = there.refunds is not None and type(there.refunds).search is not Refunds.search
    assert ("the list" in result) == has_list
    assert (reconcile == "yes") == (there.payments is not None)


def test_every_provider_is_in_the_readme_and_has_a_page_and_a_sample() -> None:
    assert sorted(SHOWN) == sorted(ABLE) == providers.names()
    for name in providers.names():
        assert f"## `{name}`\n" in PROVIDERS, name
        assert (ROOT / "samples" / f"{name}.json").is_file(), name


@pytest.mark.parametrize("name", providers.names())
def test_a_provider_as_its_page_shows_it_has_no_fault_and_no_warning(name: str) -> None:
    loaded = settings_of(name)
    assert [source.provider for source in loaded.sources.values()] == [name]
    assert [line for line in settings.warnings(loaded) if line.startswith("sources")] == []
    for field in dataclasses.fields(providers.provider(name).options):
        assert (
            re.search(rf"^{field.name} = ", shown(name), re.MULTILINE)
            or f"`{field.name}`" in PROVIDERS
            or (field.name == "url" and "url = " in shown(name))
        ), field.name


def test_documented_fields_are_those_of_standard_webhooks() -> None:
    (block,) = (block for block in blocks(CONFIGURATION, "toml") if "fields" in block)
    fields = tomllib.loads(block)["sources"]["shop"]["fields"]
    said = {**fields, "payment_events": frozenset([fields.pop("payment_event")])}
    del said["payment_event"]
    assert said == dataclasses.asdict(providers.provider("standard-webhooks").default_fields)
