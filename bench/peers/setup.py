"""Makes an environment for each peer under `.bench/`, from its lock; quick when it is already there.

python -m bench.peers.setup            all of them
python -m bench.peers.setup oban       this one
python -m bench.peers.setup --lock     writes requirements/bench-*.lock anew
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".bench"
LOCKS = ROOT / "requirements"
SHARED = ("aiohttp", "asyncpg", "fastapi", "httptools", "uvicorn", "uvloop")  # what bench.peers.shop needs


@dataclass(frozen=True, slots=True)
class Wanted:
    """A peer's packages beside the shared ones, and the oldest Python that it runs on."""

    packages: tuple[str, ...]
    python: tuple[int, int] = (3, 11)


# psycopg's binary package is its own documentation's advice for speed; orjson comes with Oban.
PEERS = {
    "bare": Wanted(("httpx==0.28.*",)),
    "dbos": Wanted(("dbos==3.4.*",)),
    "oban": Wanted(("oban==0.7.*",), (3, 12)),
    "pgqueuer": Wanted(("pgqueuer==1.6.*",)),
    "procrastinate": Wanted(("procrastinate==3.10.*", "psycopg[binary,pool]")),
}


class NoPython(Exception):
    """There is no Python here that this peer runs on; the message says which it needs."""


def program(name: str) -> list[str]:
    """The command that starts a peer, without its arguments; its environment is made first.

    Raises NoPython where this machine has none that is new enough.
    """
    return [str(prepare(name)), str(ROOT / "bench" / "peers" / f"{name}.py")]


def prepare(name: str) -> Path:
    """The Python of a peer's environment, which holds what its lock says. Raises NoPython."""
    folder, lock = ENVIRONMENTS / name, LOCKS / f"bench-{name}.lock"
    python, stamp = folder / "bin" / "python", folder / "lock.sha256"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if _answers(python, PEERS[name].python) and stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return python
    base = _find(name)
    print(f"Making {folder.relative_to(ROOT)} with {base} ...", file=sys.stderr)
    uv = shutil.which("uv")
    if uv:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", base, folder], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--require-hashes", "-r", lock], check=True)
    stamp.write_text(digest, encoding="ascii")
    return python


def _find(name: str) -> str:
    """This Python where it is new enough, so that a peer runs on what the service runs on; else the oldest that is."""
    oldest = PEERS[name].python
    versions = [f"{major}.{minor}" for major, minor in ((3, minor) for minor in range(oldest[1], 15))]
    found = [sys.executable, *(path for version in versions if (path := shutil.which(f"python{version}")))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found += [str(path) for version in versions for path in sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for python in found:
        if _answers(Path(python), oldest):
            return python
    needed = ".".join(str(part) for part in oldest)
    raise NoPython(f"{name} needs Python {needed} or later, and there is none on PATH nor under {pyenv}.")


def _answers(python: Path, oldest: tuple[int, int]) -> bool:
    """Whether it starts and is new enough: a version manager's shim may be on PATH and start nothing."""
    asked = [str(python), "-c", f"import sys; sys.exit(sys.version_info < {oldest!r})"]
    try:
        return subprocess.call(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def lock(name: str, arguments: list[str]) -> None:
    """Writes a peer's lock anew. What the service uses too comes in the service's version."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    wanted = PEERS[name]
    # No index and no link is written, so that the locks serve behind any mirror; the hashes say what is meant.
    silent = ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--quiet"]
    python = ["--universal", "--python-version", ".".join(str(part) for part in wanted.python)]
    into = ["-c", str(LOCKS / "makegood.lock"), "-o", str(LOCKS / f"bench-{name}.lock")]
    subprocess.run(
        [uv, "pip", "compile", "-", *python, "--generate-hashes", *silent, *into, *arguments],
        input="\n".join((*SHARED, *wanted.packages)),
        encoding="ascii",
        check=True,
    )


def main() -> None:
    """Reads the arguments and carries them out; says which peer cannot run here, and why."""
    parser = argparse.ArgumentParser(prog="bench.peers.setup")
    parser.add_argument("names", nargs="*", choices=[*PEERS, []], metavar="NAME")
    parser.add_argument("--lock", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    wanted = parser.parse_args()
    missing = False
    for name in wanted.names or PEERS:
        try:
            if wanted.lock is None:
                print(prepare(name))
            else:
                lock(name, wanted.lock)
        except NoPython as error:
            print(error, file=sys.stderr)
            missing = True
    sys.exit(missing)


if __name__ == "__main__":
    main()
