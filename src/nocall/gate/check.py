"""The gate in a transaction: many numbers now, or one number as it stood at a past instant."""

import logging
from collections.abc import Sequence
from datetime import datetime

from nocall import ledger, number
from nocall.errors import OrganizationNotFound
from nocall.gate.rules import ListFacts, Listing, decide
from nocall.model import Kind, Verdict
from nocall.number import Readings
from nocall.store import Transaction

AsOf = datetime
_LOG = logging.getLogger(__name__)


async def check_many(tx: Transaction, texts: Sequence[str]) -> list[Verdict]:
    """A verdict for each text, in the order asked."""
    reads = read_all(texts, tx.actor.region)
    facts = await _facts(tx, reads)
    return [decide(text, read, facts) for text, read in zip(texts, reads, strict=True)]


async def check_as_of(tx: Transaction, text: str, at: AsOf) -> Verdict:
    """What the list and the switch said of `text` at the instant `at`, from the ledger alone.

    The verdict's seq is the ledger's at that instant. Raises `FieldInvalid` for an instant the
    ledger knows nothing about.
    """
    seq = await ledger.seq_at(tx, at)
    (read,) = read_all([text], tx.actor.region)
    listed = {}
    for reading in read.readings:
        found = await ledger.last_item(tx, reading.number, seq, (Kind.ADD, Kind.DELETE))
        if found is not None and found[0].kind == Kind.ADD:
            entry, item = found
            listed[reading.number] = Listing(item.record_id, item.type, entry.at)
    enforcement = await ledger.switched_on_at(tx, seq)
    return decide(text, read, ListFacts(seq, at, enforcement, listed))


def read_all(texts: Sequence[str], region: str) -> list[Readings]:
    """What each text can mean. One that cannot even be read without an error is unreadable."""
    try:
        return [number.read(text, region) for text in texts]
    except Exception:  # noqa: BLE001 - whatever it was, it must not spoil the others
        return [_read_guarded(text, region) for text in texts]


def _read_guarded(text: str, region: str) -> Readings:
    try:
        return number.read(text, region)
    except Exception:  # noqa: BLE001 - it is logged, and the number is answered invalid
        _LOG.exception("a number could not be read")
        return Readings((), "unreadable")


async def _facts(tx: Transaction, reads: Sequence[Readings]) -> ListFacts:
    rows = await tx.all(
        "select h.seq, s.enforcement, date_trunc('milliseconds', clock_timestamp()) as at, "
        "r.number, r.record_id, r.type, r.created_at "
        "from ledger_head h join dnc_state s on s.org_id = h.org_id "
        "left join dnc_record r on r.org_id = h.org_id and r.number = any(%(numbers)s) "
        "where h.org_id = %(org_id)s",
        numbers=[reading.number for read in reads for reading in read.readings],
    )
    if not rows:
        raise OrganizationNotFound(f"no organization {tx.org_id}")
    first = rows[0]
    listed = {
        row.number: Listing(row.record_id, row.type, row.created_at)
        for row in rows
        if row.number is not None
    }
    return ListFacts(first.seq, first.at, first.enforcement, listed)
