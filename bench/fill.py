"""A list of a million records put into the database by COPY, as the owner, in a minute or so.

Adding that many over HTTP would take longer than all measurements together. What is written is
what single adds would have left: a record, an entry with its hash and an item for each, the count
of each block, the head moved. `nocall ledger verify` passes on it.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import psycopg

from nocall.dnc.state import BLOCK_SIZE, search_text
from nocall.ledger.digest import entry_hash, evidence_sha256, items_digest
from nocall.model import DncRecord, Entry, Item, Kind, Source
from sample import numbers

# All that this module knows of the schema: a column, and which value of a `_Line` it gets.
_RECORD = {
    "org_id": "record.org_id",
    "record_id": "record.id",
    "number": "record.number",
    "type": "record.type",
    "batch_id": "record.batch_id",
    "request_uuid": "record.request_uuid",
    "call_recording": "record.call_recording",
    "transcription": "record.transcription",
    "source": "record.source.value",
    "added_by": "record.added_by",
    "reason": "record.reason",
    "created_at": "record.created_at",
    "seq": "record.seq",
    "changed_seq": "record.seq",
    "ordinal": "ordinal",
    "search_text": "search_text",
}
_ENTRY = {
    "org_id": "entry.org_id",
    "seq": "entry.seq",
    "at": "entry.at",
    "kind": "entry.kind",
    "actor_kind": "entry.actor_kind",
    "actor_id": "entry.actor_id",
    "actor_name": "entry.actor_name",
    "source": "entry.source",
    "reason": "entry.reason",
    "detail": "entry.detail",
    "item_count": "entry.item_count",
    "items_digest": "entry.items_digest",
    "previous_hash": "entry.previous_hash",
    "hash": "hash",
}
_ITEM = {
    "org_id": "entry.org_id",
    "seq": "entry.seq",
    "position": "position",
    "number": "item.number",
    "record_id": "item.record_id",
    "type": "item.type",
    "reason": "item.reason",
    "batch_id": "item.batch_id",
    "request_uuid": "item.request_uuid",
    "recording_sha256": "item.recording_sha256",
    "transcript_sha256": "item.transcript_sha256",
}
# Entries before items, which refer to them.
_TABLES = {"ledger_entry": _ENTRY, "ledger_item": _ITEM, "dnc_record": _RECORD}
_MOVE_HEAD = """
update ledger_head set seq = %(seq)s, hash = %(hash)s, at = %(at)s where org_id = %(org_id)s
"""
_MOVE_ORDINAL = "update dnc_state set next_ordinal = %(next)s where org_id = %(org_id)s"
_COUNT_BLOCKS = """
insert into dnc_block (org_id, block, record_count)
select %(org_id)s, ordinal / %(block)s, count(*) from dnc_record
where org_id = %(org_id)s and ordinal >= %(first)s group by ordinal / %(block)s
on conflict (org_id, block)
do update set record_count = dnc_block.record_count + excluded.record_count
"""
_MOVE_FOLLOWERS = (
    "insert into follower_cursor (org_id, follower, seq) values (%(org_id)s, 'mail', %(seq)s) "
    "on conflict (org_id, follower) do update set seq = excluded.seq"
)
_MOVES = (_MOVE_HEAD, _MOVE_ORDINAL, _COUNT_BLOCKS, _MOVE_FOLLOWERS)
_RUN = 50_000
_TYPES = ("customer_request", "customer_request", "customer_request", "complaint", "wrong_number")
_ACTOR_KIND, _ACTOR_ID, _ACTOR_NAME = "system", "bench", "bench"


@dataclass(frozen=True, slots=True)
class _Line:
    """One number and what each table says about it."""

    record: DncRecord
    entry: Entry
    """With an empty hash: the hash of it stands beside it."""
    hash: bytes
    item: Item
    ordinal: int
    search_text: str
    position: int = 0
    """An entry here has one item."""


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where the organization stands before the fill, and the instants the fill spreads over."""

    seq: int
    hash: bytes
    ordinal: int
    first_at: datetime
    span: timedelta


def fill_list(database_url: str, org_id: str, count: int, seed: int = 1) -> list[int]:
    """List `numbers(seed, count)` for the organization and return them.

    `database_url` is the owner's login. The organization has none of these numbers yet. All of it
    is one transaction under the lock of the ledger's head, so the service may be running.
    """
    listed = numbers(seed, count)
    chance = random.Random(seed)
    with psycopg.connect(database_url, options="-c search_path=nocall") as connection:
        stand = _stand(connection, org_id)
        lines = _lines(stand, org_id, listed, chance)
        last = None
        while run := list(itertools.islice(lines, _RUN)):
            for table, columns in _TABLES.items():
                _copy(connection, table, columns, run)
            last = run[-1]
        if last:
            _move_on(connection, org_id, stand, last)
    return listed


def settle(database_url: str) -> None:
    """Vacuum, analyse and checkpoint, which a list grown over months has had many times."""
    with psycopg.connect(
        database_url, options="-c search_path=nocall", autocommit=True
    ) as connection:
        for table in (*_TABLES, "dnc_block"):
            connection.execute(f"vacuum (analyze) {table}")
        try:
            connection.execute("checkpoint")
        except psycopg.errors.InsufficientPrivilege:
            # An owner that may not checkpoint leaves it to the server's own timer.
            return


def _stand(connection: psycopg.Connection, org_id: str) -> _Stand:
    head = connection.execute(
        "select seq, hash, at from ledger_head where org_id = %s for update", [org_id]
    ).fetchone()
    state = connection.execute(
        "select next_ordinal from dnc_state where org_id = %s for update", [org_id]
    ).fetchone()
    if head is None or state is None:
        raise LookupError(f"organization {org_id} has no ledger head or no list yet")
    now = datetime.now(UTC)
    return _Stand(head[0], head[1], state[0], head[2], max(now - head[2], timedelta(0)))


def _lines(
    stand: _Stand, org_id: str, listed: Sequence[int], chance: random.Random
) -> Iterator[_Line]:
    batches = [f"{chance.getrandbits(96):024x}" for _ in range(20)]
    previous = stand.hash
    for index, number in enumerate(listed):
        at = stand.first_at + stand.span * (index / len(listed))
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        seq = stand.seq + 1 + index
        record = _record(org_id, number, seq, at, batch_id=chance.choice(batches), chance=chance)
        item = _item(record)
        entry = _entry(record, item, previous)
        previous = entry_hash(entry)
        text = search_text(number, record.type, record.request_uuid)
        yield _Line(record, entry, previous, item, stand.ordinal + index, text)


def _record(
    org_id: str, number: int, seq: int, at: datetime, *, batch_id: str, chance: random.Random
) -> DncRecord:
    """Two in three come from a call and carry its evidence; one in ten has no type."""
    from_call = chance.random() < 0.67
    word = f"{chance.getrandbits(128):032x}"
    uuid = f"{word[:8]}-{word[8:12]}-4{word[13:16]}-a{word[17:20]}-{word[20:]}"
    return DncRecord(
        id=f"{int(at.timestamp()):08x}{word[:10]}{seq & 0xFFFFFF:06x}",
        org_id=org_id,
        number=number,
        type=chance.choice(_TYPES) if chance.random() < 0.9 else None,
        batch_id=batch_id if from_call else None,
        request_uuid=uuid if from_call else None,
        call_recording=f"https://recordings.example/{uuid}.mp3" if from_call else None,
        transcription=f"Agent: Good day. Customer: {word}, do not call me." if from_call else None,
        created_at=at,
        source=Source.CALL if from_call else Source.API,
        added_by=_ACTOR_NAME,
        reason=None,
        requested_at=None,
        seq=seq,
    )


def _item(record: DncRecord) -> Item:
    return Item(
        number=record.number,
        record_id=record.id,
        type=record.type,
        reason=record.reason,
        batch_id=record.batch_id,
        request_uuid=record.request_uuid,
        recording_sha256=evidence_sha256(record.call_recording),
        transcript_sha256=evidence_sha256(record.transcription),
    )


def _entry(record: DncRecord, item: Item, previous: bytes) -> Entry:
    return Entry(
        org_id=record.org_id,
        seq=record.seq,
        at=record.created_at,
        kind=Kind.ADD.value,
        actor_kind=_ACTOR_KIND,
        actor_id=_ACTOR_ID,
        actor_name=_ACTOR_NAME,
        source=record.source.value,
        reason=record.reason,
        detail="{}",
        item_count=1,
        items_digest=items_digest((item,)),
        previous_hash=previous,
        hash=b"",
    )


def _copy(
    connection: psycopg.Connection, table: str, columns: dict[str, str], lines: Sequence[_Line]
) -> None:
    values = attrgetter(*columns.values())
    with (
        connection.cursor() as cursor,
        cursor.copy(f"copy {table} ({', '.join(columns)}) from stdin") as copy,
    ):
        for line in lines:
            copy.write_row(values(line))


def _move_on(connection: psycopg.Connection, org_id: str, stand: _Stand, last: _Line) -> None:
    """Head, next ordinal, block counts, and the followers, who must not mail a million adds."""
    values: dict[str, Any] = {
        "org_id": org_id,
        "seq": last.entry.seq,
        "hash": last.hash,
        "at": last.entry.at,
        "first": stand.ordinal,
        "next": last.ordinal + 1,
        "block": BLOCK_SIZE,
    }
    for statement in _MOVES:
        connection.execute(statement, values)
