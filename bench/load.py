"""The load generator: HTTP/1.1 keep-alive over asyncio protocols, the same for every system.

A closed loop sends a connection's next request when its answer arrives and measures what the
server can do. An open loop sends at a fixed rate whatever the server does and measures each answer
from the instant its request was due, so that a stall is charged to every request it delayed.
"""

import asyncio
import gc
import itertools
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from machine import pin_self

try:
    from uvloop import new_event_loop
except ImportError:  # uvloop has no Windows build.
    from asyncio import new_event_loop

CORE = 1
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Load:
    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float
    rate: float | None = None
    """Requests a second of an open loop, each sent once; None is a closed loop, going round."""
    warm_up_seconds: float = 0.5
    """Closed loop only: answers of this first while are not counted."""
    keep_bodies: bool = False


@dataclass(frozen=True)
class Outcome:
    """Latencies in milliseconds; `errors` are answers other than 2xx, or none at all."""

    per_second: float
    p50: float
    p99: float
    worst: float
    errors: int
    statuses: dict[str, int]
    bodies: list[bytes] = field(default_factory=list)

    @property
    def trouble(self) -> str:
        """The errors and their statuses; nothing if all was answered, and answered well."""
        if self.statuses and not self.errors:
            return ""
        bad = sorted(status for status in self.statuses if not status.startswith("2"))
        return f"{self.errors} errors ({', '.join(bad) or 'no answer'})"


def run_load(load: Load) -> Outcome:
    """Run `load` to its end in this process, on its own core where the machine has two."""
    pin_self(CORE)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            run = _Open(load) if load.rate else _Closed(load)
            return runner.run(run.measure())
    finally:
        gc.enable()
        gc.unfreeze()


class _Connection(asyncio.Protocol):
    """One request at a time; reads just enough of the answer to know its status and its end."""

    def __init__(self, answered: Callable[["_Connection"], None], *, keep_bodies: bool) -> None:
        self._answered = answered
        self._keep_bodies = keep_bodies
        self._transport: Any = None
        self._parts: list[bytes] = []
        self._received = 0
        self._length = 0
        self.due = 0.0
        self.status = b""
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        if self._transport is None:
            asyncio.get_running_loop().call_soon(self._fail)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self._length:
            if self._parts:
                data = self._parts.pop() + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._parts.append(data)
                return
            self.status = data[9:12]
            self._length = end + 4 + _content_length(data[:end])
            self._received = 0
        self._received += len(data)
        if self._keep_bodies:
            self._parts.append(data)
        if self._received < self._length:
            return
        self._length = 0
        if self._keep_bodies:
            self.body = b"".join(self._parts).partition(b"\r\n\r\n")[2]
            self._parts.clear()
        self._answered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self.due:
            self._fail()

    def _fail(self) -> None:
        self._parts.clear()
        self._length = 0
        self.status, self.body = b"lost", b""
        self._answered(self)


def _content_length(head: bytes) -> int:
    start = head.find(b"content-length: ")
    if start < 0:
        # Header names may be written in any case; both servers here write lower case.
        start = head.lower().find(b"content-length: ")
        if start < 0:
            return 0
    end = head.find(b"\r\n", start)
    return int(head[start + 16 : end if end > 0 else len(head)])


class _Run:
    """What both loops share: the connections, the latencies and the count of statuses."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.latencies = array("d")
        self.statuses: Counter[bytes] = Counter()
        self.bodies: list[bytes] = []
        self.done = asyncio.Event()

    async def connect(self, answered: Callable[[_Connection], None]) -> list[_Connection]:
        loop = asyncio.get_running_loop()
        connections = []
        for _ in range(self.load.connections):
            _, connection = await loop.create_connection(
                lambda: _Connection(answered, keep_bodies=self.load.keep_bodies),
                "127.0.0.1",
                self.load.port,
            )
            connections.append(connection)
        return connections

    def outcome(self, completed: int, seconds: float, unanswered: int) -> Outcome:
        latencies = np.frombuffer(self.latencies) * 1000 if self.latencies else np.zeros(1)
        p50, p99 = np.percentile(latencies, (50, 99))
        statuses = {status.decode("latin-1"): count for status, count in self.statuses.items()}
        failed = sum(count for status, count in statuses.items() if not status.startswith("2"))
        return Outcome(
            per_second=completed / seconds,
            p50=float(p50),
            p99=float(p99),
            worst=float(latencies.max()),
            errors=failed + unanswered,
            statuses=statuses,
            bodies=self.bodies,
        )


class _Closed(_Run):
    """Counts what completes inside the window; times all that was sent inside it."""

    async def measure(self) -> Outcome:
        connections = await self.connect(self.answered)
        self.next_request = itertools.cycle(self.load.requests).__next__
        self.completed = 0
        self.busy = len(connections)
        self.start = time.perf_counter() + self.load.warm_up_seconds
        self.end = self.start + self.load.seconds
        for connection in connections:
            connection.send(self.next_request(), time.perf_counter())
        try:
            async with asyncio.timeout(
                self.load.warm_up_seconds + self.load.seconds + _GRACE_SECONDS
            ):
                await self.done.wait()
        except TimeoutError:
            # What never came is counted below, as errors.
            self.statuses[b"none"] = self.busy
        return self.outcome(self.completed, self.load.seconds, unanswered=0)

    def answered(self, connection: _Connection) -> None:
        now = time.perf_counter()
        sent = connection.due
        if sent >= self.start:
            self.latencies.append(now - sent)
            self.statuses[connection.status] += 1
            if self.load.keep_bodies:
                self.bodies.append(connection.body)
        if self.start <= now < self.end:
            self.completed += 1
        lost = connection.status == b"lost"
        if lost and sent < self.start:
            self.statuses[b"lost"] += 1
        if now < self.end and not lost:
            connection.send(self.next_request(), now)
            return
        connection.due = 0.0
        self.busy -= 1
        if not self.busy:
            self.done.set()


class _Open(_Run):
    """Each request has its due instant; with every connection busy it waits, on the clock."""

    async def measure(self) -> Outcome:
        self.idle = deque(await self.connect(self.answered))
        self.waiting: deque[tuple[bytes, float]] = deque()
        rate = self.load.rate or 1.0
        self.expected = min(int(rate * self.load.seconds), len(self.load.requests))
        loop = asyncio.get_running_loop()
        start = time.perf_counter() + 0.05
        pacer = threading.Thread(target=self._pace, args=(loop, start, rate), daemon=True)
        pacer.start()
        try:
            async with asyncio.timeout(self.expected / rate + _GRACE_SECONDS):
                await self.done.wait()
        except TimeoutError:
            pass  # What never came is counted below, as errors.
        seconds = time.perf_counter() - start
        pacer.join()
        answered = self.statuses.total()
        return self.outcome(answered, seconds, unanswered=self.expected - answered)

    def _pace(self, loop: asyncio.AbstractEventLoop, start: float, rate: float) -> None:
        """Runs in a thread: its sleep is exact to some 0.1 ms, a timer of the loop to 1 ms."""
        for index, request in enumerate(self.load.requests[: self.expected]):
            due = start + index / rate
            ahead = due - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            loop.call_soon_threadsafe(self._fire, request, due)

    def _fire(self, request: bytes, due: float) -> None:
        if self.idle:
            self.idle.popleft().send(request, due)
        else:
            self.waiting.append((request, due))

    def answered(self, connection: _Connection) -> None:
        self.latencies.append(time.perf_counter() - connection.due)
        self.statuses[connection.status] += 1
        if self.load.keep_bodies:
            self.bodies.append(connection.body)
        connection.due = 0.0
        if self.statuses.total() == self.expected:
            self.done.set()
        if connection.status == b"lost":
            return
        if self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.idle.append(connection)
