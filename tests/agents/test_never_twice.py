"""Whatever breaks, and wherever: a call arrives once at most, and what is said of it is true."""

import asyncio
import random
import socket
import struct
from collections import Counter

import pytest

from app.agents.answer import NoReply, Reply
from app.agents.transport import Connections
from tests.agents.pools import CHUNKED, METHODS, WHOLE, assert_broken, call, pool_to
from tests.agents.support import Received, Script, Scripted, answer, listening, says, says_and_closes, scripted


class Unreliable:
    """An agent that breaks off at any place of a call, and keeps a count of what has reached it.

    Which place it is, a request's number says together with the seed.
    """

    PLACES = (
        "whole",
        "whole",
        "whole",
        "whole, behind a 100",
        "whole, then closed",
        "whole, then reset",
        "whole, and more",
        "closed",
        "reset",
        "half a status",
        "half the headers",
        "half a body",
        "half a chunk",
        "rubbish",
        "cancelled",
    )

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.arrived: Counter[str] = Counter()
        self.tasks: dict[str, asyncio.Task[Reply | NoReply]] = {}
        self.chance = random.Random(seed)

    def place(self, number: str) -> str:
        return random.Random(f"{self.seed} {number}").choice(self.PLACES)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.chance.random() > 0.05:  # or it closes before it has read anything
            head = await reader.readuntil(b"\r\n\r\n")
            number = head.split(b" ")[1].decode().strip("/")
            self.arrived[number] += 1
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or b"0"))
            if not await self.say(number, writer):
                return

    async def say(self, number: str, writer: asyncio.StreamWriter) -> bool:
        whole = answer(200, number.encode())
        said = {
            "whole, behind a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + whole,
            "whole, and more": whole + answer(200, b'"of no one"'),
            "closed": b"",
            "reset": b"",
            "half a status": b"HTTP/1.1 20",
            "half the headers": b"HTTP/1.1 200 OK\r\nContent-Le",
            "half a body": whole[:-1],
            "half a chunk": CHUNKED + b"ff\r\nabc",
            "rubbish": b"\x16\x03\x01\r\n\r\n",
        }
        place = self.place(number)
        writer.write(
            said.get(place, whole) if place != "cancelled" else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"
        )
        await writer.drain()
        if place == "cancelled":
            self.tasks[number].cancel()
        if "reset" in place:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        return place in {"whole", "whole, behind a 100"}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_breaks_each_call_arrives_once_at_most_and_says_the_truth_of_it(seed: int) -> None:
    """Traps: a second try that no one asked for; an answer that belongs to another call; an arrival that is denied."""
    agent = Unreliable(seed)
    ended: dict[str, Reply | NoReply | BaseException] = {}
    slots = asyncio.Semaphore(8)

    async def one(pool: Connections, number: str) -> Reply | NoReply:
        async with slots:
            method = METHODS[int(number) % len(METHODS)]
            return await call(pool, method, path=f"/{number}", content=None if method == "GET" else b"x" * 1000)

    async with listening(agent.serve) as url, pool_to(url) as pool:
        for number in map(str, range(250)):
            agent.tasks[number] = asyncio.create_task(one(pool, number))
        ended.update(zip(agent.tasks, await asyncio.gather(*agent.tasks.values(), return_exceptions=True), strict=True))
    assert set(agent.arrived.values()) == {1}
    for number, came in ended.items():
        match came:
            case Reply():
                assert came.body == number.encode()
                assert agent.place(number).startswith("whole")
            case NoReply(sent=False):
                assert number not in agent.arrived
            case NoReply():
                assert number not in agent.arrived or agent.place(number) not in {"whole", "whole, behind a 100"}
            case _:
                assert isinstance(came, asyncio.CancelledError)
                assert agent.place(number) == "cancelled"


STAGES: dict[str, Script] = {
    "after the request": says_and_closes(b""),
    "in the headers": says_and_closes(b"HTTP/1.1 200 OK\r\nContent"),
    "in the body": says_and_closes(WHOLE[:-1]),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_that_breaks_on_its_second_call_has_carried_it_once(method: str, stage: str) -> None:
    """Trap 6: on a connection that is used again and drops after the request, some clients send PUT and DELETE twice."""

    async def second_breaks(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await (says(WHOLE) if len(agent.received) == 1 else STAGES[stage])(agent, request, reader, writer)

    async with scripted(second_breaks) as agent, pool_to(agent.url) as pool:
        assert isinstance(await call(pool, method), Reply)
        assert_broken(await call(pool, method))
    assert [request.connection for request in agent.received] == [1, 1]
