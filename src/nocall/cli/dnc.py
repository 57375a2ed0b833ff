"""nocall dnc: add, delete, find, check, forget."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from nocall import dnc, gate
from nocall.cli.running import command_options, in_org, show, table
from nocall.dnc import AddOutcome, AddRequest, ListPage
from nocall.errors import NumberListed
from nocall.model import Actor, Answer, DncRecord, Verdict, instant_text, parse_instant
from nocall.store import Database

_EXITS = {Answer.CALLABLE: 0, Answer.BLOCKED: 10, Answer.INVALID: 11}


@click.group("dnc")
def group() -> None:
    """The organization's Do-Not-Call list."""


@group.command("add")
@click.argument("number")
@click.option("--type", "type_", help="Such as customer_request.")
@click.option("--reason")
@click.option("--source", type=click.Choice(["manual", "web", "import", "api"]))
@click.option("--batch", "batch_id", help="The batch of the call it came from.")
@click.option("--request-uuid", help="The call it came from.")
@command_options(of_one_org=True)
def add(
    number: str,
    type_: str | None,
    reason: str | None,
    source: str | None,
    batch_id: str | None,
    request_uuid: str | None,
    org_id: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Add NUMBER to the list."""
    request = AddRequest(
        phone_number=number,
        batch_id=batch_id,
        request_uuid=request_uuid,
        type=type_,
        source=source or (None if batch_id or request_uuid else "manual"),
        reason=reason,
    )

    async def body(database: Database, actor: Actor) -> AddOutcome:
        async with database.transaction(actor) as tx:
            return await dnc.add(tx, request)

    outcome: AddOutcome = in_org(data, org_id, body)
    show({**_document(outcome.record), "repeated": outcome.repeated}, as_json=as_json)
    if outcome.repeated:
        raise NumberListed(f"{outcome.record.number} is listed already, the request was recorded")


@group.command("delete")
@click.argument("record")
@click.option("--reason", help="Why; kept in the ledger.")
@command_options(of_one_org=True)
def delete(
    record: str, reason: str | None, org_id: str | None, data: Path | None, as_json: bool
) -> None:
    """Delete a record by its id, or by its number written with a +."""

    async def body(database: Database, actor: Actor) -> DncRecord:
        async with database.transaction(actor) as tx:
            record_id = (await dnc.get_by_number(tx, record)).id if record[:1] == "+" else record
            return await dnc.delete(tx, record_id, reason)

    deleted: DncRecord = in_org(data, org_id, body)
    show({**_document(deleted), "deleted": True}, as_json=as_json)


@group.command("find")
@click.argument("search", required=False)
@click.option("--page", type=click.IntRange(1, 1_000_000_000), default=1, show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@command_options(of_one_org=True)
def find(
    search: str | None, page: int, limit: int, org_id: str | None, data: Path | None, as_json: bool
) -> None:
    """List the records, newest first; SEARCH looks in number, type and requestUUID."""

    async def body(database: Database, actor: Actor) -> ListPage:
        async with database.transaction(actor) as tx:
            return await dnc.page(tx, page, limit, search)

    found: ListPage = in_org(data, org_id, body)
    rows = [_document(one) for one in found.records]
    columns = ("id", "phoneNumber", "type", "source", "addedBy", "createdAt")
    text = table(rows, columns, "No records.") + f"\n{len(rows)} of {found.total}"
    show({"total": found.total, "page": page, "records": rows}, as_json=as_json, text=text)


@group.command("check")
@click.argument("number")
@click.option("--at", "asked_at", help="A past instant, such as 2026-11-24T09:30:00.000Z.")
@click.option("--exit-code", is_flag=True, help="Exit 10 when blocked, 11 when invalid.")
@command_options(of_one_org=True)
def check(
    number: str,
    asked_at: str | None,
    exit_code: bool,
    org_id: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """May NUMBER be called now? With --at: what was the answer then, from the ledger?"""
    at = parse_instant("--at", asked_at) if asked_at else None

    async def body(database: Database, actor: Actor) -> Verdict:
        async with database.transaction(actor) as tx:
            if at is not None:
                return await gate.check_as_of(tx, number, at)
            return (await gate.check_many(tx, [number]))[0]

    verdict: Verdict = in_org(data, org_id, body)
    show(_verdict_document(verdict), as_json=as_json, text=_verdict_text(verdict))
    if exit_code:
        sys.exit(_EXITS[verdict.answer])


@group.command("forget-evidence")
@click.option("--days", type=click.IntRange(min=0), required=True, help="Keep those younger.")
@command_options(of_one_org=True)
def forget_evidence(days: int, org_id: str | None, data: Path | None, as_json: bool) -> None:
    """Erase recordings and transcripts older than DAYS; their hashes stay in the ledger."""

    async def body(database: Database, actor: Actor) -> int:
        before = database.clock() - timedelta(days=days)
        total = 0
        more = True
        while more:
            async with database.transaction(actor) as tx:
                more = bool(count := await dnc.purge_evidence(tx, before))
            total += count
        return total

    show({"forgotten": in_org(data, org_id, body)}, as_json=as_json)


def _document(record: DncRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "phoneNumber": str(record.number),
        "type": record.type,
        "source": record.source.value,
        "addedBy": record.added_by,
        "batchId": record.batch_id,
        "requestUUID": record.request_uuid,
        "reason": record.reason,
        "createdAt": instant_text(record.created_at),
        "seq": record.seq,
    }


def _verdict_document(verdict: Verdict) -> dict[str, Any]:
    return {
        "phoneNumber": verdict.text if verdict.number is None else str(verdict.number),
        "verdict": verdict.answer.value,
        "reasons": [
            {
                "code": reason.code,
                "message": reason.message,
                "recordId": reason.record_id,
                "type": reason.type,
                "since": reason.since and instant_text(reason.since),
            }
            for reason in verdict.reasons
        ],
        "valid": verdict.valid,
        "enforcement": "on" if verdict.enforcement else "off",
        "seq": verdict.seq,
        "at": instant_text(verdict.at),
        "ruleSet": gate.RULE_SET,
    }


def _verdict_text(verdict: Verdict) -> str:
    shown = verdict.text if verdict.number is None else f"+{verdict.number}"
    lines = [f"{shown}: {verdict.answer.value}"]
    for reason in verdict.reasons:
        lines.append(f"  {reason.message}")
        if reason.record_id and reason.since:
            lines.append(
                f"  record {reason.record_id}, type {reason.type or '-'}, "
                f"since {instant_text(reason.since)}"
            )
    if verdict.number is not None and not verdict.valid:
        lines.append("  The numbering plan does not know this number.")
    if not verdict.enforcement:
        lines.append("  The list is switched OFF: it was not consulted.")
    lines.append(f"  ledger seq {verdict.seq} at {instant_text(verdict.at)}")
    return "\n".join(lines)
