"""Deleting a record for good. The ledger keeps that it was there, who deleted it, when and why."""

from nocall import ledger
from nocall.dnc.state import RECORD_COLUMNS, count_in_block, record_of
from nocall.errors import FieldInvalid, RecordForeign, RecordNotFound
from nocall.model import DncRecord, Item, Kind, clean_text, is_id
from nocall.store import Transaction


async def delete(tx: Transaction, record_id: str, reason: str | None = None) -> DncRecord:
    """Free the record's number from now on; recorded as `delete` with the reason.

    Returns the record as it was. Raises `FieldInvalid` for a malformed id, `RecordForeign` for
    another organization's record, `RecordNotFound`. Of two deletes at once one finds nothing.
    """
    if not is_id(record_id):
        raise FieldInvalid("id", "must be 24 lower-case hex digits", record_id)
    reason = (reason and clean_text("reason", reason, 500)) or None
    await require_own(tx, record_id)
    head = await ledger.lock_head(tx)
    row = await tx.one(
        "delete from dnc_record where org_id = %(org_id)s and record_id = %(record_id)s "
        f"returning {RECORD_COLUMNS}",
        record_id=record_id,
    )
    if row is None:
        raise RecordNotFound(f"no DNC record {record_id}")
    await count_in_block(tx, row.ordinal, -1)
    record = record_of(row)
    await ledger.append(
        tx,
        head,
        Kind.DELETE,
        items=[
            Item(
                number=record.number,
                record_id=record.id,
                type=record.type,
                batch_id=record.batch_id,
                request_uuid=record.request_uuid,
            )
        ],
        reason=reason,
    )
    return record


async def require_own(tx: Transaction, record_id: str) -> None:
    """Tell a stranger's record (`RecordForeign`) from none at all (`RecordNotFound`)."""
    row = await tx.one(
        "select org_id from dnc_record where org_id = %(org_id)s and record_id = %(record_id)s",
        record_id=record_id,
    )
    if row is not None:
        return
    # One probe of the primary key per organization: an index for this alone would cost every add.
    foreign = await tx.one(
        "select o.org_id from org o where exists (select from dnc_record r "
        "where r.org_id = o.org_id and r.record_id = %(record_id)s) limit 1",
        record_id=record_id,
    )
    if foreign is not None:
        raise RecordForeign(f"DNC record {record_id} belongs to another organization")
    raise RecordNotFound(f"no DNC record {record_id}")
