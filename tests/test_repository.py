"""Rules of the house that no linter knows: what a tracked file may say, and how long a thing may get."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LONGEST_FILE = 300
LONGEST_FUNCTION = 40

# Written by others, and kept as they are.
VENDORED = ("app/api/swagger/",)

# Spelled so that this file passes its own test.
FORBIDDEN_TEXT = {
    "a registry's host": r"pypi[.]org|files[.]pythonhosted[.]org|registry[.]npmjs[.]org|deb[.]debian[.]org",
    "a path of one machine": r"(?<![\w.:/*-])/(?:home|Users|root|work)/[\w.]|[A-Z]:\\Users\\",
    "unfinished work": r"NotImplemented[E]rror|#\s*(?:TO[D]O|FIX[M]E|XX[X])\b",
}


def tracked(pattern: str = "*") -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", pattern], cwd=ROOT, capture_output=True, check=True, text=True)
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]  # one that was just moved is still listed


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules(folder: str) -> Iterator[tuple[str, str, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        yield relative(path), text, ast.parse(text)


@pytest.mark.parametrize("what", FORBIDDEN_TEXT)
def test_no_tracked_file_names(what: str) -> None:
    pattern = re.compile(FORBIDDEN_TEXT[what])
    found = [
        f"{relative(path)}:{number}: {line.strip()[:120]}"
        for path in tracked()
        if not relative(path).startswith(VENDORED)
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("folder", ["app", "bench", "tools"])
def test_files_are_short_enough_to_be_read_at_once(folder: str) -> None:
    long = {name: len(text.splitlines()) for name, text, _ in modules(folder)}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FILE} == {}


@pytest.mark.parametrize("folder", ["app", "bench", "tools"])
def test_functions_are_short_enough_to_be_seen_whole(folder: str) -> None:
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name, _, tree in modules(folder)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (node.end_lineno or node.lineno) - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == [], "\n".join(long)


def test_money_is_never_a_fraction() -> None:
    """An amount that was a float once has lost its last digit: minor units are whole numbers, and stay so."""
    found = [
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, _, tree in modules("app/saga")
        if Path(name).stem.startswith("money")
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    ]
    assert found == [], "\n".join(found)


def test_the_saga_stands_on_the_standard_library_and_the_errors_alone() -> None:
    foreign = [
        f"{name}: {module}"
        for name, _, tree in modules("app/saga")
        for module in imported(tree)
        if module.partition(".")[0] not in sys.stdlib_module_names
        if module != "app.errors" and not module.startswith("app.saga")
    ]
    assert foreign == [], "\n".join(foreign)


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def test_the_locks_hold_every_dependency_by_hash_in_one_version() -> None:
    dev = locked(ROOT / "requirements" / "dev.lock")
    service = locked(ROOT / "requirements" / "makegood.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert names(project["dependencies"]) <= service.keys()
    assert names([*extras["dev"], *extras["embedded"]]) <= dev.keys()
    assert service.items() <= dev.items()
    bench = locked(ROOT / "requirements" / "bench.lock")
    assert names(extras["bench"]) <= bench.keys()
    assert {name: version for name, version in bench.items() if name in dev}.items() <= dev.items()


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requirements}


def locked(path: Path) -> dict[str, str]:
    entries = re.split(r"\n(?=[a-z0-9])", path.read_text(encoding="utf-8"))
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    pairs = (re.match(r"([\w.-]+)==([^\s;]+)", entry) for entry in entries)
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_what_the_pages_point_to_exists() -> None:
    """Links that leave the repository are not followed: the tests reach no other machine."""
    missing = [
        f"{relative(page)}: {target}"
        for page in tracked("*.md")
        for target in pointed_to(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists() and not (ROOT / target).exists()
    ]
    assert missing == [], "\n".join(missing)


def pointed_to(text: str) -> Iterator[str]:
    folders = "|".join(re.escape(path.name) for path in ROOT.iterdir() if path.is_dir() and path.name[0] != ".")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    yield from (link for link in links if not re.match(r"[a-z]+:", link))
    yield from re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
