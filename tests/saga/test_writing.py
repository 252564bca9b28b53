"""JSON is written as the standard library writes it, whatever is in it."""

import json
from json import encoder
from typing import Any

import pytest

from app.saga.writing import writer

VALUES: list[Any] = [
    None,
    True,
    'é \ud800 " \\ \n \x7f',
    10**30,
    -0.5,
    1e300,
    [],
    {},
    {"b": [1, {"a": None}], "a": "ü", "": [[[]]]},
    {1: "one", None: "none", False: "no", 0.5: "half"},
]


@pytest.fixture(params=[True, False], ids=["made once", "without it"])
def _made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(encoder, "c_make_encoder", None)


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize("value", VALUES)
def test_it_is_what_the_library_writes(value: Any, ensure_ascii: bool) -> None:
    write = writer(ensure_ascii=ensure_ascii)
    assert write(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=ensure_ascii)


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    ("value", "error"), [(float("nan"), ValueError), ({"a": [float("inf")]}, ValueError), ({1}, TypeError)]
)
def test_what_is_no_json_is_refused_and_what_comes_after_it_is_not(value: Any, error: type[Exception]) -> None:
    write = writer(allow_nan=False)
    kept = {"a": [value]}
    with pytest.raises(error):
        write(kept)
    kept["a"] = [1]
    assert write(kept) == '{"a":[1]}'


def test_nan_is_written_where_it_is_allowed() -> None:
    assert writer()(float("nan")) == "NaN"


def test_a_value_that_contains_itself_has_an_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises((RecursionError, ValueError)):
        writer()(endless)
