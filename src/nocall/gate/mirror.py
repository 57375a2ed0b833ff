"""The numbers of an organization's list in this process's memory, for checks of many numbers.

A mirror may answer only at the exact seq that a statement, sent after the request arrived, read
from the database: each check first brings it forward by the ledger's items since, in that same
statement. It says which numbers are listed; the reasons come from the database.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nocall.errors import NocallError
from nocall.model import Actor, Kind
from nocall.store import Database, Rows

_LOG = logging.getLogger(__name__)
_NUMBERS_KEPT = 40_000_000
"""At eight bytes each; the mirrors least used go first."""
_OVERLAY_KEPT = 20_000

FORWARD = (
    "select h.seq, s.enforcement, (extract(epoch from clock_timestamp()) * 1000)::bigint, "
    "c.seq, c.kind, c.number from ledger_head h join dnc_state s on s.org_id = h.org_id "
    "left join lateral (select e.seq, e.kind, i.number from ledger_entry e "
    "left join ledger_item i on i.org_id = e.org_id and i.seq = e.seq "
    "where e.org_id = h.org_id and e.seq > $2::bigint order by e.seq "
    f"limit {_OVERLAY_KEPT + 1}) c on true where h.org_id = $1::text order by c.seq"
)

_NUMBERS = "select array_agg(number order by number) from dnc_record where org_id = %(org_id)s"
_ARRAY_HEADER_BYTES = 20
"""Of PostgreSQL's binary form of an array with one dimension; then each element with its length."""
_ELEMENT = np.dtype([("length", ">i4"), ("number", ">i8")])


class Mirror:
    """The listed numbers at `seq`: a sorted column, and what was added and freed since."""

    def __init__(self, seq: int, numbers: npt.NDArray[np.int64]) -> None:
        self.seq = seq
        self._sorted = numbers
        self._added: set[int] = set()
        self._freed: set[int] = set()

    @property
    def number_count(self) -> int:
        return len(self._sorted) + len(self._added)

    @property
    def is_worn(self) -> bool:
        """So much has changed that a fresh copy costs less than carrying the changes on."""
        return len(self._added) + len(self._freed) > _OVERLAY_KEPT

    def bring_forward(self, rows: Rows) -> bool:
        """Apply the answer to `FORWARD`. False where the mirror is not at exactly its seq then.

        An answer that was cut off at its limit is not applied: it may end inside an entry.
        """
        if not rows or len(rows) > _OVERLAY_KEPT:
            return False
        expected = int(rows[0][0] or 0)
        for row in rows:
            if row[3] is None or row[4] is None:
                continue
            seq = int(row[3])
            if seq < self.seq:
                continue
            kind = row[4].decode()
            if row[5] is not None and kind == Kind.ADD:
                self._added.add(int(row[5]))
                self._freed.discard(int(row[5]))
            elif row[5] is not None and kind == Kind.DELETE:
                self._freed.add(int(row[5]))
                self._added.discard(int(row[5]))
            self.seq = seq
        return self.seq == expected

    def listed_among(self, numbers: Sequence[int]) -> list[int]:
        if not numbers:
            return []
        asked = np.sort(np.array(numbers, dtype=np.int64))
        found: set[int] = set()
        if len(self._sorted):
            places = np.searchsorted(self._sorted, asked)
            places[places == len(self._sorted)] = 0
            found = set(asked[self._sorted[places] == asked].tolist())
        if self._freed:
            found -= self._freed
        if self._added:
            found |= self._added.intersection(numbers)
        return list(found)


class Mirrors:
    """The mirrors of this process, made in the background when an organization asks in bulk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mirrors: OrderedDict[str, Mirror] = OrderedDict()
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Semaphore(1)

    def get(self, actor: Actor) -> Mirror | None:
        """The organization's mirror, or None while it is being made."""
        mirror = self._mirrors.get(actor.org_id)
        if mirror is None or mirror.is_worn:
            if actor.org_id not in self._loading:
                task = asyncio.get_running_loop().create_task(self._load(actor))
                self._loading[actor.org_id] = task
                task.add_done_callback(lambda _: self._loading.pop(actor.org_id, None))
            return mirror
        self._mirrors.move_to_end(actor.org_id)
        return mirror

    def forget(self, actor: Actor) -> None:
        """Make it anew at the next bulk check: it fell too far behind, or could not be told."""
        self._mirrors.pop(actor.org_id, None)

    async def close(self) -> None:
        tasks = list(self._loading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, actor: Actor) -> None:
        async with self._one_at_a_time:
            try:
                self._mirrors[actor.org_id] = await self._copy(actor)
            except NocallError as error:
                # Checks go on without a mirror, by the database alone.
                _LOG.warning("mirror not made", extra={"org": actor.org_id, "why": str(error)})
                return
        while len(self._mirrors) > 1 and self._kept_count() > _NUMBERS_KEPT:
            self._mirrors.popitem(last=False)

    def _kept_count(self) -> int:
        return sum(mirror.number_count for mirror in self._mirrors.values())

    async def _copy(self, actor: Actor) -> Mirror:
        async with self._database.snapshot(actor) as tx:
            head = await tx.only("select seq from ledger_head where org_id = %(org_id)s")
            # The one value is taken as the bytes that came: a million Python integers, or a
            # million turns of the event loop for a COPY, would hold up everybody's checks.
            data = await tx.binary_value(_NUMBERS)
        elements = np.frombuffer(data or b"", dtype=np.uint8)[_ARRAY_HEADER_BYTES:]
        return Mirror(head.seq, elements.view(_ELEMENT)["number"].astype(np.int64))
