"""The database: embedded or yours, its schema, its pool, and the transaction everything runs in."""

from nocall.store.fitness import inspect_database
from nocall.store.migrate import applied_version, erase_ledger, migrate, newest_version
from nocall.store.pipeline import Pipeline, Rows
from nocall.store.transaction import Clock, Database, Row, Transaction, utc_now

__all__ = [
    "Clock",
    "Database",
    "Pipeline",
    "Row",
    "Rows",
    "Transaction",
    "applied_version",
    "erase_ledger",
    "inspect_database",
    "migrate",
    "newest_version",
    "utc_now",
]
