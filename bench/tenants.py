"""The organizations of a run and their tokens, made through the command line.

Run as a program it makes COUNT of them and prints them as JSON. Two hundred commands are run in one
interpreter, since starting each anew would take minutes. NOCALL_DATA names the data folder.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

_SCOPES = ("dnc:read", "dnc:write", "dnc:delete")


@dataclass(frozen=True)
class Tenant:
    id: str
    token: str


def create_tenants(data: Path, count: int) -> list[Tenant]:
    """Raises RuntimeError with what the command printed if one of them fails."""
    done = subprocess.run(
        [sys.executable, __file__, str(count)],
        env={**os.environ, "NOCALL_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the organizations could not be made: {done.stderr[-2000:]}")
    return [Tenant(**fields) for fields in json.loads(done.stdout.splitlines()[-1])]


def _create(name: str) -> Tenant:
    org = _nocall("org", "create", name, "--admin-email", f"admin@{name}.example", "--json")
    scopes = [word for scope in _SCOPES for word in ("--scope", scope)]
    token = _nocall("token", "create", "--org", org["id"], *scopes, "--name", "bench", "--json")
    return Tenant(org["id"], token["token"])


def _nocall(*arguments: str) -> dict[str, str]:
    """What one command prints; it ends with SystemExit, as a program does."""
    from nocall.cli import main  # noqa: PLC0415 - the parent process does not need it

    sys.argv = ["nocall", *arguments]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            main()
    except SystemExit as end:
        if end.code not in (None, 0):
            raise RuntimeError(f"nocall {' '.join(arguments)} ended with {end.code}") from None
    answer: dict[str, str] = json.loads(output.getvalue())
    return answer


def write_tenants(path: Path, tenants: Iterable[Tenant]) -> None:
    path.write_text(json.dumps([asdict(tenant) for tenant in tenants]), "utf-8")
    path.chmod(0o600)


def read_tenants(path: Path) -> list[Tenant]:
    return [Tenant(**fields) for fields in json.loads(path.read_text("utf-8"))]


if __name__ == "__main__":
    made = [_create(f"bench-{index}") for index in range(int(sys.argv[1]))]
    print(json.dumps([asdict(tenant) for tenant in made]))
