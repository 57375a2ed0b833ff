"""What follows a commit: the organization's admin is mailed. The ledger is the outbox."""

from nocall.follow.deliver import behind, deliver_next, waiting_count
from nocall.follow.outbox import FolderOutbox, Outbox, SmtpOutbox, open_outbox

__all__ = [
    "FolderOutbox",
    "Outbox",
    "SmtpOutbox",
    "behind",
    "deliver_next",
    "open_outbox",
    "waiting_count",
]
