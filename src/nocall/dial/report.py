"""A dialer's report of one attempt, and what follows from it for the list."""

from nocall import call, dnc
from nocall.call import AttemptReport, FoundAttempt
from nocall.store import Transaction


async def report(tx: Transaction, attempt: AttemptReport) -> FoundAttempt:
    """Keep the attempt; a record that came from it gets a recording or transcript that came late.

    Raises what `call.record_attempt` raises.
    """
    found = await call.record_attempt(tx, attempt)
    await dnc.attach_evidence(tx, found)
    return found
