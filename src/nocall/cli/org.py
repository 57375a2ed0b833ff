"""nocall org: create, list, set, export, purge."""

from pathlib import Path
from typing import Any

import click

from nocall import dnc, ledger, org
from nocall.app import ready_database
from nocall.cli.running import (
    command_options,
    in_database,
    in_org,
    operator,
    org_actor,
    settings_of,
    show,
    table,
    write_lines,
)
from nocall.model import Actor, Organization, instant_text, is_id, new_id
from nocall.store import Database, erase_ledger


@click.group("org")
def group() -> None:
    """Organizations: whose list, rules and data these are."""


@group.command("create")
@click.argument("name")
@click.option("--admin-email", required=True, help="Who is mailed about every added number.")
@click.option("--region", default="US", show_default=True, help="Home region of bare numbers.")
@command_options()
def create(name: str, admin_email: str, region: str, data: Path | None, as_json: bool) -> None:
    """Create an organization."""

    async def body(database: Database) -> Organization:
        async with database.transaction(operator(new_id())) as tx:
            created = await org.create(tx, name, admin_email, region)
            await dnc.open_list(tx)
        return created

    show(_document(in_database(data, body)), as_json=as_json)


@group.command("list")
@command_options()
def list_all(data: Path | None, as_json: bool) -> None:
    """List the organizations."""

    async def body(database: Database) -> list[Organization]:
        async with database.transaction(operator()) as tx:
            return await org.every(tx)

    found = [_document(one) for one in in_database(data, body)]
    columns = ("id", "name", "adminEmail", "region", "createdAt")
    show(found, as_json=as_json, text=table(found, columns, "No organizations yet."))


@group.command("set")
@click.option("--admin-email")
@click.option("--region")
@command_options(of_one_org=True)
def change(
    admin_email: str | None,
    region: str | None,
    org_id: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Change an organization's admin e-mail or home region."""

    async def body(database: Database, actor: Actor) -> Organization:
        async with database.transaction(actor) as tx:
            return await org.change(tx, admin_email=admin_email, region=region)

    show(_document(in_org(data, org_id, body)), as_json=as_json)


@group.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@command_options(of_one_org=True)
def export(file: Path, org_id: str | None, data: Path | None, as_json: bool) -> None:
    """Write everything of an organization to FILE, as JSON lines."""

    async def body(database: Database, actor: Actor) -> tuple[str, int, int]:
        async with database.snapshot(actor) as tx:
            seq = (await ledger.head(tx)).seq
            line_count = await write_lines(file, dnc.export_lines(tx))
        async with database.transaction(actor) as tx:
            await org.mark_exported(tx, seq)
        return actor.org_id, seq, line_count

    found, seq, line_count = in_org(data, org_id, body)
    show({"id": found, "file": str(file), "seq": seq, "lineCount": line_count}, as_json=as_json)


@group.command("purge")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command_options(of_one_org=True)
def purge(yes: bool, org_id: str | None, data: Path | None, as_json: bool) -> None:
    """Erase an organization for good, after an export that holds all of its ledger."""

    async def end(database: Database) -> str:
        if org_id is not None and is_id(org_id):
            async with database.transaction(operator(org_id)) as tx:
                if await org.is_purged(tx):
                    # It was purged over HTTP, and only its ledger is left.
                    return org_id
        actor = await org_actor(database, org_id)
        if not yes:
            click.confirm(f"Erase organization {actor.org_id} for good?", abort=True, err=True)
        async with database.transaction(actor) as tx:
            await dnc.purge(tx)
        return actor.org_id

    found = in_database(data, end)
    show({"id": found, "ledger": _erase_ledger(data, found)}, as_json=as_json)


def _erase_ledger(data: Path | None, org_id: str) -> str:
    """Ledger rows are the owner's to erase, where this terminal knows the owner's login."""
    with ready_database(settings_of(data), bring_up=False) as ready:
        if ready.owner_url is None:
            return f"kept: set NOCALL_DATABASE_OWNER_URL and purge --org {org_id} again"
        erase_ledger(ready.owner_url, org_id)
        return "erased"


def _document(organization: Organization) -> dict[str, Any]:
    return {
        "id": organization.id,
        "name": organization.name,
        "adminEmail": organization.admin_email,
        "region": organization.region,
        "createdAt": instant_text(organization.created_at),
    }
