"""The stage of a run: servers side by side, organizations and their lists, the generator."""

import contextlib
import http.client
import itertools
import json
import multiprocessing
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg

import peer_redis
import sample
from fill import fill_list, settle
from load import Load, Outcome, run_load
from machine import BENCH, free_port, running, uvicorn_command
from tenants import Tenant, create_tenants, read_tenants, write_tenants

_BIG_SEED, _MANY_SEED, _ASKED_SEED, _FRESH_SEED, _PEER_SEED = 1, 1_000, 2_000, 3_000, 4_000
_ASKED_COUNT = 100_000
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Sizes:
    listed: int = 1_000_000
    """Records of the one big organization, and numbers in the peer's set."""
    orgs: int = 100
    listed_each: int = 10_000
    """Records of each of the many organizations."""
    peer_listed: int = 1_000_000


class Stage:
    """Everything a measurement needs. The servers share a core; only one is loaded at a time."""

    def __init__(self, folder: Path, sizes: Sizes, seconds: float, rounds: int) -> None:
        self.folder = folder
        self.sizes = sizes
        self.seconds = seconds
        self.rounds = rounds
        self.raw_port = self.bare_port = self.nocall_port = 0
        self.peer_port = 0
        self.redis_socket: Path | None = None
        self.owner_url = ""
        self.big = Tenant("", "")
        self.many: list[Tenant] = []
        self._held = contextlib.ExitStack()
        # Spawned, not forked, so that the generator starts without the parent's memory and locks.
        self._generator = self._held.enter_context(_processes(1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def start_ceiling(self) -> None:
        self.raw_port, self.bare_port = free_port(), free_port()
        raw = uvicorn_command("ceiling:app", self.raw_port)
        bare = [sys.executable, str(BENCH / "ceiling.py"), str(self.bare_port)]
        for name, command, port in (("raw", raw, self.raw_port), ("bare", bare, self.bare_port)):
            log = self.folder / f"{name}.log"
            self._held.enter_context(running(command, log, ready=(port, "/")))

    def start_peer(self) -> None:
        if not peer_redis.installed():
            return
        extra = self.sizes.peer_listed - self.sizes.listed
        listed = self.listed + (sample.numbers(_PEER_SEED, extra) if extra > 0 else [])
        enter = self._held.enter_context
        self.redis_socket = enter(peer_redis.redis_server(self.folder, listed))
        self.peer_port = enter(peer_redis.http_peer(self.folder, self.redis_socket))

    def start_nocall(self) -> None:
        """Start the service on a data folder of ours, with its organizations and their lists."""
        data = self.folder / "data"
        self.owner_url = self._held.enter_context(_owner_url(data))
        self.nocall_port = free_port()
        command = [str(Path(sysconfig.get_path("scripts")) / "nocall"), "serve"]
        command += ["--port", str(self.nocall_port), "--data", str(data)]
        self._held.enter_context(
            running(
                command,
                self.folder / "nocall.log",
                # The limit is counted for every request and never reached.
                environment={"NOCALL_RATE_LIMIT_PER_SECOND": "1000000"},
                ready=(self.nocall_port, "/health/ready"),
            )
        )
        sizes = self.sizes
        known = self.folder / f"tenants-{sizes.listed}-{sizes.orgs}-{sizes.listed_each}.json"
        if known.exists():
            tenants = read_tenants(known)
        else:
            tenants = create_tenants(data, 1 + sizes.orgs)
            self._fill(tenants)
            write_tenants(known, tenants)
        self.big, self.many = tenants[0], tenants[1:]

    def _fill(self, tenants: list[Tenant]) -> None:
        with _processes(2) as filling:
            jobs = [filling.submit(fill_list, self.owner_url, tenants[0].id, self.sizes.listed)]
            for index, tenant in enumerate(tenants[1:]):
                seed, count = _MANY_SEED + index, self.sizes.listed_each
                jobs.append(filling.submit(fill_list, self.owner_url, tenant.id, count, seed))
            for job in jobs:
                job.result()
        settle(self.owner_url)

    def run(self, load: Load) -> Outcome:
        return self.generate(run_load, load)

    def generate(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """What `function` returns, run in the generator's process."""
        return self._generator.submit(function, *arguments).result()

    def database_version(self) -> str:
        with psycopg.connect(self.owner_url) as connection:
            row = connection.execute("select version()").fetchone()
        return str(row[0]) if row else "unknown"

    @property
    def listed_label(self) -> str:
        return f"{self.sizes.listed:,} records"

    @cached_property
    def listed(self) -> list[int]:
        return sample.numbers(_BIG_SEED, self.sizes.listed)

    @cached_property
    def asked(self) -> list[int]:
        """What is asked of the big list: about one in ten is on it."""
        return sample.questions(_ASKED_SEED, self.listed, _ASKED_COUNT)

    def asked_by_many(self, size: int, count: int) -> Iterator[tuple[Tenant, list[int]]]:
        """`count` runs of `size` numbers, the many organizations asking in turn."""
        each = -(-count // len(self.many))
        questions = []
        for index in range(len(self.many)):
            listed = sample.numbers(_MANY_SEED + index, self.sizes.listed_each)
            questions.append(sample.questions(_ASKED_SEED + index, listed, each * size))
        for turn in range(each):
            for tenant, asked in zip(self.many, questions, strict=True):
                yield tenant, asked[turn * size : (turn + 1) * size]

    def unlisted(self, count: int) -> list[int]:
        """Numbers that the big list does not have."""
        taken = set(self.listed)
        found = (number for number in sample.numbers(_FRESH_SEED, 2 * count) if number not in taken)
        return list(itertools.islice(found, count))

    def ask(self, path: str, tenant: Tenant | None = None, body: object = None) -> dict[str, Any]:
        """One answer of nocall, outside any measurement. Raises RuntimeError unless it is 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.nocall_port, timeout=30)
        headers = {"Authorization": f"Bearer {(tenant or self.big).token}"}
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {content[:500]!r}")
        found: dict[str, Any] = json.loads(content)
        return found

    def probe(self) -> None:
        """A figure of a wrong answer is worth nothing: look at some answers first."""
        last = len(self.many) - 1
        many_listed = sample.numbers(_MANY_SEED + last, self.sizes.listed_each)
        for tenant, listed in ((self.big, self.listed), (self.many[last], many_listed)):
            wanted = dict.fromkeys(self.unlisted(20), "callable")
            if tenant is not self.big:
                wanted = {number: word for number, word in wanted.items() if number not in listed}
            wanted |= dict.fromkeys(listed[-20:], "blocked")
            words = [str(number) for number in wanted]
            found = self.ask("/api/dnc/check", tenant, {"phoneNumbers": words})
            verdicts = [result["verdict"] for result in found["data"]["results"]]
            if verdicts != list(wanted.values()):
                raise RuntimeError(f"nocall answered {verdicts}, not {list(wanted.values())}")
            for number in (next(iter(wanted)), listed[-1]):
                single = self.ask(f"/api/dnc/check?phoneNumber={number}", tenant)
                if single["data"]["verdict"] != wanted[number]:
                    raise RuntimeError(f"nocall answered {single}, not {wanted[number]}")


def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


@contextlib.contextmanager
def _owner_url(data: Path) -> Iterator[str]:
    """The owner's login: of your own server where the environment names one, else the embedded."""
    own = os.environ.get("NOCALL_DATABASE_OWNER_URL")
    if own:
        yield own
        return
    from nocall.store.embedded import open_embedded  # noqa: PLC0415 - not on every platform

    embedded = open_embedded(data)
    try:
        yield embedded.owner_url
    finally:
        embedded.close()
