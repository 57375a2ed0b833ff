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

    Every statement stands between syncs of its own, so each is its own transaction and sees all
    that was committed before it was sent.
    """

    def __init__(self, url: str, statements: Mapping[str, str]) -> None:
        self._url = url
        self._statements = statements
        self._connection: psycopg.AsyncConnection | None = None
        self._socket = -1
        self._opening: asyncio.Lock = asyncio.Lock()
        self._waiting: deque[asyncio.Future[Rows]] = deque()
        self._rows: Rows | None = None
        self._error: str | None = None

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    async def run(self, name: str, params: Sequence[bytes | None]) -> Rows:
        """Send the prepared statement now and wait for its rows.

        Raises `DatabaseUnavailable`, also where the statement itself fails.
        """
        if self._connection is None:
            await self._open()
        return await self._send(name, params)

    def close(self) -> None:
        self._fail("closed")

    def _send(self, name: str, params: Sequence[bytes | None]) -> asyncio.Future[Rows]:
        future: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        connection = self._connection
        if connection is None:
            future.set_exception(DatabaseUnavailable("the connection was lost"))
            return future
        pgconn = connection.pgconn
        try:
            pgconn.send_query_prepared(name.encode(), params)
            pgconn.pipeline_sync()
        except psycopg.Error as error:
            future.set_exception(DatabaseUnavailable(str(error)))
            return future
        self._waiting.append(future)
        self._flush()
        return future

    async def _open(self) -> None:
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
        if pending:
            loop.add_writer(self._socket, self._flush)
        else:
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
        if result is None:
            return
        status = result.status
        if status == pq.ExecStatus.TUPLES_OK:
            columns = range(result.nfields)
            value = result.get_value
            self._rows = [
                [value(row, column) for column in columns] for row in range(result.ntuples)
            ]
        elif status == pq.ExecStatus.PIPELINE_SYNC:
            future = self._waiting.popleft()
            if not future.done():
                if self._rows is not None:
                    future.set_result(self._rows)
                else:
                    future.set_exception(DatabaseUnavailable(self._error or "no answer"))
            self._rows, self._error = None, None
        elif status == pq.ExecStatus.FATAL_ERROR:
            self._error = result.error_message.decode(errors="replace").strip()

    def _fail(self, reason: str) -> None:
        """Everything under way has no answer; nothing was decided."""
        connection, self._connection = self._connection, None
        self._rows, self._error = None, None
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                line = (reason.strip().splitlines() or ["no reason given"])[0]
                future.set_exception(DatabaseUnavailable(f"the database went away: {line}"))
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            connection.pgconn.finish()
