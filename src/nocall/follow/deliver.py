"""Following the ledger with a cursor: a mail is sent, then the cursor moves, in one transaction."""

import asyncio

from nocall import ledger, org
from nocall.errors import OrganizationNotFound
from nocall.follow.compose import MAILED_KINDS, compose
from nocall.follow.outbox import Outbox
from nocall.store import Transaction

_FOLLOWER = "mail"
_PACE_SECONDS = 0.05


async def deliver_next(tx: Transaction, outbox: Outbox, sender: str) -> bool:
    """Send the mails of the next entries that have one, and move past them.

    The cursor's row stays locked while the mail is on its way, so no two processes send the same.
    The mail goes out before the commit: it can be lost by nobody, and repeated only by a process
    that dies between the server's answer and the commit; then with the same Message-ID. Returns
    whether there may be more to do.
    """
    try:
        organization = await org.get(tx)
    except OrganizationNotFound:
        # Purged with mails still to go; there is nobody left to send them to.
        return False
    cursor = await tx.one(
        "select seq from follower_cursor where org_id = %(org_id)s "
        "and follower = %(follower)s for update skip locked",
        follower=_FOLLOWER,
    )
    if cursor is None:
        # Either another process has it, or there is none yet. A new one is committed before any
        # mail goes out: nobody can skip a row that is not committed, others would have to wait.
        inserted_count = await tx.run(
            "insert into follower_cursor (org_id, follower, seq) "
            "values (%(org_id)s, %(follower)s, 0) on conflict do nothing",
            follower=_FOLLOWER,
        )
        return inserted_count > 0
    head = await ledger.head(tx)
    mailed = await ledger.entries(
        tx, after=cursor.seq, limit=outbox.mails_per_commit, kinds=MAILED_KINDS
    )
    for entry in mailed:
        await outbox.send(compose(organization, entry, sender), f"{entry.org_id}-{entry.seq:012d}")
        # A mail costs two milliseconds to compose. A burst of adds goes before their mails.
        await asyncio.sleep(_PACE_SECONDS)
    await outbox.settle()
    await tx.run(
        "update follower_cursor set seq = %(seq)s "
        "where org_id = %(org_id)s and follower = %(follower)s",
        follower=_FOLLOWER,
        seq=mailed[-1].seq if mailed else head.seq,
    )
    return bool(mailed)


async def behind(tx: Transaction) -> list[str]:
    """The organizations whose ledger the mail follower has not passed to its head."""
    rows = await tx.all(
        "select h.org_id from ledger_head h join org o on o.org_id = h.org_id "
        "left join follower_cursor c on c.org_id = h.org_id and c.follower = %(follower)s "
        "where o.purged_at is null and h.seq > coalesce(c.seq, 0)",
        follower=_FOLLOWER,
    )
    return [row.org_id for row in rows]


async def waiting_count(tx: Transaction) -> int:
    """Entries of all organizations that the mail follower has not passed yet."""
    row = await tx.only(
        "select coalesce(sum(h.seq - coalesce(c.seq, 0)), 0)::bigint as waiting "
        "from ledger_head h join org o on o.org_id = h.org_id "
        "left join follower_cursor c on c.org_id = h.org_id and c.follower = %(follower)s "
        "where o.purged_at is null",
        follower=_FOLLOWER,
    )
    return int(row.waiting)
