"""nocall token: create, list, revoke; with --operator those of operators."""

from pathlib import Path
from typing import Any

import click

from nocall import org
from nocall.cli.running import command_options, in_database, in_org, operator, show, table
from nocall.errors import FieldMissing
from nocall.model import Actor, Scope, Token, instant_text, parse_instant
from nocall.org import Secret
from nocall.store import Database

_COLUMNS = ("id", "name", "scopes", "createdAt", "createdBy", "expiresAt", "revokedAt")
_OPERATOR = click.option("--operator", "of_operator", is_flag=True, help="An operator's token.")


@click.group("token")
def group() -> None:
    """Tokens: bearer credentials of an organization, or of an operator."""


@group.command("create")
@click.option("--scope", "scopes", multiple=True, type=click.Choice([s.value for s in Scope]))
@click.option("--name", default="", help="What it is for.")
@click.option("--expires", help="When it ends, such as 2027-01-31T00:00:00Z.")
@_OPERATOR
@command_options(of_one_org=True)
def create(
    scopes: tuple[str, ...],
    name: str,
    expires: str | None,
    of_operator: bool,
    org_id: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Create a token. Its text is shown this once."""
    expires_at = parse_instant("--expires", expires) if expires else None

    async def for_operator(database: Database) -> Secret:
        async with database.transaction(operator()) as tx:
            return await org.create_operator_token(tx, name, expires_at)

    async def for_org(database: Database, actor: Actor) -> Secret:
        async with database.transaction(actor) as tx:
            return await org.create_token(tx, name, scopes, expires_at)

    if not of_operator and not scopes:
        raise FieldMissing("--scope")
    secret: Secret = (
        in_database(data, for_operator) if of_operator else in_org(data, org_id, for_org)
    )
    show({"token": secret.text, **_document(secret.token)}, as_json=as_json)


@group.command("list")
@_OPERATOR
@command_options(of_one_org=True)
def list_all(of_operator: bool, org_id: str | None, data: Path | None, as_json: bool) -> None:
    """List the tokens, without their texts."""

    async def for_operator(database: Database) -> list[Token]:
        async with database.transaction(operator()) as tx:
            return await org.operator_tokens(tx)

    async def for_org(database: Database, actor: Actor) -> list[Token]:
        async with database.transaction(actor) as tx:
            return await org.tokens(tx)

    tokens = in_database(data, for_operator) if of_operator else in_org(data, org_id, for_org)
    found = [_document(token) for token in tokens]
    show(found, as_json=as_json, text=table(found, _COLUMNS, "No tokens yet."))


@group.command("revoke")
@click.argument("token_id")
@_OPERATOR
@command_options(of_one_org=True)
def revoke(
    token_id: str, of_operator: bool, org_id: str | None, data: Path | None, as_json: bool
) -> None:
    """End a token; every process refuses it within a second."""

    async def for_operator(database: Database) -> None:
        async with database.transaction(operator()) as tx:
            await org.revoke_operator_token(tx, token_id)

    async def for_org(database: Database, actor: Actor) -> None:
        async with database.transaction(actor) as tx:
            await org.revoke_token(tx, token_id)

    if of_operator:
        in_database(data, for_operator)
    else:
        in_org(data, org_id, for_org)
    show({"id": token_id, "revoked": True}, as_json=as_json)


def _document(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "orgId": token.org_id or None,
        "name": token.name,
        "scopes": " ".join(token.scopes),
        "createdAt": instant_text(token.created_at),
        "createdBy": token.created_by,
        "expiresAt": token.expires_at and instant_text(token.expires_at),
        "revokedAt": token.revoked_at and instant_text(token.revoked_at),
    }
