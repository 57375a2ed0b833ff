"""Appending: one entry per change, under the lock of the organization's head row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from nocall.errors import OrganizationNotFound
from nocall.ledger.digest import FIRST_PREVIOUS_HASH, entry_hash, items_digest
from nocall.model import Entry, Item, Kind
from nocall.store import Transaction


@dataclass(frozen=True, slots=True)
class LockedHead:
    """The head as it stood when its row was locked, and the instant the next entry gets."""

    seq: int
    hash: bytes
    next_at: datetime

    @property
    def next_seq(self) -> int:
        return self.seq + 1


async def start(tx: Transaction) -> LockedHead:
    """Give a new organization its head row, at seq 0, locked by being ours alone."""
    row = await tx.only(
        "insert into ledger_head (org_id, seq, hash, at) values (%(org_id)s, 0, %(hash)s, "
        "date_trunc('milliseconds', clock_timestamp())) returning at",
        hash=FIRST_PREVIOUS_HASH,
    )
    return LockedHead(0, FIRST_PREVIOUS_HASH, row.at)


async def lock_head(tx: Transaction) -> LockedHead:
    """Take the organization's head row for the rest of the transaction.

    Locked last and shortly: every writer of the organization waits for it. The instant is read
    from the database's clock after the lock is held, and never runs backwards.
    """
    row = await tx.one("select seq, hash, at from ledger_head where org_id = %(org_id)s for update")
    if row is None:
        raise OrganizationNotFound(f"no organization {tx.org_id}")
    clock = await tx.only("select date_trunc('milliseconds', clock_timestamp()) as now")
    return LockedHead(row.seq, row.hash, max(row.at, clock.now))


async def append(
    tx: Transaction,
    head: LockedHead,
    kind: Kind,
    *,
    items: Sequence[Item] = (),
    source: str | None = None,
    reason: str | None = None,
    detail: Mapping[str, object] | None = None,
) -> Entry:
    """Write the entry that follows `head` and move the head onto it.

    One entry a transaction: `head` must come from `lock_head` or `start` in this transaction.
    """
    placed = tuple(replace(item, position=position) for position, item in enumerate(items))
    unhashed = Entry(
        org_id=tx.org_id,
        seq=head.next_seq,
        at=head.next_at,
        kind=kind.value,
        actor_kind=tx.actor.kind,
        actor_id=tx.actor.id,
        actor_name=tx.actor.name,
        source=source,
        reason=reason,
        detail=_canonical(detail or {}),
        item_count=len(placed),
        items_digest=items_digest(placed),
        previous_hash=head.hash,
        hash=b"",
        items=placed,
    )
    entry = replace(unhashed, hash=entry_hash(unhashed))
    async with tx.connection.pipeline():
        await tx.run(_INSERT_ENTRY, **{name: getattr(entry, name) for name in _ENTRY_COLUMNS})
        for item in placed:
            await tx.run(
                _INSERT_ITEM,
                seq=entry.seq,
                **{name: getattr(item, name) for name in _ITEM_COLUMNS},
            )
        await tx.run(
            "update ledger_head set seq = %(seq)s, hash = %(hash)s, at = %(at)s "
            "where org_id = %(org_id)s",
            seq=entry.seq,
            hash=entry.hash,
            at=entry.at,
        )
    return entry


def _canonical(detail: Mapping[str, object]) -> str:
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


_ENTRY_COLUMNS = (
    "seq",
    "at",
    "kind",
    "actor_kind",
    "actor_id",
    "actor_name",
    "source",
    "reason",
    "detail",
    "item_count",
    "items_digest",
    "previous_hash",
    "hash",
)
_INSERT_ENTRY = (
    "insert into ledger_entry (org_id, seq, at, kind, actor_kind, actor_id, actor_name, source, "
    "reason, detail, item_count, items_digest, previous_hash, hash) values (%(org_id)s, %(seq)s, "
    "%(at)s, %(kind)s, %(actor_kind)s, %(actor_id)s, %(actor_name)s, %(source)s, %(reason)s, "
    "%(detail)s, %(item_count)s, %(items_digest)s, %(previous_hash)s, %(hash)s)"
)
_ITEM_COLUMNS = (
    "position",
    "number",
    "record_id",
    "type",
    "reason",
    "batch_id",
    "request_uuid",
    "recording_sha256",
    "transcript_sha256",
)
_INSERT_ITEM = (
    "insert into ledger_item (org_id, seq, position, number, record_id, type, reason, batch_id, "
    "request_uuid, recording_sha256, transcript_sha256) values (%(org_id)s, %(seq)s, "
    "%(position)s, %(number)s, %(record_id)s, %(type)s, %(reason)s, %(batch_id)s, "
    "%(request_uuid)s, %(recording_sha256)s, %(transcript_sha256)s)"
)
