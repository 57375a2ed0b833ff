"""Tokens: bearer credentials of an organization, and operators' tokens, which have no organization.

A token's text is `nocall_ORG_SECRET`, an operator's `nocallop_SECRET`. The secret has 256 random
bits, so a plain SHA-256 of the text is enough to store.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from nocall import ledger
from nocall.errors import FieldInvalid, NotAuthenticated, ScopeMissing, TokenNotFound
from nocall.model import Actor, Kind, Scope, Token, clean_text, instant_text, new_id, parse_scopes
from nocall.org import organization
from nocall.store import Row, Transaction

_TOKEN = re.compile(r"nocall_([0-9a-f]{24})_[A-Za-z0-9_-]{43}\Z")
_OPERATOR_PREFIX = "nocallop_"
_COLUMNS = "org_id, token_id, name, scopes, created_at, created_by, expires_at, revoked_at"


@dataclass(frozen=True, slots=True)
class Secret:
    """A token and its text, which is shown once and never stored."""

    token: Token
    text: str


def token_org(text: str) -> str:
    """The organization a token's text names. Raises `NotAuthenticated` for another shape."""
    match = _TOKEN.match(text)
    if match is None:
        raise NotAuthenticated("the bearer token is not one of ours")
    return match[1]


async def authenticate(tx: Transaction, text: str) -> Actor:
    """Who the token speaks for. Raises `NotAuthenticated` when unknown, expired or revoked."""
    row = await tx.one(
        "select t.token_id, t.name, t.scopes, t.expires_at, t.revoked_at, o.region "
        "from token t join org o on o.org_id = t.org_id "
        "where t.org_id = %(org_id)s and t.hash = %(hash)s and o.purged_at is null",
        hash=_hash(text),
    )
    if row is None:
        raise NotAuthenticated("the bearer token is unknown")
    _refuse_ended(row, tx.now)
    return Actor(
        kind="token",
        id=row.token_id,
        name=row.name,
        org_id=tx.org_id,
        scopes=frozenset(Scope(scope) for scope in row.scopes),
        region=row.region,
    )


async def create_token(
    tx: Transaction,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime | None = None,
) -> Secret:
    """Mint a token of the transaction's organization; recorded as `token_created`.

    Raises `ScopeMissing` when a token would give out a scope it does not have itself,
    `OrganizationNotFound` also for an organization that was purged.
    """
    wanted = parse_scopes(scopes)
    if tx.actor.kind == "token" and not set(wanted) <= tx.actor.scopes:
        lacking = ", ".join(sorted(set(wanted) - tx.actor.scopes))
        raise ScopeMissing(f"a token cannot give out a scope it lacks: {lacking}")
    name = clean_text("name", name.strip(), 100) or "token"
    _refuse_past(expires_at, tx.now)
    text = f"nocall_{tx.org_id}_{secrets.token_urlsafe(32)}"
    token = Token(
        id=new_id(),
        org_id=tx.org_id,
        name=name,
        scopes=wanted,
        created_at=tx.now,
        created_by=tx.actor.name,
        expires_at=expires_at,
        revoked_at=None,
    )
    head = await ledger.lock_head(tx)
    await organization.get(tx)
    await tx.run(
        "insert into token (org_id, token_id, name, scopes, hash, created_at, created_by, "
        "expires_at) values (%(org_id)s, %(token_id)s, %(name)s, %(scopes)s, %(hash)s, "
        "%(created_at)s, %(created_by)s, %(expires_at)s)",
        token_id=token.id,
        name=token.name,
        scopes=[scope.value for scope in wanted],
        hash=_hash(text),
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=expires_at,
    )
    await ledger.append(
        tx,
        head,
        Kind.TOKEN_CREATED,
        detail={
            "tokenId": token.id,
            "name": token.name,
            "scopes": [scope.value for scope in wanted],
            "expiresAt": expires_at and instant_text(expires_at),
        },
    )
    return Secret(token, text)


async def tokens(tx: Transaction) -> list[Token]:
    rows = await tx.all(
        f"select {_COLUMNS} from token where org_id = %(org_id)s order by created_at, token_id"
    )
    return [_token(row) for row in rows]


async def revoke_token(tx: Transaction, token_id: str) -> Token:
    """End a token; recorded as `token_revoked`. Revoking again changes and records nothing."""
    head = await ledger.lock_head(tx)
    row = await tx.one(
        f"select {_COLUMNS} from token where org_id = %(org_id)s and token_id = %(token_id)s",
        token_id=token_id,
    )
    if row is None:
        raise TokenNotFound(f"no token {token_id}")
    if row.revoked_at is not None:
        return _token(row)
    await tx.run(
        "update token set revoked_at = %(now)s "
        "where org_id = %(org_id)s and token_id = %(token_id)s",
        token_id=token_id,
        now=tx.now,
    )
    await ledger.append(
        tx, head, Kind.TOKEN_REVOKED, detail={"tokenId": token_id, "name": row.name}
    )
    return _token(row._replace(revoked_at=tx.now))


async def authenticate_operator(tx: Transaction, text: str) -> Actor:
    """Raises `NotAuthenticated` when unknown, expired or revoked."""
    if not text.startswith(_OPERATOR_PREFIX):
        raise NotAuthenticated("an operator token is needed")
    row = await tx.one(
        "select token_id, name, expires_at, revoked_at from operator_token where hash = %(hash)s",
        hash=_hash(text),
    )
    if row is None:
        raise NotAuthenticated("the operator token is unknown")
    _refuse_ended(row, tx.now)
    return Actor(kind="operator", id=row.token_id, name=row.name, org_id="")


async def create_operator_token(
    tx: Transaction, name: str, expires_at: datetime | None = None
) -> Secret:
    name = clean_text("name", name.strip(), 100) or "operator"
    _refuse_past(expires_at, tx.now)
    text = _OPERATOR_PREFIX + secrets.token_urlsafe(32)
    token = Token(new_id(), "", name, (), tx.now, tx.actor.name, expires_at, None)
    await tx.run(
        "insert into operator_token (token_id, name, hash, created_at, expires_at) "
        "values (%(token_id)s, %(name)s, %(hash)s, %(created_at)s, %(expires_at)s)",
        token_id=token.id,
        name=name,
        hash=_hash(text),
        created_at=tx.now,
        expires_at=expires_at,
    )
    return Secret(token, text)


async def operator_tokens(tx: Transaction) -> list[Token]:
    rows = await tx.all(
        "select token_id, name, created_at, expires_at, revoked_at from operator_token "
        "order by created_at, token_id"
    )
    return [
        Token(row.token_id, "", row.name, (), row.created_at, "", row.expires_at, row.revoked_at)
        for row in rows
    ]


async def revoke_operator_token(tx: Transaction, token_id: str) -> None:
    touched = await tx.run(
        "update operator_token set revoked_at = coalesce(revoked_at, %(now)s) "
        "where token_id = %(token_id)s",
        token_id=token_id,
        now=tx.now,
    )
    if not touched:
        raise TokenNotFound(f"no operator token {token_id}")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _refuse_ended(row: Row, now: datetime) -> None:
    if row.revoked_at is not None:
        raise NotAuthenticated("the bearer token was revoked")
    if row.expires_at is not None and row.expires_at <= now:
        raise NotAuthenticated("the bearer token has expired")


def _refuse_past(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise FieldInvalid("expiresAt", "must be in the future", instant_text(expires_at))


def _token(row: Row) -> Token:
    return Token(
        id=row.token_id,
        org_id=row.org_id,
        name=row.name,
        scopes=tuple(Scope(scope) for scope in row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
