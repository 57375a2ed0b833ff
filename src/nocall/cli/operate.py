"""nocall serve, worker, migrate, backup, restore."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from nocall import ledger, org
from nocall.app import bind, log_to_stderr, ready_database, run, serve, work
from nocall.cli.demo import prepare_demo
from nocall.cli.running import command_options, in_database, operator, settings_of, show
from nocall.errors import ConfigInvalid, StartRefused
from nocall.model import Actor
from nocall.store import Database, migrate, newest_version
from nocall.store.dump import dump_database, load_dump
from nocall.store.embedded import binaries_folder, open_embedded


@click.command("serve")
@click.option("--host", help="Where to listen; 127.0.0.1 unless told otherwise.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="The port; 8000 unless told otherwise."
)
@click.option("--demo", is_flag=True, help="Make a demo organization and print how to use it.")
@command_options()
def serve_command(
    host: str | None, port: int | None, demo: bool, data: Path | None, as_json: bool
) -> None:
    """Run the service, with the embedded PostgreSQL unless NOCALL_DATABASE_URL names yours."""
    settings = settings_of(data, host=host, port=port)
    log_to_stderr()
    listener = bind(settings)
    try:
        with ready_database(settings, bring_up=True) as ready:
            prepared = asyncio.run(prepare_demo(settings, ready)) if demo else None

            def announce(url: str) -> None:
                text = prepared.text(url) if prepared else f"nocall answers at {url}"
                document = {"url": url, "token": prepared.token if prepared else None}
                show(document, as_json=as_json, text=text)

            run(lambda: serve(settings, ready, listener, announce))
    finally:
        listener.close()


@click.command("worker")
@command_options()
def worker_command(data: Path | None, as_json: bool) -> None:
    """Do the background work only, beside processes that serve with NOCALL_WORKER=false."""
    settings = settings_of(data)
    log_to_stderr()

    def announce() -> None:
        show({"working": True}, as_json=as_json, text="nocall works in the background")

    with ready_database(settings, bring_up=False) as ready:
        run(lambda: work(settings, ready, announce))


@click.command("migrate")
@command_options()
def migrate_command(data: Path | None, as_json: bool) -> None:
    """Bring the database to this version, as its owner."""
    settings = settings_of(data)
    if settings.database_url is None:
        embedded = open_embedded(settings.data)
        try:
            applied = migrate(embedded.owner_url, embedded.app_url)
        finally:
            embedded.close()
    elif settings.database_owner_url is None:
        raise ConfigInvalid("NOCALL_DATABASE_OWNER_URL is needed: only the owner migrates")
    else:
        applied = migrate(settings.database_owner_url, settings.database_url)
    show(
        {"version": newest_version(), "applied": applied},
        as_json=as_json,
        text=f"The database is at version {newest_version()}; applied: {applied or 'nothing'}.",
    )


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@command_options()
def backup_command(file: Path, data: Path | None, as_json: bool) -> None:
    """Write everything to FILE, as it is when the backup begins; the service goes on."""
    settings = settings_of(data)
    with ready_database(settings, bring_up=False) as ready:
        binaries = ready.embedded.binaries if ready.embedded else binaries_folder()
        dump_database(binaries, ready.app_url, file)
    show({"file": str(file), "bytes": file.stat().st_size}, as_json=as_json)


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@command_options()
def restore_command(file: Path, data: Path | None, as_json: bool) -> None:
    """Load FILE into an empty data folder, or your own empty database, and verify every ledger."""
    settings = settings_of(data)
    if settings.database_url is None:
        _refuse_used(settings.data)
        with _undone_on_failure(settings.data):
            embedded = open_embedded(settings.data)
            try:
                load_dump(embedded.binaries, embedded.owner_url, file)
                migrate(embedded.owner_url, embedded.app_url)
            finally:
                embedded.close()
    elif settings.database_owner_url is None:
        raise ConfigInvalid("NOCALL_DATABASE_OWNER_URL is needed: only the owner restores")
    else:
        load_dump(binaries_folder(), settings.database_owner_url, file)
        migrate(settings.database_owner_url, settings.database_url)
    found = in_database(data, _verify_every)
    lines = [f"{one['id']}  {one['name']}  {one['head']}" for one in found]
    show(
        {"organizations": found},
        as_json=as_json,
        text="\n".join(["Restored; every ledger verifies:", *lines]),
    )


async def _verify_every(database: Database) -> list[dict[str, Any]]:
    async with database.transaction(operator()) as tx:
        organizations = await org.every(tx)
    found = []
    for organization in organizations:
        actor = Actor("system", "restore", "restore", organization.id)
        async with database.snapshot(actor) as tx:
            verification = await ledger.verify(tx)
        head = f"{verification.head.seq}:{verification.head.hash.hex()}"
        found.append({"id": organization.id, "name": organization.name, "head": head})
    return found


def _refuse_used(data: Path) -> None:
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise StartRefused(f"restore needs an empty data folder, {data} is not")


@contextlib.contextmanager
def _undone_on_failure(data: Path) -> Iterator[None]:
    """The folder was empty, and is again, so that the next try with another file finds it so."""
    try:
        yield
    except BaseException:
        for path in data.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        raise


COMMANDS = (serve_command, worker_command, migrate_command, backup_command, restore_command)
