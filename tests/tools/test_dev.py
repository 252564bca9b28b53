"""The set-up and its targets, in a made-up checkout whose every program is a few lines of shell."""

import hashlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools import dev

ROOT = Path(__file__).resolve().parents[2]

# Answers the question for its version as a new Python does, and else says how it was called.
PYTHON = """
case "$1" in
    -c) exit 0 ;;
    *) echo "$@" ;;
esac
"""


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is set up already: each stamp holds the digest of what was installed."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "dev.py", tmp_path / "tools")
    program(tmp_path / ".venv/bin/python", PYTHON)
    for name in ("ruff", "lint-imports", "deptry"):
        program(tmp_path / ".venv/bin" / name, "exit 0")
    for name in ("requirements/dev.lock", "requirements/bench.lock", "pyproject.toml"):
        source = tmp_path / name
        source.parent.mkdir(exist_ok=True)
        source.write_text(name, encoding="utf-8")
        stamp = tmp_path / ".venv" / f"{source.name}.sha256"
        stamp.write_text(hashlib.sha256(name.encode()).hexdigest(), encoding="ascii")
    return tmp_path


def call(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "tools/dev.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_run_hands_its_arguments_to_the_demo(checkout: Path) -> None:
    ended = call(checkout, "run", "--once", "--port", "0")
    assert (ended.returncode, ended.stdout) == (0, "-m app demo --once --port 0\n")


def test_signals_reach_the_service_itself(checkout: Path) -> None:
    program(checkout / ".venv/bin/python", PYTHON.replace('echo "$@"', 'trap "exit 7" TERM; echo up; cat; exit 1'))
    command = [sys.executable, str(checkout / "tools/dev.py"), "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdin is not None
        assert running.stdout.readline() == "up\n"
        running.send_signal(signal.SIGTERM)
        running.stdin.close()  # the shell ends its `cat` before it looks at the signal
        assert running.wait(timeout=60) == 7


def test_check_shows_every_failure_and_ends_non_zero(checkout: Path) -> None:
    program(checkout / ".venv/bin/deptry", "echo too many; exit 1")
    program(checkout / ".venv/bin/lint-imports", "echo wrong way; exit 3")
    ended = call(checkout, "check")
    assert ended.returncode == 1
    assert "too many" in ended.stdout
    assert "wrong way" in ended.stdout
    assert ended.stdout.endswith("Failed: imports, dependencies, openapi.\n")


def test_openapi_drift_is_shown_with_the_command_that_ends_it(checkout: Path) -> None:
    (checkout / "openapi").mkdir()
    document = checkout / "openapi/openapi.json"
    document.write_text("-m app openapi\n", encoding="utf-8")
    assert call(checkout, "openapi-drift").returncode == 0
    document.write_text("as it was\n", encoding="utf-8")
    ended = call(checkout, "openapi-drift")
    assert ended.returncode == 1
    assert "-as it was\n+-m app openapi\n" in ended.stdout
    assert "> openapi/openapi.json" in ended.stdout


def test_tests_run_even_where_a_check_fails_and_the_whole_fails_then(checkout: Path) -> None:
    ended = call(checkout, "test", "-k", "saga")
    assert ended.returncode == 1
    assert re.search(r"^-m pytest -n \d+ --dist \w+ -k saga$", ended.stdout, re.MULTILINE)


def test_lock_is_installed_again_only_when_it_has_changed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(checkout / "bin/uv", f'echo "$@" >>{checkout}/installed')
    monkeypatch.setenv("PATH", str(checkout / "bin"), prepend=":")
    call(checkout, "run")
    assert not (checkout / "installed").exists()
    (checkout / "requirements/dev.lock").write_text("another", encoding="utf-8")
    call(checkout, "run")
    call(checkout, "run")
    (line,) = (checkout / "installed").read_text(encoding="utf-8").splitlines()
    assert line.endswith(f"--require-hashes -r {checkout}/requirements/dev.lock")


def test_the_bench_gets_its_arguments_and_what_only_it_needs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(checkout / "bin/uv", f'echo "$@" >>{checkout}/installed')
    monkeypatch.setenv("PATH", str(checkout / "bin"), prepend=":")
    (checkout / "requirements/bench.lock").write_text("another", encoding="utf-8")
    for _ in range(2):
        ended = call(checkout, "bench", "--quick")
        assert (ended.returncode, ended.stdout) == (0, "-m bench --quick\n")
    (line,) = (checkout / "installed").read_text(encoding="utf-8").splitlines()
    assert line.endswith(f"--require-hashes -r {checkout}/requirements/bench.lock")


def test_failed_installation_is_named_and_tried_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(checkout / "bin/uv", "exit 5")
    monkeypatch.setenv("PATH", str(checkout / "bin"), prepend=":")
    (checkout / "requirements/dev.lock").write_text("another", encoding="utf-8")
    for _ in range(2):
        ended = call(checkout, "run")
        assert ended.returncode == 1
        assert "ended with status 5" in ended.stderr


def test_old_python_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dev, "OLDEST", (99, 0))
    with pytest.raises(dev.SetupError, match=r"Python 99\.0 or later is needed, .*apt install python3"):
        dev._find_python()


def test_missing_ensurepip_is_told_with_the_package_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "python3.11", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3.11"))
    monkeypatch.setattr(dev, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(dev.SetupError, match="apt install python3-venv"):
        dev._make_venv()


def test_unknown_target_is_refused_with_the_list(checkout: Path) -> None:
    ended = call(checkout, "rnu")
    assert ended.returncode == 2
    assert "no target 'rnu'" in ended.stderr
    assert "make TARGET" in ended.stdout


def test_clean_removes_what_was_made_and_leaves_the_data(checkout: Path) -> None:
    for made in ("data", "build", "app/__pycache__"):
        (checkout / made).mkdir(parents=True)
    assert call(checkout, "clean").returncode == 0
    assert sorted(path.name for path in checkout.iterdir()) == [
        "app",
        "data",
        "pyproject.toml",
        "requirements",
        "tools",
    ]
    assert list((checkout / "app").iterdir()) == []


def test_makefile_and_help_name_the_same_targets() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    helped = subprocess.run(["make"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert re.findall(r"^  (\w+)  ", helped, re.MULTILINE) == phony.split()
