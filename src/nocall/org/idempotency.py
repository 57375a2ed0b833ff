"""Idempotency keys of tokens: the same request asked twice is answered twice, and done once."""

import hashlib
import re
from datetime import timedelta

from nocall.errors import FieldInvalid, IdempotencyMismatch
from nocall.store import Transaction

KEPT = timedelta(hours=24)
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


async def claim_key(tx: Transaction, key: str, body: bytes) -> bytes | None:
    """Claim `key` for the actor's token, or give the response that was kept under it.

    Waits while another transaction holds the same key. A key older than 24 hours is free again.
    Raises `IdempotencyMismatch` where the key was used with another body.
    """
    if not _KEY.match(key):
        raise FieldInvalid("Idempotency-Key", "must be 1 to 255 visible ASCII characters", key)
    digest = hashlib.sha256(body).digest()
    claimed = await tx.run(
        "insert into idempotency (org_id, token_id, key, body_sha256, created_at) "
        "values (%(org_id)s, %(token_id)s, %(key)s, %(digest)s, %(now)s) "
        "on conflict (org_id, token_id, key) do update "
        "set body_sha256 = excluded.body_sha256, response = null, "
        "created_at = excluded.created_at where idempotency.created_at <= %(expired)s",
        token_id=tx.actor.id,
        key=key,
        digest=digest,
        now=tx.now,
        expired=tx.now - KEPT,
    )
    if claimed:
        return None
    row = await tx.only(
        "select body_sha256, response from idempotency "
        "where org_id = %(org_id)s and token_id = %(token_id)s and key = %(key)s",
        token_id=tx.actor.id,
        key=key,
    )
    if row.body_sha256 != digest:
        raise IdempotencyMismatch(f"Idempotency-Key {key} was used with another body")
    return bytes(row.response)


async def keep_response(tx: Transaction, key: str, response: bytes) -> None:
    """Keep the response of a success under a key claimed in this transaction."""
    await tx.run(
        "update idempotency set response = %(response)s "
        "where org_id = %(org_id)s and token_id = %(token_id)s and key = %(key)s",
        token_id=tx.actor.id,
        key=key,
        response=response,
    )


async def release_key(tx: Transaction, key: str) -> None:
    """Give up a key claimed in this transaction, after anything but a success."""
    await tx.run(
        "delete from idempotency "
        "where org_id = %(org_id)s and token_id = %(token_id)s and key = %(key)s",
        token_id=tx.actor.id,
        key=key,
    )


async def forget_expired_keys(tx: Transaction) -> int:
    return await tx.run(
        "delete from idempotency where org_id = %(org_id)s and created_at <= %(expired)s",
        expired=tx.now - KEPT,
    )
