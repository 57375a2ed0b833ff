"""Attempts: what a dialer reports of a call it made, and what an add refers to."""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime

from nocall import number
from nocall.call.batch import check_batch_id, require_batch
from nocall.errors import CallNotFound, Conflict, FieldInvalid, FieldMissing, NumberInvalid
from nocall.model import clean_text
from nocall.store import Row, Transaction

_REQUEST_UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_TRANSCRIPT_BYTES = 1024 * 1024
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """What a dialer says of one attempt, unchecked. What is None leaves what was said before."""

    batch_id: str
    phone_number: str
    call_status: str
    duration_seconds: int | None = None
    recording_url: str | None = None
    transcript: str | None = None
    request_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class FoundAttempt:
    request_uuid: str
    number: int
    recording_url: str | None
    transcript: str | None


async def find_attempt(tx: Transaction, batch_id: str, request_uuid: str) -> FoundAttempt:
    """The attempt of a call of the batch, its row locked against a later report.

    A report of a recording that comes meanwhile waits, and then finds the record that the caller
    is about to write. Raises `FieldInvalid`, `BatchNotFound`, `CallNotFound`.
    """
    await require_batch(tx, batch_id)
    row = await tx.one(
        "select c.number, a.recording_url, a.transcript from attempt a "
        "join call c on c.org_id = a.org_id and c.call_id = a.call_id "
        "where a.org_id = %(org_id)s and a.request_uuid = %(request_uuid)s "
        "and c.batch_id = %(batch_id)s for share of a",
        batch_id=batch_id,
        request_uuid=check_request_uuid(request_uuid),
    )
    if row is None:
        raise CallNotFound(f"no call {request_uuid} in batch {batch_id}")
    return FoundAttempt(request_uuid, row.number, row.recording_url, row.transcript)


async def record_attempt(tx: Transaction, report: AttemptReport) -> FoundAttempt:
    """Keep an attempt, or what has become known of one reported before under its requestUUID.

    Raises `BatchNotFound`, `CallNotFound` where the number is none of the batch's calls, `Conflict`
    where the requestUUID names an attempt of another call.
    """
    check_batch_id(report.batch_id)
    request_uuid = check_request_uuid(report.request_uuid or str(uuid.uuid4()))
    said = _checked(report)
    numbers = _numbers(report.phone_number, tx.actor.region)
    await require_batch(tx, report.batch_id)
    call = await _find_call(tx, report.batch_id, numbers)
    row = await tx.one(
        "insert into attempt (org_id, request_uuid, call_id, status, duration_seconds, "
        "recording_url, transcript, created_at) values (%(org_id)s, %(request_uuid)s, "
        "%(call_id)s, %(status)s, %(duration_seconds)s, %(recording_url)s, %(transcript)s, "
        "%(now)s) on conflict (org_id, request_uuid) do update set status = excluded.status, "
        "duration_seconds = coalesce(excluded.duration_seconds, attempt.duration_seconds), "
        "recording_url = coalesce(excluded.recording_url, attempt.recording_url), "
        "transcript = coalesce(excluded.transcript, attempt.transcript) "
        "where attempt.call_id = excluded.call_id "
        "returning recording_url, transcript",
        request_uuid=request_uuid,
        call_id=call.call_id,
        now=tx.now,
        **said,
    )
    if row is None:
        raise Conflict(f"requestUUID {request_uuid} is an attempt of another call")
    await tx.run(
        "update call set status = %(status)s, updated_at = %(now)s "
        "where org_id = %(org_id)s and call_id = %(call_id)s",
        call_id=call.call_id,
        status=said["status"],
        now=tx.now,
    )
    return FoundAttempt(request_uuid, call.number, row.recording_url, row.transcript)


async def purge_evidence(tx: Transaction, before: datetime, limit: int) -> int:
    """Forget recordings and transcripts of attempts made before `before`; returns how many."""
    return await tx.run(
        "update attempt set recording_url = null, transcript = null "
        "where org_id = %(org_id)s and request_uuid in (select request_uuid from attempt "
        "where org_id = %(org_id)s and created_at < %(before)s "
        "and (recording_url is not null or transcript is not null) limit %(limit)s)",
        before=before,
        limit=limit,
    )


def check_request_uuid(text: str) -> str:
    if not _REQUEST_UUID.match(text):
        raise FieldInvalid(
            "requestUUID", "must be 1 to 128 letters, digits or any of . _ : -", text
        )
    return text


def _checked(report: AttemptReport) -> dict[str, object]:
    """What the report says of the attempt, as columns. Raises `FieldInvalid`."""
    recording, transcript = report.recording_url, report.transcript
    return {
        "status": _status(report.call_status),
        "duration_seconds": _duration(report.duration_seconds),
        "recording_url": recording and clean_text("recordingUrl", recording, 2_000),
        "transcript": transcript
        and clean_text("transcript", transcript, _TRANSCRIPT_BYTES, lines=True),
    }


def _numbers(text: str, region: str) -> list[int]:
    """Every number the text can mean, at least one."""
    if not text:
        raise FieldMissing("phoneNumber")
    read = number.read(text, region)
    if not read.readings:
        raise NumberInvalid("phoneNumber", f"is not a phone number ({read.problem})", text)
    return [reading.number for reading in read.readings]


async def _find_call(tx: Transaction, batch_id: str, numbers: list[int]) -> Row:
    rows = await tx.all(
        "select call_id, number from call where org_id = %(org_id)s "
        "and batch_id = %(batch_id)s and number = any(%(numbers)s)",
        batch_id=batch_id,
        numbers=numbers,
    )
    if not rows:
        raise CallNotFound(f"no call to this number in batch {batch_id}")
    if len(rows) > 1:
        raise FieldInvalid(
            "phoneNumber", "has two readings and the batch calls both: write it with a +"
        )
    return rows[0]


def _status(text: str) -> str:
    text = clean_text("callStatus", text.strip(), 40)
    if not text:
        raise FieldMissing("callStatus")
    return text


def _duration(seconds: int | None) -> int | None:
    if seconds is not None and not 0 <= seconds <= _DAY_SECONDS:
        raise FieldInvalid("callDuration", f"must be from 0 to {_DAY_SECONDS}", seconds)
    return seconds
