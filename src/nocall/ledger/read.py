"""Reading the ledger: the head, entries with their items, past states, and the export."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from nocall.errors import FieldInvalid, OrganizationNotFound
from nocall.ledger.digest import FIRST_PREVIOUS_HASH, at_text
from nocall.model import Entry, Head, Item, Kind, instant_text
from nocall.store import Row, Transaction

BEFORE_EVERY_SEQ = -(1 << 63)
"""Where a reader begins that must also see an entry smuggled in before the first."""
_CHUNK = 500


async def head(tx: Transaction) -> Head:
    row = await tx.one("select seq, hash, at from ledger_head where org_id = %(org_id)s")
    if row is None:
        raise OrganizationNotFound(f"no organization {tx.org_id}")
    return Head(row.seq, row.hash, row.at)


async def entries(
    tx: Transaction, *, after: int = 0, limit: int = 100, kinds: tuple[Kind, ...] = ()
) -> list[Entry]:
    """Entries with their items, oldest first, from the one after seq `after`."""
    rows = await tx.all(
        "select * from ledger_entry where org_id = %(org_id)s and seq > %(after)s "
        "and (%(kinds)s::text[] is null or kind = any(%(kinds)s)) order by seq limit %(limit)s",
        after=after,
        limit=limit,
        kinds=[kind.value for kind in kinds] or None,
    )
    items: dict[int, list[Item]] = {}
    for row in await tx.all(
        "select * from ledger_item where org_id = %(org_id)s and seq = any(%(seqs)s) "
        "order by seq, position",
        seqs=[row.seq for row in rows],
    ):
        items.setdefault(row.seq, []).append(_item(row))
    return [_entry(row, tuple(items.get(row.seq, ()))) for row in rows]


async def seq_at(tx: Transaction, at: datetime) -> int:
    """The seq the ledger stood at, at the instant `at`; the answer is the same for ever.

    Raises `FieldInvalid` for an instant before the organization's first entry, or still to come:
    about neither does the ledger know anything.
    """
    clock = await tx.only("select clock_timestamp() as now")
    if at > clock.now:
        raise FieldInvalid("at", "is still to come", instant_text(at))
    # An entry gets its instant before it is committed. Once the head is free and the millisecond
    # over, none can come any more that would count as of `at`.
    await tx.one(
        "select pg_sleep_until(%(at)s + interval '1 millisecond') from ledger_head "
        "where org_id = %(org_id)s for key share",
        at=at,
    )
    row = await tx.one(
        "select seq from ledger_entry where org_id = %(org_id)s and at <= %(at)s "
        "order by at desc, seq desc limit 1",
        at=at,
    )
    if row is None:
        raise FieldInvalid("at", "is before the organization's ledger begins", instant_text(at))
    return int(row.seq)


async def last_item(
    tx: Transaction, number: int, seq: int, kinds: tuple[Kind, ...]
) -> tuple[Entry, Item] | None:
    """The newest item of `number` in an entry of `kinds`, at `seq` or before."""
    row = await tx.one(
        "select e.*, i.number, i.record_id, i.type, i.reason as item_reason, i.batch_id, "
        "i.request_uuid, i.recording_sha256, i.transcript_sha256, i.position "
        "from ledger_item i join ledger_entry e on e.org_id = i.org_id and e.seq = i.seq "
        "where i.org_id = %(org_id)s and i.number = %(number)s and i.seq <= %(seq)s "
        "and e.kind = any(%(kinds)s) order by i.seq desc limit 1",
        number=number,
        seq=seq,
        kinds=[kind.value for kind in kinds],
    )
    if row is None:
        return None
    item = _item(row._replace(reason=row.item_reason))
    return _entry(row, (item,)), item


async def switched_on_at(tx: Transaction, seq: int) -> bool:
    """Whether the organization's switch was on at `seq`; it is on until an entry says off."""
    row = await tx.one(
        "select kind from ledger_entry where org_id = %(org_id)s and seq <= %(seq)s "
        "and kind in ('switched_on', 'switched_off') order by seq desc limit 1",
        seq=seq,
    )
    return row is None or row.kind == Kind.SWITCHED_ON


async def export_lines(tx: Transaction) -> AsyncIterator[str]:
    """The whole ledger as JSON lines: a header with the head, then an entry with its items a line.

    Needs a snapshot, so that the header's head is the last entry's.
    """
    top = await head(tx)
    yield _json(
        {
            "format": "nocall-ledger-1",
            "orgId": tx.org_id,
            "head": {"seq": top.seq, "hash": top.hash.hex(), "at": at_text(top.at)},
            "firstPreviousHash": FIRST_PREVIOUS_HASH.hex(),
        }
    )
    after = BEFORE_EVERY_SEQ
    while chunk := await entries(tx, after=after, limit=_CHUNK):
        for entry in chunk:
            yield _json(entry_document(entry))
        after = chunk[-1].seq


def entry_document(entry: Entry) -> dict[str, Any]:
    """`entry` as the JSON object of exports and `ledger show`; hashes as hex."""
    return {
        "seq": entry.seq,
        "at": at_text(entry.at),
        "kind": entry.kind,
        "actorKind": entry.actor_kind,
        "actorId": entry.actor_id,
        "actorName": entry.actor_name,
        "source": entry.source,
        "reason": entry.reason,
        "detail": entry.detail,
        "itemCount": entry.item_count,
        "itemsDigest": entry.items_digest.hex(),
        "previousHash": entry.previous_hash.hex(),
        "hash": entry.hash.hex(),
        "items": [
            {
                "position": item.position,
                "number": str(item.number),
                "recordId": item.record_id,
                "type": item.type,
                "reason": item.reason,
                "batchId": item.batch_id,
                "requestUUID": item.request_uuid,
                "recordingSha256": item.recording_sha256 and item.recording_sha256.hex(),
                "transcriptSha256": item.transcript_sha256 and item.transcript_sha256.hex(),
            }
            for item in entry.items
        ],
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _entry(row: Row, items: tuple[Item, ...]) -> Entry:
    return Entry(
        org_id=row.org_id,
        seq=row.seq,
        at=row.at,
        kind=row.kind,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actor_name=row.actor_name,
        source=row.source,
        reason=row.reason,
        detail=row.detail,
        item_count=row.item_count,
        items_digest=row.items_digest,
        previous_hash=row.previous_hash,
        hash=row.hash,
        items=items,
    )


def _item(row: Row) -> Item:
    return Item(
        number=row.number,
        record_id=row.record_id,
        type=row.type,
        reason=row.reason,
        batch_id=row.batch_id,
        request_uuid=row.request_uuid,
        recording_sha256=row.recording_sha256,
        transcript_sha256=row.transcript_sha256,
        position=row.position,
    )
