"""What is known of the refunds of a payment, whoever made them, and what it adds up to for one operation."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import NAMESPACE_URL, uuid5

from app.saga.definition import Call, RefundCall
from app.saga.model import Operation, Phase, RefundState, Status, StepState, StepStatus, compact_json
from app.saga.values import replace


class RefundStanding(StrEnum):
    """How far a refund has come. `disputed`: the payer's bank has taken the money, or is about to."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    DISPUTED = "disputed"
    FAILED = "failed"


# Events overtake each other. Of two that tell of one refund the one that stands later here is right: a refund that has
# failed does not succeed any more.
ORDER = tuple(RefundStanding)
GIVEN = frozenset({RefundStanding.SUCCEEDED, RefundStanding.DISPUTED})


@dataclass(frozen=True)
class KnownRefund:
    """One refund of a payment.

    Args:
        id: the provider's.
        amount: minor units.
        key: what its maker called it, where the provider tells.
    """

    id: str
    amount: int
    currency: str
    standing: RefundStanding
    key: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Weighed:
    """What refunds add up to for one operation.

    Args:
        ours: of those that this operation made, the one that came furthest; a failed one only where it is the present.
        given: minor units that others have given back, or are about to.
        certain: minor units that others have given back for certain.
        clear: whether all of them are in the payment's currency; else the sums say nothing.
    """

    ours: KnownRefund | None
    given: int
    certain: int
    clear: bool


def refund_key(agent: str, payment_id: str, step: str, number: int) -> str:
    """The key of our refund of that number: the UUIDv5 of (agent, payment id, step, undo), from the second on with it.

    Two operations for one payment at one agent have the same key, so that they cannot give it back twice.
    """
    name = [agent, payment_id, step, "undo"]
    return str(uuid5(NAMESPACE_URL, "makegood:" + compact_json(name if number == 1 else [*name, number])))


def present_key(call: RefundCall, operation: Operation, state: StepState) -> str:
    """The key of the refund that is to be made, or was made last."""
    return refund_key(call.agent, operation.external_id, state.name, state.refund.number)


def fold(refunds: Iterable[KnownRefund]) -> tuple[KnownRefund, ...]:
    """Each refund once, as it stands when all that was told of it is put together, in whatever order it came."""
    known: dict[str, KnownRefund] = {}
    for told in refunds:
        before = known.get(told.id, told)
        later = max(before, told, key=lambda one: ORDER.index(one.standing))
        known[told.id] = replace(later, key=later.key or before.key or told.key)
    return tuple(known.values())


def is_ours(call: Call | None, operation: Operation, refund: KnownRefund) -> bool:
    """Whether this operation made the refund, or another one did that has the same payment and so the same key."""
    if operation.phase is Phase.PURCHASE or not operation.steps or refund.standing is RefundStanding.DISPUTED:
        return False
    state = operation.steps[0]
    if refund.id == state.refund.id or refund.id in state.refund.former:
        return True
    if refund.key is None or not isinstance(call, RefundCall):
        return False
    numbers = range(1, state.refund.number + 1)
    return refund.key in {refund_key(call.agent, operation.external_id, state.name, number) for number in numbers}


def weigh(call: Call | None, operation: Operation, refunds: Iterable[KnownRefund]) -> Weighed:
    """What refunds add up to.

    Args:
        call: the undo of the payment.
        refunds: all that are known, in any order.
    """
    ours: list[KnownRefund] = []
    others: list[KnownRefund] = []
    for refund in fold(refunds):
        if is_ours(call, operation, refund):
            ours += [refund] if _counts(call, operation, refund) else []
        elif refund.standing is not RefundStanding.FAILED:
            others.append(refund)
    return Weighed(
        ours=max(ours, key=lambda one: _FURTHEST.index(one.standing), default=None),
        given=sum(refund.amount for refund in others),
        certain=sum(refund.amount for refund in others if refund.standing in GIVEN),
        clear=all(refund.currency == operation.currency for refund in others),
    )


_FURTHEST = (RefundStanding.FAILED, RefundStanding.PENDING, RefundStanding.SUCCEEDED)


def _counts(call: Call | None, operation: Operation, refund: KnownRefund) -> bool:
    """Those of ours that are known to have failed do not, whatever is told of them; the present one may fail now."""
    state = operation.steps[0]
    if refund.id in state.refund.former:
        return False
    present = isinstance(call, RefundCall) and refund.key == present_key(call, operation, state)
    return refund.standing is not RefundStanding.FAILED or refund.id == state.refund.id or present


def next_refund(refund: RefundState) -> RefundState:
    """The refund after one that certainly gave nothing back: with a new key, and nothing known of it yet."""
    former = (*refund.former, refund.id) if refund.id and refund.failed else refund.former
    return RefundState(refund.number + 1, former=former, elsewhere=refund.elsewhere)


def in_doubt(state: StepState) -> bool:
    """Whether a wish of ours may have made a refund that we do not know of."""
    return state.undo.unknown > 0 or state.undo.out


def may_still_refund(operation: Operation) -> bool:
    """Whether another operation that wants to give the same payment back has to wait for this one."""
    if operation.status is Status.PROCESSING:
        return True
    if operation.is_final or not operation.steps:
        return False
    state = operation.steps[0]
    return state.status is not StepStatus.UNDONE and not state.settled and in_doubt(state)
