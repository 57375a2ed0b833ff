"""Which seq the ledger stood at, at a past instant."""

from conftest import Cast
from ledger.conftest import connect, transaction
from nocall import ledger
from nocall.model import Kind


async def test_no_entry_of_the_same_millisecond_comes_after_the_answer(cast: Cast, app_url: str):
    """Instants have milliseconds: what is recorded in the rest of one counts as of all of it, so
    nothing may be said of a millisecond that is not over.
    """
    async with await connect(app_url) as connection:
        tx = transaction(connection, cast.org_id)
        for _ in range(100):
            async with connection.transaction():
                clock = await tx.only("select clock_timestamp() as now")
                seq = await ledger.seq_at(tx, clock.now)
            async with connection.transaction():
                await ledger.append(tx, await ledger.lock_head(tx), Kind.EVIDENCE_ATTACHED)
            async with connection.transaction():
                assert await ledger.seq_at(tx, clock.now) == seq
