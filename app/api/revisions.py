"""The headers that speak of an operation's revision: `If-Match`, `If-None-Match`, and `Prefer: wait`."""

import re
from collections.abc import Sequence

# An entity tag (RFC 9110, 8.8.3), or the bare number that people type.
_TAG = re.compile(r'\s*(?:(W/)?"([^"]*)"|(\*)|(\d+))\s*(?:,|$)')
_PREFERENCE = re.compile(r'([A-Za-z0-9!#$%&\'*+.^_`|~-]+)\s*(?:=\s*(?:"([^"]*)"|([^\s,;"]*)))?[^,]*(?:,|$)')

LONGEST_WAIT = 30  # seconds: shorter than what proxies usually bear without an answer


def none_match(values: Sequence[str], revision: int) -> bool:
    """Whether `If-None-Match` names the revision; weak tags count as strong ones there."""
    return any(star or number == str(revision) for _, number, star in _tags(values))


def match(values: Sequence[str], revision: int) -> bool:
    """Whether `If-Match` allows the revision; a weak tag matches nothing there."""
    return any(star or (number == str(revision) and not weak) for weak, number, star in _tags(values))


def _tags(values: Sequence[str]) -> list[tuple[bool, str, bool]]:
    """Each entity tag as (weak, what stands in it, whether it is the star)."""
    return [
        (bool(found[1]), found[2] if found[2] is not None else found[4] or "", bool(found[3]))
        for found in _TAG.finditer(",".join(values))
    ]


def wait_seconds(values: Sequence[str]) -> int | None:
    """The seconds of `Prefer: wait` (RFC 7240), `LONGEST_WAIT` at most; None where it is not asked for or not a number."""
    for found in _PREFERENCE.finditer(",".join(values)):
        if found[1].lower() != "wait":
            continue
        said = found[2] if found[2] is not None else found[3] or ""
        # The first one counts; a preference that cannot be read is no error, it is passed over.
        if not (said.isascii() and said.isdecimal()):
            return None
        digits = said.lstrip("0") or "0"
        return LONGEST_WAIT if len(digits) > len(str(LONGEST_WAIT)) else min(int(digits), LONGEST_WAIT)
    return None
