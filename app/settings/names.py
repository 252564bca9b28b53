"""What things may be called."""

import re

LONGEST_NAME = 63

_STEP = re.compile(r"[a-z][a-z0-9_]*")
_OTHER = re.compile(r"[a-z][a-z0-9_-]*")


def step_name(name: str) -> str | None:
    """What is wrong with the name of a step, or None."""
    return _fault(name, _STEP, "a-z, 0-9 and _")


def name_of_part(name: str) -> str | None:
    """What is wrong with the name of a source, an agent or a saga, or None."""
    return _fault(name, _OTHER, "a-z, 0-9, _ and -")


def _fault(name: str, form: re.Pattern[str], characters: str) -> str | None:
    if len(name) > LONGEST_NAME:
        return f"a name has at most {LONGEST_NAME} characters"
    if form.fullmatch(name) is None:
        return f"a name begins with a letter a-z and has only {characters}"
    return None
