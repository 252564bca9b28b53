"""What must not be kept of a request or an answer is taken out before it is written down.

Attempts are shown to everyone with a `read` key, so no credential may be in them: neither the agent's configured headers,
wherever they are echoed, nor what a field's name calls a secret, nor a card number.
"""

import base64
import binascii
import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import takewhile
from urllib.parse import quote

from app.saga.model import Json

REDACTED = "[redacted]"

# What is kept of one body, in bytes of JSON or characters of text: enough to see what was said, little enough that a
# million attempts stay small.
KEPT = 16 * 1024
CUT = "… [cut]"

# Shorter values of configured headers (`X-Tenant: 7`) are no secrets, and would blot out half of a text.
SHORTEST_SECRET = 6

# How many access tokens are looked for: the one in use, the one before, of which an answer may still speak, and one more.
TOKENS = 3

# How deep a body is kept. A webhook may be deeper, and the stack is not endless.
DEEPEST = 100

# The field names of the bodies in use are looked into once. More, or longer ones, are somebody's data.
MOST_NAMES = 4096
LONGEST_NAME = 64  # characters

_SECRET_WORDS = (
    "accesskey",
    "apikey",
    "authorization",
    "cardnumber",
    "cookie",
    "credential",
    "passphrase",
    "password",
    "passwd",
    "privatekey",
    "secret",
    "token",
)
_SECRET_NAMES = frozenset({"cvc", "cvc2", "cvv", "cvv2", "pan"})

# Bounded repetitions only: the text comes from outside, and these must stay linear in its length.
_PAIR = re.compile(
    r"((?:access[_-]?key|api[_-]?key|authorization|card[_-]?number|cookie|credential|passphrase|password|passwd"
    r"|private[_-]?key|secret|token|\b(?:cv[cv]2?|pan)\b)[\w-]{0,32}[\"']?\s{0,8}[:=]\s{0,8}"
    r"(?:(?:bearer|basic)\s{1,8})?+)(?!\[redacted])(?:\"(?:[^\"\\]|\\.)*+\"?|[^\s&,;}\]\"']+)",
    re.IGNORECASE | re.DOTALL,
)
_BEARER = re.compile(r"\b(bearer|basic) {1,8}[\w.~+/=-]{6,}", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/?#@\s\"']{1,512}@")
_CARD = re.compile(r"(?<![\w-])[2-6](?:[ -]?[0-9]){12,18}(?![\w-])", re.ASCII)

_CARD_LENGTHS = range(13, 20)
_SMALLEST_CARD = 10**12
_LARGEST_CARD = 10**19
# Mastercard, American Express and Diners, Visa, Mastercard, Discover and UnionPay. Times in milliseconds begin with 1.
_CARD_BEGINNINGS = frozenset({2, 3, 4, 5, 6})


class Redactor:
    """Takes credentials out of texts and JSON.

    Args:
        headers: the agent's configured headers, whose values and tokens are secret.
        secrets: what else is secret.
    """

    def __init__(self, headers: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        self._given = {*secrets, *(part for value in headers.values() for part in _parts(value))}
        self._learnt: deque[str] = deque(maxlen=TOKENS)
        self._known = _any_of(self._given)
        self._names: dict[str, tuple[str, bool]] = {}

    def learn(self, secret: str) -> None:
        """Takes this out too from now on; of those that were learnt, the last ones."""
        self._learnt.append(secret)
        self._known = _any_of({*self._given, *self._learnt})
        self._names.clear()

    def text(self, text: str) -> str:
        """The text without credentials; a URL too."""
        clean = self._string(text)
        # Most texts are names and ids; looking for the sign first keeps the patterns from running over each of them.
        if ":" in clean or "=" in clean:
            clean = _PAIR.sub(rf"\1{REDACTED}", clean)
        if " " in clean:
            clean = _BEARER.sub(rf"\1 {REDACTED}", clean)
        return clean

    def json(self, value: Json, depth: int = 0) -> Json:
        """A copy of the value without credentials."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool) or value is None or isinstance(value, float):
            return value
        if isinstance(value, int):
            return REDACTED if _SMALLEST_CARD <= value < _LARGEST_CARD and _is_card(str(value)) else value
        if depth == DEEPEST:
            return "[cut: nested too deep]"
        if isinstance(value, dict):
            return self._fields(value, depth + 1)
        return [self.json(item, depth + 1) for item in value]

    def body(self, value: Json, raw: bytes) -> Json:
        """A JSON body as the attempts keep it.

        Args:
            value: the body as JSON.
            raw: its bytes. A body of more than `KEPT` is kept as the beginning of its text.
        """
        if len(raw) <= KEPT:
            return self.json(value)
        beginning = self.json(_beginning(value, [4 * KEPT]))
        return f"{json.dumps(beginning, ensure_ascii=False)[:KEPT]}{CUT}"

    def body_text(self, raw: bytes) -> str | None:
        """A body that is no JSON as the attempts keep it: None where it is empty."""
        if not raw:
            return None
        # Cut before as well, far behind what is kept: so a huge text is not searched to its end, and the secret that
        # this cut may tear in two is not shown.
        text = self.text(raw[: 4 * KEPT].decode("utf-8", "replace"))
        return text if len(text) <= KEPT else f"{text[:KEPT]}{CUT}"

    def excerpt(self, body: Json, length: int = 200) -> str:
        """One line of a recorded body, for an operator: no control character or lone surrogate is in it.

        Args:
            body: what `body` or `body_text` has made.
            length: of how many characters, at most.
        """
        if body is None:
            return ""
        return one_line(body if isinstance(body, str) else json.dumps(body, ensure_ascii=False), length)

    def _string(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        if "://" in text:
            text = _USERINFO.sub(f"{REDACTED}@", text)
        if len(text) < _CARD_LENGTHS.start:
            return text
        return _CARD.sub(_without_card, text)

    def _fields(self, value: dict[str, Json], depth: int) -> dict[str, Json]:
        clean = {}
        for name, field in value.items():
            shown, secret = self._names.get(name) or self._named(name)
            if secret and field is not None and not isinstance(field, bool):
                clean[shown] = REDACTED
            else:
                clean[shown] = self.text(field) if isinstance(field, str) else self.json(field, depth)
        return clean

    def _named(self, name: str) -> tuple[str, bool]:
        """A field's name as it is shown, and whether it says that its value is secret."""
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        known = self._string(name), plain in _SECRET_NAMES or any(word in plain for word in _SECRET_WORDS)
        if len(name) <= LONGEST_NAME and len(self._names) < MOST_NAMES:
            self._names[name] = known
        return known


def _any_of(secrets: set[str]) -> re.Pattern[str] | None:
    known = {*secrets, *(quote(secret, safe="") for secret in secrets)}
    words = sorted((secret for secret in known if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words))) if words else None


def _beginning(value: Json, room: list[int], depth: int = 0) -> Json:
    """The beginning of a value, so that one of megabytes is not cleaned to its end when only that is kept.

    Args:
        room: how many characters there still are; counted down.
    """
    if isinstance(value, str):
        room[0] -= len(value)
        return value[: max(0, room[0] + len(value))]
    room[0] -= 1
    if depth == DEEPEST or not isinstance(value, dict | list):
        return value if depth < DEEPEST else None
    if isinstance(value, dict):
        fields = takewhile(lambda _: room[0] > 0, value.items())
        return {_beginning(name, room): _beginning(field, room, depth + 1) for name, field in fields}
    return [_beginning(item, room, depth + 1) for item in takewhile(lambda _: room[0] > 0, value)]


def one_line(text: str, length: int) -> str:
    """The text as one line that any text column can hold, cut to `length` characters."""
    line = re.sub(r"[\x00-\x20\x7f]+", " ", text[: 4 * length]).strip().encode("utf-8", "replace").decode()
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _parts(value: str) -> Iterable[str]:
    """A header's value, its parts behind the scheme, and what a Basic one says in plain text."""
    yield value
    scheme, *parts = value.split()[:8] or [""]
    yield from parts
    if scheme.lower() == "basic" and parts:
        try:
            plain = base64.b64decode(parts[0], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        yield plain
        yield plain.partition(":")[2]


def _without_card(found: re.Match[str]) -> str:
    return REDACTED if _is_card(found[0]) else found[0]


def _is_card(text: str) -> bool:
    """Whether the digits are a payment card's: a known first one, as many as cards have, and the check digit (Luhn)."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    if len(digits) not in _CARD_LENGTHS or digits[0] not in _CARD_BEGINNINGS:
        return False
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(digits[::-2])) % 10 == 0
