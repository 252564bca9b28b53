"""Sets up this checkout and runs its targets: `python3 tools/dev.py TARGET [ARGS]`, which is all that the Makefile does.

It needs a Python and nothing else. Everything it makes lies in this folder; only the installer keeps its downloads
in its own cache. An old Python must still be able to read this file, to be told what to do: it keeps to Python 3.7.
"""

from __future__ import annotations

import concurrent.futures
import difflib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
LOCKS = ROOT / "requirements"
DEV_LOCK = LOCKS / "dev.lock"
BENCH_LOCK = LOCKS / "bench.lock"
OPENAPI = ROOT / "openapi" / "openapi.json"

OLDEST = (3, 11)
NAMES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3", "python")

# The tests wait for PostgreSQL more than they compute, so two workers pay off on one core; past eight, the one
# embedded server is what they all wait for.
WORKERS = max(2, min(os.cpu_count() or 2, 8))

MADE_HERE = (
    ".bench",
    ".oracles",
    ".venv",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "build",
    "dist",
)


class SetupError(Exception):
    """What the person at the keyboard must do first; the message says it."""


def main(arguments: list[str]) -> int:
    """Run the target that the first argument names with the others as its own; return the exit status."""
    name = arguments[0] if arguments else "help"
    if name not in TARGETS:
        print(f"There is no target {name!r}.\n", file=sys.stderr)
        show_help([])
        return 2
    try:
        return TARGETS[name](arguments[1:])
    except SetupError as error:
        print(f"makegood: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd)
        print(f"makegood: this command ended with status {error.returncode}: {command}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run(arguments: list[str]) -> int:
    """Start everything on this machine: PostgreSQL, a sandbox to pay in, sample payments. Ctrl-C ends it."""
    set_up()
    os.chdir(str(ROOT))
    command = [str(PYTHON), "-m", "app", "demo", *arguments]
    if os.name != "nt":
        os.execv(command[0], command)  # noqa: S606 - the service takes our place, so that signals reach it alone
    return subprocess.call(command)


def test(arguments: list[str]) -> int:
    """Run the checks, then the tests (ARGS go to pytest)."""
    checked = check([])
    # The tests of whole processes take a hundred times as long as the others: idle workers take over what is left.
    pytest = [str(PYTHON), "-m", "pytest", "-n", str(WORKERS), "--dist", "worksteal"]
    tested = subprocess.call([*pytest, *arguments], cwd=str(ROOT))
    if checked:
        print("The checks failed; see above the tests.", file=sys.stderr)
    return tested or checked


def check(arguments: list[str]) -> int:
    """Check format, lint, types, import rules, dependencies and generated files."""
    del arguments
    set_up()
    checks: dict[str, list[str | Path]] = {
        "format": [BIN / "ruff", "format", "--check", "."],
        "lint": [BIN / "ruff", "check", "."],
        "types": [PYTHON, "-m", "mypy"],
        "imports": [BIN / "lint-imports"],
        "dependencies": [BIN / "deptry", "."],
        "openapi": [sys.executable, __file__, "openapi-drift"],
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = {name: pool.submit(_timed, command) for name, command in checks.items()}
    failed = []
    for name, ended in running.items():
        status, seconds, output = ended.result()
        print(f"{'FAIL' if status else 'ok':5}{name} ({seconds:.1f} s)")
        if status:
            failed.append(name)
            print(output)
    if failed:
        print(f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


def bench(arguments: list[str]) -> int:
    """Measure the service beside its limits and its peers (ARGS='--only accept', '--quick', '--help'; for an hour: python -m bench.endurance)."""
    set_up()
    if _stamp(BENCH_LOCK):
        _install("--require-hashes", "-r", str(BENCH_LOCK))
        _stamp(BENCH_LOCK, done=True)
    os.chdir(str(ROOT))
    command = [str(PYTHON), "-m", "bench", *arguments]
    if os.name != "nt":
        os.execv(command[0], command)  # noqa: S606 - the driver takes our place, so that Ctrl-C reaches it alone
    return subprocess.call(command)


def openapi_drift(arguments: list[str]) -> int:
    """Compare openapi/openapi.json with what the program says."""
    del arguments
    said = subprocess.run(
        [str(PYTHON), "-m", "app", "openapi"], cwd=str(ROOT), stdout=subprocess.PIPE, check=True, encoding="utf-8"
    ).stdout
    kept = OPENAPI.read_text(encoding="utf-8") if OPENAPI.exists() else ""
    if said == kept:
        return 0
    lines = difflib.unified_diff(kept.splitlines(), said.splitlines(), "openapi/openapi.json", "app", lineterm="")
    print("\n".join(list(lines)[:60]))
    print("Write it anew with: .venv/bin/python -m app openapi > openapi/openapi.json")
    return 1


def lock(arguments: list[str]) -> int:
    """Write requirements/*.lock anew from pyproject.toml (ARGS=--upgrade takes newer versions)."""
    set_up()
    uv = shutil.which("uv") or str(BIN / "uv")
    # No index and no link is written, so that the locks serve behind any mirror; the hashes say what is meant.
    silent = ["--no-header", "--no-emit-index-url", "--no-emit-find-links", "--quiet"]
    every = [uv, "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11", "--generate-hashes"]
    dev = ["--extra", "dev", "--extra", "embedded", "-o", "requirements/dev.lock"]
    # The service runs on the very versions that it was tested with.
    service = ["--no-annotate", "-c", "requirements/dev.lock", "-o", "requirements/makegood.lock"]
    # Beside what the checks use, and in the same versions, so that the bench can use both.
    bench = ["--extra", "bench", "-c", "requirements/dev.lock", "-o", "requirements/bench.lock"]
    for wanted in (dev, service, bench):
        subprocess.run([*every, *silent, *wanted, *arguments], cwd=str(ROOT), check=True)
    set_up()
    subprocess.run([str(PYTHON), "-m", "bench.peers.setup", "--lock", *arguments], cwd=str(ROOT), check=True)
    return 0


def clean(arguments: list[str]) -> int:
    """Remove what these targets have made: .venv, caches, builds. Data stays."""
    del arguments
    for name in MADE_HERE:
        shutil.rmtree(str(ROOT / name), ignore_errors=True)
    for folder in ("alembic", "app", "bench", "tests", "tools"):
        for cache in list((ROOT / folder).rglob("__pycache__")):
            shutil.rmtree(str(cache), ignore_errors=True)
    return 0


def show_help(arguments: list[str]) -> int:
    """Print this list."""
    del arguments
    print("make TARGET [ARGS='...'], or without make: python3 tools/dev.py TARGET ...\n")
    for name in ("run", "test", "check", "bench", "lock", "clean", "help"):
        print(f"  {name:8}{TARGETS[name].__doc__}")
    return 0


def set_up() -> None:
    """Make .venv hold what requirements/dev.lock and pyproject.toml say; quick when it already does.

    Raises SetupError where something is missing that only the user can install.
    """
    if not _works(PYTHON):
        _make_venv()
    if _stamp(DEV_LOCK):
        print("Installing the locked packages ...", file=sys.stderr)
        _install("--require-hashes", "-r", str(DEV_LOCK))
        _stamp(DEV_LOCK, done=True)
    project = ROOT / "pyproject.toml"
    if _stamp(project):
        # The build backend is in the lock: with no build isolation, this step needs nothing from the network.
        _install("--no-deps", "--no-build-isolation", "-e", str(ROOT))
        _stamp(project, done=True)


def _make_venv() -> None:
    base = _find_python()
    print(f"Making .venv with {base} ...", file=sys.stderr)
    uv = shutil.which("uv")
    if uv:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", base, str(VENV)], check=True)
        return
    if not _answers([base, "-c", "import ensurepip, venv"]):
        raise SetupError(
            f"{base} cannot make a virtual environment, for its ensurepip module is missing. On Debian and Ubuntu: "
            "apt install python3-venv. Or install uv. Then run this again."
        )
    subprocess.run([base, "-m", "venv", "--clear", str(VENV)], check=True)


def _find_python() -> str:
    if sys.version_info >= OLDEST and _works(sys.executable):
        return sys.executable
    found = [path for path in (shutil.which(name) for name in NAMES) if path]
    for path in found:
        if _works(path):
            return path
    raise SetupError(
        f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed, and this is {sys.version.split()[0]} with none newer on "
        "PATH. Debian and Ubuntu: apt install python3 python3-venv. macOS: brew install python. Elsewhere: python.org, "
        "or uv python install. Then run this again."
    )


def _works(python: str | Path) -> bool:
    """Whether it starts and is new enough: a version manager's shim may be on PATH and start nothing."""
    return _answers([str(python), "-c", f"import sys; sys.exit(sys.version_info < {OLDEST!r})"])


def _answers(command: list[str]) -> bool:
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def _install(*arguments: str) -> None:
    uv = shutil.which("uv")
    if uv:
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(PYTHON), *arguments], check=True)
        return
    if not _answers([str(PYTHON), "-c", "import pip"]):  # an environment that uv made, on a machine now without uv
        subprocess.run([str(PYTHON), "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *arguments], check=True)


def _stamp(source: Path, *, done: bool = False) -> bool:
    """Whether `source` has changed since it was last installed; with `done`, remember it as installed."""
    stamp = VENV / f"{source.name}.sha256"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    if done:
        stamp.write_text(digest, encoding="ascii")
        return False
    return not stamp.exists() or stamp.read_text(encoding="ascii") != digest


def _timed(command: list[str | Path]) -> tuple[int, float, str]:
    began = time.perf_counter()
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    return ended.returncode, time.perf_counter() - began, ended.stdout


TARGETS = {
    "run": run,
    "test": test,
    "check": check,
    "bench": bench,
    "openapi-drift": openapi_drift,
    "lock": lock,
    "clean": clean,
    "help": show_help,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
