"""The row behind each list: its switch and its next ordinal; and the counts of its blocks.

A record's ordinal says where it stands in the list, newest last. Blocks of 4,096 ordinals know how
many records they still hold, so that a total or a deep page never counts a million rows.
"""

from nocall.errors import OrganizationNotFound
from nocall.model import DncRecord, Source
from nocall.store import Row, Transaction

BLOCK_SIZE = 4_096
RECORD_COLUMNS = (
    "org_id, record_id, number, type, batch_id, request_uuid, call_recording, transcription, "
    "source, added_by, reason, requested_at, created_at, seq, ordinal"
)


async def open_list(tx: Transaction) -> None:
    """Give a new organization its list: empty, switched on."""
    await tx.run(
        "insert into dnc_state (org_id, enforcement, next_ordinal) values (%(org_id)s, true, 0)"
    )


async def take_ordinals(tx: Transaction, count: int) -> int:
    """The first of `count` ordinals; the caller holds the ledger's head."""
    row = await tx.one(
        "update dnc_state set next_ordinal = next_ordinal + %(count)s "
        "where org_id = %(org_id)s returning next_ordinal",
        count=count,
    )
    if row is None:
        # Purged while a token of it was still trusted: its ledger outlives its list.
        raise OrganizationNotFound(f"no organization {tx.org_id}")
    return int(row.next_ordinal) - count


async def count_in_block(tx: Transaction, ordinal: int, change: int) -> None:
    await tx.run(
        "insert into dnc_block (org_id, block, record_count) "
        "values (%(org_id)s, %(block)s, %(change)s) on conflict (org_id, block) do update "
        "set record_count = dnc_block.record_count + excluded.record_count",
        block=ordinal // BLOCK_SIZE,
        change=change,
    )


def search_text(number: int, type_: str | None, request_uuid: str | None) -> str:
    """What a search looks through, a line for each of the three fields."""
    return f"{number}\n{(type_ or '').casefold()}\n{(request_uuid or '').casefold()}"


def record_of(row: Row) -> DncRecord:
    return DncRecord(
        id=row.record_id,
        org_id=row.org_id,
        number=row.number,
        type=row.type,
        batch_id=row.batch_id,
        request_uuid=row.request_uuid,
        call_recording=row.call_recording,
        transcription=row.transcription,
        created_at=row.created_at,
        source=Source(row.source),
        added_by=row.added_by,
        reason=row.reason,
        requested_at=row.requested_at,
        seq=row.seq,
    )
