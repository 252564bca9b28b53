"""How much may wait in this process at once: beyond it requests are turned away before memory grows."""

from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from app.errors import BodyTooLarge, DatabaseUnavailable

# About half a second of full speed. A sender that is turned away comes again; one that waits longer gives up by itself.
MOST_REQUESTS = 2_000
# Bodies under way, in bytes: the bodies of 64 of the largest webhooks, or of all the usual ones.
MOST_BYTES = 64 * 1_048_576


class Room:
    """Counts the webhooks that are under way and the bytes that they hold."""

    def __init__(self, most_requests: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES) -> None:
        self._requests = most_requests
        self._bytes = most_bytes

    def place(self) -> "Place":
        """A place for one request, to be entered; what it holds is given back at its end."""
        return Place(self)

    def enter(self) -> None:
        """Takes a place. Raises DatabaseUnavailable where too many are waiting to be written already."""
        if self._requests <= 0:
            raise DatabaseUnavailable("too many requests are waiting to be written")
        self._requests -= 1

    def leave(self, held: int) -> None:
        """Gives a place back, with the bytes that it held."""
        self._requests += 1
        self._bytes += held

    def take(self, size: int) -> None:
        """Takes so many bytes. Raises DatabaseUnavailable where they are not to be had."""
        if size > self._bytes:
            raise DatabaseUnavailable("too many bytes are waiting to be written")
        self._bytes -= size


class Place:
    """One request's share of the room."""

    __slots__ = ("_room", "held")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.held = 0

    def __enter__(self) -> Self:
        self._room.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._room.leave(self.held)

    async def body(self, receive: Receive, announced: str, most: int) -> bytes:
        """The request's body.

        Args:
            announced: its Content-Length, if it has one.
            most: bytes it may have. One that announces more is refused before it is read.

        Raises:
            BodyTooLarge: it has more.
            DatabaseUnavailable: there is no room for it now.
            ClientDisconnect: the sender went away.
        """
        if announced.isdecimal() and int(announced) > most:
            raise BodyTooLarge(f"the body has {announced} bytes; {most} are taken")
        chunks: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, more = message.get("body", b""), message.get("more_body", False)
            if self.held + len(chunk) > most:
                raise BodyTooLarge(f"the body has more than the {most} bytes that are taken")
            self._room.take(len(chunk))
            self.held += len(chunk)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
