"""`[sagas.*]`: the steps of each saga, bound to the limits of the agents that it calls."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from app.saga.definition import DEFAULT_RETRY, DEFAULT_UNDO_RETRY, Limits, RetryPolicy, Saga, Step
from app.settings.calls import read_call, read_lookup, read_undo
from app.settings.document import Table
from app.settings.names import step_name

_DEFAULTS = Saga("", ())
_MOST_ATTEMPTS = 1_000_000  # keeps the counter in an integer column
_MOST_BACKOFF = 1_000  # each wait a thousand times the last is no policy any more


def read_saga(
    name: str, table: Table, limits: Mapping[str, Limits], agents: Collection[str], protocols: Collection[str]
) -> Saga:
    """One saga.

    Args:
        limits: of the agents.
        agents: the names that may be called.
        protocols: the providers that have a refund protocol.
    """
    deadline = table.duration("deadline", _DEFAULTS.deadline)
    undo_deadline = table.duration("undo_deadline", _DEFAULTS.undo_deadline)
    step_tables = table.tables("steps")
    if table.lacks("steps") or table.is_empty("steps"):
        table.fault("steps", "is required: the first step is the payment, and its undo gives the money back")
    steps: list[Step] = []
    places: dict[str, int] = {}
    for index, step_table in enumerate(step_tables):
        step = _read_step(step_table, agents, protocols, first=index == 0)
        if step.name in places:
            step_table.fault("name", f"the same name as {table.at('steps')}[{places[step.name]}]")
        if step.name:
            places.setdefault(step.name, index)
        steps.append(step)
    return Saga(name, tuple(steps), deadline, undo_deadline, limits=dict(limits))


def _read_step(table: Table, agents: Collection[str], protocols: Collection[str], *, first: bool) -> Step:
    name = table.text("name", check=step_name)
    if first:
        _check_payment(table)
    elif table.lacks("do"):
        table.fault("do", "is required: only the first step, the payment, has none")
    undo_needed = not table.is_false("undo")
    undo = read_undo(table.table("undo"), agents, protocols, first=first) if table.has("undo") and undo_needed else None
    return Step(
        name=name,
        do=read_call(table.table("do"), agents) if table.has("do") and not first else None,
        undo=undo,
        undo_needed=undo_needed,
        lookup=read_lookup(table.table("lookup"), agents) if table.has("lookup") else None,
        retry=_read_policy(table.table("retry"), DEFAULT_RETRY),
        undo_retry=_read_policy(table.table("undo_retry"), DEFAULT_UNDO_RETRY),
    )


def _check_payment(table: Table) -> None:
    if table.has("do"):
        table.fault("do", "the first step is the payment, which is done when we hear of it: it has no do")
    if table.lacks("undo") or table.is_false("undo"):
        table.fault("undo", "is required: the first step is the payment, and its undo gives the money back")
    if table.has("lookup"):
        table.fault("lookup", "the first step is the payment, which is done when we hear of it: it has no lookup")


def _read_policy(table: Table, default: RetryPolicy) -> RetryPolicy:
    zero = timedelta(0)
    return RetryPolicy(
        maximum_attempts=table.integer("maximum_attempts", default.maximum_attempts, maximum=_MOST_ATTEMPTS),
        initial_interval=table.duration("initial_interval", default.initial_interval, minimum=zero),
        backoff_coefficient=table.number(
            "backoff_coefficient", default.backoff_coefficient, minimum=1, maximum=_MOST_BACKOFF
        ),
        maximum_interval=table.duration("maximum_interval", default.maximum_interval, minimum=zero),
    )
