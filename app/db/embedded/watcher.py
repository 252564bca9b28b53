"""The parent of the embedded PostgreSQL: a process of its own that outlives whoever started it.

It is run by its path with `python -S -E`, knows the standard library alone, and gets its job as JSON on stdin.
Every process that uses the server holds one connection to the watcher's socket. The kernel closes it however that
process ends, so the last one's end is always seen, and the server is then stopped in good order.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

HELD = b"held\n"  # to a new holder: the server stays while you do
FAILED = b"failed "  # to every holder, and a JSON text: why there will be no server
READY = b"ready"  # from a holder: it has reached the server

PAUSE = 0.2  # seconds before a server is started again
LOG_LIMIT = 5_000_000  # bytes of a log file; one older file is kept
LOG_TAIL = 12  # lines told to the holders when there will be no server
PDEATHSIG = 1  # PR_SET_PDEATHSIG of linux/prctl.h

# A server whose watcher was killed is still going down, or its last processes are. It is over in a moment.
PREDECESSOR = ("lock file", "pre-existing shared memory block")


class Log:
    """The server's log: a file of limited size, and its last lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tail: deque[str] = deque(maxlen=LOG_TAIL)
        self._file = self._open()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, chunk: bytes) -> None:
        """Adds what the server said. A full disk loses lines, and stops nothing."""
        self.tail.extend(chunk.decode(errors="replace").splitlines())
        with contextlib.suppress(OSError):
            os.write(self._file, chunk)
            if os.fstat(self._file).st_size > LOG_LIMIT:
                self.path.replace(f"{self.path}.1")
                os.close(self._file)
                self._file = self._open()


class Watcher:
    """One server, from its first start to the end of its last holder."""

    def __init__(self, job: dict[str, Any], listener: socket.socket) -> None:
        self.job = job
        self.listener = listener
        self.log = Log(Path(job["log"]))
        self.selector = selectors.DefaultSelector()
        self.holders: set[socket.socket] = set()
        self.child: subprocess.Popen[bytes] | None = None
        self.making = False  # the child is initdb
        self.reached = False  # some holder has reached the server
        self.stopping = False
        self.failure: bytes | None = None

    def run(self) -> None:
        """Serves the holders until the last has gone and the server has ended."""
        self._watch_children()
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self._begin()
        while self.child is not None or not self.stopping:
            for key, _ in self.selector.select(PAUSE if self.child is None else None):
                key.data()
            self._look_at_child()
            # Whoever has connected already comes in before the last holder counts as gone.
            self._accept()
            if not self.holders and not self.stopping:
                self._stop()

    def _watch_children(self) -> None:
        inside, outside = socket.socketpair()
        for end in (inside, outside):
            end.setblocking(False)
        signal.set_wakeup_fd(outside.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGALRM, lambda *_: self._lose_patience())
        # A service manager ends the whole group at once. The holders still need the server to end well, so it waits for them.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self.wakeup = (inside, outside)
        self.selector.register(inside, selectors.EVENT_READ, lambda: inside.recv(4096))

    def _accept(self) -> None:
        while not self.stopping:
            try:
                holder, _ = self.listener.accept()
            except OSError:
                return  # nobody is there, or was and has gone
            holder.setblocking(False)
            self.holders.add(holder)
            self.selector.register(holder, selectors.EVENT_READ, lambda holder=holder: self._hear(holder))
            self._tell(holder, HELD if self.failure is None else HELD + self.failure)

    def _hear(self, holder: socket.socket) -> None:
        try:
            said = holder.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self.reached = self.reached or READY in said
        if not said:
            self.selector.unregister(holder)
            self.holders.discard(holder)
            holder.close()

    def _tell(self, holder: socket.socket, line: bytes) -> None:
        # A holder that has gone, or does not read, is told nothing; its end is seen elsewhere.
        with contextlib.suppress(OSError):
            holder.send(line)

    def _begin(self) -> None:
        self.making = not Path(self.job["cluster"]).exists()
        for name in self.job["pid_files"]:
            _disown(Path(name), self.job["cluster"])
        self.log.tail.clear()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            self.child = subprocess.Popen(
                self.job["initdb" if self.making else "server"],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - this process has one thread
                **self.job["account"],
            )
        except OSError as error:
            os.close(reading)
            self._fail(str(error))
            return
        finally:
            os.close(writing)
        self.output = reading
        self.selector.register(reading, selectors.EVENT_READ, self._read_log)

    def _read_log(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.output, 65536):
                self.log.write(chunk)
            # The end of the pipe would wake us for ever; the child's own end is seen by SIGCHLD.
            if self.output in self.selector.get_map():
                self.selector.unregister(self.output)

    def _look_at_child(self) -> None:
        if self.child is None:
            if not self.stopping and self.failure is None:
                self._begin()
            return
        status = self.child.poll()
        if status is None:
            return
        self.child = None
        self._read_log()
        if self.output in self.selector.get_map():
            self.selector.unregister(self.output)
        os.close(self.output)
        if self.stopping:
            return
        if self.making:
            self._finish_cluster(status)
        elif not self.reached and not any(sign in line for line in self.log.tail for sign in PREDECESSOR):
            self._fail(f"it ended with status {status}")

    def _finish_cluster(self, status: int) -> None:
        Path(self.job["pwfile"]).unlink(missing_ok=True)
        if status != 0:
            self._fail(f"initdb ended with status {status}")
            return
        Path(self.job["unfinished"]).rename(self.job["cluster"])
        home = os.open(self.job["home"], os.O_RDONLY)
        os.fsync(home)
        os.close(home)
        self._begin()

    def _fail(self, otherwise: str) -> None:
        said = "\n".join(self.log.tail) or otherwise
        self.failure = FAILED + json.dumps(said).encode() + b"\n"
        for holder in self.holders:
            self._tell(holder, self.failure)

    def _stop(self) -> None:
        """Closes the door first: who comes now finds nobody, and starts a server of his own when this one has ended."""
        self.stopping = True
        self.selector.unregister(self.listener)
        self.listener.close()
        Path(self.job["socket"]).unlink(missing_ok=True)
        if self.child is not None:
            self.child.send_signal(signal.SIGINT)
            signal.setitimer(signal.ITIMER_REAL, self.job["fast_shutdown"])

    def _lose_patience(self) -> None:
        # Never SIGKILL, which would leave its processes and shared memory behind.
        if self.child is not None:
            self.child.send_signal(signal.SIGQUIT)

    def clean_up(self) -> None:
        """Removes what no later start needs."""
        for name in ("socket", "pwfile"):
            Path(self.job[name]).unlink(missing_ok=True)
        shutil.rmtree(self.job["unfinished"], ignore_errors=True)
        if self.job["temporary"]:
            Path(self.job["run"]).unlink(missing_ok=True)
            shutil.rmtree(self.job["sockets"], ignore_errors=True)


def _disown(pid_file: Path, cluster: str) -> None:
    """Tells PostgreSQL that a process has nothing to do with the cluster, though it has the pid of an earlier server.

    After a crash of the machine, or in a new container, that pid may be anybody's; PostgreSQL sees only that somebody
    has it, and refuses. A server works in its data folder, so who works elsewhere is none. The pid of a server's parent
    counts as stale, and what else the file says is still checked.
    """
    try:
        first, rest = pid_file.read_text(encoding="utf-8").split("\n", 1)
        works_in = os.readlink(f"/proc/{abs(int(first))}/cwd")  # noqa: PTH115 - a folder that was removed has no path
    except (OSError, ValueError):
        return  # no such file, process or /proc: PostgreSQL decides by itself
    if works_in != cluster:
        pid_file.write_text(f"{os.getpid()}\n{rest}", encoding="utf-8")


def _end_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes PostgreSQL: should this process be killed, the kernel sends it SIGINT."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)  # the parent died in between, and no signal will come

    return bind


def main() -> None:
    """Leaves the process that started it, and watches."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whatever the thread that started it had blocked
    job = json.load(sys.stdin)
    listener = socket.socket(fileno=job["listener"])
    for descriptor in (job["listener"], job["lock"]):
        # PostgreSQL must not inherit them: the lock is free when this process has ended.
        fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    if os.fork() != 0:
        os._exit(0)  # the starter waits for this; whoever adopts orphans waits for the other
    watcher = Watcher(job, listener)
    watcher.run()
    watcher.clean_up()


if __name__ == "__main__":
    main()
