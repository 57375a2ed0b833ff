"""Recording and transcript on a record: attached when they come late, purged when they must go."""

from datetime import datetime

from nocall import call, ledger
from nocall.call import FoundAttempt
from nocall.ledger.digest import evidence_sha256
from nocall.model import Item, Kind, instant_text
from nocall.store import Transaction


async def attach_evidence(tx: Transaction, attempt: FoundAttempt) -> bool:
    """Carry an attempt's recording and transcript over to the record that came from it.

    Recorded as `evidence_attached` with their hashes. Returns whether anything was new.
    """
    known = await tx.one(
        "select record_id from dnc_record where org_id = %(org_id)s "
        "and request_uuid = %(request_uuid)s "
        "and (call_recording is distinct from coalesce(%(recording)s, call_recording) "
        "or transcription is distinct from coalesce(%(transcript)s, transcription))",
        request_uuid=attempt.request_uuid,
        recording=attempt.recording_url,
        transcript=attempt.transcript,
    )
    if known is None or not (attempt.recording_url or attempt.transcript):
        return False
    head = await ledger.lock_head(tx)
    rows = await tx.all(
        "update dnc_record set call_recording = coalesce(%(recording)s, call_recording), "
        "transcription = coalesce(%(transcript)s, transcription), "
        "changed_seq = %(seq)s where org_id = %(org_id)s and request_uuid = %(request_uuid)s "
        "returning number, record_id, type, batch_id",
        request_uuid=attempt.request_uuid,
        recording=attempt.recording_url,
        transcript=attempt.transcript,
        seq=head.next_seq,
    )
    if not rows:
        return False
    items = [
        Item(
            number=row.number,
            record_id=row.record_id,
            type=row.type,
            batch_id=row.batch_id,
            request_uuid=attempt.request_uuid,
            recording_sha256=evidence_sha256(attempt.recording_url),
            transcript_sha256=evidence_sha256(attempt.transcript),
        )
        for row in rows
    ]
    await ledger.append(tx, head, Kind.EVIDENCE_ATTACHED, items=items)
    return True


async def purge_evidence(tx: Transaction, before: datetime, limit: int = 2_000) -> int:
    """Forget recordings and transcripts of records and attempts made before `before`.

    At most `limit` of either, so that the head is held shortly: call it until it returns 0.
    Recorded as `evidence_purged` with the counts; the hashes of what was there stay in the ledger.
    Returns how many records and attempts lost something.
    """
    attempt_count = await call.purge_evidence(tx, before, limit)
    head = await ledger.lock_head(tx)
    record_count = await tx.run(
        "update dnc_record set call_recording = null, transcription = null, "
        "changed_seq = %(seq)s where org_id = %(org_id)s and record_id in ("
        "select record_id from dnc_record where org_id = %(org_id)s and created_at < %(before)s "
        "and (call_recording is not null or transcription is not null) limit %(limit)s)",
        before=before,
        limit=limit,
        seq=head.next_seq,
    )
    if attempt_count + record_count:
        await ledger.append(
            tx,
            head,
            Kind.EVIDENCE_PURGED,
            detail={
                "before": instant_text(before),
                "recordCount": record_count,
                "attemptCount": attempt_count,
            },
        )
    return attempt_count + record_count
