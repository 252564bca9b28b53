"""Who takes webhooks and makes purchases: ours in some arrangement of processes, or a peer. One face for both."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

from bench import checks, peer
from bench.config import PLACES
from bench.postgres import Connection
from bench.stage import Running, Stage


@dataclass(frozen=True, slots=True)
class Contestant:
    """One who does the whole job.

    Args:
        template: of the database that it begins with.
        serve: starts it on a database and with the supplier at a port.
        left: whether something is under way, when so many have come in all.
        times: the statement that says when each payment of a range of ids was done.
        check: that all payments of a tag are done.
    """

    name: str
    template: str
    serve: Callable[[str, int], AbstractAsyncContextManager[Running]]
    left: Callable[[int], checks.Left]
    times: str
    check: Callable[[Connection, str, int], Awaitable[None]]

    async def finished(self, connection: Connection, tag: str) -> dict[str, float]:
        """When each payment of a tag was done: the time of the commit, in seconds by the machine's clock."""
        rows = await connection.fetch(self.times, *checks.reach(tag))
        return {row["external_id"]: row["at"] for row in rows}


def ours(stage: Stage, name: str, roles: Sequence[str], places: int = PLACES) -> Contestant:
    """Makegood, a process for each role, each with so many places."""

    def serve(database: str, supplier: int) -> AbstractAsyncContextManager[Running]:
        return stage.serving(database, supplier=supplier, roles=roles, places=places)

    return Contestant(name, stage.empty, serve, lambda _: checks.ours_left, checks.EACH_OURS, checks.succeeded)


def others(stage: Stage, names: Sequence[str], workers: int = 1) -> list[Contestant]:
    """The peers, with so many processes that work; a second one is in the name."""

    def contestant(name: str) -> Contestant:
        serve = partial(_serve, stage, name, workers)
        shown = name if workers == 1 else f"{name}{peer.BESIDE}"
        return Contestant(shown, "template0", serve, checks.peer_left, checks.EACH_PEER, checks.peer_done)

    return [contestant(name) for name in names]


def _serve(stage: Stage, name: str, workers: int, database: str, supplier: int) -> AbstractAsyncContextManager[Running]:
    return peer.serving(stage, name, database, supplier, "--workers", str(workers))
