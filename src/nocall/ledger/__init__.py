"""The append-only, hash-chained history of each organization.

`lock_head` and `append` write it, `read` and `export` give it back, `verify` recomputes it.
"""

from nocall.ledger.append import LockedHead, append, lock_head, start
from nocall.ledger.read import (
    entries,
    entry_document,
    export_lines,
    head,
    last_item,
    seq_at,
    switched_on_at,
)
from nocall.ledger.verify import ExpectedHead, Verification, parse_expected_head, verify

__all__ = [
    "ExpectedHead",
    "LockedHead",
    "Verification",
    "append",
    "entries",
    "entry_document",
    "export_lines",
    "head",
    "last_item",
    "lock_head",
    "parse_expected_head",
    "seq_at",
    "start",
    "switched_on_at",
    "verify",
]
