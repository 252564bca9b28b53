"""How ids are made: by a name, so that anyone can compute them, or fresh. The library's own, at two fifths and a fifth of its time.

A payment makes some ten of them. They are of asyncpg's type, as those that come from the database are: a standard UUID to
whoever asks, made, compared, written and sent in C.
"""

import os
import random
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from uuid import UUID

from asyncpg.pgproto import pgproto

_BYTES = 16
# Version and variant (RFC 9562, 4.1 and 4.2): the bits that every id of a kind has, and those that its content has.
_VARIANT = 0b10 << 62
_NAMED = 5 << 76 | _VARIANT
_RANDOM = 4 << 76 | _VARIANT
_TIMED = 7 << 76
_LOWER = (1 << 76) - 1  # behind the version; the variant is among them
_CONTENT = (1 << 128) - 1 & ~(0b1111 << 76 | 0b11 << 62)

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)

# An id is no secret: it must only be nobody else's. So it is drawn without the system, from a state of this process's own,
# which nobody seeds anew. A child that is forked would draw the same ones, and is seeded by the system as it begins.
_source = random.Random()  # noqa: S311 - see above
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_source.seed)


def named(namespace: UUID, name: str) -> UUID:
    """The id of a name in a namespace, a UUIDv5: what `uuid.uuid5` gives."""
    digest = sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()
    return _uuid(int.from_bytes(digest[:_BYTES], "big") & _CONTENT | _NAMED)


def fresh() -> UUID:
    """An id that nobody has, a UUIDv4; it guards nothing, as who has seen many can tell the next."""
    return _uuid(_source.getrandbits(128) & _CONTENT | _RANDOM)


def serial(at: datetime, id_: UUID) -> UUID:
    """An id that rises with time: a UUIDv7 (RFC 9562, 5.7) whose random bits are those of another id.

    Args:
        at: its time, of which the milliseconds count.
        id_: of version 4 or 5.
    """
    return _uuid((at - _EPOCH) // _MILLISECOND << 80 | _TIMED | id_.int & _LOWER)


def _uuid(number: int) -> UUID:
    return pgproto.UUID(number.to_bytes(_BYTES, "big"))
