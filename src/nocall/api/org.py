"""Organizations for operators, tokens for an organization's admin."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from litestar import Request, Response, delete, get, patch, post
from litestar.response import Stream
from msgspec import UNSET

from nocall import dnc, ledger, org
from nocall.api import document, wire
from nocall.api.body import read
from nocall.api.envelope import reply
from nocall.api.example import ORG_CREATED, TOKEN_CREATED
from nocall.api.guard import OPERATOR, actor_of, runtime_of
from nocall.errors import FieldInvalid
from nocall.model import (
    Actor,
    Organization,
    Scope,
    Token,
    instant_text,
    is_id,
    new_id,
    parse_instant,
)
from nocall.org import Secret


@post(
    "/api/operator/orgs",
    **document.route(
        OPERATOR,
        "Create an organization",
        wire.OrgReply,
        400,
        413,
        body=wire.OrgBody,
        example=ORG_CREATED,
        success_code=201,
    ),
)
async def create_org(request: Request[Any, Any, Any]) -> Response[bytes]:
    body = await read(request, wire.OrgBody)
    actor = replace(actor_of(request), org_id=new_id())
    async with runtime_of(request).database.transaction(actor) as tx:
        created = await org.create(tx, body.name, body.adminEmail, body.region)
        await dnc.open_list(tx)
    return reply(_org_reply("Organization created successfully", created, 201))


@get(
    "/api/operator/orgs",
    **document.route(OPERATOR, "List the organizations", wire.OrgsReply),
)
async def list_orgs(request: Request[Any, Any, Any]) -> Response[bytes]:
    async with runtime_of(request).database.transaction(actor_of(request)) as tx:
        found = await org.every(tx)
    return reply(
        wire.OrgsReply.ok(
            "Organizations fetched successfully",
            wire.OrgsData([_org_view(one) for one in found]),
        )
    )


@patch(
    "/api/operator/orgs/{org_id:str}",
    **document.route(
        OPERATOR,
        "Change an organization",
        wire.OrgReply,
        400,
        404,
        413,
        body=wire.OrgChangeBody,
    ),
)
async def change_org(request: Request[Any, Any, Any], org_id: str) -> Response[bytes]:
    """Its admin's e-mail address and its home region."""
    body = await read(request, wire.OrgChangeBody)
    async with runtime_of(request).database.transaction(_of(request, org_id)) as tx:
        changed = await org.change(tx, admin_email=body.adminEmail, region=body.region)
    return reply(_org_reply("Organization updated successfully", changed, 200))


@get(
    "/api/operator/orgs/{org_id:str}/export",
    **document.text_route(
        OPERATOR, "Export everything of an organization", "application/x-ndjson", 400, 404
    ),
)
async def export_org(request: Request[Any, Any, Any], org_id: str) -> Stream:
    """JSON lines, one object a line; the ledger is in it. A purge asks for such an export."""
    runtime = runtime_of(request)
    actor = _of(request, org_id)
    async with runtime.database.transaction(actor) as tx:
        await org.get(tx)

    async def lines() -> AsyncIterator[bytes]:
        async with runtime.database.snapshot(actor) as tx:
            seq = (await ledger.head(tx)).seq
            async for line in dnc.export_lines(tx):
                yield line.encode() + b"\n"
        async with runtime.database.transaction(actor) as tx:
            await org.mark_exported(tx, seq)

    return Stream(
        lines(),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="nocall-{org_id}.jsonl"'},
    )


@delete(
    "/api/operator/orgs/{org_id:str}",
    **document.route(OPERATOR, "Purge an organization", wire.PurgedReply, 400, 404, 409),
)
async def purge_org(request: Request[Any, Any, Any], org_id: str) -> Response[bytes]:
    """Only after an export that holds all of its ledger. Its list, batches, calls and tokens go at
    once; its ledger is erased by `nocall org purge`, since only the owner's login may.
    """
    async with runtime_of(request).database.transaction(_of(request, org_id)) as tx:
        await dnc.purge(tx)
    return reply(
        wire.PurgedReply.ok(
            "Organization purged successfully",
            wire.Purged(org_id, f"kept until nocall org purge --org {org_id}"),
        )
    )


@post(
    "/api/operator/orgs/{org_id:str}/tokens",
    **document.route(
        OPERATOR,
        "Create an organization's token",
        wire.TokenReply,
        400,
        404,
        413,
        body=wire.TokenBody,
        example=TOKEN_CREATED,
        success_code=201,
    ),
)
async def create_org_token(request: Request[Any, Any, Any], org_id: str) -> Response[bytes]:
    """The first token of a new organization; later ones its admin makes."""
    return await _create_token(request, _of(request, org_id))


@post(
    "/api/org/tokens",
    **document.route(
        Scope.ADMIN,
        "Create a token",
        wire.TokenReply,
        400,
        404,
        413,
        body=wire.TokenBody,
        example=TOKEN_CREATED,
        success_code=201,
    ),
)
async def create_token(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The token's text is shown this once. A token gives out no scope that it lacks itself."""
    return await _create_token(request, actor_of(request))


@get("/api/org/tokens", **document.route(Scope.ADMIN, "List the tokens", wire.TokensReply, 403))
async def list_tokens(request: Request[Any, Any, Any]) -> Response[bytes]:
    async with runtime_of(request).database.transaction(actor_of(request)) as tx:
        found = await org.tokens(tx)
    return reply(
        wire.TokensReply.ok(
            "Tokens fetched successfully",
            wire.TokensData([_token_view(one) for one in found]),
        )
    )


@delete(
    "/api/org/tokens/{token_id:str}",
    **document.route(Scope.ADMIN, "Revoke a token", wire.TokenReply, 400, 403, 404),
)
async def revoke_token(request: Request[Any, Any, Any], token_id: str) -> Response[bytes]:
    """It stops on every process within a second."""
    _require_id("token_id", token_id)
    async with runtime_of(request).database.transaction(actor_of(request)) as tx:
        revoked = await org.revoke_token(tx, token_id)
    return reply(_token_reply("Token revoked successfully", _token_view(revoked), 200))


async def _create_token(request: Request[Any, Any, Any], actor: Actor) -> Response[bytes]:
    body = await read(request, wire.TokenBody)
    expires_at = None if body.expiresAt is None else parse_instant("expiresAt", body.expiresAt)
    async with runtime_of(request).database.transaction(actor) as tx:
        secret: Secret = await org.create_token(tx, body.name, body.scopes, expires_at)
    view = _token_view(secret.token)
    view.token = secret.text
    return reply(_token_reply("Token created successfully", view, 201))


def _of(request: Request[Any, Any, Any], org_id: str) -> Actor:
    _require_id("org_id", org_id)
    return replace(actor_of(request), org_id=org_id)


def _require_id(field: str, text: str) -> None:
    if not is_id(text):
        raise FieldInvalid(field, "must be 24 lower-case hex digits", text)


def _org_reply(message: str, organization: Organization, code: int) -> wire.OrgReply:
    return wire.OrgReply.ok(message, _org_view(organization), code=code)


def _org_view(organization: Organization) -> wire.Org:
    return wire.Org(
        id=organization.id,
        name=organization.name,
        adminEmail=organization.admin_email,
        region=organization.region,
        createdAt=instant_text(organization.created_at),
    )


def _token_reply(message: str, view: wire.TokenView, code: int) -> wire.TokenReply:
    return wire.TokenReply.ok(message, view, code=code)


def _token_view(token: Token) -> wire.TokenView:
    return wire.TokenView(
        id=token.id,
        name=token.name,
        scopes=[scope.value for scope in token.scopes],
        createdAt=instant_text(token.created_at),
        createdBy=token.created_by,
        expiresAt=instant_text(token.expires_at) if token.expires_at else None,
        revokedAt=instant_text(token.revoked_at) if token.revoked_at else None,
        token=UNSET,
    )


ROUTES = (
    create_org,
    list_orgs,
    change_org,
    export_org,
    purge_org,
    create_org_token,
    create_token,
    list_tokens,
    revoke_token,
)
