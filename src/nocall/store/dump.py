"""Schema `nocall` as one file, by PostgreSQL's own pg_dump and pg_restore."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nocall.errors import StartRefused
from nocall.store.cluster import complaint, last_line

_PORTABLE = ("--no-owner", "--no-privileges")


def dump_database(binaries: Path, url: str, target: Path) -> None:
    """Write `target`, whole or not at all, as the database was when this began.

    Others may write to the database meanwhile. Raises `StartRefused`.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        # It holds people's numbers, so nobody else may read it from its first byte on.
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            options = ("--format=custom", *_PORTABLE, "--schema=nocall", f"--file={part}")
            _run(binaries / "pg_dump", options, url)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StartRefused(f"cannot write {error.filename or target}: {error.strerror}") from None


def load_dump(binaries: Path, owner_url: str, source: Path) -> None:
    """Load what `dump_database` wrote into a database without schema `nocall`, all or nothing.

    Rights are not in the file: migrate afterwards. Raises `StartRefused`.
    """
    if not source.is_file():
        raise StartRefused(f"there is no file {source} to restore")
    options = ("--exit-on-error", "--single-transaction", *_PORTABLE, str(source.resolve()))
    _run(binaries / "pg_restore", options, owner_url)


def _run(program: Path, options: Sequence[str], url: str) -> None:
    target, password = _without_password(url)
    # What the operator set for libpq applies here as it does to the service's own connections.
    environment = {**os.environ, "LC_ALL": "C"}
    if password is not None:
        environment["PGPASSWORD"] = password
    try:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program with our options
            [program, *options[:-1], f"--dbname={target}", options[-1]],
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise StartRefused(f"cannot run {program}: {error.strerror}") from None
    if done.returncode == 0:
        return
    if "server version mismatch" in done.stderr:
        raise StartRefused(
            f"the server is newer than this {program.name} and has to be dumped with its own: "
            + last_line(done.stderr)
        )
    if "transaction_timeout" in done.stderr:
        raise StartRefused(
            f"{program.name} loads into PostgreSQL 17 or later; this server is older"
        )
    raise StartRefused(f"{program.name} failed: {complaint(done.stderr)}")


def _without_password(url: str) -> tuple[str, str | None]:
    """The connection's parameters apart from the password: other users see a command line."""
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise StartRefused(f"the database's URL cannot be read: {last_line(str(error))}") from None
    if "sslpassword" in parameters:
        raise StartRefused("a client key with a passphrase (sslpassword) cannot be used here")
    password = parameters.pop("password", None)
    rest = make_conninfo("", **parameters)
    return rest, None if password is None else str(password)
