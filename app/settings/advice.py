"""What `makegood check` warns of: things that may be meant, but most often are not."""

from collections.abc import Iterator

from app.saga.definition import HttpCall, Lookup, Saga, Step
from app.settings.expressions import EVERYTHING, NOTHING, Reads, placeholders, reads
from app.settings.model import Settings, Source

_OWN = frozenset({"operation_id", "external_id", "results", "@"})
_DOCUMENT = frozenset(
    {"operation_id", "source", "external_id", "order_id", "amount", "currency", "step", "results", "event", "@"}
)


def warnings(settings: Settings) -> list[str]:
    """One line each, beginning with the path of the key, as the faults do."""
    found = [*_of_sources(settings), *_of_agents(settings)]
    for saga in settings.sagas.values():
        found += _of_saga(saga)
    return found


def _of_sources(settings: Settings) -> Iterator[str]:
    if not settings.sources:
        yield "sources: there is none, so no webhook is taken"
    identities: dict[str, str] = {}
    secrets: dict[str, Source] = {}
    for source in settings.sources.values():
        if not source.secrets and not source.options.suffices:
            which = "signed webhook" if source.api else "webhook"  # an id that nobody signs may be looked up there
            yield f"sources.{source.name}.secrets: there is none, so every {which} is refused"
        if source.reconcile is not None and source.reconcile.since < source.reconcile.every:
            yield (
                f"sources.{source.name}.reconcile.since: shorter than every: "
                "what was paid in between, and told by no webhook, is never asked for"
            )
        first = identities.setdefault(source.identity, source.name)
        if first != source.name:
            yield f"sources.{source.name}.identity: the same as that of {first}: one payment id in both is one payment"
        for secret in source.secrets:
            other = secrets.setdefault(secret, source)
            if other.identity != source.identity:
                yield (
                    f"sources.{source.name}.secrets: shared with {other.name}: "
                    "a webhook that was sent to one is taken by the other too, as another payment"
                )


def _of_agents(settings: Settings) -> Iterator[str]:
    for agent in settings.agents.values():
        if agent.in_flight < settings.worker.lease + agent.timeout:
            yield (
                f"agents.{agent.name}.in_flight: shorter than worker.lease + timeout: "
                "a call of a worker that died may still take effect after it is taken for over"
            )
        if agent.limits.key_lifetime < agent.timeout:
            yield f"agents.{agent.name}.key_lifetime: shorter than timeout: a call of unknown outcome is never repeated"


def _of_saga(saga: Saga) -> Iterator[str]:
    for index, step in enumerate(saga.steps):
        path = f"sagas.{saga.name}.steps[{index}]"
        if step.undo is None and step.undo_needed:
            yield f"{path}: has no undo: when it must be undone, the operation is held for a human"
        if isinstance(step.undo, HttpCall) and step.lookup is None and step.name in read_by(step.undo).results:
            yield (
                f"{path}.undo: reads the result of {step.name}, and there is no lookup: "
                "where the answer is lost there is no result, and the operation is held for a human"
            )
        for key, call in (("do", step.do), ("undo", step.undo), ("lookup", step.lookup)):
            if isinstance(call, HttpCall | Lookup):
                yield from _of_call(f"{path}.{key}", key, call, _with_results(saga, index, key))


def _with_results(saga: Saga, index: int, key: str) -> frozenset[str]:
    """The steps whose results a call may find: those before its own, and in an undo its own and later ones too."""
    steps: tuple[Step, ...] = saga.steps[1:] if key == "undo" else saga.steps[1:index]
    return frozenset(step.name for step in steps)


def _of_call(path: str, key: str, call: HttpCall | Lookup, results: frozenset[str]) -> Iterator[str]:
    read = read_by(call)
    for name in sorted(read.names - _DOCUMENT):
        yield f"{path}: reads {name}, which no call's document has"
    for step in sorted(read.results - results):
        yield f"{path}: reads the result of {step}, which is never there"
    if key != "do" and not read.names & _OWN:
        yield (
            f"{path}: names neither operation_id, external_id nor results: "
            "an order that was paid twice has two such acts, and this may hit the other one"
        )


def read_by(call: HttpCall | Lookup) -> Reads:
    """What the path and the body of a call read of its document; without a `body` that is the whole of it."""
    found = NOTHING
    for name in placeholders(call.path):
        found |= reads(name)
    if call.body is not None:
        found |= reads(call.body)
    elif call.method != "GET":
        found |= EVERYTHING
    return found
