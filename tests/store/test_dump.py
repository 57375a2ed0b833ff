"""Dump and load of schema `nocall`, with the real programs against a real server."""

import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nocall.errors import StartRefused
from nocall.store.dump import dump_database, load_dump
from nocall.store.embedded import Embedded, binaries_folder, open_embedded

SCHEMA = """
create schema nocall
    create table debit (n int primary key, note text)
    create table credit (n int primary key)
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Embedded]:
    with tempfile.TemporaryDirectory(prefix="nocall-test-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = open_embedded(Path(folder) / "data")
        yield server
        server.close()


@pytest.fixture
def server(running: Embedded) -> Embedded:
    """With two tables that every transaction writes to alike."""
    with psycopg.connect(running.owner_url) as owner:
        owner.execute("drop schema if exists nocall cascade")
        owner.execute(SCHEMA)
    return running


def write_pair(connection: psycopg.Connection, n: int) -> None:
    with connection.transaction():
        connection.execute("insert into nocall.debit values (%s, %s)", [n, "a\tb\\\n'"])
        connection.execute("insert into nocall.credit values (%s)", [n])


def counts(server: Embedded) -> tuple[int, int]:
    with psycopg.connect(server.owner_url) as owner:
        return owner.execute(
            "select (select count(*) from nocall.debit), (select count(*) from nocall.credit)"
        ).fetchone()


def drop(server: Embedded) -> None:
    with psycopg.connect(server.owner_url) as owner:
        owner.execute("drop schema nocall cascade")


def fake_program(folder: Path, name: str, script: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_a_dump_taken_while_others_write_is_of_one_instant(server, tmp_path):
    target = tmp_path / "dump"
    done = threading.Event()

    def write() -> None:
        with psycopg.connect(server.owner_url, autocommit=True) as connection:
            n = 0
            while not done.is_set():
                n += 1
                write_pair(connection, n)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while counts(server)[0] < 10:
            pass
        dump_database(server.binaries, server.owner_url, target)
    finally:
        done.set()
        writer.join()
    written = counts(server)[0]
    drop(server)
    load_dump(server.binaries, server.owner_url, target)
    debits, credits_ = counts(server)
    assert 10 <= debits == credits_ <= written
    with psycopg.connect(server.owner_url) as owner:
        assert owner.execute("select distinct note from nocall.debit").fetchall() == [
            ("a\tb\\\n'",)
        ]
        with pytest.raises(psycopg.errors.UniqueViolation):
            owner.execute("insert into nocall.credit values (1)")


def test_nobody_else_may_read_a_dump(server, tmp_path):
    dump_database(server.binaries, server.owner_url, tmp_path / "dump")
    assert stat.S_IMODE((tmp_path / "dump").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["dump"]


def test_a_failed_dump_leaves_the_last_one(server, tmp_path):
    target = tmp_path / "dump"
    target.write_text("yesterday's")
    drop(server)
    with pytest.raises(StartRefused, match="pg_dump failed: no matching schemas were found"):
        dump_database(server.binaries, server.owner_url, target)
    assert target.read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir()] == ["dump"]
    with pytest.raises(StartRefused, match=r"cannot write .*/none/dump"):
        dump_database(server.binaries, server.owner_url, tmp_path / "none" / "dump")


def test_no_password_is_on_a_command_line(tmp_path):
    url = "postgresql://me:geheim@db.example/nocall?sslmode=require"
    seen = tmp_path / "seen"
    record = f'echo "$@" > {seen}; echo "$PGPASSWORD" >> {seen}'
    for name in ("pg_dump", "pg_restore"):
        fake_program(tmp_path, name, record)
    dump_database(tmp_path, url, tmp_path / "dump")
    command, password = seen.read_text().splitlines()
    assert "geheim" not in command
    assert "host=db.example" in command
    assert "sslmode=require" in command
    assert password == "geheim"
    load_dump(tmp_path, url, tmp_path / "dump")
    command, password = seen.read_text().splitlines()
    assert "geheim" not in command
    assert password == "geheim"
    with pytest.raises(StartRefused, match="sslpassword"):
        dump_database(tmp_path, f"{url}&sslpassword=geheim", tmp_path / "dump")


def test_a_server_newer_than_the_program_is_named(server, tmp_path):
    older = binaries_folder().parents[1] / "pginstall" / "bin"  # The package's PostgreSQL 16.
    with pytest.raises(StartRefused, match=r"the server is newer .*server version: 18.*: 16"):
        dump_database(older, server.owner_url, tmp_path / "dump")


def test_a_server_too_old_to_load_into_is_named(tmp_path):
    complaint = 'ERROR:  unrecognized configuration parameter "transaction_timeout"'
    fake_program(tmp_path, "pg_restore", f"echo '{complaint}' >&2; exit 1")
    (tmp_path / "dump").write_text("")
    with pytest.raises(StartRefused, match="loads into PostgreSQL 17 or later"):
        load_dump(tmp_path, "postgresql://me@db.example/nocall", tmp_path / "dump")


def test_a_load_is_all_or_nothing(server, tmp_path):
    with psycopg.connect(server.owner_url, autocommit=True) as owner:
        write_pair(owner, 1)
    dump_database(server.binaries, server.owner_url, tmp_path / "dump")
    with pytest.raises(StartRefused, match=r'pg_restore failed: .*schema "nocall" already exists'):
        load_dump(server.binaries, server.owner_url, tmp_path / "dump")
    assert counts(server) == (1, 1)
    drop(server)
    whole = (tmp_path / "dump").read_bytes()
    (tmp_path / "torn").write_bytes(whole[:-10])
    with pytest.raises(StartRefused, match="pg_restore failed: "):
        load_dump(server.binaries, server.owner_url, tmp_path / "torn")
    with psycopg.connect(server.owner_url) as owner:
        assert owner.execute("select to_regnamespace('nocall')").fetchone() == (None,)


def test_what_cannot_be_used_is_refused(server, tmp_path):
    (tmp_path / "text").write_text("no dump at all")
    for source, why in (("none", "there is no file"), ("text", "pg_restore failed: ")):
        with pytest.raises(StartRefused, match=why) as caught:
            load_dump(server.binaries, server.owner_url, tmp_path / source)
        assert "\n" not in str(caught.value)
    with pytest.raises(StartRefused, match="cannot run"):
        dump_database(tmp_path, server.owner_url, tmp_path / "dump")
    with pytest.raises(StartRefused, match="URL cannot be read") as caught:
        dump_database(server.binaries, "nonsense", tmp_path / "dump")
    assert "\n" not in str(caught.value)
