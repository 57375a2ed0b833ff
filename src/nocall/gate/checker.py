"""The hot path: checks of one process, coalesced into one statement per organization.

A request joins a statement that is still to be sent, never one already sent, so every answer is
at least as new as the request: a check that starts after an add was acknowledged sees it.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from nocall.errors import DatabaseUnavailable, OrganizationNotFound
from nocall.gate.check import read_all
from nocall.gate.mirror import FORWARD, Mirrors
from nocall.gate.rules import ListFacts, Listing, decide
from nocall.model import Actor, Verdict
from nocall.number import Readings
from nocall.store import Database, Pipeline, Rows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNDER_WAY = 2
"""Rounds of statements sent and not yet answered; while there are that many, requests gather."""
_PATIENCE_SECONDS = 5.0
_NO_ANSWER = "the database did not answer in time"
_SLICE = 25
_TURN_SECONDS = 0.004

_FACTS = (
    "select h.seq, s.enforcement, (extract(epoch from clock_timestamp()) * 1000)::bigint, "
    "r.number, r.record_id, r.type, (extract(epoch from r.created_at) * 1000)::bigint "
    "from ledger_head h join dnc_state s on s.org_id = h.org_id "
    "left join dnc_record r on r.org_id = h.org_id and r.number = any($2::bigint[]) "
    "where h.org_id = $1::text"
)


class Checker:
    """Answers checks of any organization. One for a process, on one event loop."""

    def __init__(self, database: Database) -> None:
        self._pipeline = Pipeline(database.url, {"facts": _FACTS})
        # Of its own, so that an organization far behind holds up no other's single checks.
        self._bulk_pipeline = Pipeline(database.url, {"forward": FORWARD})
        self._mirrors = Mirrors(database)
        self._gathering: dict[str, _Gathering] = {}
        self._rounds_under_way = 0
        self._flush_due = False

    async def close(self) -> None:
        await self._mirrors.close()
        self._pipeline.close()
        self._bulk_pipeline.close()

    async def check(self, actor: Actor, text: str) -> Verdict:
        """Raises `DatabaseUnavailable`; nothing is callable then."""
        (read,) = read_all((text,), actor.region)
        facts = await self._join(actor.org_id, [reading.number for reading in read.readings])
        return decide(text, read, facts)

    async def check_many(self, actor: Actor, texts: Sequence[str]) -> list[Verdict]:
        """A verdict for each text, in the order asked. Raises `DatabaseUnavailable`."""
        reads = await _read_in_slices(texts, actor.region)
        facts = await self.facts_of_many(actor, reads)
        return [decide(text, read, facts) for text, read in zip(texts, reads, strict=True)]

    async def facts_of_many(self, actor: Actor, reads: Sequence[Readings]) -> ListFacts:
        """The list as far as `reads` need it, from the organization's mirror where it has one."""
        numbers = [reading.number for read in reads for reading in read.readings]
        mirror = self._mirrors.get(actor)
        if mirror is None:
            return await self._join(actor.org_id, numbers)
        try:
            since = str(mirror.seq).encode()
            rows = await self._ask(self._bulk_pipeline, "forward", actor.org_id, since)
        except DatabaseUnavailable:
            self._mirrors.forget(actor)
            raise
        if not mirror.bring_forward(rows):
            self._mirrors.forget(actor)
            return await self._join(actor.org_id, numbers)
        hits = mirror.listed_among(numbers)
        seq, enforcement, at = _head(rows)
        if not hits or not enforcement:
            return ListFacts(seq, at, enforcement, {})
        facts = await self._join(actor.org_id, hits)
        if facts.seq == seq:
            return facts
        # The list changed between the two statements: what the mirror said is no longer one state
        # with what the records say.
        return await self._join(actor.org_id, numbers)

    def _join(self, org_id: str, numbers: list[int]) -> asyncio.Future[ListFacts]:
        gathering = self._gathering.get(org_id)
        if gathering is None:
            gathering = self._gathering[org_id] = _Gathering()
        gathering.numbers.extend(numbers)
        # A future each, so that a request whose client goes away takes no other with it.
        facts: asyncio.Future[ListFacts] = asyncio.get_running_loop().create_future()
        gathering.waiting.append(facts)
        if not self._flush_due and self._rounds_under_way < _UNDER_WAY:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        return facts

    def _flush(self) -> None:
        self._flush_due = False
        gathered, self._gathering = self._gathering, {}
        if gathered:
            self._rounds_under_way += 1
            task = asyncio.get_running_loop().create_task(self._round(gathered))
            task.add_done_callback(self._round_done)

    def _round_done(self, task: asyncio.Task[None]) -> None:
        self._rounds_under_way -= 1
        if self._gathering and not self._flush_due:
            self._flush()
        task.result()

    async def _round(self, gathered: dict[str, "_Gathering"]) -> None:
        """One statement for each organization, all in one flight."""
        pipeline = self._pipeline
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await pipeline.open()
        except (DatabaseUnavailable, TimeoutError) as error:
            for gathering in gathered.values():
                gathering.fail(DatabaseUnavailable(str(error) or _NO_ANSWER))
            return
        asked = {
            org_id: pipeline.send("facts", [org_id.encode(), _array(gathering.numbers)])
            for org_id, gathering in gathered.items()
        }
        _, unanswered = await asyncio.wait(asked.values(), timeout=_PATIENCE_SECONDS)
        if unanswered:
            # A server that hangs holds the pipeline up; the next request opens a new one.
            pipeline.close()
        for org_id, answer in asked.items():
            gathered[org_id].settle(org_id, answer)

    async def _ask(self, pipeline: Pipeline, statement: str, org_id: str, param: bytes) -> Rows:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await pipeline.run(statement, [org_id.encode(), param])
        except TimeoutError:
            # A server that hangs holds the pipeline up; the next request opens a new one.
            pipeline.close()
            raise DatabaseUnavailable(_NO_ANSWER) from None


async def _read_in_slices(texts: Sequence[str], region: str) -> list[Readings]:
    """Reading ten thousand numbers of the slow kind takes a second; others get their turn."""
    reads: list[Readings] = []
    turn_ends_at = time.perf_counter() + _TURN_SECONDS
    for first in range(0, len(texts), _SLICE):
        reads += read_all(texts[first : first + _SLICE], region)
        if time.perf_counter() > turn_ends_at:
            await asyncio.sleep(0)
            turn_ends_at = time.perf_counter() + _TURN_SECONDS
    return reads


class _Gathering:
    """Requests of one organization that the next statement answers together."""

    __slots__ = ("numbers", "waiting")

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.waiting: list[asyncio.Future[ListFacts]] = []

    def settle(self, org_id: str, answer: asyncio.Future[Rows]) -> None:
        """Give every request what the statement answered; nothing is callable where it did not."""
        error = answer.exception()
        if error is not None:
            self.fail(error)
        elif not answer.result():
            self.fail(OrganizationNotFound(f"no organization {org_id}"))
        else:
            try:
                facts = _facts(answer.result())
            except ValueError as unreadable:
                self.fail(DatabaseUnavailable(f"an answer that cannot be read: {unreadable}"))
                return
            for future in self.waiting:
                if not future.done():
                    future.set_result(facts)

    def fail(self, error: BaseException) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_exception(error)


def _array(numbers: list[int]) -> bytes:
    return b"{" + ",".join(map(str, numbers)).encode() + b"}"


def _head(rows: Rows) -> tuple[int, bool, datetime]:
    seq, enforcement, at = rows[0][:3]
    return int(seq or 0), enforcement == b"t", _instant(at)


def _facts(rows: Rows) -> ListFacts:
    seq, enforcement, at = _head(rows)
    listed = {
        int(row[3]): Listing(
            (row[4] or b"").decode(), None if row[5] is None else row[5].decode(), _instant(row[6])
        )
        for row in rows
        if row[3] is not None
    }
    return ListFacts(seq, at, enforcement, listed)


def _instant(milliseconds: bytes | None) -> datetime:
    return _EPOCH + timedelta(milliseconds=int(milliseconds or 0))
