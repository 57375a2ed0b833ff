"""The organization's switch: off means the gate does not consult the organization's own list."""

from nocall import ledger
from nocall.model import Kind, clean_text
from nocall.store import Transaction


async def switch(tx: Transaction, *, enable: bool, reason: str | None = None) -> bool:
    """Set the switch; recorded as `switched_on` or `switched_off` where that changes it.

    Returns whether it changed. Raises `FieldInvalid` for a reason that is too long.
    """
    reason = (reason and clean_text("reason", reason, 500)) or None
    head = await ledger.lock_head(tx)
    changed = await tx.run(
        "update dnc_state set enforcement = %(enable)s "
        "where org_id = %(org_id)s and enforcement <> %(enable)s",
        enable=enable,
    )
    if changed:
        kind = Kind.SWITCHED_ON if enable else Kind.SWITCHED_OFF
        await ledger.append(tx, head, kind, reason=reason)
    return bool(changed)


async def is_on(tx: Transaction) -> bool:
    row = await tx.only("select enforcement from dnc_state where org_id = %(org_id)s")
    return bool(row.enforcement)
