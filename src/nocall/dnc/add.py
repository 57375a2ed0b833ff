"""Adding a number. From the acknowledgement on, while the switch is on, no gate says callable."""

from dataclasses import dataclass, replace
from datetime import datetime

from nocall import call, ledger, number
from nocall.call import FoundAttempt
from nocall.dnc.state import RECORD_COLUMNS, count_in_block, record_of, search_text, take_ordinals
from nocall.errors import FieldInvalid, FieldMissing, NumberAmbiguous, NumberInvalid
from nocall.ledger.digest import evidence_sha256
from nocall.model import DncRecord, Item, Kind, Source, clean_text, new_id
from nocall.number import Readings
from nocall.store import Transaction


@dataclass(frozen=True, slots=True)
class AddRequest:
    """A request to be called no more, unchecked.

    Without a `source` it comes from a call, and names the batch and the attempt.
    """

    phone_number: str
    batch_id: str | None = None
    request_uuid: str | None = None
    type: str | None = None
    source: str | None = None
    reason: str | None = None
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AddOutcome:
    record: DncRecord
    repeated: bool
    """The number was listed already; the request was recorded all the same."""


async def add(tx: Transaction, request: AddRequest) -> AddOutcome:
    """List a number; recorded as `add`, or as `add_repeated` where it was listed already.

    Raises `FieldMissing`, `FieldInvalid`, `NumberInvalid`, `NumberAmbiguous`, `BatchNotFound`,
    `CallNotFound`. A number that is only possible is taken: an opt-out is never refused because a
    number looks unassigned.
    """
    source = _checked_source(request)
    type_ = clean_text("type", request.type or "", 64).strip() or None
    reason = clean_text("reason", request.reason or "", 500).strip() or None
    read = read_number(request.phone_number, tx.actor.region)
    attempt = await _attempt(tx, request)
    called = attempt.number if attempt else None
    value = choose_number(read, request.phone_number, called)
    head = await ledger.lock_head(tx)
    record = DncRecord(
        id=new_id(),
        org_id=tx.org_id,
        number=value,
        type=type_,
        batch_id=request.batch_id or None,
        request_uuid=request.request_uuid or None,
        call_recording=attempt.recording_url if attempt else None,
        transcription=attempt.transcript if attempt else None,
        created_at=head.next_at,
        source=source,
        added_by=tx.actor.name,
        reason=reason,
        requested_at=request.requested_at,
        seq=head.next_seq,
    )
    listed = await tx.one(
        f"select {RECORD_COLUMNS} from dnc_record "
        "where org_id = %(org_id)s and number = %(number)s",
        number=value,
    )
    if listed is not None:
        return await _repeat(tx, head, record_of(listed), record)
    ordinal = await take_ordinals(tx, 1)
    async with tx.connection.pipeline():
        await _insert(tx, record, ordinal)
        await count_in_block(tx, ordinal, +1)
        await ledger.append(
            tx, head, Kind.ADD, items=[_item(record)], source=source.value, reason=reason
        )
    return AddOutcome(record, repeated=False)


async def _insert(tx: Transaction, record: DncRecord, ordinal: int) -> None:
    await tx.run(
        f"insert into dnc_record ({RECORD_COLUMNS}, changed_seq, search_text) values "
        "(%(org_id)s, %(record_id)s, %(number)s, %(type)s, %(batch_id)s, %(request_uuid)s, "
        "%(call_recording)s, %(transcription)s, %(source)s, %(added_by)s, %(reason)s, "
        "%(requested_at)s, %(created_at)s, %(seq)s, %(ordinal)s, %(seq)s, %(search_text)s)",
        record_id=record.id,
        number=record.number,
        type=record.type,
        batch_id=record.batch_id,
        request_uuid=record.request_uuid,
        call_recording=record.call_recording,
        transcription=record.transcription,
        source=record.source.value,
        added_by=record.added_by,
        reason=record.reason,
        requested_at=record.requested_at,
        created_at=record.created_at,
        seq=record.seq,
        ordinal=ordinal,
        search_text=search_text(record.number, record.type, record.request_uuid),
    )


def _item(record: DncRecord) -> Item:
    return Item(
        number=record.number,
        record_id=record.id,
        type=record.type,
        batch_id=record.batch_id,
        request_uuid=record.request_uuid,
        recording_sha256=evidence_sha256(record.call_recording),
        transcript_sha256=evidence_sha256(record.transcription),
    )


async def _repeat(
    tx: Transaction, head: ledger.LockedHead, listed: DncRecord, again: DncRecord
) -> AddOutcome:
    """The second request keeps its own evidence, and protects the record from an undo."""
    entry = await ledger.append(
        tx,
        head,
        Kind.ADD_REPEATED,
        items=[replace(_item(again), record_id=listed.id)],
        source=again.source.value,
        reason=again.reason,
    )
    await tx.run(
        "update dnc_record set changed_seq = %(seq)s "
        "where org_id = %(org_id)s and record_id = %(record_id)s",
        seq=entry.seq,
        record_id=listed.id,
    )
    return AddOutcome(listed, repeated=True)


def _checked_source(request: AddRequest) -> Source:
    """Where the request came from, and whether it names what it must: all that is 400 comes before
    anything that is 404.
    """
    if not request.phone_number:
        raise FieldMissing("phoneNumber")
    source = Source.CALL if not request.source else _source(request.source)
    if source is Source.CALL or request.batch_id or request.request_uuid:
        if not request.batch_id:
            raise FieldMissing("batchId")
        if not request.request_uuid:
            raise FieldMissing("requestUUID")
        call.check_batch_id(request.batch_id)
        call.check_request_uuid(request.request_uuid)
    return source


async def _attempt(tx: Transaction, request: AddRequest) -> FoundAttempt | None:
    """The call it names; it must be there, whatever the source."""
    if not request.batch_id or not request.request_uuid:
        return None
    return await call.find_attempt(tx, request.batch_id, request.request_uuid)


def _source(text: str) -> Source:
    if text not in (Source.MANUAL, Source.WEB, Source.IMPORT, Source.API):
        raise FieldInvalid("source", "must be manual, web, import or api", text)
    return Source(text)


def read_number(text: str, region: str) -> Readings:
    """What `text` can mean; at least one number. Raises `NumberInvalid`."""
    read = number.read(text, region)
    if read.service_code:
        raise NumberInvalid("phoneNumber", "is an emergency or service number", text)
    if not read.readings:
        raise NumberInvalid("phoneNumber", f"is not a possible number ({read.problem})", text)
    return read


def choose_number(read: Readings, text: str, called: int | None) -> int:
    """The one number that is listed: the one that was called, else the valid one.

    Raises `NumberAmbiguous` where two valid readings differ. Where none is valid the international
    reading is taken, the wire's own form.
    """
    if called in [reading.number for reading in read.readings]:
        return int(called or 0)
    valid = [reading.number for reading in read.readings if reading.valid]
    if len(valid) > 1:
        raise NumberAmbiguous(
            "phoneNumber",
            f"may be +{valid[0]} or +{valid[1]}: write it with a + and its country code",
            text,
        )
    return valid[0] if valid else read.readings[0].number
