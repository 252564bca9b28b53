"""Text from outside: what can be stored and shown, and how a message repeats the rest."""

import re

LONGEST_ID = 255  # characters of an id that are taken

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Half of a surrogate pair: JSON can write one as an escape, but it is no character, and UTF-8 has no form for it.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_UNFIT = re.compile(f"{_CONTROL.pattern}|{_SURROGATE.pattern}")


def id_fault(text: str) -> str | None:
    """What keeps a text from being an id, or None."""
    if not text:
        return "is empty"
    if len(text) > LONGEST_ID:
        return f"has {len(text)} characters; {LONGEST_ID} are allowed"
    if text.isprintable():  # has neither; the usual id is told at once
        return None
    if _CONTROL.search(text):
        return "has a control character"
    if _SURROGATE.search(text):
        return "has half of a surrogate pair"
    return None


def storable(text: str) -> str | None:
    """The text where it can be an id, else None."""
    return text if id_fault(text) is None else None


def legible(text: str, longest: int = LONGEST_ID) -> str:
    """The text as it can be stored and shown: what is no character replaced, and cut where it is too long."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut if cut.isprintable() else _UNFIT.sub("�", cut)
