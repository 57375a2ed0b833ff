"""Numbered SQL migrations, run by the owner's login under an advisory lock, and its privileges."""

import functools
import importlib.resources
import re
from dataclasses import dataclass

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict

from nocall.errors import Conflict, DatabaseRefused, DatabaseUnavailable
from nocall.model import new_id
from nocall.store.transaction import Transaction

_LOCK = 0x6E6F63616C6C  # "nocall"
_OLDEST_SERVER = 150_000
_JOBS = "procrastinate"
_TABLE_RIGHTS = (
    (("ledger_entry", "ledger_item"), "select, insert"),
    (("ledger_head",), "select, insert, update"),
    (("schema_migration", "instance"), "select"),
)
"""The tables on which the application may not do everything."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    statements: str


@functools.cache
def migrations() -> list[Migration]:
    folder = importlib.resources.files("nocall.store") / "migrations"
    found = []
    for item in folder.iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", item.name)
        if match:
            found.append(Migration(int(match[1]), match[2], item.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.version)


def migrate(owner_url: str, app_url: str) -> list[int]:
    """Bring the database to this version and give the application's login its rights.

    Returns the versions applied. Raises `DatabaseRefused` for a newer database, a server older than
    15 or an application login that is the owner's; `DatabaseUnavailable` when it cannot be reached.
    """
    app_login = str(conninfo_to_dict(app_url).get("user", ""))
    if not app_login:
        raise DatabaseRefused("NOCALL_DATABASE_URL names no user")
    if app_login == conninfo_to_dict(owner_url).get("user"):
        raise DatabaseRefused(
            f"the application's login {app_login} is also the owner: it needs one of its own"
        )
    try:
        with psycopg.connect(owner_url, autocommit=True) as connection:
            connection.execute("select pg_advisory_lock(%s)", [_LOCK])
            return _migrate(connection, app_login)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseRefused(f"the owner's login may not migrate: {_line(error)}") from None
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"cannot reach the database as owner: {_line(error)}") from None


def _migrate(connection: Connection, app_login: str) -> list[int]:
    if connection.info.server_version < _OLDEST_SERVER:
        raise DatabaseRefused(
            f"PostgreSQL {connection.info.parameter_status('server_version')} is too old: "
            "15 is the oldest that nocall works with"
        )
    connection.execute("create schema if not exists nocall")
    connection.execute("set search_path to nocall")
    connection.execute(
        "create table if not exists schema_migration (version integer primary key, "
        "name text not null, applied_at timestamptz not null default now())"
    )
    done = {row[0] for row in connection.execute("select version from schema_migration")}
    refuse_newer(max(done, default=0))
    applied = []
    for migration in migrations():
        if migration.version in done:
            continue
        with connection.transaction():
            connection.execute(migration.statements.encode())
            connection.execute(
                "insert into schema_migration (version, name) values (%s, %s)",
                [migration.version, migration.name],
            )
        applied.append(migration.version)
    connection.execute(
        "insert into instance (instance_id) values (%s) on conflict do nothing", [new_id()]
    )
    _install_jobs(connection)
    _grant(connection, app_login)
    return applied


def newest_version() -> int:
    """The migration this nocall brings a database to."""
    return migrations()[-1].version


async def applied_version(tx: Transaction) -> int:
    """The newest migration that the database has had."""
    row = await tx.only("select max(version) as version from schema_migration")
    return int(row.version)


def refuse_newer(version: int) -> None:
    newest = newest_version()
    if version > newest:
        raise DatabaseRefused(
            f"the database is at version {version}, this nocall knows up to {newest}: "
            "run the newer nocall that migrated it"
        )


def _install_jobs(connection: Connection) -> None:
    """Procrastinate's own schema, as its pinned release ships it."""
    present = connection.execute(
        "select to_regclass('procrastinate.procrastinate_jobs') is not null"
    ).fetchone()
    if present and present[0]:
        return
    with connection.transaction():
        connection.execute(f"create schema if not exists {_JOBS}")
        connection.execute(f"set local search_path to {_JOBS}")
        connection.execute(SchemaManager.get_schema())


def _grant(connection: Connection, app_login: str) -> None:
    """Everything the application may do; ledger rows it may only read and append."""
    login = sql.Identifier(app_login)
    with connection.transaction():
        for schema in ("nocall", _JOBS):
            name = sql.Identifier(schema)
            for statement in (
                "revoke all on schema {schema} from public",
                "grant usage on schema {schema} to {login}",
                "revoke all on all tables in schema {schema} from public, {login}",
                "grant select, insert, update, delete on all tables in schema {schema} to {login}",
                "grant usage, select on all sequences in schema {schema} to {login}",
            ):
                connection.execute(sql.SQL(statement).format(schema=name, login=login))
        for tables, right in _TABLE_RIGHTS:
            for table in tables:
                name = sql.Identifier("nocall", table)
                connection.execute(
                    sql.SQL("revoke all on {table} from {login}").format(table=name, login=login)
                )
                connection.execute(
                    sql.SQL("grant " + right + " on {table} to {login}").format(
                        table=name, login=login
                    )
                )


def erase_ledger(owner_url: str, org_id: str) -> None:
    """Erase the ledger of one organization that was purged: it holds numbers.

    Only ever done for the organization that a person named. The mark of a purge alone must not do
    it, since the application's login can set that. Raises `Conflict`, `DatabaseUnavailable`.
    """
    try:
        with psycopg.connect(owner_url, autocommit=True) as connection, connection.transaction():
            connection.execute("set local search_path to nocall")
            row = connection.execute(
                "select from org where org_id = %s and purged_at is not null for update", [org_id]
            ).fetchone()
            if row is None:
                raise Conflict(f"organization {org_id} is not purged")
            for table in ("ledger_item", "ledger_entry", "ledger_head"):
                connection.execute(
                    sql.SQL("delete from {} where org_id = %s").format(sql.Identifier(table)),
                    [org_id],
                )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"cannot reach the database as owner: {_line(error)}") from None


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
