"""How the commands speak: data on stdout, messages on stderr, nothing that a terminal would obey."""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from app.saga.model import Json


class Output(StrEnum):
    """The form of data on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="The form of what is printed.")]


def say(message: str) -> None:
    """A message for the person at the keyboard."""
    print(message, file=sys.stderr, flush=True)


def data(text: str) -> None:
    """A line of data."""
    print(text, flush=True)


def as_json(value: Json) -> None:
    """Data as JSON for reading by people and programs."""
    data(json.dumps(value, indent=2, ensure_ascii=False))


def as_lines(items: Iterable[Json]) -> None:
    """Data as JSON, one item a line."""
    for item in items:
        data(json.dumps(item, ensure_ascii=False, separators=(",", ":")))


def as_columns(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Data as aligned columns."""
    for line in columns(headings, rows):
        data(line)


def columns(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table: headings in capitals, columns two spaces apart, no cell cut short."""
    cells = [[heading.upper() for heading in headings], *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(headings))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def printable(value: object) -> str:
    """A value as text on one line; what came from outside may hold signs that a terminal would obey."""
    text = "-" if value is None else str(value)
    return "".join(sign if sign.isprintable() else "·" for sign in text)
