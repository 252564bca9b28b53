"""What things are called outside: ids in a provider's answers and in the paths of its API, and our own key in its fields."""

import re
from urllib.parse import quote

from app.errors import Rejected
from app.providers.pieces import piece
from app.providers.text import id_fault, storable
from app.saga.model import Json

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def name_at(value: Json, *path: str) -> str | None:
    """The text or integer at a path of keys, as text that can be an id; None where there is none."""
    found = piece(value, *path)
    if type(found) is int:
        return str(found)
    return storable(found) if isinstance(found, str) else None


def key_in(text: Json) -> str | None:
    """The text where it can be a key of ours, a UUID in its usual form; None where somebody else wrote it."""
    return text if isinstance(text, str) and _UUID.fullmatch(text) else None


def segment(name: str) -> str:
    """An id as one segment of a path, quoted.

    Raises:
        Rejected: it is no id, or would lead to another place.
    """
    if id_fault(name) is not None or name in {".", ".."}:
        raise Rejected("the payment's id cannot stand in a path")
    return quote(name, safe="")
