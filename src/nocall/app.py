"""The parts put together: a database made ready, the service on a port, the work behind it."""

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import uvicorn

from nocall.api import Runtime, build_application
from nocall.api.edge import request_id
from nocall.api.metrics import Metrics
from nocall.config import Settings
from nocall.errors import DatabaseRefused, StartRefused
from nocall.gate import Checker
from nocall.store import Database, inspect_database, migrate
from nocall.store.embedded import Embedded, open_embedded
from nocall.worker import Worker

_LOG = logging.getLogger(__name__)
_WATCH_SECONDS = 5.0
_GRACE_SECONDS = 10
_DOOR_POOL = 3
_WORKER_POOL = 5
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({})))


@dataclass(frozen=True, slots=True)
class Ready:
    """A database that was found fit, with the logins to it."""

    app_url: str
    owner_url: str | None
    embedded: Embedded | None


@contextmanager
def ready_database(settings: Settings, *, bring_up: bool) -> Iterator[Ready]:
    """The database the settings name, fit for use; the embedded one is started where it must be.

    With `bring_up` it is migrated where the owner's login is known; without, only where it is
    behind. Raises `StartRefused` in one sentence, `DatabaseUnavailable`.
    """
    embedded = None if settings.database_url else open_embedded(settings.data)
    try:
        if embedded is not None:
            ready = Ready(embedded.app_url, embedded.owner_url, embedded)
        else:
            ready = Ready(settings.database_url or "", settings.database_owner_url, None)
        if bring_up and ready.owner_url:
            migrate(ready.owner_url, ready.app_url)
        try:
            instance_id = inspect_database(ready.app_url)
        except DatabaseRefused:
            if bring_up or not ready.owner_url:
                raise
            migrate(ready.owner_url, ready.app_url)
            instance_id = inspect_database(ready.app_url)
        _match_data_folder(settings, instance_id)
        yield ready
    finally:
        if embedded is not None:
            embedded.close()


def _match_data_folder(settings: Settings, instance_id: str) -> None:
    """A data folder belongs to one database: files of another must not be taken for its own."""
    path = settings.data / "id"
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(instance_id + "\n", "ascii")
        kept = path.read_text("ascii").strip()
    except OSError as error:
        raise StartRefused(
            f"the data folder {settings.data} cannot be used: {error.strerror}"
        ) from None
    if kept != instance_id:
        raise DatabaseRefused(
            f"the data folder {settings.data} belongs to database {kept}, "
            f"this is database {instance_id}"
        )


@asynccontextmanager
async def open_database(
    settings: Settings, ready: Ready, pool_size: int | None = None
) -> AsyncIterator[Database]:
    database = Database(ready.app_url, pool_size or settings.pool_size)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def bind(settings: Settings) -> socket.socket:
    """The listening socket, taken before anything is started. Raises `StartRefused`."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        code = getattr(error, "errno", None)
        why = "is in use" if code == errno.EADDRINUSE else f"cannot be used: {error}"
        raise StartRefused(f"port {settings.port} on {settings.host} {why}") from None
    return listener


async def serve(
    settings: Settings, ready: Ready, listener: socket.socket, announce: Callable[[str], None]
) -> None:
    """Answer requests until told to stop by SIGINT or SIGTERM; `announce` gets the URL."""
    # Tokens are asked about, and mails sent, over connections of their own: requests that wait for
    # each other must not keep others at the door, nor a mail server that hangs keep out requests.
    async with (
        open_database(settings, ready) as database,
        open_database(settings, ready, _DOOR_POOL) as door,
        open_database(settings, ready, _WORKER_POOL) as behind,
    ):
        worker = Worker(settings, behind)
        async with worker.app.open_async():
            checker = Checker(database)
            runtime = Runtime(settings, database, door, checker, Metrics(), worker.wake)
            # What is here now stays; the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 50)
            server = _Server(_uvicorn_config(settings, runtime), lambda: announce(_url(listener)))
            background: list[asyncio.Task[None]] = []
            if settings.worker:
                background.append(asyncio.create_task(worker.run()))
            if ready.embedded is not None:
                background.append(asyncio.create_task(_watch(ready.embedded)))
            try:
                with _stop_on_signals(server):
                    await server.serve(sockets=[listener])
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await checker.close()


async def work(settings: Settings, ready: Ready, announce: Callable[[], None]) -> None:
    """Do the background work until told to stop; `announce` is called when it begins."""
    async with open_database(settings, ready) as database:
        worker = Worker(settings, database)
        async with worker.app.open_async():
            task = asyncio.create_task(worker.run())
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, task.cancel)
            announce()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class _Server(uvicorn.Server):
    """uvicorn raises a signal again after it stopped, before the rest is put away: not here."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn_config(settings: Settings, runtime: Runtime) -> uvicorn.Config:
    return uvicorn.Config(
        build_application(runtime),
        loop="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


@contextmanager
def _stop_on_signals(server: uvicorn.Server) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        # Asked twice, it does not wait for requests that are under way.
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


async def _watch(embedded: Embedded) -> None:
    """Start the embedded server again where it died. A server that was stopped on purpose has two
    rounds to be started by whoever stopped it.
    """
    down_count = 0
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        try:
            if await asyncio.to_thread(embedded.is_running):
                down_count = 0
                continue
            down_count += 1
            if down_count > 1 and await asyncio.to_thread(embedded.ensure_running):
                _LOG.warning("the embedded database was down and has been started again")
        except StartRefused as error:
            _LOG.error("the embedded database does not start", extra={"why": str(error)})


_NUMBER = re.compile(r"(?<![0-9a-zA-Z])\+?[0-9]{7,15}(?![0-9a-zA-Z])")


class _JsonLines(logging.Formatter):
    """A log line is a JSON object: instant, level, what, the request it belongs to, and extras.

    A driver's error may quote a row, so what looks like a telephone number is blotted out.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "what": _NUMBER.sub("(number)", record.getMessage()),
        }
        if identity := request_id.get():
            line["request"] = identity
        line.update(
            (name, value) for name, value in vars(record).items() if name not in _STANDARD_FIELDS
        )
        if record.exc_info:
            line["trace"] = _NUMBER.sub("(number)", self.formatException(record.exc_info))
        if "why" in line:
            line["why"] = _NUMBER.sub("(number)", str(line["why"]))
        return json.dumps(line, default=str)


def log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in ("procrastinate", "psycopg.pool", "uvicorn.error", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


def run(main: Callable[[], object]) -> None:
    """Run a coroutine function on the fastest loop there is."""
    if os.name == "posix":
        import uvloop  # noqa: PLC0415 - not to be had on Windows

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    else:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())  # type: ignore[arg-type]  # main is a coroutine function
