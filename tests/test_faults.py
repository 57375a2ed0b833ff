"""The database stopped in the middle, and the service killed in the middle: what was acknowledged
stays, what was not is whole or not there, and nothing is callable that may not be.
"""

import contextlib
import fcntl
import os
import random
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from cli.conftest import document
from conftest import ALL_SCOPES, Service, assert_problem, copy_of, eventually, fresh_number
from nocall.store.account import choose_account
from nocall.store.cluster import lock_file
from nocall.store.embedded import Embedded, open_embedded

THREAD_COUNT = 4


def make_org(data: Path) -> tuple[str, str]:
    """An organization and a token that may do everything."""
    arguments = ("org", "create", "Faults", "--admin-email", "admin@test.example")
    org_id = document(*arguments, data=data)["id"]
    scopes = [part for scope in ALL_SCOPES for part in ("--scope", scope)]
    return org_id, document("token", "create", *scopes, "--org", org_id, data=data)["token"]


def add(client: httpx.Client, number: str, key: str | None = None) -> httpx.Response:
    return client.post(
        "/api/dnc/add",
        json={"phoneNumber": number, "source": "api"},
        headers={"Idempotency-Key": key} if key else {},
    )


def listed(client: httpx.Client) -> dict[str, str]:
    """Number to id of all records."""
    found, cursor = {}, {}
    while True:
        answer = client.get("/api/dnc/list", params={"limit": 1000, **cursor}).raise_for_status()
        data = answer.json()["data"]
        found |= {record["phoneNumber"]: record["_id"] for record in data["dncList"]}
        if not (following := data["pagination"]["nextCursor"]):
            return found
        cursor = {"cursor": following}


def assert_list_is_what_the_ledger_says(data: Path, org_id: str, client: httpx.Client) -> None:
    """A write that is half done would be in one of the two only."""
    assert document("ledger", "verify", "--org", org_id, data=data)["ok"]
    told, after = {}, 0
    while entries := document(
        *("ledger", "show", "--after", str(after), "--limit", "1000", "--org", org_id), data=data
    ):
        for entry in entries:
            for item in entry["items"]:
                if entry["kind"] == "add":
                    assert item["number"] not in told
                    told[item["number"]] = item["recordId"]
                elif entry["kind"] == "delete":
                    assert told.pop(item["number"]) == item["recordId"]
        after = entries[-1]["seq"]
    assert listed(client) == told


# The database stopped in the middle


@dataclass
class Stage:
    service: Service
    embedded: Embedded
    org_id: str
    token: str

    @property
    def data(self) -> Path:
        return self.service.data

    def stop_database(self) -> None:
        """As a crash would: no checkpoint, every connection cut."""
        server = self.data / "postgres"
        command = [self.embedded.binaries / "pg_ctl", "stop", "-s", "-w", "-m", "immediate"]
        ended = choose_account(server).run([*command, "-D", server], server)
        assert ended.returncode == 0, ended.stderr

    @contextlib.contextmanager
    def database_away(self) -> Iterator[None]:
        """The service would start it again after some seconds; here it has to wait for us."""
        try:
            with lock_file(self.data / "postgres.start.lock", fcntl.LOCK_EX):
                self.stop_database()
                yield
        finally:
            self.embedded.ensure_running()


@pytest.fixture(scope="module")
def stage(place: Path, pristine: Path) -> Iterator[Stage]:
    data = copy_of(pristine, place / "faults")
    with Service.start(data) as service, contextlib.closing(open_embedded(data)) as embedded:
        yield Stage(service, embedded, *make_org(data))
    assert service.stop() == 0
    assert '"unexpected error"' not in service.log.read_text()


@pytest.fixture
def client(stage: Stage) -> Iterator[httpx.Client]:
    with stage.service.client(stage.token) as client:
        yield client


def back(client: httpx.Client) -> bool:
    return client.get("/health/ready").status_code == 200


def test_without_its_database_nothing_is_callable(stage, client):
    """Every route answers 503 in the envelope; when the database is back, so is the service, the
    same process as before.
    """
    number, free = fresh_number(), fresh_number()
    record = add(client, number).json()["data"]["_id"]
    many = {"phoneNumbers": [number, free]}
    requests: list[Callable[[], httpx.Response]] = [
        lambda: client.get("/api/dnc/check", params={"phoneNumber": free}),
        lambda: client.get("/api/dnc/check", params={"phoneNumber": f"+{free}"}),
        lambda: client.post("/api/dnc/check", json=many),
        lambda: client.get(
            "/api/dnc/check", params={"phoneNumber": free, "at": "2030-01-01T00:00:00Z"}
        ),
        lambda: client.get("/api/dnc/list"),
        lambda: client.get(f"/api/dnc/record/{record}"),
        lambda: client.get("/api/dnc/settings"),
        lambda: add(client, free),
        lambda: add(client, free, "a-key"),
        lambda: client.delete(f"/api/dnc/delete/{record}"),
        lambda: client.post("/api/dnc/enable-disable", json={"enable": False}),
        lambda: client.post(
            "/api/call/createBatch", json={"batchName": "b", "callingNumbers": ["n"]}
        ),
        lambda: client.get("/api/org/tokens"),
        lambda: client.get("/health/ready"),
    ]
    # The mirror that answers checks of many is made behind the first of them.
    for _ in range(20):
        verdicts = client.post("/api/dnc/check", json=many).json()["data"]["results"]
        assert [one["verdict"] for one in verdicts] == ["blocked", "callable"]
    # At once, since each waits some seconds for a connection.
    with stage.database_away(), ThreadPoolExecutor(len(requests)) as pool:
        for answer in pool.map(lambda request: request(), requests):
            assert_problem(answer, 503, "database_unavailable")
        assert client.get("/health/live").status_code == 200
        assert "nocall_database_up 0.0" in client.get("/metrics").text
    eventually(lambda: back(client))
    assert stage.service.process.poll() is None
    verdicts = client.post("/api/dnc/check", json=many).json()["data"]["results"]
    assert [one["verdict"] for one in verdicts] == ["blocked", "callable"]
    assert client.get("/api/dnc/settings").json()["data"]["enable"] is True
    assert add(client, free, "a-key").status_code == 200
    assert client.delete(f"/api/dnc/delete/{record}").status_code == 200
    assert_list_is_what_the_ledger_says(stage.data, stage.org_id, client)


def test_a_database_that_stops_under_way_leaves_nothing_half_done(stage, client):
    """What was acknowledged is there; what was answered 503 is whole or not at all; and no check of
    a listed number, at no moment, says anything but blocked.
    """
    number = fresh_number()
    add(client, number).raise_for_status()
    acknowledged: dict[str, str] = {}
    stopped = threading.Event()

    def write(own: httpx.Client) -> httpx.Response:
        new = fresh_number()
        answer = add(own, new)
        if answer.status_code == 200:
            acknowledged[new] = answer.json()["data"]["_id"]
        return answer

    def check_one(own: httpx.Client) -> httpx.Response:
        answer = own.get("/api/dnc/check", params={"phoneNumber": number})
        assert answer.status_code != 200 or answer.json()["data"]["verdict"] == "blocked"
        return answer

    def check_many(own: httpx.Client) -> httpx.Response:
        answer = own.post("/api/dnc/check", json={"phoneNumbers": [number]})
        if answer.status_code == 200:
            assert answer.json()["data"]["results"][0]["verdict"] == "blocked"
        return answer

    asked = [*[write] * THREAD_COUNT, check_one, check_many]
    seen: list[set[int]] = [set() for _ in asked]

    def repeat(n: int) -> None:
        with stage.service.client(stage.token) as own:
            while not stopped.is_set():
                answer = asked[n](own)
                seen[n].add(answer.status_code)
                if answer.status_code != 200:
                    assert_problem(answer, 503, "database_unavailable")

    with ThreadPoolExecutor(len(asked)) as pool:
        running = [pool.submit(repeat, n) for n in range(len(asked))]
        try:
            eventually(lambda: len(acknowledged) > 20)
            with stage.database_away():
                eventually(lambda: all(503 in codes for codes in seen))
            eventually(lambda: back(client))
            so_far = len(acknowledged)
            eventually(lambda: len(acknowledged) > so_far + 20)
        finally:
            stopped.set()
        for future in running:
            future.result()
    assert acknowledged.items() <= listed(client).items()
    assert_list_is_what_the_ledger_says(stage.data, stage.org_id, client)


# The service killed in the middle


@dataclass
class Caller:
    """Adds numbers and deletes some of them, one request after the other, until nobody answers."""

    listed: dict[str, str] = field(default_factory=dict)
    """Number to id, of adds that were acknowledged."""
    deleted: set[str] = field(default_factory=set)
    """Ids whose deletion was acknowledged."""
    adding: tuple[str, str] | None = None
    """Number and key of the add that was not answered."""
    deleting: str | None = None
    """The id whose deletion was not answered."""

    def run(self, service: Service, token: str, answered: threading.Semaphore) -> None:
        with service.client(token) as client:
            try:
                while True:
                    self._once(client)
                    answered.release()
            except httpx.TransportError:
                return

    def _once(self, client: httpx.Client) -> None:
        number = fresh_number()
        self.adding = (number, str(uuid.uuid4()))
        answer = add(client, *self.adding)
        assert answer.status_code == 200, answer.text
        self.adding, record = None, answer.json()["data"]["_id"]
        self.listed[number] = record
        if random.random() < 0.5:
            self.deleting = record
            answer = client.delete(f"/api/dnc/delete/{record}")
            assert answer.status_code == 200, answer.text
            self.deleting = None
            del self.listed[number]
            self.deleted.add(record)

    def check(self, client: httpx.Client, found: dict[str, str]) -> None:
        """What was acknowledged holds; what was not answered may be sent again under its key."""
        kept = {n: record for n, record in self.listed.items() if record != self.deleting}
        assert kept.items() <= found.items()
        assert not self.deleted & set(found.values())
        if self.adding is not None:
            again = add(client, *self.adding)
            assert again.status_code == 200, again.text
            was_there = found.get(self.adding[0])
            assert was_there in (None, again.json()["data"]["_id"])
        if self.deleting is not None:
            assert client.delete(f"/api/dnc/delete/{self.deleting}").status_code in (200, 404)


def kill_and_look(data: Path, round_count: int) -> None:
    with contextlib.ExitStack() as started:
        service = started.enter_context(Service.start(data))
        org_id, token = make_org(data)
        for n in range(round_count):
            callers = [Caller() for _ in range(THREAD_COUNT)]
            write_until_killed(service, token, callers, also_the_database=bool(n % 2))
            service = started.enter_context(Service.start(data))
            with service.client(token) as client:
                found = listed(client)
                for caller in callers:
                    caller.check(client, found)
                assert_list_is_what_the_ledger_says(data, org_id, client)
        assert service.stop() == 0


def write_until_killed(
    service: Service, token: str, callers: list[Caller], *, also_the_database: bool
) -> None:
    answered = threading.Semaphore(0)
    with ThreadPoolExecutor(THREAD_COUNT) as pool:
        running = [pool.submit(caller.run, service, token, answered) for caller in callers]
        try:
            # Some way into the writes, at no point in particular.
            for _ in range(random.randint(THREAD_COUNT, 40)):
                assert answered.acquire(timeout=60)
        finally:
            service.process.kill()
        if also_the_database:
            pid = (service.data / "postgres" / "postmaster.pid").read_text().split()[0]
            os.kill(int(pid), signal.SIGKILL)
        for future in running:
            future.result()
    assert service.stop() == -signal.SIGKILL


def test_a_killed_service_loses_nothing_it_acknowledged(place, pristine):
    """Every other time the database is killed with it."""
    kill_and_look(copy_of(pristine, place / "killed"), round_count=3)


@pytest.mark.prove
def test_a_service_killed_many_times_loses_nothing_it_acknowledged(place, pristine):
    kill_and_look(copy_of(pristine, place / "killed-often"), round_count=60)
