"""Where a page of a list ended, as an opaque word that fits into a URL.

It carries the sort key of the last item and a hash of the filters, since a page of one list makes no sense in another.
"""

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.db.reads import Cursor
from app.errors import InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# A hash of the filters, microseconds since 1970 (PostgreSQL keeps no finer time), the id.
_LAYOUT = struct.Struct(">8sq16s")


def encode(at: datetime, id_: UUID, filters: Mapping[str, object]) -> str:
    """The cursor behind the item with this sort key, for a list with these filters."""
    packed = _LAYOUT.pack(_digest(filters), (at - _EPOCH) // _MICROSECOND, id_.bytes)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def decode(cursor: str, filters: Mapping[str, object]) -> Cursor:
    """The sort key that a cursor carries.

    Raises:
        InvalidRequest: it is no cursor, or one of another list.
    """
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        digest, microseconds, id_ = _LAYOUT.unpack(packed)
        at = _EPOCH + microseconds * _MICROSECOND
    except (ValueError, binascii.Error, struct.error, OverflowError) as error:
        raise _invalid("it is not one that this list gave") from error
    if digest != _digest(filters):
        raise _invalid("it belongs to a list with other filters")
    return at, UUID(bytes=id_)


def _digest(filters: Mapping[str, object]) -> bytes:
    text = json.dumps(filters, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).digest()[:8]


def _invalid(why: str) -> InvalidRequest:
    return InvalidRequest("the cursor cannot be used", [("cursor", why)])
