"""How much may wait in this process at once: beyond it requests are turned away before memory grows."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

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

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """A place for one request; what it holds is given back at its end.

        Raises:
            DatabaseUnavailable: too many are waiting to be written already.
        """
        if self._requests <= 0:
            raise DatabaseUnavailable("too many requests are waiting to be written")
        place = Place(self)
        self._requests -= 1
        try:
            yield place
        finally:
            self._requests += 1
            self._bytes += place.held

    def take(self, size: int) -> None:
        """Takes so many bytes. Raises DatabaseUnavailable where they are not to be had."""
        if size > self._bytes:
            raise DatabaseUnavailable("too many bytes are waiting to be written")
        self._bytes -= size


class Place:
    """One request's share of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.held = 0

    async def body(self, request: Request, most: int) -> bytes:
        """The request's body.

        Args:
            most: bytes it may have. One that announces more is refused before it is read.

        Raises:
            BodyTooLarge: it has more.
            DatabaseUnavailable: there is no room for it now.
            ClientDisconnect: the sender went away.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            raise BodyTooLarge(f"the body has {announced} bytes; {most} are taken")
        chunks = []
        async for chunk in request.stream():
            if self.held + len(chunk) > most:
                raise BodyTooLarge(f"the body has more than the {most} bytes that are taken")
            self._room.take(len(chunk))
            self.held += len(chunk)
            chunks.append(chunk)
        return b"".join(chunks)
