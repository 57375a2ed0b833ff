"""What `serve` checks before it trusts a database and the login it was given."""

import psycopg

from nocall.errors import DatabaseRefused, DatabaseUnavailable
from nocall.store.migrate import newest_version, refuse_newer

_RIGHTS = """
select r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls
           as too_strong,
       exists (select from pg_auth_members m where m.member = r.oid) as is_member,
       exists (select from pg_class c where c.relowner = r.oid)
           or exists (select from pg_namespace n where n.nspowner = r.oid)
           or exists (select from pg_proc p where p.proowner = r.oid)
           or exists (select from pg_database d where d.datdba = r.oid) as owns,
       has_schema_privilege('nocall', 'create') as may_create,
       coalesce(bool_or(has_table_privilege('nocall.' || t.name, p.privilege)), false)
           or bool_or(has_any_column_privilege('nocall.' || t.name, 'update, references'))
           as may_rewrite
from pg_roles r,
     (values ('ledger_entry'), ('ledger_item')) t (name),
     (values ('update'), ('delete'), ('truncate'), ('trigger'), ('references')) p (privilege)
where r.rolname = current_user
group by r.oid, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls
"""


def inspect_database(app_url: str) -> str:
    """Returns the instance id of a database that is current, durable and whose login is narrow.

    Raises `DatabaseRefused` in one sentence otherwise, `DatabaseUnavailable` when unreachable.
    """
    try:
        with psycopg.connect(app_url, autocommit=True) as connection:
            _refuse_schema(connection)
            _refuse_login(connection)
            fsync = connection.execute("show fsync").fetchone()
            if fsync and fsync[0] != "on":
                raise DatabaseRefused(
                    "the server runs with fsync off: an acknowledged opt-out could be lost"
                )
            row = connection.execute("select instance_id from nocall.instance").fetchone()
            return str(row[0]) if row else ""
    except psycopg.OperationalError as error:
        lines = str(error).strip().splitlines()
        raise DatabaseUnavailable(f"cannot reach the database: {lines[0]}") from None


def _refuse_schema(connection: psycopg.Connection) -> None:
    try:
        row = connection.execute("select max(version) from nocall.schema_migration").fetchone()
    except psycopg.errors.Error:
        raise DatabaseRefused(
            "the database has no nocall schema that this login can read: run nocall migrate"
        ) from None
    version = (row and row[0]) or 0
    refuse_newer(version)
    newest = newest_version()
    if version < newest:
        raise DatabaseRefused(
            f"the database is at version {version} of {newest}: run nocall migrate"
        )


def _refuse_login(connection: psycopg.Connection) -> None:
    row = connection.execute(_RIGHTS).fetchone()
    if row is None:
        raise DatabaseRefused("the application's login is no role of the server")
    too_strong, is_member, owns, may_create, may_rewrite = row
    login = connection.info.user
    for wrong, what in (
        (too_strong, "is a superuser or may create roles or databases, replicate or bypass"),
        (is_member, "is a member of another role"),
        (owns, "owns objects in the database"),
        (may_create, "may create objects in schema nocall"),
        (may_rewrite, "may rewrite ledger rows"),
    ):
        if wrong:
            raise DatabaseRefused(
                f"the login {login} has too many rights: it {what}; give the application a login "
                "that owns nothing and is member of nothing, then run nocall migrate"
            )
