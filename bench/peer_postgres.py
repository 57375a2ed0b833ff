"""The physical yardstick of add and delete: one row inserted and committed, and one fdatasync."""

import os
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg

from load import CORE
from machine import pin_self

# A schema beside the product's, gone when the measurement is.
_SCHEMA = "bench_yardstick"
_TABLE = f"{_SCHEMA}.line"


@dataclass(frozen=True)
class Durable:
    """Operations a second back to back, and their latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float


def insert_and_commit(database_url: str, seconds: float) -> Durable:
    """One row of an id, a number and a short text at a time, each in its own transaction.

    `database_url` is a login that may create a schema.
    """
    pin_self(CORE)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = on")
        connection.execute(f"drop schema if exists {_SCHEMA} cascade")
        connection.execute(f"create schema {_SCHEMA}")
        connection.execute(
            f"create table {_TABLE} (id bigint primary key, number bigint, note text)"
        )
        latencies = array("d")
        end = time.perf_counter() + seconds
        before = time.perf_counter()
        try:
            while before < end:
                connection.execute(
                    f"insert into {_TABLE} values (%s, %s, %s)",
                    (len(latencies), 12_125_550_123, "customer_request"),
                )
                after = time.perf_counter()
                latencies.append(after - before)
                before = after
        finally:
            connection.execute(f"drop schema {_SCHEMA} cascade")
    return _durable(latencies)


def append_and_sync(folder: Path, seconds: float) -> Durable:
    """64 bytes appended to a growing file and made durable: what no commit can beat."""
    pin_self(CORE)
    path = folder / "append"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    sync = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have no fdatasync.
    latencies = array("d")
    end = time.perf_counter() + seconds
    try:
        before = time.perf_counter()
        while before < end:
            os.write(descriptor, bytes(64))
            sync(descriptor)
            after = time.perf_counter()
            latencies.append(after - before)
            before = after
    finally:
        os.close(descriptor)
        path.unlink()
    return _durable(latencies)


def _durable(latencies: "array[float]") -> Durable:
    milliseconds = np.frombuffer(latencies) * 1000
    p50, p99 = np.percentile(milliseconds, (50, 99))
    return Durable(len(latencies) / (float(milliseconds.sum()) / 1000), float(p50), float(p99))
