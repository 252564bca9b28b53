"""`makegood check`: every fault a line, and nothing said of a good file but ok."""

from pathlib import Path

import pytest

from tests.cli.conftest import CONFIG, Makegood


def test_good_file_is_ok(makegood: Makegood, config: Path) -> None:
    said = makegood("check", "--config", str(config))
    assert (said.status, said.out) == (0, "ok\n")


def test_faults_come_all_at_once_a_line_each(makegood: Makegood, config: Path) -> None:
    config.write_text("surprise = 1\n" + CONFIG.replace('agent = "psp"', 'agent = "spp"'), encoding="utf-8")
    said = makegood("check", "--config", str(config))
    assert (said.status, said.out) == (2, "")
    assert len(said.err.splitlines()) == 2
    assert 'sagas.purchase.steps[0].undo.agent: no agent named "spp"' in said.err
    assert "surprise" in said.err


def test_warnings_are_told_and_the_file_is_ok(makegood: Makegood, config: Path) -> None:
    text = CONFIG.replace('base_url = "http://127.0.0.1:1"', 'base_url = "http://127.0.0.1:1"\nin_flight = "1s"')
    config.write_text(text, encoding="utf-8")
    said = makegood("check", "--config", str(config))
    assert (said.status, said.out) == (0, "ok\n")
    assert said.err.startswith("warning: agents.psp.in_flight: ")


def test_file_is_found_by_the_environment(makegood: Makegood, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEGOOD_CONFIG", str(config))
    assert makegood("check").status == 0


def test_missing_file_is_a_fault(makegood: Makegood, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = makegood("check")
    assert (said.status, len(said.err.splitlines())) == (2, 1)
    assert "makegood.toml" in said.err


@pytest.mark.parametrize("arguments", [["chekc"], ["check", "--confg", "x"], ["serve", "--role", "boss"]])
def test_usage_that_is_none_is_status_2(makegood: Makegood, arguments: list[str]) -> None:
    said = makegood(*arguments)
    assert (said.status, said.out) == (2, "")
    assert said.err


def test_version_is_printed(makegood: Makegood) -> None:
    said = makegood("--version")
    assert (said.status, said.out.split()[0]) == (0, "makegood")
