"""One claimed operation, from the claim until it is given up."""

from app.saga import prepare
from app.saga.definition import LocalCall, RefundCall
from app.saga.model import Operation, Transition
from app.worker.ahead import Prepared
from app.worker.call import send, send_prepared
from app.worker.execution import Execution
from app.worker.local import run_in_transaction
from app.worker.refund import give_money_back, hear


async def execute(execution: Execution, operation: Operation, prepared: Prepared | None = None) -> Operation | None:
    """Works until the claim is given up; returns the operation as it was left, None where it is not ours any more.

    Args:
        prepared: the call that was put on record with the claim, if one was.

    Where our lease may be over before anything was sent, the claim is left to run out: that counts it.
    """
    current: Operation | None = operation
    if prepared is not None:
        left = await send_prepared(execution, prepared)
        if left is not None:
            return left
        current = await execution.reload(operation)
    elif execution.refunds_told:
        current = await hear(execution, operation)
    while current is not None and execution.is_ours(current) and execution.surely_held():
        plan = prepare(execution.saga, current, execution.parts.clock.now())
        if isinstance(plan, Transition):
            left = plan.after if await execution.record(plan) else None
        elif isinstance(plan.call, LocalCall):
            left = await run_in_transaction(execution, current, plan, plan.call)
        elif isinstance(plan.call, RefundCall):
            left = await give_money_back(execution, current, plan, plan.call)
        else:
            left = await send(execution, current, plan)
        if left is not None and not execution.is_ours(left):
            return left
        current = left or await execution.reload(current)
    return None
