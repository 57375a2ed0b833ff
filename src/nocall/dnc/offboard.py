"""Leaving: everything of an organization as JSON lines, and its end after such an export."""

import json
from collections.abc import AsyncIterator
from typing import Any

from nocall import call, ledger, org
from nocall.dnc.find import newest, read_on
from nocall.dnc.switch import is_on
from nocall.model import DncRecord, instant_text
from nocall.store import Transaction

_CHUNK = 500


async def export_lines(tx: Transaction) -> AsyncIterator[str]:
    """Everything of the organization, an object a line with its `kind`: organization, tokens,
    records, batches, calls, attempts, and the ledger as `ledger export` gives it.

    Needs a snapshot. A token's hash is not part of it.
    """
    organization = await org.get(tx)
    top = await ledger.head(tx)
    yield _line(
        "organization",
        {
            "format": "nocall-organization-1",
            "orgId": organization.id,
            "name": organization.name,
            "adminEmail": organization.admin_email,
            "region": organization.region,
            "createdAt": instant_text(organization.created_at),
            "enforcement": await is_on(tx),
            "seq": top.seq,
        },
    )
    for token in await org.tokens(tx):
        yield _line(
            "token",
            {
                "tokenId": token.id,
                "name": token.name,
                "scopes": list(token.scopes),
                "createdAt": instant_text(token.created_at),
                "createdBy": token.created_by,
                "expiresAt": token.expires_at and instant_text(token.expires_at),
                "revokedAt": token.revoked_at and instant_text(token.revoked_at),
            },
        )
    cursor = newest
    while True:
        part = await read_on(tx, cursor, _CHUNK)
        for record in part.records:
            yield _line("record", _record_document(record))
        if part.next_cursor is None:
            break
        cursor = part.next_cursor
    async for kind, document in call.export_documents(tx):
        yield _line(kind, document)
    async for line in ledger.export_lines(tx):
        yield f'{{"kind":"ledger","line":{line}}}'


async def purge(tx: Transaction) -> None:
    """End the organization after an export; see `org.purge` for what stays."""
    await tx.allow_long()
    await org.purge(tx)
    await call.purge(tx)
    for statement in (
        "delete from dnc_record where org_id = %(org_id)s",
        "delete from dnc_block where org_id = %(org_id)s",
        "delete from dnc_state where org_id = %(org_id)s",
    ):
        await tx.run(statement)


def _line(kind: str, document: dict[str, Any]) -> str:
    return json.dumps({"kind": kind, **document}, ensure_ascii=False, separators=(",", ":"))


def _record_document(record: DncRecord) -> dict[str, Any]:
    return {
        "recordId": record.id,
        "phoneNumber": str(record.number),
        "type": record.type,
        "batchId": record.batch_id,
        "requestUUID": record.request_uuid,
        "callRecording": record.call_recording,
        "transcription": record.transcription,
        "source": record.source.value,
        "addedBy": record.added_by,
        "reason": record.reason,
        "requestedAt": record.requested_at and instant_text(record.requested_at),
        "createdAt": instant_text(record.created_at),
        "seq": record.seq,
    }
