"""The demo's last word: the ledgers of both partners against what Makegood says of each payment."""

from collections.abc import Mapping, Sequence

from app.saga.model import Json, Status
from app.sandbox import Deed, Entry, Ledger, Ware

# What a payment of each source buys.
WARES: Mapping[str, tuple[Ware, ...]] = {"shop": (Ware.PURCHASE,), "travel": (Ware.FLIGHT, Ware.HOTEL)}


def disagreements(psp: Ledger, supplier: Ledger, operations: Sequence[Json]) -> list[str]:
    """Where the ledgers and the operations contradict each other, a sentence each; none: all is as it must be.

    Each captured payment has one operation. It has succeeded, all its wares stand and nothing was given back; or it
    was refunded, none of them stands and the whole amount was given back.

    Args:
        operations: those of the payments in the ledgers, as the API shows them, and no others.
    """
    found: list[str] = []
    payments = {payment.id: payment for payment in psp.of(Deed.CAPTURED)}
    for payment in payments.values():
        mine = [operation for operation in operations if operation["external_id"] == payment.id]
        if len(mine) != 1:
            found.append(f"{payment.order_id}: {len(mine)} operations, not one")
        found += [f"{payment.order_id}: {fault}" for one in mine for fault in _faults(payment, one, psp, supplier)]
    for operation in operations:
        if operation["external_id"] not in payments:
            found.append(f"{operation['order_id']}: an operation for a payment that was never made")
    return found


def _faults(payment: Entry, operation: Json, psp: Ledger, supplier: Ledger) -> list[str]:
    status, wares = operation["status"], WARES[operation["source"]]
    standing = [ware for ware in wares if supplier.stands(ware, operation["id"])]
    refunded = sum(refund.amount for refund in psp.of(Deed.REFUNDED, entry_id=payment.id))
    faults = [f"{ware} bought {times} times" for ware in wares if (times := _bought(supplier, ware, operation)) > 1]
    if status == Status.SUCCEEDED:
        faults += [f"succeeded without its {ware}" for ware in wares if ware not in standing]
        faults += [f"succeeded, and {refunded} given back"] if refunded else []
    elif status == Status.REFUNDED:
        faults += [f"refunded, and its {ware} stands" for ware in standing]
        faults += [f"refunded {refunded} of {payment.amount}"] if refunded != payment.amount else []
    else:
        faults.append(f"is still {status}")
    return faults


def _bought(supplier: Ledger, ware: Ware, operation: Json) -> int:
    return len(supplier.of(Deed.BOUGHT, entry_id=operation["id"], ware=ware))


def summary(psp: Ledger, supplier: Ledger, operations: Sequence[Json]) -> list[tuple[str, str, str]]:
    """Both ledgers beside Makegood's word: (what is counted, in the ledgers, in Makegood)."""
    sold = [one for one in operations if one["status"] == Status.SUCCEEDED]
    returned = [one for one in operations if one["status"] == Status.REFUNDED]
    mine = {one["id"] for one in operations}  # an operation that an earlier demo left open may buy here too
    standing = [
        entry for entry in supplier.of(Deed.BOUGHT) if entry.id in mine and supplier.stands(entry.ware, entry.id)
    ]
    expected = sum(len(WARES[one["source"]]) for one in sold)
    return [
        ("payments", str(len(psp.of(Deed.CAPTURED))), str(len(operations))),
        ("purchased", f"{len(standing)} things stand", f"{expected} things of {len(sold)} payments"),
        ("cancelled", f"{len(supplier.of(Deed.CANCELLED))} things", ""),
        ("refunded", f"{len(psp.of(Deed.REFUNDED))} refunds", f"{len(returned)} payments"),
    ]
