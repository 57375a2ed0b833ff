"""A connection in libpq's pipeline mode, for the small reads of the hot path.

Statements are prepared once; any number may be under way, and their rows come back as bytes in
text form. At 20,000 reads a second what a cursor object costs would be most of the time.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import pq

from nocall.errors import DatabaseUnavailable
from nocall.store.transaction import SESSION_OPTIONS

Rows = list[list[bytes | None]]
"""Every row of an answer, each value as PostgreSQL writes it in text form."""


class Pipeline:
    """One such connection. A lost one is opened anew by the next `run`; what was under way fails.

    Statements sent in one turn of the event loop share a sync. They are reads at read committed,
    so each sees all that was committed before it was sent; where one fails, those after it fail.
    """

    def __init__(self, url: str, statements: Mapping[str, str]) -> None:
        self._url = url
        self._statements = statements
        self._connection: psycopg.AsyncConnection | None = None
        self._socket = -1
        self._opening: asyncio.Lock = asyncio.Lock()
        self._waiting: deque[asyncio.Future[Rows]] = deque()
        self._sync_due = False
        self._writer_added = False

    async def run(self, name: str, params: Sequence[bytes | None]) -> Rows:
        """Send the prepared statement now and wait for its rows.

        Raises `DatabaseUnavailable`, also where the statement itself fails.
        """
        await self.open()
        return await self.send(name, params)

    def close(self) -> None:
        self._fail("closed")

    def send(self, name: str, params: Sequence[bytes | None]) -> asyncio.Future[Rows]:
        """Send the prepared statement on a pipeline that `open` has made ready."""
        future: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        connection = self._connection
        if connection is None:
            future.set_exception(DatabaseUnavailable("the connection was lost"))
            return future
        pgconn = connection.pgconn
        try:
            pgconn.send_query_prepared(name.encode(), params)
        except psycopg.Error as error:
            # The connection is gone, and nothing else would notice.
            self._fail(str(error))
            future.set_exception(DatabaseUnavailable(str(error)))
            return future
        self._waiting.append(future)
        if not self._sync_due:
            self._sync_due = True
            asyncio.get_running_loop().call_soon(self._sync)
        return future

    def _sync(self) -> None:
        self._sync_due = False
        if self._connection is None:
            return
        try:
            self._connection.pgconn.pipeline_sync()
        except psycopg.Error as error:
            self._fail(str(error))
            return
        self._flush()

    async def open(self) -> None:
        """Connect where there is no connection. Raises `DatabaseUnavailable`."""
        if self._connection is not None:
            return
        async with self._opening:
            if self._connection is not None:
                return
            try:
                connection = await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, options=SESSION_OPTIONS, connect_timeout=3
                )
                for name, statement in self._statements.items():
                    await connection.execute(f"prepare {name} as {statement}".encode())
            except psycopg.Error as error:
                line = (str(error).strip().splitlines() or ["no reason given"])[0]
                raise DatabaseUnavailable(f"cannot reach the database: {line}") from None
            connection.pgconn.nonblocking = 1
            connection.pgconn.enter_pipeline_mode()
            self._connection = connection
            self._socket = connection.pgconn.socket
            asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def _flush(self) -> None:
        connection = self._connection
        if connection is None:
            return
        loop = asyncio.get_running_loop()
        try:
            pending = connection.pgconn.flush()
        except psycopg.Error as error:
            self._fail(str(error))
            return
        if pending and not self._writer_added:
            self._writer_added = True
            loop.add_writer(self._socket, self._flush)
        elif self._writer_added and not pending:
            self._writer_added = False
            loop.remove_writer(self._socket)

    def _readable(self) -> None:
        connection = self._connection
        if connection is None:
            return
        pgconn = connection.pgconn
        try:
            pgconn.consume_input()
            while self._waiting and not pgconn.is_busy():
                self._take(pgconn.get_result())
        except psycopg.Error as error:
            self._fail(str(error))
            return
        if pgconn.status != pq.ConnStatus.OK:
            self._fail("the server closed the connection")

    def _take(self, result: pq.abc.PGresult | None) -> None:
        """One result of the oldest statement under way; None and syncs stand between statements."""
        if result is None or result.status == pq.ExecStatus.PIPELINE_SYNC:
            return
        future = self._waiting.popleft()
        if future.done():
            return
        if result.status == pq.ExecStatus.TUPLES_OK:
            value, columns = result.get_value, range(result.nfields)
            future.set_result(
                [[value(row, column) for column in columns] for row in range(result.ntuples)]
            )
        else:
            reason = result.error_message.decode(errors="replace").strip()
            future.set_exception(DatabaseUnavailable(reason or "the statement was not run"))

    def _fail(self, reason: str) -> None:
        """Everything under way has no answer; nothing was decided."""
        connection, self._connection = self._connection, None
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                line = (reason.strip().splitlines() or ["no reason given"])[0]
                future.set_exception(DatabaseUnavailable(f"the database went away: {line}"))
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            if self._writer_added:
                self._writer_added = False
                loop.remove_writer(self._socket)
            connection.pgconn.finish()
