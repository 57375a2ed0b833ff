"""One transaction of one organization, and the pool it comes from."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, LiteralString
from weakref import WeakValueDictionary

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import namedtuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from nocall.errors import DatabaseUnavailable
from nocall.model import Actor

Row = Any
"""A named tuple whose fields are the statement's columns."""
Clock = Callable[[], datetime]

# Named last, a temporary table cannot stand in for one of ours: unnamed it is looked up first.
SESSION_OPTIONS = (
    "-c search_path=nocall,pg_temp -c synchronous_commit=on -c timezone=UTC -c jit=off "
    "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=120s"
)
_POOL_WAIT_SECONDS = 3.0
_RECONNECT_SECONDS = 5.0


def utc_now() -> datetime:
    """The clock of this process, in UTC, cut to milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Transaction:
    """Statements of one organization on one connection; committed by whoever opened it.

    Every statement gets the parameter `org_id` without being asked.
    """

    def __init__(self, connection: AsyncConnection[Row], actor: Actor, now: datetime) -> None:
        self.connection = connection
        self.actor = actor
        self.org_id = actor.org_id
        self.now = now

    async def one(self, statement: LiteralString, **params: object) -> Row | None:
        cursor = await self.connection.execute(statement, {"org_id": self.org_id, **params})
        return await cursor.fetchone()

    async def only(self, statement: LiteralString, **params: object) -> Row:
        """The first row of a statement that always has one. Raises `LookupError` without."""
        row = await self.one(statement, **params)
        if row is None:
            raise LookupError("a row that must be there is not")
        return row

    async def binary_value(self, statement: LiteralString, **params: object) -> bytes | None:
        """The first value of a statement in PostgreSQL's binary form."""
        cursor = await self.connection.execute(
            statement, {"org_id": self.org_id, **params}, binary=True
        )
        result = cursor.pgresult
        return None if result is None or not result.ntuples else result.get_value(0, 0)

    async def all(self, statement: LiteralString, **params: object) -> list[Row]:
        cursor = await self.connection.execute(statement, {"org_id": self.org_id, **params})
        return await cursor.fetchall()

    async def run(self, statement: LiteralString, **params: object) -> int:
        """Execute and return the number of rows touched."""
        cursor = await self.connection.execute(statement, {"org_id": self.org_id, **params})
        return cursor.rowcount

    async def allow_long(self) -> None:
        """Let the statements of this transaction take as long as they take."""
        await self.connection.execute("set local statement_timeout = 0")

    async def run_many(self, statement: LiteralString, rows: Sequence[dict[str, object]]) -> None:
        async with self.connection.cursor() as cursor:
            await cursor.executemany(statement, [{"org_id": self.org_id, **row} for row in rows])

    async def stream(
        self, statement: LiteralString, batch_count: int = 2_000, **params: object
    ) -> AsyncIterator[Row]:
        """Rows one by one from a server-side cursor, so that memory stays flat."""
        async with self.connection.cursor(name="nocall_stream") as cursor:
            cursor.itersize = batch_count
            await cursor.execute(statement, {"org_id": self.org_id, **params})
            async for row in cursor:
                yield row


class Database:
    """The pool of the application's login. The only place that commits or rolls back."""

    def __init__(self, url: str, pool_size: int, clock: Clock = utc_now) -> None:
        self.url = url
        self.clock = clock
        self._seats_per_org = max(1, pool_size * 6 // 10)
        self._seats: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._pool: AsyncConnectionPool[AsyncConnection[Row]] = AsyncConnectionPool(
            url,
            min_size=min(2, pool_size),
            max_size=pool_size,
            open=False,
            timeout=_POOL_WAIT_SECONDS,
            reconnect_timeout=_RECONNECT_SECONDS,
            kwargs={"row_factory": namedtuple_row, "options": SESSION_OPTIONS},
        )

    async def open(self) -> None:
        """Raises `DatabaseUnavailable` when no connection can be had."""
        try:
            await self._pool.open(wait=True, timeout=10)
        except PoolTimeout as error:
            raise DatabaseUnavailable(f"no connection to the database: {error}") from None

    async def close(self) -> None:
        await self._pool.close(timeout=5)

    @asynccontextmanager
    async def transaction(self, actor: Actor) -> AsyncIterator[Transaction]:
        """A transaction of `actor`'s organization: commits at the end, rolls back on any error.

        Raises `DatabaseUnavailable` when the database cannot be reached, goes away or runs out of
        something before the commit is acknowledged.
        """
        try:
            async with self._seat(actor.org_id), self._pool.connection() as connection:
                yield Transaction(connection, actor, self.clock())
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            raise DatabaseUnavailable(_sentence(error)) from error

    @asynccontextmanager
    async def _seat(self, org_id: str) -> AsyncIterator[None]:
        """Of a pool's connections one organization has six in ten at most: its transactions wait
        for each other, and others need not wait with them.
        """
        seats = self._seats.get(org_id)
        if seats is None:
            seats = self._seats[org_id] = asyncio.Semaphore(self._seats_per_org)
        try:
            async with asyncio.timeout(_POOL_WAIT_SECONDS):
                await seats.acquire()
        except TimeoutError:
            raise DatabaseUnavailable(
                "the organization's other requests hold all its connections"
            ) from None
        try:
            yield
        finally:
            seats.release()

    @asynccontextmanager
    async def snapshot(self, actor: Actor) -> AsyncIterator[Transaction]:
        """A read-only transaction in which every statement sees the same state."""
        async with self.transaction(actor) as tx:
            await tx.connection.execute(
                "set transaction isolation level repeatable read, read only"
            )
            await tx.allow_long()
            yield tx


def _sentence(error: Exception) -> str:
    if isinstance(error, PoolTimeout):
        return "no connection to the database could be had in time"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
