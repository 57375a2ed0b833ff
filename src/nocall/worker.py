"""Background work through Procrastinate, in the serving process or in `nocall worker`.

Jobs carry ids only and may run twice: what is to be done is read from the database.
"""

import asyncio
import logging

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Status

from nocall import follow, org
from nocall.config import Settings
from nocall.errors import NocallError
from nocall.model import Actor
from nocall.store import Database

_LOG = logging.getLogger(__name__)
_OPTIONS = "-c search_path=procrastinate,pg_temp -c timezone=UTC"
_WAKE_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 300
_RESTART_SECONDS = 2.0
_STALLED_SECONDS = 60
_POOL_WAIT_SECONDS = 3.0


class Worker:
    """The tasks of this process and the connection they come over."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._woken: set[str] = set()
        self._waking: set[asyncio.Task[None]] = set()
        self.app = App(
            connector=PsycopgConnector(
                conninfo=database.url,
                min_size=1,
                max_size=6,
                timeout=_POOL_WAIT_SECONDS,
                kwargs={"options": _OPTIONS},
            )
        )
        self._mail = self.app.task(name="mail")(self._mail_job)
        sweep = self.app.task(name="sweep", queueing_lock="sweep")(self._sweep_job)
        self.app.periodic(cron="* * * * *")(sweep)

    def wake(self, org_id: str) -> None:
        """Have the followers of the organization go on, soon; asked often, once a second.

        Only a hint: what is forgotten here, the sweep of every minute finds in the ledger.
        """
        if org_id in self._woken:
            return
        self._woken.add(org_id)
        task = asyncio.get_running_loop().create_task(self._wake_later(org_id))
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def run(self) -> None:
        """Work until cancelled; start over when the database comes back."""
        while True:
            try:
                # What was committed just before the last stop need not wait for the sweep.
                await self._defer_behind()
                await self.app.run_worker_async(
                    concurrency=4,
                    install_signal_handlers=False,
                    delete_jobs="successful",
                    shutdown_graceful_timeout=5,
                )
            except asyncio.CancelledError:
                raise
            except Exception as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # Told to stop while the database is away, it cannot sign off there and fails
                    # with that; the cancellation it was told with would be lost.
                    raise asyncio.CancelledError from error
                _LOG.warning("worker begins again", extra={"why": str(error)})
            await asyncio.sleep(_RESTART_SECONDS)

    async def _wake_later(self, org_id: str) -> None:
        await asyncio.sleep(_WAKE_SECONDS)
        self._woken.discard(org_id)
        await self._defer_mail(org_id)

    async def _defer_mail(self, org_id: str, attempt: int = 0, wait_seconds: int = 0) -> None:
        lock = f"mail:{org_id}"
        try:
            await self._mail.configure(
                lock=lock,
                queueing_lock=lock,
                schedule_in={"seconds": wait_seconds} if wait_seconds else None,
            ).defer_async(org_id=org_id, attempt=attempt)
        except AlreadyEnqueued:
            pass
        except ConnectorException as error:
            _LOG.warning("mail not queued, the sweep will", extra={"why": str(error)})

    async def _defer_behind(self) -> None:
        async with self._database.transaction(_system("")) as tx:
            behind = await follow.behind(tx)
        for org_id in behind:
            await self._defer_mail(org_id)

    async def _mail_job(self, org_id: str, attempt: int = 0) -> None:
        """Tried again after 2, 4, 8 … seconds, at most five minutes, for ever: an opt-out's mail is
        not given up.

        The next try is a job of its own. Procrastinate's retry of this one would fail where another
        was queued meanwhile, and the job, never finished, would hold its lock against all others.
        """
        try:
            await self._mail_all(org_id)
        except Exception as error:  # noqa: BLE001 - whatever it was, it may be over the next time
            wait = min(2 ** (attempt + 1), _LONGEST_WAIT_SECONDS)
            _LOG.warning(
                "mail not sent, will be tried again",
                extra={"org": org_id, "attempt": attempt + 1, "why": str(error)},
            )
            # Past the longest wait the count has nothing more to say, and would grow for ever.
            await self._defer_mail(org_id, min(attempt + 1, _LONGEST_WAIT_SECONDS), wait)

    async def _mail_all(self, org_id: str) -> None:
        actor = _system(org_id)
        async with follow.open_outbox(self._settings) as outbox:
            more = True
            while more:
                async with self._database.transaction(actor) as tx:
                    more = await follow.deliver_next(tx, outbox, self._settings.mail_from)

    async def _sweep_job(self, timestamp: int) -> None:
        """Find what a crash left behind, and drop what is past its time."""
        del timestamp
        await self._drop_stalled_jobs()
        await self._defer_behind()
        async with self._database.transaction(_system("")) as tx:
            org_ids = [organization.id for organization in await org.every(tx)]
        for org_id in org_ids:
            try:
                async with self._database.transaction(_system(org_id)) as tx:
                    await org.forget_expired_keys(tx)
            except NocallError as error:
                _LOG.warning("sweep left one out", extra={"org": org_id, "why": str(error)})

    async def _drop_stalled_jobs(self) -> None:
        """A job whose process is gone holds its lock against all that come after it.

        It is not tried again: what it was to do is found in the ledger, and another may be queued.
        """
        manager = self.app.job_manager
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED_SECONDS):
            await manager.finish_job(job, Status.FAILED, delete_job=True)


def _system(org_id: str) -> Actor:
    return Actor("system", "worker", "worker", org_id)
