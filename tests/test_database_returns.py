"""The embedded database is killed under traffic, and the service brings it back by itself."""

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from conftest import (
    ALL_SCOPES,
    Service,
    assert_problem,
    at_once,
    copy_of,
    eventually,
    fresh_number,
    nocall_json,
)
from nocall import ledger
from nocall.model import Actor, Entry
from nocall.store import Database
from nocall.store.cluster import lock_file
from nocall.store.embedded import Embedded, open_embedded

THREAD_COUNT = 3


@dataclass
class Told:
    """What one thread of the traffic was told; of its other numbers it cannot know."""

    added: dict[str, str] = field(default_factory=dict)
    """Number to record id: acknowledged, and never asked to be deleted."""
    deleted: set[str] = field(default_factory=set)
    refusals: list[httpx.Response] = field(default_factory=list)
    acknowledged_count: int = 0

    def work(self, client: httpx.Client, ended: threading.Event) -> None:
        while not ended.is_set():
            number = fresh_number()
            body = {"phoneNumber": number, "source": "manual"}
            answer = client.post("/api/dnc/add", json=body)
            if self._is_acknowledged(answer):
                record_id = answer.json()["data"]["_id"]
                if random.random() < 0.5:
                    self.added[number] = record_id
                elif self._is_acknowledged(client.delete(f"/api/dnc/delete/{record_id}")):
                    self.deleted.add(number)

    def _is_acknowledged(self, answer: httpx.Response) -> bool:
        if answer.status_code == 200:
            self.acknowledged_count += 1
            return True
        self.refusals.append(answer)
        return False


@dataclass
class Site:
    """A data folder with one organization and the service on it."""

    data: Path
    embedded: Embedded
    service: Service
    org_id: str
    client: httpx.Client
    idle_org_id: str
    idle_client: httpx.Client
    """An organization without traffic, so without work under way that a crash could hold up."""

    @contextlib.contextmanager
    def traffic(self) -> Iterator[list[Told]]:
        """Threads that add numbers and delete some, until the block ends or the service does."""
        ended, told = threading.Event(), [Told() for _ in range(THREAD_COUNT)]

        def work(one: Told) -> None:
            with contextlib.suppress(httpx.TransportError), self.service.client() as client:
                client.headers["Authorization"] = self.client.headers["Authorization"]
                one.work(client, ended)

        threads = [threading.Thread(target=work, args=[one]) for one in told]
        for thread in threads:
            thread.start()
        try:
            yield told
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def kill_postgres(self) -> None:
        process_id = (self.data / "postgres" / "postmaster.pid").read_text().split()[0]
        os.kill(int(process_id), signal.SIGKILL)

    def restart_killed(self) -> None:
        """The service, after a kill -9."""
        self.service.stop(signal.SIGKILL)
        self.service = Service.start(self.data)
        self.client.base_url = self.service.url


@pytest.fixture
def site(place: Path, pristine: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    data = copy_of(pristine, place / request.node.name.replace("_", "-"))
    embedded, service = open_embedded(data), Service.start(data)
    operator_token = nocall_json("token", "create", "--operator", data=data)["token"]
    made = []
    with service.client(operator_token) as operator:
        for name in ("Busy", "Idle"):
            body = {"name": name, "adminEmail": "a@returns.example"}
            org_id = operator.post("/api/operator/orgs", json=body).json()["data"]["_id"]
            path = f"/api/operator/orgs/{org_id}/tokens"
            answer = operator.post(path, json={"scopes": list(ALL_SCOPES), "name": "desk"})
            made.append((org_id, answer.json()["data"]["token"]))
    (busy, busy_token), (idle, idle_token) = made
    with service.client(busy_token) as client, service.client(idle_token) as idle_client:
        opened = Site(data, embedded, service, busy, client, idle, idle_client)
        yield opened
    stopped = opened.service.stop()
    embedded.close()
    assert stopped == 0, opened.service.log.read_text()[-2000:]


def acknowledged(told: list[Told]) -> int:
    return sum(one.acknowledged_count for one in told)


async def _entries(site: Site) -> list[Entry]:
    """All of the ledger, which verifies."""
    database = Database(site.embedded.app_url, 2)
    await database.open()
    try:
        async with database.snapshot(Actor("system", "test", "test", site.org_id)) as tx:
            verified = await ledger.verify(tx)
            entries = await ledger.entries(tx, limit=1_000_000)
            assert verified.entry_count == len(entries)
            return entries
    finally:
        await database.close()


def _whole_list(client: httpx.Client) -> tuple[dict[str, str], int]:
    """Number to record id, read on from page to page; and the total that the first one states."""
    found: dict[str, str] = {}
    answer = client.get("/api/dnc/list", params={"limit": 1000})
    total = answer.json()["data"]["pagination"]["total"]
    while True:
        data = answer.raise_for_status().json()["data"]
        found |= {one["phoneNumber"]: one["_id"] for one in data["dncList"]}
        cursor = data["pagination"]["nextCursor"]
        if cursor is None:
            return found, total
        answer = client.get("/api/dnc/list", params={"limit": 1000, "cursor": cursor})


def assert_nothing_lost(site: Site, told: list[Told]) -> None:
    """Ledger, list, its total and the gate say the same, and all hold what was acknowledged."""
    expected: dict[str, str] = {}
    for entry in asyncio.run(_entries(site)):
        for item in entry.items:
            if entry.kind == "add":
                assert str(item.number) not in expected
                expected[str(item.number)] = item.record_id
            else:
                assert expected.pop(str(item.number)) == item.record_id
    listed, total = _whole_list(site.client)
    assert listed == expected
    assert total == len(expected)
    for one in told:
        assert one.added.items() <= listed.items()
        assert not one.deleted & listed.keys()
        for answer in one.refusals:
            assert_problem(answer, 503, "database_unavailable")
    asked = [*listed, *(number for one in told for number in one.deleted)][:10_000]
    answer = site.client.post("/api/dnc/check", json={"phoneNumbers": asked})
    verdicts = [one["verdict"] for one in answer.json()["data"]["results"]]
    assert verdicts == ["blocked" if number in listed else "callable" for number in asked]


def warm_the_mirror(site: Site, free: str) -> None:
    """Ask in bulk about a free number until the mirror in memory has answered.

    For such a number it asks the database for nothing but what changed since: its last statement.
    """
    with psycopg.connect(site.embedded.app_url, autocommit=True) as connection:

        def is_warm() -> bool:
            body = {"phoneNumbers": [free]}
            site.client.post("/api/dnc/check", json=body).raise_for_status()
            asked = connection.execute(
                "select from pg_stat_activity where pid <> pg_backend_pid() "
                "and query like '%left join ledger_item i on%'"
            )
            return asked.fetchone() is not None

        eventually(is_warm)


def test_the_service_brings_its_database_back(site):
    """Meanwhile nothing is callable, acknowledged or half done; then all goes on, mails too."""
    client = site.client
    listed, free = fresh_number(), fresh_number()
    add = {"phoneNumber": listed, "source": "manual"}
    client.post("/api/dnc/add", json=add).raise_for_status()

    def single(number: str) -> httpx.Response:
        return client.get("/api/dnc/check", params={"phoneNumber": number})

    def bulk(numbers: list[str]) -> httpx.Response:
        return client.post("/api/dnc/check", json={"phoneNumbers": numbers})

    warm_the_mirror(site, free)
    with site.traffic() as told:
        eventually(lambda: acknowledged(told) > 30)
        # Whoever starts the server again has to hold this lock; so it is down for as long as we do.
        with lock_file(site.data / "postgres.start.lock", fcntl.LOCK_EX):
            site.kill_postgres()
            first = eventually(lambda: (answer := single(free)).is_error and answer)
            # At once, while the token is still remembered: all of the list is in the mirror, and
            # may not be used, for nobody can say that nothing was added since.
            assert_problem(bulk([free]), 503, "database_unavailable")
            answers = at_once(
                lambda: bulk([free]),
                lambda: bulk([listed, free]),
                lambda: single(free),
                lambda: client.post("/api/dnc/add", json={**add, "phoneNumber": free}),
                lambda: client.get("/health/ready"),
            )
            for answer in (first, *answers):
                assert_problem(answer, 503, "database_unavailable")
            assert client.get("/health/live").status_code == 200
            assert "nocall_database_up 0.0" in client.get("/metrics").text.splitlines()
            so_far = acknowledged(told)
        eventually(lambda: acknowledged(told) > so_far + 30)
    assert "has been started again" in site.service.log.read_text()
    assert client.get("/health/ready").status_code == 200
    assert "nocall_database_up 1.0" in client.get("/metrics").text.splitlines()
    assert any(one.refusals for one in told)
    # One of those that were refused may have been done; free was asked with nothing connected.
    results = bulk([listed, free]).json()["data"]["results"]
    assert [one["verdict"] for one in results] == ["blocked", "callable"]
    assert_nothing_lost(site, told)
    add = {"phoneNumber": fresh_number(), "source": "manual"}
    site.idle_client.post("/api/dnc/add", json=add).raise_for_status()
    # Should the worker not be back by then, the sweep of the next minute finds what is to be sent.
    folder = site.data / "mail"
    (mail,) = eventually(lambda: list(folder.glob(f"{site.idle_org_id}-*.eml")), 150)
    assert add["phoneNumber"] in mail.read_text()


def test_service_and_database_are_killed_together(site):
    told: list[Told] = []
    for _ in range(2):
        with site.traffic() as more:
            moment = random.randint(1, 100)
            eventually(lambda more=more, moment=moment: acknowledged(more) >= moment)
            site.kill_postgres()
            site.restart_killed()
        told += more
        assert_nothing_lost(site, told)


def test_it_stops_while_its_database_is_away(site):
    """Ctrl-C is heard also when the background work cannot sign off."""
    with lock_file(site.data / "postgres.start.lock", fcntl.LOCK_EX):
        site.kill_postgres()
        eventually(lambda: site.client.get("/health/ready").status_code == 503)
        site.service.process.send_signal(signal.SIGINT)
        # By then it has stopped answering, and needs the lock to give up its share of the server.
        eventually(lambda: not _answers(site.client))
    assert site.service.process.wait(60) == 0


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False
