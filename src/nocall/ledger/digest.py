"""The bytes that are hashed. docs/ledger.md gives the same layout in words.

An entry is a version byte, then every column as a length-prefixed field, the digest of its items
and the hash of the entry before. A change of layout takes a new version byte.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from nocall.model import Entry, Item

VERSION = b"\x01"
FIRST_PREVIOUS_HASH = bytes(32)
_ABSENT = b"\xff\xff\xff\xff"


def evidence_sha256(text: str | None) -> bytes | None:
    """SHA-256 of a transcript or of a recording's address, as its UTF-8 bytes."""
    return None if text is None else hashlib.sha256(text.encode()).digest()


def at_text(at: datetime) -> str:
    """ISO 8601 in UTC with all that the column holds, so that no part of it escapes the hash."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def items_digest(items: Iterable[Item]) -> bytes:
    digest = hashlib.sha256()
    for item in items:
        digest.update(
            _fields(
                str(item.position),
                str(item.number),
                item.record_id,
                item.type,
                item.reason,
                item.batch_id,
                item.request_uuid,
                item.recording_sha256,
                item.transcript_sha256,
            )
        )
    return digest.digest()


def entry_hash(entry: Entry) -> bytes:
    """The hash of `entry` from its columns; its own `hash` is not looked at."""
    return hashlib.sha256(
        VERSION
        + _fields(
            entry.org_id,
            str(entry.seq),
            at_text(entry.at),
            entry.kind,
            entry.actor_kind,
            entry.actor_id,
            entry.actor_name,
            entry.source,
            entry.reason,
            entry.detail,
            str(entry.item_count),
            entry.items_digest,
            entry.previous_hash,
        )
    ).digest()


def _fields(*values: str | bytes | None) -> bytes:
    parts = []
    for value in values:
        if value is None:
            parts.append(_ABSENT)
        else:
            data = value.encode() if isinstance(value, str) else value
            parts.append(len(data).to_bytes(4, "big") + data)
    return b"".join(parts)
