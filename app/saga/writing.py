"""JSON as it is stored and sent: compact, by an encoder that is made once.

`json.JSONEncoder` makes the encoder behind it anew for each value, which costs as much as the values on the way of a
payment do. The one kept here differs in nothing but that it does not look for a value that contains itself; such a one
ends as a RecursionError.
"""

import json
from collections.abc import Callable
from json import encoder
from typing import Any


def writer(*, ensure_ascii: bool = True, allow_nan: bool = True) -> Callable[[Any], str]:
    """What writes values as `json.JSONEncoder` with these arguments does, with nothing in it that need not be.

    What it returns raises TypeError for what is no JSON, ValueError for NaN and infinities where they are not allowed,
    and RecursionError for what is nested too deep.
    """
    whole = json.JSONEncoder(separators=(",", ":"), ensure_ascii=ensure_ascii, allow_nan=allow_nan)
    make = getattr(encoder, "c_make_encoder", None)  # of the standard library, but not of its documentation
    if make is None:
        return whole.encode
    text = encoder.encode_basestring_ascii if ensure_ascii else encoder.encode_basestring
    pieces = make(None, whole.default, text, None, ":", ",", False, False, allow_nan)

    def write(value: Any) -> str:
        return "".join(pieces(value, 0))

    return write
