"""One PostgreSQL cluster in a data folder: create, start, stop, and know whether it is alive.

Whether any process of it is alive is told by a file lock that every such process inherits. The
kernel drops it with the last of them, however they end, so neither a stale postmaster.pid nor a
process id that now belongs to another program can mislead.
"""

import fcntl
import os
import re
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from nocall.errors import DatabaseRefused, DatabaseUnavailable, StartRefused
from nocall.store.account import Account

MAJOR = 18
SUPERUSER = "nocall_super"
PORT = 5432  # It only names the socket: nothing listens on TCP.
SOCKET = f".s.PGSQL.{PORT}"
FOLDER = "postgres"
_LOG = "postgres.log"
_PASSWORD_FILE = "postgres.password"  # noqa: S105 - a file's name
_LOG_LIMIT_BYTES = 10 * 1024 * 1024
_PATIENCE_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}


def lock_file(path: Path, how: int) -> BinaryIO:
    """Holds `how` (of fcntl) until the file is closed. Raises BlockingIOError with LOCK_NB."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(file, how)
    except BaseException:
        file.close()
        raise
    return file


@dataclass(frozen=True, slots=True)
class Cluster:
    data: Path
    account: Account
    binaries: Path
    socket_folder: Path

    def create(self, password: str) -> None:
        """Create the cluster, whole or not at all. Raises `StartRefused`."""
        claim = self._wait_for_claim()
        if claim is None:
            raise StartRefused(f"the PostgreSQL of a removed {self._folder} still runs: end it")
        with claim:
            staging = self.data / f"{FOLDER}.new"
            secret = self.data / _PASSWORD_FILE
            if staging.exists():
                shutil.rmtree(staging)
            secret.unlink(missing_ok=True)
            self.account.make_folder(staging)
            self.account.write_file(secret, password)
            try:
                done = self.account.run(self._initdb(staging), self.data, [claim.fileno()])
            finally:
                secret.unlink()
            if done.returncode != 0:
                raise StartRefused(f"PostgreSQL's initdb failed: {complaint(done.stderr)}")
            staging.rename(self._folder)
            sync_folder(self.data)

    def start(self) -> bool:
        """Start it, or wait until it answers if it runs. True if it had to be started.

        Raises `StartRefused` with what the server's log says.
        """
        claim = self._wait_for_claim()
        if claim is None:
            return False
        with claim:
            self._refuse_foreign_server()
            # The lock proves that nothing of the last run is left, so these are stale. Left where
            # they are, they would stop the start if their process id belongs to another program.
            (self._folder / "postmaster.pid").unlink(missing_ok=True)
            (self.socket_folder / f"{SOCKET}.lock").unlink(missing_ok=True)
            already_logged = self._ready_log()
            # Relative names keep the data folder's out of the shell command that pg_ctl makes.
            files = ("-D", FOLDER, "-l", _LOG)
            command = (self.binaries / "pg_ctl", "start", "-w", "-s", "-t", "600", *files)
            done = self.account.run((*command, "-o", self._options()), self.data, [claim.fileno()])
        if done.returncode != 0:
            why = complaint(self._logged_since(already_logged) or done.stderr)
            raise StartRefused(f"PostgreSQL did not start: {why} (see {self.data / _LOG})")
        return True

    def stop(self) -> None:
        """Stop it if it runs; open transactions are rolled back. Raises `DatabaseUnavailable`."""
        command = (self.binaries / "pg_ctl", "stop", "-w", "-s", "-t", "60", "-m", "fast")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        # A server whose start was just interrupted can't be told to stop before it has a pid file.
        while not self._is_dead():
            done = self.account.run((*command, "-D", FOLDER), self.data)
            if done.returncode != 0 and time.monotonic() > deadline:
                raise DatabaseUnavailable(f"PostgreSQL did not stop: {complaint(done.stderr)}")
            time.sleep(0.01)

    def is_running(self) -> bool:
        """Whether a server answers on the socket, whoever started it."""
        return self._ping() is not Ping.NO_RESPONSE

    def _refuse_foreign_server(self) -> None:
        """A server that somebody else started here does not hold our lock, and may be anywhere.

        Two servers in one folder would destroy it. Where the system has no /proc nothing is known,
        and PostgreSQL's own check of its shared memory has the last word.
        """
        try:
            process_id = int((self._folder / "postmaster.pid").read_text("ascii").split()[0])
            where = Path(f"/proc/{process_id}/cwd").readlink()
        except (OSError, ValueError, IndexError):
            return
        if where == self._folder:
            raise StartRefused(
                f"a PostgreSQL that nocall did not start runs in {self._folder} "
                f"(process {process_id}): stop it"
            )

    @property
    def _folder(self) -> Path:
        return self.data / FOLDER

    def _claim(self) -> BinaryIO | None:
        """The lock whose holder is the server, or None while anything of a server has it."""
        try:
            return lock_file(self.data / "postgres.alive.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    def _is_dead(self) -> bool:
        claim = self._claim()
        if claim is None:
            return False
        claim.close()
        return True

    def _wait_for_claim(self) -> BinaryIO | None:
        """Wait until nothing of a server is left, or until a server answers, which gives None."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._ping() != Ping.OK:
            claim = self._claim()
            if claim is not None:
                return claim
            # A server that refuses is starting, recovering or stopping, and takes as it takes.
            if time.monotonic() > deadline and self._ping() == Ping.NO_RESPONSE:
                raise StartRefused(
                    f"processes of a PostgreSQL in {self.data} neither answer nor end: end them"
                )
            time.sleep(0.02)
        return None

    def _ping(self) -> Ping:
        target = make_conninfo(
            host=str(self.socket_folder),
            port=PORT,
            user=SUPERUSER,
            dbname="postgres",
            connect_timeout=2,
        )
        return Ping(PGconn.ping(os.fsencode(target)))

    def _initdb(self, staging: Path) -> list[str | Path]:
        return [
            self.binaries / "initdb",
            f"--pgdata={staging.name}",
            f"--username={SUPERUSER}",
            f"--pwfile={_PASSWORD_FILE}",
            "--auth-local=scram-sha-256",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C",
            "--data-checksums",
            "--no-instructions",
        ]

    def _options(self) -> str:
        quoted = str(self.socket_folder).replace('"', '""')
        settings = {**_SETTINGS, "unix_socket_directories": f'"{quoted}"'}
        return " ".join(f"-c {shlex.quote(f'{name}={text}')}" for name, text in settings.items())

    def _ready_log(self) -> int:
        """See to it that there is a log the account can write to; returns its size."""
        log = self.data / _LOG
        if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_name(f"{_LOG}.1"))
        if not log.exists():
            self.account.write_file(log)
        return log.stat().st_size

    def _logged_since(self, start: int) -> str:
        return (self.data / _LOG).read_bytes()[start:].decode(errors="replace")


def refuse_other_major(data: Path) -> None:
    """Raises `DatabaseRefused` if the cluster in `data` is of another major version."""
    try:
        found = (data / FOLDER / "PG_VERSION").read_text("ascii").strip()
    except FileNotFoundError:
        raise DatabaseRefused(
            f"{data / FOLDER} is no PostgreSQL database: remove it, or restore it from a backup"
        ) from None
    if found != str(MAJOR):
        raise DatabaseRefused(
            f"the data folder {data} holds a PostgreSQL {found} database and this nocall runs "
            f"PostgreSQL {MAJOR}: back it up with the nocall that wrote it and restore that"
        )


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def complaint(text: str) -> str:
    """The last error in what a program said, which hints and the failed statement may follow."""
    found: list[str] = re.findall(r"\b(?:FATAL|PANIC|ERROR|error): +(.*)", text)
    return found[-1] if found else last_line(text)


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it gave no reason"
