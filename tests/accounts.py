"""Running something as another account of the machine, which only root can."""

import contextlib
import functools
import os
import pwd
import subprocess
import sys

import pytest

IS_ROOT = os.geteuid() == 0
STRANGER = "daemon"
# What a child needs beside its own interpreter's library to import what we import.
IMPORTS = os.pathsep.join(p for p in sys.path if p and not p.startswith(sys.base_prefix + os.sep))


def account(user: str) -> dict[str, object]:
    """Arguments of `subprocess` for a child that is `user` and nothing more."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": [], "cwd": "/"}


@functools.cache
def python_for(user: str) -> str:
    """An interpreter of our version that `user` can run and that can import what we test."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        with contextlib.suppress(OSError):
            tried = subprocess.run(
                [python, "-c", "import nocall.cli"],
                check=False,
                env={"PYTHONPATH": IMPORTS, "PYTHONDONTWRITEBYTECODE": "1"},
                stderr=subprocess.DEVNULL,
                **account(user),
            )
            if tried.returncode == 0:
                return python
    pytest.skip(f"no interpreter here that {user} can run and import nocall with")
