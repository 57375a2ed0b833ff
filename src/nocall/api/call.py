"""The /api/call routes: batches, their calls, and what a dialer reports."""

import math
from typing import Any

from litestar import Request, Response, get, post
from msgspec import UNSET

from nocall import call, dial
from nocall.api import document, wire
from nocall.api.body import read, whole_number
from nocall.api.envelope import reply
from nocall.api.guard import actor_of, runtime_of
from nocall.call import AttemptReport, BatchPlan
from nocall.errors import BatchNotFound, FieldInvalid, FieldMissing, Invalid
from nocall.model import Attempt, Call, Scope, instant_text

_CHUNK = 1_000
_FAR_PAGE = 1_000_000_000


@post(
    "/api/call/createBatch",
    **document.route(
        Scope.CALL_WRITE,
        "Create a batch",
        wire.BatchReply,
        400,
        403,
        413,
        body=wire.BatchBody,
        success_code=201,
    ),
)
async def create_batch(request: Request[Any, Any, Any]) -> Response[bytes]:
    """`data` is the new batch's id as a bare string."""
    body = await read(request, wire.BatchBody)
    plan = BatchPlan(
        name=body.batchName,
        calling_numbers=body.callingNumbers,
        retry_count=body.retry or 0,
        delay_seconds=body.delay or 0,
        timezone=body.timezone,
        calling_hour=body.callingHour,
        allowed_days=body.allowedDays,
    )
    async with runtime_of(request).database.transaction(actor_of(request)) as tx:
        batch = await call.create_batch(tx, plan)
    return reply(wire.BatchReply.ok("Batch created successfully", batch.id, code=201))


@post(
    "/api/call/addCallsToBatch",
    **document.route(
        Scope.CALL_WRITE,
        "Add calls to a batch",
        wire.CallsReply,
        207,
        400,
        403,
        404,
        413,
        body=wire.CallsBody,
    ),
)
async def add_calls_to_batch(request: Request[Any, Any, Any]) -> Response[bytes]:
    """In chunks of 1,000, each whole or not at all: 207 where some failed. A number whose call is
    pending is updated, not added twice.
    """
    runtime, actor = runtime_of(request), actor_of(request)
    body = await read(request, wire.CallsBody)
    rows = body.call_data if body.call_data is not UNSET else body.callData
    if rows is UNSET:
        raise FieldMissing("call_data")
    if not rows:
        raise FieldInvalid("call_data", "needs at least one call")
    call_ids: list[str] = []
    failed: list[wire.FailedChunk] = []
    refused: Invalid | None = None
    for first in range(0, len(rows), _CHUNK):
        try:
            async with runtime.database.transaction(actor) as tx:
                chunk = rows[first : first + _CHUNK]
                call_ids += await call.add_calls(tx, body.batchId, chunk, first)
        except BatchNotFound:
            raise
        except Invalid as error:
            refused = error
            failed.append(wire.FailedChunk(first // _CHUNK + 1, str(error)))
    if refused and not call_ids:
        raise refused
    return reply(
        wire.CallsReply(
            message="Calls enqueued successfully",
            status=not failed,
            code=207 if failed else 200,
            errorMessage=f"{len(failed)} of the chunks failed" if failed else "",
            data=wire.CallsData(len(call_ids), call_ids, failed or UNSET),
        )
    )


@get(
    "/api/call/batch-details/{batch_id:str}",
    **document.route(
        Scope.CALL_WRITE,
        "Read a batch",
        wire.BatchDetailsReply,
        400,
        403,
        404,
        query={
            "page": {"type": "integer", "minimum": 1, "default": 1},
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
        },
    ),
)
async def batch_details(request: Request[Any, Any, Any], batch_id: str) -> Response[bytes]:
    """The batch with one page of its calls, each with its phone logs and their requestUUIDs."""
    page = whole_number(request, "page", 1, 1, _FAR_PAGE)
    limit = whole_number(request, "limit", 10, 1, 1000)
    async with runtime_of(request).database.transaction(actor_of(request)) as tx:
        found = await call.batch_page(tx, batch_id, page, limit)
    return reply(
        wire.BatchDetailsReply.ok(
            "Batch details fetched successfully",
            wire.BatchDetails(
                batchId=found.batch.id,
                batchName=found.batch.name,
                batchStatus=found.batch.status,
                page=page,
                limit=limit,
                total=found.total,
                totalPages=math.ceil(found.total / limit),
                data=[_call_document(one) for one in found.calls],
            ),
        )
    )


@post(
    "/api/call/report",
    **document.route(
        Scope.CALL_WRITE,
        "Report an attempt",
        wire.ReportReply,
        400,
        403,
        404,
        409,
        413,
        body=wire.ReportBody,
    ),
)
async def report(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Keep an attempt of a call. Reported again under its requestUUID, a recording or transcript
    that came late is added, also to the DNC record that came from the call.
    """
    runtime, actor = runtime_of(request), actor_of(request)
    body = await read(request, wire.ReportBody)
    async with runtime.database.transaction(actor) as tx:
        found = await dial.report(
            tx,
            AttemptReport(
                batch_id=body.batchId,
                phone_number=body.phoneNumber,
                call_status=body.callStatus,
                duration_seconds=body.callDuration,
                recording_url=body.recordingUrl,
                transcript=body.transcript,
                request_uuid=body.requestUUID,
            ),
        )
    runtime.wake(actor.org_id)
    return reply(
        wire.ReportReply.ok(
            "Call report recorded successfully",
            wire.Reported(found.request_uuid),
        )
    )


def _call_document(one: Call) -> dict[str, Any]:
    """Custom fields stand beside ours, as the wire has it; ours win where names collide."""
    return {
        **one.fields,
        "_id": one.id,
        "phoneNumber": str(one.number),
        "callStatus": one.status,
        "phoneLogs": [_phone_log(attempt) for attempt in one.attempts],
        "createdAt": instant_text(one.created_at),
    }


def _phone_log(attempt: Attempt) -> wire.PhoneLog:
    return wire.PhoneLog(
        requestUUID=attempt.request_uuid,
        callStatus=attempt.status,
        callDuration=attempt.duration_seconds,
        recordingUrl=attempt.recording_url,
        transcript=attempt.transcript,
        createdAt=instant_text(attempt.created_at),
    )


ROUTES = (create_batch, add_calls_to_batch, batch_details, report)
