"""Starting and stopping: what is refused, in one sentence, and what a stop leaves behind."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote

import httpx
import psycopg
import pytest

from accounts import IMPORTS, IS_ROOT, STRANGER, account, python_for
from cli.conftest import document, done, refused
from conftest import (
    NOCALL,
    Service,
    clean_environment,
    copy_of,
    eventually,
    fresh_number,
    nocall_json,
)
from nocall.store.account import choose_account
from nocall.store.embedded import Embedded, binaries_folder, open_embedded

DOCS = Path(__file__).parents[1] / "docs"


def serve_refused(data: Path, *flags: str, code: int = 3, **environment: str) -> str:
    """The one sentence with which `nocall serve` gives up; no traceback, nothing on stdout."""
    ended = subprocess.run(
        [NOCALL, "serve", *flags],
        env=clean_environment(NOCALL_DATA=str(data), **environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("nocall: ")
    return line


@pytest.fixture(scope="module")
def own_server(place: Path, pristine: Path) -> Iterator[Embedded]:
    """A PostgreSQL that plays an operator's own: nocall is given URLs to it and no more."""
    server = open_embedded(copy_of(pristine, place / "own-server"))
    yield server
    server.close()


def superuser_url(data: Path, server: Embedded, database: str = "nocall") -> str:
    password = json.loads((data / "postgres.json").read_text())["superuser"]
    host = quote(str(server.socket_folder), safe="")
    return f"postgresql://nocall_super:{quote(password)}@/{database}?host={host}&port=5432"


@pytest.fixture(scope="module")
def superuser(own_server: Embedded, place: Path) -> Iterator[psycopg.Connection]:
    url = superuser_url(place / "own-server", own_server)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def as_owner(data: Path, statement: str) -> None:
    with (
        contextlib.closing(open_embedded(data)) as embedded,
        psycopg.connect(embedded.owner_url) as owner,
    ):
        owner.execute(statement)


def as_login(url: str, login: str) -> str:
    """The URL with another login, whose password is its name."""
    return re.sub(r"//[^@]+@", f"//{login}:{login}@", url)


# What is refused before anything is touched


def test_a_busy_port(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = serve_refused(tmp_path / "data", "--port", port)
    assert line == f"nocall: port {port} on 127.0.0.1 is in use"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host", "::ffff:203.0.113.1"])
def test_an_address_that_is_not_ours(tmp_path, host):
    line = serve_refused(tmp_path / "data", "--port", "0", "--host", host)
    assert f"port 0 on {host} cannot be used: " in line


@pytest.mark.parametrize(
    ("option", "text", "why"),
    [
        ("NOCALL_PROT", "8000", "unknown option NOCALL_PROT"),
        ("NOCALL_PORT_FILE", "/dev/null", "unknown option NOCALL_PORT_FILE"),
        ("NOCALL_", "x", "unknown option NOCALL_"),
        ("NOCALL_PORT", "80a", "NOCALL_PORT must be a whole number from 0 to 65535, not '80a'"),
        ("NOCALL_PORT", "65536", "NOCALL_PORT must be"),
        ("NOCALL_PORT", "-1", "NOCALL_PORT must be"),
        ("NOCALL_PORT", "٣", "NOCALL_PORT must be"),
        ("NOCALL_POOL_SIZE", "1", "NOCALL_POOL_SIZE must be a whole number from 2 to 200"),
        ("NOCALL_BODY_LIMIT_BYTES", "1023", "NOCALL_BODY_LIMIT_BYTES must be"),
        ("NOCALL_RATE_LIMIT_PER_SECOND", "many", "NOCALL_RATE_LIMIT_PER_SECOND must be"),
        ("NOCALL_SMTP_PORT", "0", "NOCALL_SMTP_PORT must be"),
        ("NOCALL_WORKER", "maybe", "NOCALL_WORKER must be true or false, not 'maybe'"),
        ("NOCALL_HOST", "", "NOCALL_HOST is set but empty"),
        ("NOCALL_DATABASE_URL", "", "NOCALL_DATABASE_URL is set but empty"),
        ("NOCALL_DATABASE_URL", "mysql://x@y/z", "must start with postgresql://"),
        ("NOCALL_DATABASE_OWNER_URL", "postgresql://x@y/z", "without NOCALL_DATABASE_URL"),
        ("NOCALL_SMTP_USER", "me", "set both NOCALL_SMTP_USER and NOCALL_SMTP_PASSWORD"),
        ("NOCALL_SMTP_PASSWORD", "me", "set both NOCALL_SMTP_USER and NOCALL_SMTP_PASSWORD"),
        ("NOCALL_SMTP_PORT", "25", "NOCALL_SMTP_PORT is set without NOCALL_SMTP_HOST"),
        ("NOCALL_SMTP_TLS", "none", "NOCALL_SMTP_TLS is set without NOCALL_SMTP_HOST"),
        ("NOCALL_MAIL_FROM", "nobody", "NOCALL_MAIL_FROM must be one e-mail address"),
        ("NOCALL_MAIL_FROM", "a@b\nBcc: c@d", "NOCALL_MAIL_FROM must be one e-mail address"),
        ("NOCALL_DATABASE_URL_FILE", "/no/such", "NOCALL_DATABASE_URL_FILE: cannot read /no/such"),
    ],
)
def test_an_option_that_is_wrong_or_half_set(pristine, option, text, why):
    """Nothing has a default that a slip of the pen falls back to."""
    assert why in refused("org", "list", data=pristine, code=3, **{option: text})


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"NOCALL_SMTP_USER": "u", "NOCALL_SMTP_PASSWORD": "p"}, "without NOCALL_SMTP_HOST"),
        ({"NOCALL_SMTP_HOST": "h", "NOCALL_SMTP_TLS": "ssl"}, "starttls, tls or none, not 'ssl'"),
        (
            {
                "NOCALL_SMTP_HOST": "h",
                "NOCALL_SMTP_USER": "u",
                "NOCALL_SMTP_PASSWORD": "p",
                "NOCALL_SMTP_TLS": "none",
            },
            "would send the password in clear text",
        ),
        (
            {"NOCALL_SMTP_PASSWORD": "p", "NOCALL_SMTP_PASSWORD_FILE": "/dev/null"},
            "set NOCALL_SMTP_PASSWORD or NOCALL_SMTP_PASSWORD_FILE, not both",
        ),
    ],
)
def test_options_that_do_not_fit_together(pristine, more, why):
    assert why in refused("org", "list", data=pristine, code=3, **more)


def test_serve_says_it_in_one_sentence_too(tmp_path):
    line = serve_refused(tmp_path, NOCALL_DATABSE_URL="postgresql://x@y/z")
    assert line == "nocall: unknown option NOCALL_DATABSE_URL"
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_data_folder(place):
    """As an ordinary user, which root is not."""
    folder = place / "unwritable"
    folder.mkdir(mode=0o755)
    command = [sys.executable]
    more = {}
    if IS_ROOT:
        command, more = [python_for(STRANGER)], account(STRANGER)
    else:
        folder.chmod(0o555)
    ended = subprocess.run(
        [*command, "-m", "nocall", "serve", "--port", "0", "--data", str(folder / "data")],
        env={"PYTHONPATH": IMPORTS, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    assert (ended.returncode, ended.stdout) == (3, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"nocall: cannot use the data folder {folder / 'data'}: ")
    assert line.endswith("Permission denied")


# What is refused of a database


def test_a_database_of_a_newer_version(place, pristine):
    data = copy_of(pristine, place / "newer")
    as_owner(data, "insert into nocall.schema_migration (version, name) values (999, 'later')")
    why = "the database is at version 999, this nocall knows up to 1: run the newer nocall"
    assert why in serve_refused(data, "--port", "0")
    assert why in refused("org", "list", data=data, code=3)
    assert why in refused("migrate", data=data, code=3)


def test_a_server_that_is_not_there(tmp_path):
    url = "postgresql://app:x@127.0.0.1:1/nocall"
    line = serve_refused(tmp_path, "--port", "0", code=7, NOCALL_DATABASE_URL=url)
    assert line.startswith("nocall: cannot reach the database: ")
    both = {"NOCALL_DATABASE_URL": url, "NOCALL_DATABASE_OWNER_URL": url.replace("app", "owner")}
    line = serve_refused(tmp_path, "--port", "0", code=7, **both)
    assert line.startswith("nocall: cannot reach the database as owner: ")


def test_a_database_that_was_not_migrated(own_server, superuser, tmp_path):
    superuser.execute("create database empty_one")
    url = own_server.app_url.replace("/nocall?", "/empty_one?")
    line = serve_refused(tmp_path, "--port", "0", NOCALL_DATABASE_URL=url)
    assert "no nocall schema that this login can read: run nocall migrate" in line


def test_the_owner_as_the_applications_login(own_server, tmp_path):
    """Alone, and as both."""
    line = serve_refused(tmp_path, "--port", "0", NOCALL_DATABASE_URL=own_server.owner_url)
    assert "the login nocall_owner has too many rights: it owns objects" in line
    line = serve_refused(
        tmp_path,
        "--port",
        "0",
        NOCALL_DATABASE_URL=own_server.owner_url,
        NOCALL_DATABASE_OWNER_URL=own_server.owner_url,
    )
    assert "nocall_owner is also the owner: it needs one of its own" in line


LOGINS = {
    "plain": ([], None),
    "super": (["alter role {r} superuser"], "is a superuser"),
    "maker": (["alter role {r} createrole"], "is a superuser or may create roles"),
    "founder": (["alter role {r} createdb"], "is a superuser or may create roles or databases"),
    "copier": (["alter role {r} replication"], "replicate"),
    "passer": (["alter role {r} bypassrls"], "bypass"),
    "member": (["grant nocall_owner to {r}"], "is a member of another role"),
    "predefined": (["grant pg_read_all_data to {r}"], "is a member of another role"),
    "holder": (
        ["create schema of_{r} authorization {r}", "create table of_{r}.t ()"],
        "owns objects in the database",
    ),
    "keeper": (
        ["create table public.of_{r} ()", "alter table public.of_{r} owner to {r}"],
        "owns objects in the database",
    ),
    "builder": (["grant create on schema nocall to {r}"], "may create objects in schema nocall"),
    "updater": (["grant update on nocall.ledger_entry to {r}"], "may rewrite ledger rows"),
    "corrector": (
        ["grant update (reason) on nocall.ledger_item to {r}"],
        "may rewrite ledger rows",
    ),
    "deleter": (["grant delete on nocall.ledger_item to {r}"], "may rewrite ledger rows"),
    "emptier": (["grant truncate on nocall.ledger_entry to {r}"], "may rewrite ledger rows"),
    "trigger": (["grant trigger on nocall.ledger_entry to {r}"], "may rewrite ledger rows"),
}
"""What a login was given beside what it needs, and the words it is refused with."""


@pytest.mark.parametrize("name", LOGINS)
def test_a_login_with_too_many_rights(own_server, superuser, place, tmp_path, name):
    """The first has none too many, which shows that the others are refused for what they have."""
    statements, why = LOGINS[name]
    role = f"app_{name}"
    for statement in (
        "create role {r} login password '{r}'",
        "grant connect on database nocall to {r}",
        "grant usage on schema nocall to {r}",
        "grant select, insert on all tables in schema nocall to {r}",
        *statements,
    ):
        superuser.execute(statement.format(r=role))
    url = as_login(own_server.app_url, role)
    if why is None:
        assert document("org", "list", data=tmp_path, NOCALL_DATABASE_URL=url) == []
        return
    line = refused("org", "list", data=tmp_path, code=3, NOCALL_DATABASE_URL=url)
    assert f"the login {role} has too many rights: it " in line
    assert why in line


def test_rights_given_to_everybody_count_too(own_server, superuser, tmp_path):
    superuser.execute("grant update on nocall.ledger_item to public")
    try:
        line = serve_refused(tmp_path, "--port", "0", NOCALL_DATABASE_URL=own_server.app_url)
    finally:
        superuser.execute("revoke update on nocall.ledger_item from public")
    assert "may rewrite ledger rows" in line


@contextlib.contextmanager
def started_by_hand(binaries: Path, cluster: Path, *settings: str) -> Iterator[str]:
    """A PostgreSQL that is none of ours while it runs; gives `host=…` for a URL to it."""
    who = choose_account(cluster)
    flags = ["-c listen_addresses=''", f"-k {cluster}", *(f"-c {one}" for one in settings)]
    command = [binaries / "pg_ctl", "-D", cluster, "-w", "-s"]
    log = ["-l", cluster / "log", "-o", " ".join(flags)]
    ended = who.run([*command, *log, "start"], cluster)
    assert ended.returncode == 0, ended.stderr
    try:
        yield f"host={quote(str(cluster), safe='')}"
    finally:
        who.run([*command, "-m", "immediate", "stop"], cluster)


def test_a_server_that_may_forget_what_it_acknowledged(own_server, place, pristine, tmp_path):
    data = copy_of(pristine, place / "no-fsync")
    passwords = json.loads((data / "postgres.json").read_text())
    with started_by_hand(own_server.binaries, data / "postgres", "fsync=off") as host:
        urls = {
            f"NOCALL_DATABASE_{option}": (
                f"postgresql://nocall_{login}:{quote(passwords[login])}@/nocall?{host}"
            )
            for option, login in (("URL", "app"), ("OWNER_URL", "owner"))
        }
        line = serve_refused(tmp_path, "--port", "0", **urls)
    assert "fsync off: an acknowledged opt-out could be lost" in line


def test_a_data_folder_of_another_database(own_server, place, pristine):
    data = copy_of(pristine, place / "another")
    assert document("org", "list", data=data) == []
    as_owner(data, "update nocall.instance set instance_id = 'f00'")
    line = refused("org", "list", data=data, code=3)
    assert re.search(r"belongs to database [0-9a-f]{24}, this is database f00", line)
    line = serve_refused(data, "--port", "0")
    assert "this is database f00" in line


# A server of your own


def sql_of_the_guide() -> list[str]:
    """What docs/configuration.md tells an operator to run."""
    text = (DOCS / "configuration.md").read_text("utf-8")
    (block,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    return [statement.strip() for statement in block.split(";") if statement.strip()]


def test_your_own_postgresql_with_two_logins(own_server, superuser, place, tmp_path):
    """Made as the guide says, with the secrets in files. The second start knows no owner."""
    for statement in sql_of_the_guide():
        superuser.execute(statement.replace("nocall", "guide"))
    files = {}
    for option, login, password in (
        ("NOCALL_DATABASE_URL", "guide_app", "choose another"),
        ("NOCALL_DATABASE_OWNER_URL", "guide_owner", "choose one"),
    ):
        url = re.sub(r"//[^@]+@", f"//{login}:{quote(password)}@", own_server.app_url)
        path = tmp_path / login
        path.write_text(url.replace("/nocall?", "/guide?") + "\n")
        files[f"{option}_FILE"] = str(path)
    data = place / "guide"
    number = fresh_number()
    with Service.start(data, **files) as service:
        org_id, token = make_org(data, **files)
        with service.client(token) as client:
            add(client, number)
            assert verdict(client, number) == "blocked"
        assert service.stop() == 0
    assert {path.name for path in data.iterdir()} <= {"id", "mail"}
    del files["NOCALL_DATABASE_OWNER_URL_FILE"]
    with Service.start(data, **files) as service:
        with service.client(token) as client:
            assert verdict(client, number) == "blocked"
        assert document("ledger", "verify", data=data, **files)["ok"]
        done("backup", str(tmp_path / "backup"), data=data, **files)
        assert "only the owner migrates" in refused("migrate", data=data, code=3, **files)
        assert service.stop() == 0
    assert org_id in done("org", "list", data=data, **files).stdout


def test_an_older_postgresql(place, tmp_path):
    """16, which the package brings too; set up by the guide to the letter."""
    binaries = binaries_folder().parents[1] / "pginstall" / "bin"
    cluster = place / "sixteen"
    who = choose_account(cluster)
    who.make_folder(cluster)
    settings = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    try:
        made = who.run([binaries / "initdb", "-D", cluster, *settings], cluster)
    except PermissionError:
        pytest.skip("the account that PostgreSQL runs as cannot reach the package's programs")
    assert made.returncode == 0, made.stderr
    with started_by_hand(binaries, cluster) as host:
        with psycopg.connect(f"postgresql://postgres@/postgres?{host}", autocommit=True) as admin:
            assert admin.info.server_version < 170_000
            for statement in sql_of_the_guide():
                admin.execute(statement)
        urls = {
            "NOCALL_DATABASE_URL": f"postgresql://nocall_app:choose%20another@/nocall?{host}",
            "NOCALL_DATABASE_OWNER_URL": f"postgresql://nocall_owner:choose%20one@/nocall?{host}",
        }
        with Service.start(tmp_path / "data", **urls) as service:
            number = fresh_number()
            with service.client(make_org(tmp_path / "data", **urls)[1]) as client:
                add(client, number)
                assert verdict(client, number) == "blocked"
            assert document("ledger", "verify", data=tmp_path / "data", **urls)["ok"]
            assert service.stop() == 0


def make_org(data: Path, **environment: str) -> tuple[str, str]:
    arguments = ("org", "create", "Started", "--admin-email", "admin@test.example")
    org_id = nocall_json(*arguments, data=data, **environment)["id"]
    scopes = ("--scope", "dnc:read", "--scope", "dnc:write")
    made = nocall_json("token", "create", *scopes, "--org", org_id, data=data, **environment)
    return org_id, made["token"]


def add(client: httpx.Client, number: str) -> None:
    body = {"phoneNumber": number, "source": "manual"}
    client.post("/api/dnc/add", json=body).raise_for_status()


def verdict(client: httpx.Client, number: str) -> str:
    answer = client.get("/api/dnc/check", params={"phoneNumber": number}).raise_for_status()
    return answer.json()["data"]["verdict"]


# Stopping, and starting again


def postmaster(data: Path) -> int:
    return int((data / "postgres" / "postmaster.pid").read_text().split()[0])


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").exists() and " Z " in Path(f"/proc/{pid}/stat").read_text()


def test_a_stop_takes_the_database_along_and_a_start_finds_it_again(place, pristine):
    """By Ctrl-C, which is SIGINT, and by SIGTERM; with a client that stays connected."""
    data = copy_of(pristine, place / "stopping")
    number = fresh_number()
    token = None
    for how in (signal.SIGINT, signal.SIGTERM):
        with Service.start(data) as service:
            pid = postmaster(data)
            token = token or make_org(data)[1]
            with service.client(token) as client:
                if how == signal.SIGINT:
                    add(client, number)
                assert verdict(client, number) == "blocked"
                assert service.stop(how) == 0
            assert not (data / "postgres" / "postmaster.pid").exists()
            assert eventually(lambda pid=pid: is_gone(pid))
            assert "Traceback" not in service.log.read_text()


def test_it_listens_where_it_is_told_to(place, pristine):
    with socket.socket(socket.AF_INET6) as trial:
        try:
            trial.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    with Service.start(copy_of(pristine, place / "ipv6"), NOCALL_HOST="::1") as service:
        assert service.url.startswith("http://[::1]:")
        with service.client() as client:
            assert client.get("/health/live").status_code == 200
        assert service.stop() == 0


@pytest.mark.skipif(not IS_ROOT, reason="only root can act as another user")
def test_an_ordinary_user_needs_nothing_set(place):
    """Its data folder is in its home, and closed to others."""
    python = python_for(STRANGER)
    home = place / "home"
    home.mkdir()
    shutil.chown(home, STRANGER)
    command = [python, "-m", "nocall", "serve", "--json", "--port", "0"]
    for _ in range(2):
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PYTHONPATH": IMPORTS, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home)},
            **account(STRANGER),
        ) as process:
            url = json.loads(process.stdout.readline())["url"]
            assert httpx.get(f"{url}/health/ready").status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(40) == 0
    data = home / ".local" / "share" / "nocall"
    assert (data.owner(), data.stat().st_mode & 0o777) == (STRANGER, 0o700)
    assert not (data / "postgres" / "postmaster.pid").exists()


# The demo


class Demo:
    """`nocall serve --demo` in a terminal: what it prints, and each curl line run by `sh -c`."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [NOCALL, "serve", "--demo", "--port", "0"],
            env=clean_environment(NOCALL_DATA=str(data)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.text = ""
        while "Ctrl-C" not in self.text:
            line = self.process.stdout.readline()
            assert line, "it ended"
            self.text += line
        self.lines = [line for line in self.text.splitlines() if line.startswith("curl")]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.stdout.close()
        assert self.process.wait(40) == 0

    def run(self, line: str) -> dict:
        ended = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, check=True, env={"PATH": os.defpath}
        )
        assert ended.stderr == ""
        assert ended.stdout.endswith("\n")
        return json.loads(ended.stdout)


def test_the_demo_lines_work_as_they_are_pasted(place, pristine):
    """Start after start, also where the last one was left with its number on the list, and where
    all numbers that were called are listed.
    """
    data = copy_of(pristine, place / "demo")
    seen, kept = set(), 0
    for left_listed in (False, True, False):
        with Demo(data) as demo:
            add_line, list_line, check_line, delete_line, check_again = demo.lines
            added = demo.run(add_line)
            assert added["message"] == "Phone number added to DNC successfully"
            found = demo.run(list_line)["data"]["dncList"]
            assert found[0]["_id"] == added["data"]["_id"]
            assert found[0]["callRecording"].startswith("https://")
            assert found[0]["transcription"]
            number = found[0]["phoneNumber"]
            blocked = demo.run(check_line)["data"]
            assert (blocked["verdict"], blocked["phoneNumber"]) == ("blocked", number)
            if left_listed:
                for offset in range(1, 4):
                    done("dnc", "add", f"+{int(number) + offset}", data=data)
                kept = 4
            else:
                deleted = demo.run(delete_line)
                assert deleted["message"] == "DNC record deleted successfully"
                assert demo.run(check_again)["data"]["verdict"] == "callable"
                assert demo.run(list_line)["data"]["pagination"]["total"] == kept
            token = re.search(r"token +(\S+)", demo.text)[1]
            assert token not in seen, "only its hash is kept, so each start makes another"
            seen.add(token)
    live = [one for one in document("token", "list", data=data) if one["revokedAt"] is None]
    assert len(live) == 1
    kinds = [one["kind"] for one in document("ledger", "show", data=data)]
    story = ["add", "delete", *["add"] * 4, "add", "delete"]
    assert [kind for kind in kinds if kind in ("add", "delete")] == story
    assert document("ledger", "verify", data=data)["ok"]
