"""`makegood demo`: all of it on one machine, and both ledgers agree."""

import socket
from pathlib import Path

from tests.cli.process import Running, running


def demo(folder: Path, port: int) -> Running:
    with running("demo", "--once", "--data-dir", "data", "--port", str(port), cwd=folder) as run:
        run.wait()
        return run


def test_demo_settles_every_sample_and_once_more_on_the_same_data_beside_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        runs = [demo(tmp_path, port), demo(tmp_path, port)]
    for run in runs:
        assert (run.process.returncode, run.err) == (0, run.err)
        assert run.out[0].startswith("makegood: listening on http://127.0.0.1:")
        assert run.out[-1] == "They agree: every payment was purchased or refunded, none both, none twice."
        assert any(line.startswith(f"Port {port} is taken") for line in run.err)
        rows = {line.split()[0]: line for line in run.out if line.startswith(("order-", "trip-"))}
        assert "succeeded" in rows["order-5-late"]
        assert "refunded (rejected)" in rows["order-2-refused"]
        assert "202 200 200" in rows["order-7"]
        assert "payment undone, flight undone, hotel rejected" in rows["trip-2-hotel-refused"]
        assert "401" in rows["order-9"]
    assert oct((tmp_path / "data" / "demo.toml").stat().st_mode)[-3:] == "600"
