"""Operations as an operator reads them in a terminal."""

from collections.abc import Sequence

from app.cli.output import as_columns, data, printable
from app.providers.currencies import EXPONENTS
from app.saga.model import Json

LIST_HEADINGS = ("id", "status", "phase", "step", "order", "amount", "created", "why")

_FIELDS = (
    "id",
    "source",
    "external_id",
    "order_id",
    "amount",
    "saga",
    "phase",
    "status",
    "reason",
    "held_reason",
    "revision",
    "next_run_at",
    "complete_by",
    "deadline",
    "created_at",
    "finished_at",
)


def list_row(operation: Json) -> tuple[object, ...]:
    """One line of the list."""
    names = ("id", "status", "phase", "step", "order_id")
    return (
        *(operation[name] for name in names),
        money(operation["amount"], operation["currency"]),
        operation["created_at"],
        operation["why"],
    )


def money(amount: int, currency: str) -> str:
    """An amount of minor units as people write it, by the exponent that ISO 4217 gives the currency."""
    digits = EXPONENTS.get(currency) or 0
    whole, part = divmod(amount, 10**digits)
    return f"{whole}.{part:0{digits}d} {currency}" if digits else f"{whole} {currency}"


def show_operation(operation: Json, attempts: Sequence[Json], history: Sequence[Json]) -> None:
    """One operation with all that has become of it."""
    readable = operation | {"amount": money(operation["amount"], operation["currency"])}
    shown = {name: readable[name] for name in _FIELDS if readable[name] is not None}
    width = max(map(len, shown))
    for name, value in shown.items():
        data(f"{name.ljust(width)}  {printable(value)}")
    if operation["why"]:
        data(f"\n{printable(operation['why'])}")
    data("")
    as_columns(("step", "status"), [(step["name"], step["status"]) for step in operation["steps"]])
    given_back = operation.get("external_refunds")  # an older service has none
    if given_back:
        data("")
        rows = [_external_refund_row(each, operation["currency"]) for each in given_back]
        as_columns(("given back elsewhere", "amount", "status", "at"), rows)
    if attempts:
        data("")
        as_columns(("step", "action", "attempt", "outcome", "answer", "started"), map(_attempt_row, attempts))
    data("")
    as_columns(("revision", "phase", "status", "cause", "actor", "at", "note"), map(_history_row, history))


def _external_refund_row(refund: Json, currency: str) -> tuple[object, ...]:
    return refund["id"], money(refund["amount"], currency), refund["status"], refund["at"]


def _attempt_row(attempt: Json) -> tuple[object, ...]:
    answered = (attempt["response"] or {}).get("status")
    names = ("step", "action", "attempt", "outcome")
    return (*(attempt[name] for name in names), answered, attempt["started_at"])


def _history_row(item: Json) -> tuple[object, ...]:
    to = item["to"]
    return item["revision"], to["phase"], to["status"], item["cause"], item["actor"], item["at"], item["note"]
