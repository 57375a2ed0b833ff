"""Batches of calls and the attempts that were made: create, add, find, record."""

from nocall.call.attempt import (
    AttemptReport,
    FoundAttempt,
    find_attempt,
    purge_evidence,
    record_attempt,
)
from nocall.call.batch import (
    BatchPage,
    BatchPlan,
    add_calls,
    batch_page,
    create_batch,
    export_documents,
    find_batch,
    purge,
)

__all__ = [
    "AttemptReport",
    "BatchPage",
    "BatchPlan",
    "FoundAttempt",
    "add_calls",
    "batch_page",
    "create_batch",
    "export_documents",
    "find_attempt",
    "find_batch",
    "purge",
    "purge_evidence",
    "record_attempt",
]
