"""Recomputing the ledger from its stored columns and naming the first entry that is wrong."""

import re
from dataclasses import dataclass
from datetime import datetime

from nocall.errors import FieldInvalid, LedgerBroken
from nocall.ledger.digest import FIRST_PREVIOUS_HASH, entry_hash, items_digest
from nocall.ledger.read import BEFORE_EVERY_SEQ, entries, head
from nocall.model import Entry, Head
from nocall.store import Transaction

_CHUNK = 500
_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ExpectedHead:
    """A head that was printed, mailed or exported before."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verification:
    head: Head
    entry_count: int
    item_count: int


def parse_expected_head(text: str) -> ExpectedHead:
    """`SEQ:HASH` as `ledger verify` prints it; the hash is 64 hex digits."""
    match = _HEAD.fullmatch(text.strip().lower())
    if match is None:
        raise FieldInvalid("--expect-head", "must be SEQ:HASH, as ledger verify prints it", text)
    return ExpectedHead(int(match[1]), bytes.fromhex(match[2]))


async def verify(tx: Transaction, expected: ExpectedHead | None = None) -> Verification:
    """Recompute every entry and item; needs a snapshot.

    Finds a changed byte, a missing or swapped entry or item, a time that runs backwards and, given
    an `expected` head, a tail that was cut off and grown anew. Raises `LedgerBroken` with the
    first bad seq.
    """
    top = await head(tx)
    previous_hash, previous_seq, previous_at = FIRST_PREVIOUS_HASH, 0, None
    item_count, after = 0, BEFORE_EVERY_SEQ
    while chunk := await entries(tx, after=after, limit=_CHUNK):
        after = chunk[-1].seq
        for entry in chunk:
            _verify_entry(entry, previous_seq, previous_hash, previous_at)
            if expected and entry.seq == expected.seq and entry.hash != expected.hash:
                raise LedgerBroken(
                    f"entry {entry.seq} is not the one of the expected head", entry.seq
                )
            previous_hash, previous_seq, previous_at = entry.hash, entry.seq, entry.at
            item_count += entry.item_count
    if (top.seq, top.hash, top.at) != (previous_seq, previous_hash, previous_at):
        first = min(top.seq, previous_seq) + 1
        raise LedgerBroken(
            f"from entry {first} on ledger and head row differ: the last entry is {previous_seq}, "
            f"the head row is at {top.seq}",
            first,
        )
    if expected and expected.seq > previous_seq:
        raise LedgerBroken(
            f"entry {previous_seq + 1} is missing: the ledger once reached {expected.seq}",
            previous_seq + 1,
        )
    return Verification(top, previous_seq, item_count)


def _verify_entry(
    entry: Entry, previous_seq: int, previous_hash: bytes, previous_at: datetime | None
) -> None:
    expected_seq = previous_seq + 1
    if entry.seq != expected_seq:
        raise LedgerBroken(f"entry {expected_seq} is missing", expected_seq)
    for wrong, what in (
        (entry.previous_hash != previous_hash, "does not follow the entry before it"),
        (entry.item_count != len(entry.items), "lacks items or has too many"),
        (entry.items_digest != items_digest(entry.items), "has an item that was changed"),
        (entry.hash != entry_hash(entry), "was changed"),
        (previous_at is not None and entry.at < previous_at, "is earlier than the one before it"),
    ):
        if wrong:
            raise LedgerBroken(f"entry {entry.seq} {what}", entry.seq)
