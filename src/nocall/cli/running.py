"""How a command runs: its settings, its database, its organization, its output, its exit code."""

import asyncio
import functools
import getpass
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from nocall import errors, org
from nocall.app import open_database, ready_database
from nocall.config import Settings, load_settings
from nocall.errors import FieldInvalid, NocallError, OrganizationNotFound
from nocall.model import Actor, is_id
from nocall.store import Database

EXIT: dict[type[NocallError], int] = {
    errors.StartRefused: 3,
    errors.Invalid: 4,
    errors.NotAllowed: 5,
    errors.NotFound: 5,
    errors.Conflict: 6,
    errors.NumberListed: 6,
    errors.Unavailable: 7,
    errors.LedgerBroken: 8,
    NocallError: 1,
}

Body = Callable[[Database, Actor], Awaitable[Any]]


def exit_code(error: NocallError) -> int:
    """The exit code of the nearest class in the table."""
    return next(EXIT[kind] for kind in type(error).__mro__ if kind in EXIT)


def command_options(*, of_one_org: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """The options every command takes: `--data`, `--json`, and `--org` where it is about one."""

    def decorate(command: Callable[..., Any]) -> Any:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
        @click.option(
            "--data",
            type=click.Path(path_type=Path, file_okay=False),
            help="The data folder; also NOCALL_DATA.",
        )
        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> Any:
            return command(*args, **kwargs)

        if not of_one_org:
            return run
        return click.option("--org", "org_id", help="The organization's id.")(run)

    return decorate


def settings_of(data: Path | None, **flags: Any) -> Settings:
    return load_settings(os.environ, {"data": data, **flags})


def in_database(data: Path | None, body: Callable[[Database], Awaitable[Any]]) -> Any:
    """Run `body` on the database, whether the service runs or not; returns what it returns."""
    settings = settings_of(data)
    with ready_database(settings, bring_up=False) as ready:

        async def main() -> Any:
            async with open_database(settings, ready) as database:
                return await body(database)

        return asyncio.run(main())


def in_org(data: Path | None, org_id: str | None, body: Body) -> Any:
    """Run `body` for one organization: the one named, or the only one there is."""

    async def main(database: Database) -> Any:
        return await body(database, await org_actor(database, org_id))

    return in_database(data, main)


def operator(org_id: str = "") -> Actor:
    """Whoever sits at this terminal."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor("operator", "cli", f"cli:{name}", org_id)


async def org_actor(database: Database, org_id: str | None) -> Actor:
    if org_id is not None and not is_id(org_id):
        raise FieldInvalid("--org", "must be 24 lower-case hex digits", org_id)
    async with database.transaction(operator()) as tx:
        every = await org.every(tx)
    if org_id is None:
        if not every:
            raise OrganizationNotFound(
                "there is no organization yet: nocall org create NAME --admin-email ADDRESS"
            )
        if len(every) > 1:
            raise FieldInvalid("--org", f"is needed, there are {len(every)} organizations")
        found = every[0]
    else:
        match = [one for one in every if one.id == org_id]
        if not match:
            raise OrganizationNotFound(f"no organization {org_id}")
        found = match[0]
    at_terminal = operator(found.id)
    return Actor(at_terminal.kind, at_terminal.id, at_terminal.name, found.id, region=found.region)


async def write_lines(file: Path, lines: AsyncIterator[str]) -> int:
    """Write `file`, whole or not at all; returns how many lines it has."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    line_count = 0
    try:
        # It holds people's numbers, so nobody else may read it from its first byte on.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            async for line in lines:
                out.write(line + "\n")
                line_count += 1
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return line_count


def show(document: Any, *, as_json: bool, text: str | None = None) -> None:
    """Print the document, or `text` for people; a mapping without a text is shown line by line."""
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
    elif text is not None:
        click.echo(text)
    else:
        width = max(len(name) for name in document)
        for name, value in document.items():
            click.echo(f"{name:<{width}}  {_word(value)}")


def _word(value: object) -> object:
    """Nothing, yes and no as people write them."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value


def table(rows: list[dict[str, Any]], columns: tuple[str, ...], empty: str) -> str:
    """Rows under their column names, or the sentence for when there are none."""
    if not rows:
        return empty
    cells = [[str("-" if row[name] is None else row[name]) for name in columns] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(columns)]
    lines = [list(columns), *cells]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
