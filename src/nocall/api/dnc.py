"""The /api/dnc routes: add, list, delete, enable-disable, and what stands beside them."""

import math
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from msgspec import UNSET

from nocall import dnc, org
from nocall.api import document, wire
from nocall.api.body import header_text, query_text, read, whole_number
from nocall.api.envelope import raw_reply, reply
from nocall.api.example import success
from nocall.api.guard import actor_of, runtime_of
from nocall.dnc import AddRequest
from nocall.errors import FieldInvalid, FieldMissing, NumberListed
from nocall.model import Scope, parse_instant

_FAR_PAGE = 1_000_000_000
_REASON = {"type": "string", "maxLength": 500, "description": "Why; UTF-8, at most 500 bytes."}


@post(
    "/api/dnc/add",
    **document.route(
        Scope.DNC_WRITE,
        "Add a number",
        wire.AddReply,
        400,
        404,
        413,
        422,
        body=wire.AddBody,
        headers={
            "Idempotency-Key": {
                "type": "string",
                "pattern": "^[!-~]{1,255}$",
                "description": "Makes a retry safe: the first success is answered again, for 24 "
                "hours.",
            }
        },
    ),
)
async def add(request: Request[Any, Any, Any]) -> Response[bytes]:
    """List a number, from a call or with a `source`. A number listed already is 400 with the
    existing id in `data`, and recorded all the same. `Idempotency-Key` makes a retry safe.
    """
    runtime, actor = runtime_of(request), actor_of(request)
    body = await read(request, wire.AddBody)
    key = request.headers.get("idempotency-key")
    wanted = AddRequest(
        phone_number=body.phoneNumber,
        batch_id=body.batchId,
        request_uuid=body.requestUUID,
        type=body.type,
        source=body.source,
        reason=body.reason,
        requested_at=None
        if body.requestedAt is None
        else parse_instant("requestedAt", body.requestedAt),
    )
    async with runtime.database.transaction(actor) as tx:
        if key is not None:
            kept = await org.claim_key(tx, key, await request.body())
            if kept is not None:
                return raw_reply(kept, 200)
        outcome = await dnc.add(tx, wanted)
        first = msgspec.json.encode(
            wire.AddReply.ok(
                "Phone number added to DNC successfully",
                wire.Added(outcome.record.id),
            )
        )
        if key is not None and outcome.repeated:
            await org.release_key(tx, key)
        elif key is not None:
            await org.keep_response(tx, key, first)
    runtime.wake(actor.org_id)
    if outcome.repeated:
        raise NumberListed(
            f"phoneNumber: {outcome.record.number} is listed already, "
            "the request was recorded with it",
            {"_id": outcome.record.id},
        )
    return raw_reply(first, 200)


@get(
    "/api/dnc/list",
    **document.route(
        Scope.DNC_READ,
        "List the records",
        wire.ListReply,
        400,
        403,
        query={
            "page": {"type": "integer", "minimum": 1, "default": 1},
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
            "search": {"type": "string", "maxLength": 200},
            "cursor": {
                "type": "string",
                "pattern": "^o[0-9a-f]{1,15}$",
                "description": "A `nextCursor`; instead of `page`.",
            },
        },
    ),
)
async def list_records(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Newest first. `search` looks anywhere in number, type and requestUUID. A reader of a long
    list follows `nextCursor`, which is stable while the list changes.
    """
    page = whole_number(request, "page", 1, 1, _FAR_PAGE)
    limit = whole_number(request, "limit", 10, 1, 1000)
    search = query_text(request, "search") or None
    cursor = query_text(request, "cursor")
    if cursor is not None and query_text(request, "page") is not None:
        raise FieldInvalid("cursor", "and page exclude each other")
    async with runtime_of(request).database.transaction(actor_of(request)) as tx:
        if cursor is not None:
            part = await dnc.read_on(tx, dnc.parse_cursor(cursor), limit, search)
            pagination = wire.Pagination(UNSET, UNSET, limit, UNSET, _text(part.next_cursor))
            records = part.records
        else:
            found = await dnc.page(tx, page, limit, search)
            pagination = wire.Pagination(
                found.total,
                page,
                limit,
                math.ceil(found.total / limit),
                _text(found.next_cursor),
            )
            records = found.records
    return reply(
        wire.ListReply.ok(
            "DNC list fetched successfully",
            wire.ListData([wire.Record.of(record) for record in records], pagination),
        )
    )


@get(
    "/api/dnc/record/{record_id:str}",
    **document.route(Scope.DNC_READ, "Read one record", wire.RecordReply, 400, 403, 404),
)
async def record(request: Request[Any, Any, Any], record_id: str) -> Response[bytes]:
    async with runtime_of(request).database.transaction(actor_of(request)) as tx:
        found = await dnc.get(tx, record_id)
    return reply(
        wire.RecordReply.ok(
            "DNC record fetched successfully",
            wire.Record.of(found),
        )
    )


@delete(
    "/api/dnc/delete/{record_id:str}",
    **document.route(
        Scope.DNC_DELETE,
        "Delete a record",
        wire.Done,
        400,
        403,
        404,
        query={
            "reason": {
                "type": "string",
                "maxLength": 500,
                "description": "Why; or as header `X-Reason`.",
            }
        },
        headers={"X-Reason": _REASON},
        example=success("DNC record deleted successfully"),
    ),
)
async def delete_record(request: Request[Any, Any, Any], record_id: str) -> Response[bytes]:
    """Permanent: the number may be called again by calls added from now on."""
    runtime, actor = runtime_of(request), actor_of(request)
    reason = header_text(request, "x-reason") or query_text(request, "reason")
    async with runtime.database.transaction(actor) as tx:
        await dnc.delete(tx, record_id, reason)
    runtime.wake(actor.org_id)
    return reply(wire.Done.ok("DNC record deleted successfully"))


@delete(
    "/api/dnc/delete",
    **document.refusing_route(Scope.DNC_DELETE, "Delete without an id", 400),
)
async def delete_without_id(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Always 400: the id is missing."""
    del request
    raise FieldMissing("id")


@post(
    "/api/dnc/enable-disable",
    **document.route(
        Scope.ADMIN,
        "Turn the list on or off",
        wire.Done,
        400,
        404,
        413,
        body=wire.SwitchBody,
        headers={"X-Reason": _REASON},
        example=success("DNC setting updated successfully"),
    ),
)
async def enable_disable(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Off means that the gate does not consult the organization's own list; every check says so.
    Recorded in the ledger, the admin is mailed.
    """
    runtime, actor = runtime_of(request), actor_of(request)
    body = await read(request, wire.SwitchBody)
    async with runtime.database.transaction(actor) as tx:
        await dnc.switch(tx, enable=body.enable, reason=header_text(request, "x-reason"))
    runtime.wake(actor.org_id)
    return reply(wire.Done.ok("DNC setting updated successfully"))


@get(
    "/api/dnc/settings",
    **document.route(Scope.DNC_READ, "Read the settings", wire.SettingsReply, 404),
)
async def settings(request: Request[Any, Any, Any]) -> Response[bytes]:
    async with runtime_of(request).database.transaction(actor_of(request)) as tx:
        organization = await org.get(tx)
        enable = await dnc.is_on(tx)
    return reply(
        wire.SettingsReply.ok(
            "DNC settings fetched successfully",
            wire.Settings(enable, organization.id, organization.region),
        )
    )


def _text(cursor: dnc.Cursor | None) -> str | None:
    return None if cursor is None else str(cursor)


ROUTES = (
    add,
    list_records,
    record,
    delete_record,
    delete_without_id,
    enable_disable,
    settings,
)
