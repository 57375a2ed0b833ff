"""nocall ledger: verify, show, export."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click

from nocall import ledger
from nocall.cli.running import command_options, in_org, show, write_lines
from nocall.ledger import Verification, entry_document, parse_expected_head
from nocall.model import Actor, instant_text
from nocall.store import Database


@click.group("ledger")
def group() -> None:
    """The append-only history of an organization."""


@group.command("verify")
@click.option("--expect-head", help="A head printed, mailed or exported before: SEQ:HASH.")
@command_options(of_one_org=True)
def verify(expect_head: str | None, org_id: str | None, data: Path | None, as_json: bool) -> None:
    """Recompute every entry; names the first that is wrong and exits 8."""
    expected = parse_expected_head(expect_head) if expect_head else None

    async def body(database: Database, actor: Actor) -> Verification:
        async with database.snapshot(actor) as tx:
            return await ledger.verify(tx, expected)

    found: Verification = in_org(data, org_id, body)
    head = f"{found.head.seq}:{found.head.hash.hex()}"
    show(
        {
            "ok": True,
            "entryCount": found.entry_count,
            "itemCount": found.item_count,
            "head": head,
            "at": instant_text(found.head.at),
        },
        as_json=as_json,
        text=f"The ledger verifies: {found.entry_count} entries, {found.item_count} items.\n"
        f"head {head}",
    )


@group.command("show")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Begin after this seq.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@command_options(of_one_org=True)
def show_entries(
    after: int, limit: int, org_id: str | None, data: Path | None, as_json: bool
) -> None:
    """Show entries, oldest first: who did what, when, why."""

    async def body(database: Database, actor: Actor) -> list[dict[str, Any]]:
        async with database.transaction(actor) as tx:
            return [
                entry_document(entry)
                for entry in await ledger.entries(tx, after=after, limit=limit)
            ]

    found = in_org(data, org_id, body)
    show(found, as_json=as_json, text="\n".join(map(_line, found)) or "No entries.")


@group.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@command_options(of_one_org=True)
def export(file: Path, org_id: str | None, data: Path | None, as_json: bool) -> None:
    """Write the ledger to FILE (- for standard output), as JSON lines."""

    async def body(database: Database, actor: Actor) -> tuple[int, str]:
        async with database.snapshot(actor) as tx:
            head = await ledger.head(tx)
            if str(file) == "-":
                await _print_lines(ledger.export_lines(tx), as_json=as_json)
            else:
                await write_lines(file, ledger.export_lines(tx))
        return head.seq, f"{head.seq}:{head.hash.hex()}"

    seq, head = in_org(data, org_id, body)
    if str(file) != "-":
        show({"file": str(file), "seq": seq, "head": head}, as_json=as_json)


async def _print_lines(lines: AsyncIterator[str], *, as_json: bool) -> None:
    """As they are, a document a line; as one document they are the elements of an array."""
    opening = "["
    async for line in lines:
        click.echo(opening + line if as_json else line, nl=not as_json)
        opening = ",\n"
    if as_json:
        click.echo("]")


def _line(entry: dict[str, Any]) -> str:
    numbers = ", ".join(f"+{item['number']}" for item in entry["items"][:3])
    more = f" and {entry['itemCount'] - 3} more" if entry["itemCount"] > 3 else ""
    parts = [
        f"{entry['seq']:>6}",
        entry["at"],
        f"{entry['kind']:<17}",
        f"{entry['actorName']} ({entry['actorKind']})",
        numbers + more,
        f"from {entry['source']}" if entry["source"] else "",
        f"because: {entry['reason']}" if entry["reason"] else "",
        entry["detail"] if entry["detail"] != "{}" else "",
    ]
    return "  ".join(part for part in parts if part)
