"""`makegood serve` and `migrate` as processes: what they say, and with which status they end."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import CONFIG
from tests.cli.process import ROOT, environment, running


@pytest.fixture
def folder(tmp_path: Path, database_url: str) -> Path:
    """A folder with a config file that names a migrated database and lets the service choose its port."""
    text = f'[server]\nport = 0\n[database]\nurl = "{database_url}"\npool_size = 2\n{CONFIG}'
    (tmp_path / "makegood.toml").write_text(text, encoding="utf-8")
    return tmp_path


def test_serve_says_one_line_when_it_is_ready_and_ends_well_on_sigterm(folder: Path) -> None:
    with running("serve", cwd=folder) as run:
        url = run.url()
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert run.terminate() == 0
    assert run.out == [f"makegood: listening on {url}"]


def test_host_and_port_options_go_before_the_file(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running("serve", "--host", "localhost", "--port", str(port), cwd=folder) as run:
        assert run.url() == f"http://127.0.0.1:{port}"


def test_worker_serves_its_health_alone(folder: Path) -> None:
    with running("serve", "--role", "worker", cwd=folder) as run:
        url = run.url()
        statuses = [httpx.get(url + path).status_code for path in ("/livez", "/readyz", "/operations", "/docs")]
        assert statuses == [200, 200, 404, 404]


def test_faults_of_the_config_are_told_before_any_port_is_opened(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (folder / "makegood.toml").write_text(f"[server]\nport = {port}\n[sevrer]\n[datbase]\n", encoding="utf-8")
        with running("serve", cwd=folder) as run:
            assert run.wait() == 2
    assert run.out == []
    assert [line.split(":")[0] for line in run.err] == ["sevrer", "datbase"]


def test_taken_port_is_told(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running("serve", "--port", str(port), cwd=folder) as run:
            assert run.wait() == 2
    assert (run.out, [str(port) in line for line in run.err]) == ([], [True])


def test_migrate_can_be_run_again(folder: Path) -> None:
    for _ in range(2):
        with running("migrate", cwd=folder) as run:
            assert (run.wait(), run.out) == (0, [])


def test_openapi_needs_no_config(tmp_path: Path) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "app", "openapi"], cwd=tmp_path, env=environment(), check=True, capture_output=True
    ).stdout
    assert json.loads(printed)["openapi"].startswith("3.1")
    assert printed.decode() == (ROOT / "openapi" / "openapi.json").read_text(encoding="utf-8")


def test_schema_that_is_behind_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, bare_database_url: str
) -> None:
    text = f'[server]\nport = 0\n[database]\nurl = "{bare_database_url}"\n{CONFIG}'
    (tmp_path / "makegood.toml").write_text(text, encoding="utf-8")
    with running("serve", cwd=tmp_path) as run:
        assert (run.wait(), run.out) == (5, [])
    assert any("makegood migrate" in line for line in run.err)
    with running("migrate", cwd=tmp_path) as run:
        assert run.wait() == 0
    with running("serve", cwd=tmp_path) as run:
        assert run.url().startswith("http://127.0.0.1:")
