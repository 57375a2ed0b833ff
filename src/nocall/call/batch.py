"""Batches: create one, put calls in, read it with its calls and their attempts."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg.types.json import Jsonb

from nocall import ledger, number
from nocall.errors import BatchNotFound, FieldInvalid, FieldMissing, NumberInvalid
from nocall.model import Attempt, Batch, Call, clean_text, instant_text, is_id, new_id
from nocall.store import Row, Transaction

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d\Z")
_FIELD_BYTES = 4_000
_FIELD_DEPTH = 32
"""Levels of objects and arrays in a custom field."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch is to be, unchecked."""

    name: str
    calling_numbers: Sequence[str]
    retry_count: int = 0
    delay_seconds: int = 0
    timezone: str | None = None
    calling_hour: Mapping[str, str] | None = None
    allowed_days: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class BatchPage:
    batch: Batch
    calls: tuple[Call, ...]
    total: int


async def create_batch(tx: Transaction, plan: BatchPlan) -> Batch:
    """Raises `FieldInvalid` for a name, zone, hour or day that is not one."""
    name = clean_text("batchName", plan.name.strip(), 200)
    if not name:
        raise FieldMissing("batchName")
    if not plan.calling_numbers:
        raise FieldInvalid("callingNumbers", "needs at least one")
    batch = Batch(
        id=new_id(),
        org_id=tx.org_id,
        name=name,
        calling_numbers=tuple(
            clean_text("callingNumbers", text, 64) for text in plan.calling_numbers
        ),
        retry_count=_within("retry", plan.retry_count, 0, 100),
        delay_seconds=_within("delay", plan.delay_seconds, 0, 2_592_000),
        timezone=_zone(plan.timezone),
        calling_hour=_hours(plan.calling_hour),
        allowed_days=_days(plan.allowed_days),
        status="created",
        created_at=tx.now,
    )
    await tx.run(
        "insert into batch (org_id, batch_id, name, calling_numbers, retry_count, delay_seconds, "
        "timezone, calling_hour, allowed_days, status, created_at) values (%(org_id)s, "
        "%(batch_id)s, %(name)s, %(calling_numbers)s, %(retry_count)s, %(delay_seconds)s, "
        "%(timezone)s, %(calling_hour)s, %(allowed_days)s, %(status)s, %(created_at)s)",
        batch_id=batch.id,
        name=batch.name,
        calling_numbers=list(batch.calling_numbers),
        retry_count=batch.retry_count,
        delay_seconds=batch.delay_seconds,
        timezone=batch.timezone,
        calling_hour=batch.calling_hour and Jsonb(dict(batch.calling_hour)),
        allowed_days=batch.allowed_days and list(batch.allowed_days),
        status=batch.status,
        created_at=batch.created_at,
    )
    return batch


async def add_calls(
    tx: Transaction, batch_id: str, rows: Sequence[Mapping[str, Any]], first_position: int = 0
) -> list[str]:
    """Put a chunk of calls into a batch, all or none; returns their ids in order.

    A number whose call is still pending is updated instead of added twice, a finished one becomes
    pending again. Each call keeps the ledger seq it was added at. Raises `FieldInvalid` naming the
    row, counted from `first_position`, and `BatchNotFound`.
    """
    check_batch_id(batch_id)
    checked = [
        _checked_row(position, row, tx.actor.region)
        for position, row in enumerate(rows, first_position)
    ]
    await require_batch(tx, batch_id)
    # Two chunks that share numbers lock them in one order, and one chunk holds a number once.
    latest = dict(checked)
    head = await ledger.head(tx)
    ids: dict[int, str] = {}
    for value in sorted(latest):
        row = await tx.only(
            "insert into call (org_id, batch_id, call_id, number, fields, status, added_seq, "
            "created_at, updated_at) values (%(org_id)s, %(batch_id)s, %(call_id)s, %(number)s, "
            "%(fields)s, 'pending', %(added_seq)s, %(now)s, %(now)s) "
            "on conflict (org_id, batch_id, number) do update set fields = excluded.fields, "
            "status = 'pending', updated_at = excluded.updated_at, added_seq = case when "
            "call.status = 'pending' then call.added_seq else excluded.added_seq end "
            "returning call_id",
            batch_id=batch_id,
            call_id=new_id(),
            number=value,
            fields=Jsonb(latest[value]),
            added_seq=head.seq,
            now=tx.now,
        )
        ids[value] = row.call_id
    return [ids[value] for value, _ in checked]


async def batch_page(tx: Transaction, batch_id: str, page: int, limit: int) -> BatchPage:
    """The batch and one page of its calls, oldest first, each with its attempts."""
    batch = await require_batch(tx, batch_id)
    total = await tx.only(
        "select count(*) as total from call where org_id = %(org_id)s and batch_id = %(batch_id)s",
        batch_id=batch_id,
    )
    rows = await tx.all(
        "select call_id, number, fields, status, created_at from call "
        "where org_id = %(org_id)s and batch_id = %(batch_id)s "
        "order by created_at, call_id limit %(limit)s offset %(offset)s",
        batch_id=batch_id,
        limit=limit,
        offset=(page - 1) * limit,
    )
    attempts: dict[str, list[Attempt]] = {}
    for row in await tx.all(
        "select call_id, request_uuid, status, duration_seconds, recording_url, transcript, "
        "created_at from attempt where org_id = %(org_id)s and call_id = any(%(call_ids)s) "
        "order by created_at, request_uuid",
        call_ids=[row.call_id for row in rows],
    ):
        attempts.setdefault(row.call_id, []).append(
            Attempt(
                row.request_uuid,
                row.status,
                row.duration_seconds,
                row.recording_url,
                row.transcript,
                row.created_at,
            )
        )
    calls = tuple(
        Call(
            row.call_id,
            row.number,
            row.fields,
            row.status,
            row.created_at,
            tuple(attempts.get(row.call_id, ())),
        )
        for row in rows
    )
    return BatchPage(batch, calls, total.total)


def check_batch_id(text: str) -> None:
    if not is_id(text):
        raise FieldInvalid("batchId", "must be 24 lower-case hex digits", text)


async def require_batch(tx: Transaction, batch_id: str) -> Batch:
    """Raises `FieldInvalid` for a malformed id, `BatchNotFound` also for a stranger's batch."""
    check_batch_id(batch_id)
    row = await tx.one(
        "select * from batch where org_id = %(org_id)s and batch_id = %(batch_id)s",
        batch_id=batch_id,
    )
    if row is None:
        raise BatchNotFound(f"no batch {batch_id}")
    return _batch(row)


async def export_documents(tx: Transaction) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Every batch, call and attempt of the organization, each with the word for what it is."""
    async for row in tx.stream("select * from batch where org_id = %(org_id)s"):
        yield (
            "batch",
            {
                "batchId": row.batch_id,
                "batchName": row.name,
                "callingNumbers": row.calling_numbers,
                "retry": row.retry_count,
                "delay": row.delay_seconds,
                "timezone": row.timezone,
                "callingHour": row.calling_hour,
                "allowedDays": row.allowed_days,
                "batchStatus": row.status,
                "createdAt": instant_text(row.created_at),
            },
        )
    async for row in tx.stream("select * from call where org_id = %(org_id)s"):
        yield (
            "call",
            {
                "callId": row.call_id,
                "batchId": row.batch_id,
                "phoneNumber": str(row.number),
                "fields": row.fields,
                "callStatus": row.status,
                "addedSeq": row.added_seq,
                "createdAt": instant_text(row.created_at),
            },
        )
    async for row in tx.stream("select * from attempt where org_id = %(org_id)s"):
        yield (
            "attempt",
            {
                "requestUUID": row.request_uuid,
                "callId": row.call_id,
                "callStatus": row.status,
                "callDuration": row.duration_seconds,
                "recordingUrl": row.recording_url,
                "transcript": row.transcript,
                "createdAt": instant_text(row.created_at),
            },
        )


async def find_batch(tx: Transaction, name: str) -> Batch | None:
    """The oldest batch of that name."""
    row = await tx.one(
        "select * from batch where org_id = %(org_id)s and name = %(name)s "
        "order by created_at, batch_id limit 1",
        name=name,
    )
    return None if row is None else _batch(row)


async def purge(tx: Transaction) -> None:
    """Delete every batch, call and attempt of the organization."""
    await tx.run("delete from attempt where org_id = %(org_id)s")
    await tx.run("delete from call where org_id = %(org_id)s")
    await tx.run("delete from batch where org_id = %(org_id)s")


def _checked_row(
    position: int, row: Mapping[str, Any], region: str
) -> tuple[int, dict[str, object]]:
    place = f"call_data[{position}]"
    text = row.get("phoneNumber")
    if text is None or text == "":
        raise FieldMissing(f"{place}.phoneNumber")
    if not isinstance(text, str):
        raise FieldInvalid(f"{place}.phoneNumber", "must be a string", text)
    read = number.read(text, region)
    if read.service_code or not read.readings:
        raise NumberInvalid(f"{place}.phoneNumber", f"is not a phone number ({read.problem})", text)
    valid = [reading for reading in read.readings if reading.valid]
    fields = {name: value for name, value in row.items() if name != "phoneNumber"}
    for name, value in fields.items():
        clean_text(f"{place} field name", name, 100)
        _require_plain(f"{place}.{name}", value)
    return (valid or read.readings)[0].number, fields


def _require_plain(place: str, value: object, depth: int = 0) -> None:
    """Custom fields are what a JSON document may hold, without characters no database keeps."""
    if depth > _FIELD_DEPTH:
        raise FieldInvalid(place, f"is nested more than {_FIELD_DEPTH} deep")
    if isinstance(value, str):
        clean_text(place, value, _FIELD_BYTES, lines=True)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            clean_text(place, str(name), 100)
            _require_plain(place, inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(place, inner, depth + 1)


def _within(field: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise FieldInvalid(field, f"must be from {low} to {high}", value)
    return value


def _zone(name: str | None) -> str | None:
    if not name:
        return None
    try:
        ZoneInfo(clean_text("timezone", name, 100))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise FieldInvalid("timezone", "must be an IANA zone name", name) from None
    return name


def _hours(window: Mapping[str, str] | None) -> dict[str, str] | None:
    if window is None:
        return None
    for edge in ("start", "end"):
        if not _CLOCK.match(window.get(edge, "")):
            raise FieldInvalid(
                f"callingHour.{edge}", "must be a time such as 09:00", window.get(edge)
            )
    if window["start"] == window["end"]:
        raise FieldInvalid("callingHour", "starts and ends at the same time", window["start"])
    return {"start": window["start"], "end": window["end"]}


def _days(days: Sequence[int] | None) -> tuple[int, ...] | None:
    if days is None:
        return None
    for day in days:
        _within("allowedDays", day, 0, 6)
    if not days:
        raise FieldInvalid("allowedDays", "needs at least one day")
    return tuple(sorted(set(days)))


def _batch(row: Row) -> Batch:
    return Batch(
        id=row.batch_id,
        org_id=row.org_id,
        name=row.name,
        calling_numbers=tuple(row.calling_numbers),
        retry_count=row.retry_count,
        delay_seconds=row.delay_seconds,
        timezone=row.timezone,
        calling_hour=row.calling_hour,
        allowed_days=row.allowed_days and tuple(row.allowed_days),
        status=row.status,
        created_at=row.created_at,
    )
