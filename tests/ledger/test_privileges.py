"""The application's login may read the ledger and append to it, and there is no way on from there.

Each attempt is SQL that somebody might send who has got hold of that login.
"""

from collections.abc import Iterator

import psycopg
import pytest

from ledger.conftest import Connection, Story, connect, create_org, transaction
from nocall import ledger
from nocall.errors import LedgerBroken
from nocall.store import inspect_database, migrate
from nocall.store.transaction import SESSION_OPTIONS

UPSERT = (
    "insert into nocall.{t} table nocall.{t} on conflict on constraint {t}_pkey "
    "do update set {c} = 'x'"
)
REWRITING = [
    "update nocall.{t} set seq = seq",
    "update nocall.{t} set {c} = 'x' where false",
    "delete from nocall.{t}",
    "delete from nocall.{t} where false",
    "truncate nocall.{t}",
    "truncate nocall.{t} cascade",
    "merge into nocall.{t} t using (values (1)) v (n) on true when matched then delete",
    "with gone as (delete from nocall.{t} returning 1) select count(*) from gone",
    UPSERT,
    "do $$ begin execute 'delete from nocall.{t}'; end $$",
    "do $$ begin update nocall.{t} set {c} = 'x'; exception when division_by_zero then end $$",
    "deallocate all; prepare p as delete from nocall.{t}; execute p",
    "begin; declare c cursor for select * from nocall.{t} for update",
    "select * from nocall.{t} for update",
    "select * from nocall.{t} for no key update",
    "select * from nocall.{t} for share",
    "select * from nocall.{t} for key share",
    "begin; lock table nocall.{t} in share mode",
    "begin; lock table nocall.{t} in access exclusive mode",
    "drop table nocall.{t}",
    "drop table nocall.{t} cascade",
    "alter table nocall.{t} add column x int",
    "alter table nocall.{t} drop column {c}",
    "alter table nocall.{t} alter column {c} set default 'x'",
    "alter table nocall.{t} rename to {t}_old",
    "alter table nocall.{t} set schema public",
    "alter table nocall.{t} owner to nocall_app",
    "alter table nocall.{t} disable trigger all",
    "alter table nocall.{t} enable row level security",
    "alter table nocall.{t} drop constraint {t}_pkey cascade",
    "alter table nocall.{t} set unlogged",
    "alter table nocall.{t} set (fillfactor = 10)",
    "create rule r as on insert to nocall.{t} do instead nothing",
    "create trigger t before insert on nocall.{t} for each row execute function f()",
    "create policy p on nocall.{t}",
    "create index on nocall.{t} (seq)",
    "create statistics nocall.s on seq, {c} from nocall.{t}",
    "create publication p for table nocall.{t}",
    "reindex table nocall.{t}",
    "cluster nocall.{t} using {t}_pkey",
    "comment on table nocall.{t} is 'x'",
    "drop index nocall.{t}_pkey",
    "copy nocall.{t} from program 'true'",
    "copy nocall.{t} to program 'cat'",
    "copy nocall.{t} from '/etc/passwd'",
    "copy nocall.{t} to '/tmp/x'",
]

REGAINING = [
    "grant nocall_owner to nocall_app",
    "grant nocall_app to nocall_owner with admin option",
    "grant pg_write_all_data to nocall_app",
    "grant pg_execute_server_program to nocall_app",
    "grant set on parameter session_replication_role to nocall_app",
    "set role nocall_owner",
    "set role nocall_super",
    "set local role nocall_owner",
    "set session authorization nocall_owner",
    "set session authorization nocall_super",
    "select set_config('role', 'nocall_owner', false)",
    "select set_config('session_authorization', 'nocall_super', false)",
    "do $$ begin execute 'set role nocall_owner'; end $$",
    "create role mine superuser",
    "create user mine in role nocall_owner",
    "drop role nocall_owner",
    "alter role nocall_app superuser",
    "alter role nocall_app createrole",
    "alter role nocall_app bypassrls",
    "alter role nocall_app replication",
    "alter role nocall_owner rename to mine",
    "alter role nocall_owner password 'x'",
    "alter role nocall_owner set search_path = public",
    "alter role all set search_path = public",
    "alter database nocall owner to nocall_app",
    "alter database nocall set search_path = public",
    "alter schema nocall owner to nocall_app",
    "alter schema nocall rename to mine",
    "drop schema nocall cascade",
    "drop schema procrastinate cascade",
    "alter default privileges for role nocall_owner grant all on tables to nocall_app",
    "drop owned by nocall_owner",
    "reassign owned by nocall_owner to nocall_app",
    "update pg_catalog.pg_class set relacl = null where relname = 'ledger_entry'",
    "update pg_catalog.pg_authid set rolsuper = true",
    "select * from pg_catalog.pg_authid",
    "insert into pg_catalog.pg_auth_members select 1, 2, 3, 4, true, true, true",
    "set session_replication_role = replica",
    "set allow_system_table_mods = on",
    "alter system set fsync = off",
    "select pg_reload_conf()",
    "select pg_promote()",
]

BUILDING = [
    *(
        statement.format(schema=schema)
        for schema in ("nocall", "public", "procrastinate", "pg_catalog", "pg_temp")
        for statement in (
            "create table {schema}.ledger_entry (n int)",
            "create view {schema}.v as select 1 as n",
            "create sequence {schema}.s",
            "create type {schema}.t as (n int)",
            "create function {schema}.f() returns int language sql security definer as 'select 1'",
            "create procedure {schema}.p() language sql as ''",
            "create operator {schema}.=== (leftarg = int, rightarg = int, function = int4eq)",
        )
    ),
    "create temporary table ledger_entry (org_id text, seq bigint)",
    "create temporary view ledger_entry as select 1 as seq",
    "create temporary sequence s",
    "select 1 as n into temporary mine",
    "create schema mine",
    "create extension vector",
    "create language mine handler plpgsql_call_handler",
    "create foreign data wrapper mine",
    "create event trigger mine on ddl_command_start execute function f()",
    "create access method mine type table handler heap_tableam_handler",
    "create cast (text as bigint) without function",
    "create tablespace mine location '/tmp'",
    "create database mine",
    "create subscription mine connection 'dbname=nocall' publication p",
    "load 'auto_explain'",
    "alter function procrastinate.procrastinate_notify_queue_job_inserted_v1() security definer",
]

REACHING_FILES = [
    "select pg_read_file('postgresql.conf')",
    "select pg_read_binary_file('global/pg_control')",
    "select pg_ls_dir('.')",
    "select pg_stat_file('.')",
    "select lo_import('/etc/passwd')",
    "select lo_export(1, '/tmp/x')",
    "update pg_catalog.pg_largeobject set data = ''",
    "insert into pg_catalog.pg_largeobject values (1, 0, '')",
    "copy (select 1) to '/tmp/x'",
    "copy (select 1) to program 'cat'",
    "do $$ begin execute 'copy (select 1) to program ''cat'''; end $$",
]

GRANTING = [
    "grant all on nocall.ledger_entry to nocall_app",
    "grant all on nocall.ledger_item to nocall_app with grant option",
    "grant update on nocall.ledger_item to public",
    "grant update (reason) on nocall.ledger_entry to nocall_app",
    "grant all on all tables in schema nocall to nocall_app",
    "grant create on schema nocall to nocall_app",
    "grant all on database nocall to nocall_app",
    "revoke all on nocall.ledger_entry from nocall_owner",
]
"""PostgreSQL answers these with a warning that nothing was granted."""

A_COLUMN = {"ledger_entry": "kind", "ledger_item": "record_id"}


def attempts() -> Iterator[str]:
    for table, column in A_COLUMN.items():
        for statement in REWRITING:
            yield statement.format(t=table, c=column)
    yield from REGAINING
    yield from BUILDING
    yield from REACHING_FILES


@pytest.fixture(scope="module")
def app(app_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(app_url, autocommit=True, options=SESSION_OPTIONS) as connection:
        yield connection


@pytest.mark.parametrize("statement", list(attempts()))
def test_it_may_not(app, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement)
    if app.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        app.execute("rollback")


@pytest.mark.parametrize("statement", GRANTING)
def test_it_can_grant_nothing(app, statement):
    rights = (
        "select (select array_agg(relacl::text order by oid) from pg_class), "
        "(select array_agg(attacl::text order by attrelid, attnum) from pg_attribute "
        "where attacl is not null), (select array_agg(nspacl::text order by oid) "
        "from pg_namespace), (select array_agg(datacl::text order by oid) from pg_database)"
    )
    before = app.execute(rights).fetchone()
    app.execute(statement)
    assert app.execute(rights).fetchone() == before


def test_it_has_what_it_needs_and_no_more(app, app_url):
    """Select and insert on the ledger; the head it may move but not remove."""
    rows = app.execute(
        "select table_name, string_agg(lower(privilege_type), ' ' order by privilege_type) "
        "from information_schema.table_privileges where grantee = current_user "
        "and table_schema = 'nocall' and table_name in ('ledger_entry', 'ledger_item', "
        "'ledger_head', 'instance', 'schema_migration') group by table_name"
    ).fetchall()
    assert dict(rows) == {
        "ledger_entry": "insert select",
        "ledger_item": "insert select",
        "ledger_head": "insert select update",
        "instance": "select",
        "schema_migration": "select",
    }
    assert inspect_database(app_url)


def test_no_function_lends_it_the_rights_of_another(app):
    """Of all that it may execute, nothing of ours or of a package runs as its definer."""
    lent = app.execute(
        "select oid::regprocedure::text from pg_proc where prosecdef "
        "and has_function_privilege(oid, 'execute')"
    ).fetchall()
    assert lent == []


def test_an_organization_with_a_ledger_cannot_be_dropped_from_under_it(app, story):
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        app.execute("delete from nocall.org where org_id = %s", [story.org_id])


def test_marking_an_organization_as_purged_erases_nothing(app, app_url, owner_url, operator):
    """What the owner does at each start must not be the application's to steer."""
    org_id = create_org(operator)
    app.execute("update nocall.org set purged_at = now() where org_id = %s", [org_id])
    migrate(owner_url, app_url)
    left = app.execute("select seq from nocall.ledger_entry where org_id = %s", [org_id])
    assert left.fetchall() == [(1,)]


def test_a_large_object_of_its_own_is_not_the_ledger(app):
    """Any login may make one; what it holds stays in pg_largeobject."""
    (oid,) = app.execute("select lo_from_bytea(0, 'x')").fetchone()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("select lo_export(%s, '/tmp/x')", [oid])
    app.execute("select lo_unlink(%s)", [oid])


async def test_what_it_may_insert_is_found_by_verify(app_url: str, story: Story):
    """An entry that no head vouches for."""
    connection = await connect(app_url)
    try:
        await connection.execute(
            "insert into ledger_entry select org_id, seq + 1, at, kind, actor_kind, actor_id, "
            "actor_name, source, reason, detail, item_count, items_digest, previous_hash, hash "
            "from ledger_entry where org_id = %s order by seq desc limit 1",
            [story.org_id],
        )
        with pytest.raises(LedgerBroken, match=f"entry {story.last + 1} "):
            await ledger.verify(transaction(connection, story.org_id))
    finally:
        await connection.rollback()
        await connection.close()


async def test_a_temporary_table_cannot_stand_in_for_one_of_ours(owner: Connection, story: Story):
    """Shown with the owner's login, since the application's may make none: on a server of your
    own it might. Our sessions look into the temporary schema last.
    """
    for table in ("ledger_entry", "ledger_item", "ledger_head", "dnc_record", "dnc_state"):
        await owner.execute(f"create temporary table {table} (like nocall.{table})")
    found = await ledger.verify(transaction(owner, story.org_id))
    assert found.entry_count == story.last
    rows = await owner.execute("select count(*) from dnc_record where org_id = %s", [story.org_id])
    assert (await rows.fetchone())[0] == 4
