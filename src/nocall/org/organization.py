"""Organizations: made and ended by operators, never by themselves."""

import re

from nocall import ledger, number
from nocall.errors import Conflict, FieldInvalid, FieldMissing, OrganizationNotFound
from nocall.model import Kind, Organization, clean_text
from nocall.store import Row, Transaction

# What every mail server takes and no header reads otherwise: no quoting, comments, encoded words.
_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"(?!.*=\?){_WORD}(?:\.{_WORD})*@{_LABEL}(?:\.{_LABEL})*\Z")
_COLUMNS = "org_id, name, admin_email, region, created_at, purged_at"


async def create(tx: Transaction, name: str, admin_email: str, region: str) -> Organization:
    """Make the organization whose id the transaction carries; recorded as `org_created`."""
    org = Organization(
        id=tx.org_id,
        name=_name(name),
        admin_email=_email(admin_email),
        region=require_region(region),
        created_at=tx.now,
    )
    await tx.run(
        "insert into org (org_id, name, admin_email, region, created_at) "
        "values (%(org_id)s, %(name)s, %(admin_email)s, %(region)s, %(created_at)s)",
        name=org.name,
        admin_email=org.admin_email,
        region=org.region,
        created_at=org.created_at,
    )
    head = await ledger.start(tx)
    await ledger.append(
        tx,
        head,
        Kind.ORG_CREATED,
        detail={"name": org.name, "adminEmail": org.admin_email, "region": org.region},
    )
    return org


async def get(tx: Transaction) -> Organization:
    """Raises `OrganizationNotFound`, also for one that was purged."""
    row = await tx.one(
        f"select {_COLUMNS} from org where org_id = %(org_id)s and purged_at is null"
    )
    if row is None:
        raise OrganizationNotFound(f"no organization {tx.org_id}")
    return _organization(row)


async def is_purged(tx: Transaction) -> bool:
    row = await tx.one("select purged_at from org where org_id = %(org_id)s")
    return row is not None and row.purged_at is not None


async def every(tx: Transaction) -> list[Organization]:
    """All organizations that are not purged, oldest first; for operators only."""
    rows = await tx.all(
        f"select {_COLUMNS} from org where purged_at is null order by created_at, org_id"
    )
    return [_organization(row) for row in rows]


async def change(
    tx: Transaction, *, admin_email: str | None = None, region: str | None = None
) -> Organization:
    """Change what is given; recorded as `org_changed` with the old and the new values."""
    # Locked first: a purge that ends meanwhile must not get an address written back into its row.
    head = await ledger.lock_head(tx)
    old = await get(tx)
    email = old.admin_email if admin_email is None else _email(admin_email)
    home = old.region if region is None else require_region(region)
    if (email, home) == (old.admin_email, old.region):
        return old
    await tx.run(
        "update org set admin_email = %(email)s, region = %(region)s where org_id = %(org_id)s",
        email=email,
        region=home,
    )
    await ledger.append(
        tx,
        head,
        Kind.ORG_CHANGED,
        detail={
            name: [before, after]
            for name, before, after in (
                ("adminEmail", old.admin_email, email),
                ("region", old.region, home),
            )
            if before != after
        },
    )
    return await get(tx)


async def mark_exported(tx: Transaction, seq: int) -> None:
    """Remember the seq an export was taken at; a purge asks for it."""
    await tx.run("update org set exported_seq = %(seq)s where org_id = %(org_id)s", seq=seq)


async def purge(tx: Transaction) -> None:
    """End the organization: everything of it goes but the ledger, which the owner erases.

    The row of the organization stays, nameless, so that its id is never given out again. Raises
    `Conflict` where the newest export does not hold all of the ledger.
    """
    head = await ledger.lock_head(tx)
    await get(tx)
    row = await tx.only("select exported_seq from org where org_id = %(org_id)s")
    if row.exported_seq != head.seq:
        raise Conflict(
            f"export the organization first: its ledger stands at seq {head.seq}, "
            f"the newest export at {row.exported_seq or 'none'}"
        )
    for statement in (
        "delete from idempotency where org_id = %(org_id)s",
        "delete from token where org_id = %(org_id)s",
        "update org set name = '', admin_email = '', purged_at = %(now)s where org_id = %(org_id)s",
    ):
        await tx.run(statement, now=tx.now)


def require_region(region: str) -> str:
    code = region.upper()
    if not number.is_region(code):
        raise FieldInvalid("region", "must be a two-letter country code such as US", region)
    return code


def _name(name: str) -> str:
    name = clean_text("name", name.strip(), 200)
    if not name:
        raise FieldMissing("name")
    return name


def _email(text: str) -> str:
    text = clean_text("adminEmail", text.strip(), 254)
    if not text:
        raise FieldMissing("adminEmail")
    if not _EMAIL.match(text):
        raise FieldInvalid("adminEmail", "must be one e-mail address", text)
    return text


def _organization(row: Row) -> Organization:
    return Organization(
        row.org_id, row.name, row.admin_email, row.region, row.created_at, row.purged_at
    )
