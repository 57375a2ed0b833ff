"""Batches of calls and the attempts that were made: create, add, find, record."""

from nocall.call.attempt import (
    AttemptReport,
    FoundAttempt,
    check_request_uuid,
    find_attempt,
    purge_evidence,
    record_attempt,
)
from nocall.call.batch import (
    BatchPage,
    BatchPlan,
    add_calls,
    batch_page,
    check_batch_id,
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
    "check_batch_id",
    "check_request_uuid",
    "create_batch",
    "export_documents",
    "find_attempt",
    "find_batch",
    "purge",
    "purge_evidence",
    "record_attempt",
]
