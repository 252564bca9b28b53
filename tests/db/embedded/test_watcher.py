"""Who may end, and how, without the embedded server being lost or left behind."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from app.db import embedded
from app.db.embedded import client, cluster
from tests.db.embedded.holding import Holder, ask, lives, parent, place_of, poll, postmaster

Start = Callable[[Path], Holder]


def test_a_killed_holder_leaves_no_server_and_loses_nothing(made_dir: Path, holder: Start) -> None:
    first = holder(made_dir)
    assert first.line() == "ready"
    first.ask("CREATE TABLE payments AS SELECT 7 AS id")
    place = place_of(made_dir)
    server = postmaster(place)
    first.kill()
    client.wait_until_stopped(place)
    assert not lives(server)
    assert not (place.cluster / "postmaster.pid").exists()
    with contextlib.closing(embedded.start(made_dir, fsync=False)) as again:
        assert ask(again.url, "SELECT id FROM payments") == 7


@pytest.mark.parametrize("end", [Holder.end, Holder.kill])
def test_the_server_outlives_whichever_process_ends_first(
    made_dir: Path, holder: Start, end: Callable[[Holder], object]
) -> None:
    first, second = holder(made_dir), holder(made_dir)
    assert first.line() == second.line() == "ready"
    first.ask("CREATE TABLE payments AS SELECT 7 AS id")
    server = postmaster(place_of(made_dir))
    end(first)
    assert second.ask("SELECT id FROM payments") == "7"
    assert postmaster(place_of(made_dir)) == server
    assert second.end() == 0
    client.wait_until_stopped(place_of(made_dir))
    assert not lives(server)


def test_four_first_starts_at_once_make_one_server(data_dir: Path, holder: Start) -> None:
    holders = [holder(data_dir) for _ in range(4)]
    assert [one.line() for one in holders] == ["ready"] * 4
    assert len({one.ask("SELECT pg_postmaster_start_time()") for one in holders}) == 1


def test_a_start_while_the_last_holder_goes_does_not_fail(made_dir: Path) -> None:
    """The server is going down and cannot be joined; the start waits for its end and begins a new one."""
    for _ in range(10):
        with contextlib.closing(embedded.start(made_dir, fsync=False)) as server:
            assert ask(server.url, "SELECT 1") == 1


def test_starts_and_ends_of_several_processes_never_fail(made_dir: Path, holder: Start) -> None:
    for _ in range(3):
        holders = [holder(made_dir) for _ in range(2)]
        for one in holders:
            assert one.line() == "ready"
            assert one.ask("SELECT 1") == "1"
            assert one.end() == 0


def test_ctrl_c_reaches_the_holder_and_not_the_server(made_dir: Path, holder: Start) -> None:
    one = holder(made_dir)
    assert one.line() == "ready"
    server = postmaster(place_of(made_dir))
    os.killpg(one.process.pid, signal.SIGINT)
    assert one.ask("SELECT 7") == "7"
    assert postmaster(place_of(made_dir)) == server
    assert one.end() == 0


def test_a_service_managers_sigterm_leaves_the_server_to_its_holders(made_dir: Path, holder: Start) -> None:
    one = holder(made_dir)
    assert one.line() == "ready"
    watcher = parent(postmaster(place_of(made_dir)))
    os.kill(watcher, signal.SIGTERM)
    assert one.ask("SELECT 7") == "7"
    assert parent(postmaster(place_of(made_dir))) == watcher


def test_a_killed_watcher_leaves_no_server_and_loses_nothing(made_dir: Path, holder: Start) -> None:
    one = holder(made_dir)
    assert one.line() == "ready"
    one.ask("CREATE TABLE payments AS SELECT 7 AS id")
    server = postmaster(place_of(made_dir))
    os.kill(parent(server), signal.SIGKILL)
    with contextlib.closing(embedded.start(made_dir, fsync=False)) as again:
        poll(lambda: not lives(server))
        poll(lambda: lives(postmaster(place_of(made_dir))))
        with contextlib.closing(embedded.start(made_dir, fsync=False)):
            assert ask(again.url, "SELECT id FROM payments") == 7


def test_a_killed_server_is_started_again(made_dir: Path, holder: Start) -> None:
    one = holder(made_dir)
    assert one.line() == "ready"
    one.ask("CREATE TABLE payments AS SELECT 7 AS id")
    server = postmaster(place_of(made_dir))
    os.kill(server, signal.SIGKILL)
    poll(lambda: not lives(server))
    with contextlib.closing(embedded.start(made_dir, fsync=False)):
        assert one.ask("SELECT id FROM payments") == "7"
    assert postmaster(place_of(made_dir)) != server


def test_a_stale_pid_file_does_not_hinder_whoever_has_its_pid_now(made_dir: Path, holder: Start) -> None:
    """After a crash of the machine the pid in the file may be that of any process, and of the same user."""
    first = holder(made_dir)
    assert first.line() == "ready"
    place = place_of(made_dir)
    pid_file = place.cluster / "postmaster.pid"
    socket_file = place.run / ".s.PGSQL.5432.lock"
    kept = {path: path.read_text().split("\n", 1)[1] for path in (pid_file, socket_file)}
    assert first.end() == 0
    client.wait_until_stopped(place)
    account = place.account
    bystander = (
        subprocess.Popen(["sleep", "60"])
        if account is None
        else subprocess.Popen(["sleep", "60"], user=account.uid, group=account.gid, extra_groups=[])
    )
    for path, rest in kept.items():
        path.write_text(f"{bystander.pid}\n{rest}")
        if account is not None:
            os.chown(path, account.uid, account.gid)
    with contextlib.closing(embedded.start(made_dir, fsync=False)) as server:
        assert ask(server.url, "SELECT 1") == 1
        assert lives(bystander.pid)
    bystander.kill()
    bystander.wait()


def test_what_a_killed_initdb_left_is_made_anew(data_dir: Path) -> None:
    place = place_of(data_dir)
    place.unfinished.mkdir()
    (place.unfinished / "PG_VERSION").write_text("half")
    place.password.write_text("of the cluster that never was\n")
    with contextlib.closing(embedded.start(data_dir, fsync=False)) as server:
        assert ask(server.url, "SELECT 1") == 1
        assert not place.unfinished.exists()


def test_a_first_start_that_is_killed_leaves_no_half_cluster(data_dir: Path, holder: Start) -> None:
    place = place_of(data_dir)
    first = holder(data_dir)
    poll((place.unfinished / "PG_VERSION").exists)
    first.kill()
    client.wait_until_stopped(place)
    assert not place.unfinished.exists()
    with contextlib.closing(embedded.start(data_dir, fsync=False)) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_a_server_that_does_not_end_by_sigint_gets_sigquit_and_never_sigkill(
    made_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the server, which tells of the signals it gets: a real one obeys the first."""
    told = made_dir / "told"
    told.touch()
    told.chmod(0o666)
    script = (
        f"trap 'echo INT >> {told}' INT; trap 'echo QUIT >> {told}; exit 0' QUIT;"
        f" echo up >> {told}; while :; do sleep 0.02; done"
    )
    monkeypatch.setattr(client, "FAST_SHUTDOWN_LIMIT", 0.1)
    monkeypatch.setattr(cluster, "server_command", lambda *_, **__: ["/bin/sh", "-c", script])
    place = place_of(made_dir)
    held = client._launch(place, fsync=False)
    assert held is not None
    poll(lambda: told.read_text() == "up\n")
    held.close()
    client.wait_until_stopped(place)
    assert told.read_text() == "up\nINT\nQUIT\n"
