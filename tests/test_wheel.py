"""The wheel, as one installs it: the service outside this repository, with its migrations and its types."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app.db import schema
from app.db.engine import create
from app.errors import DatabaseBehind

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    uv = str(Path(sys.executable).with_name("uv"))
    install = [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", sys.executable]
    subprocess.run([*install, "--target", str(folder), str(wheel)], check=True, capture_output=True)
    return folder


def run(installed: Path, *arguments: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), **variables}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=installed, env=environment, check=True, capture_output=True, text=True
    )
    return ended.stdout


def test_wheel_carries_all_that_a_checkout_runs_on(wheel: Path) -> None:
    carried = set(zipfile.ZipFile(wheel).namelist())
    app = {path.relative_to(ROOT).as_posix() for path in (ROOT / "app").rglob("*") if path.is_file()}
    migrations = {f"app/_alembic/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "alembic").rglob("*.*")}
    wanted = {name for name in app | migrations if "__pycache__" not in name}
    assert {"app/py.typed", "app/_alembic/alembic/env.py"} <= carried
    assert wanted <= carried


def test_installed_wheel_says_the_same_openapi_document_as_the_checkout(installed: Path) -> None:
    assert run(installed, "-c", "import app; print(app.__file__)").startswith(str(installed))
    assert run(installed, "-m", "app", "openapi") == (ROOT / "openapi" / "openapi.json").read_text(encoding="utf-8")


def test_installed_command_explains_itself(installed: Path) -> None:
    assert "serve" in run(installed, str(installed / "bin" / "makegood"), "--help")


async def test_installed_wheel_migrates_a_database(installed: Path, bare_database_url: str, tmp_path: Path) -> None:
    config = tmp_path / "makegood.toml"
    config.write_text(f"[database]\nurl = {json.dumps(bare_database_url)}\n", encoding="utf-8")
    engine = create(bare_database_url, 1)
    with pytest.raises(DatabaseBehind):
        await schema.check(engine)
    run(installed, "-m", "app", "migrate", MAKEGOOD_CONFIG=str(config))
    await schema.check(engine)
    await engine.dispose()
