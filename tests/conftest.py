"""One real service on one real database for the whole session; each test has its own organizations.

The service is a process of its own, started as an operator would start it. Organizations and
tokens are made over HTTP with an operator's token, so a test costs a few milliseconds to set up.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Self, TypeVar

import httpx
import hypothesis
import psycopg
import pytest

from nocall.store import migrate
from nocall.store.embedded import open_embedded

T = TypeVar("T")
NOCALL = Path(sys.executable).with_name("nocall")
ALL_SCOPES = ("dnc:read", "dnc:write", "dnc:delete", "call:write", "admin")
_numbers = count(0)


def pytest_configure(config: pytest.Config) -> None:
    """The suite tries the same examples each time; new ones are what `make prove` is for."""
    hypothesis.settings.register_profile("suite", derandomize=True)
    if config.getoption("markexpr") != "prove":
        hypothesis.settings.load_profile("suite")


def fresh_number() -> str:
    """A US number no other test uses, in the registry's never-dialled 1XX exchanges' stead."""
    n = next(_numbers)
    return f"1{212 + n // 1_000_000}{200 + n // 10_000 % 700}{n % 10_000:04d}"


def clean_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOCALL_")}
    return {**kept, **more}


def run_nocall(
    *arguments: str, data: Path, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [NOCALL, *arguments],
        env=clean_environment(NOCALL_DATA=str(data), **environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if check and done.returncode != 0:
        pytest.fail(f"nocall {' '.join(arguments)}: {done.returncode}\n{done.stderr}")
    return done


def nocall_json(*arguments: str, data: Path, **environment: str) -> object:
    return json.loads(run_nocall(*arguments, "--json", data=data, **environment).stdout)


@dataclass
class Service:
    """A `nocall serve` process."""

    process: subprocess.Popen[str]
    url: str
    data: Path
    log: Path

    @classmethod
    def start(cls, data: Path, *flags: str, port: int = 0, **environment: str) -> "Service":
        log = data.with_name(f"{data.name}.{time.monotonic_ns()}.log")
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [NOCALL, "serve", "--json", "--port", str(port), *flags],
                env=clean_environment(NOCALL_DATA=str(data), **environment),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait(30)
            pytest.fail(f"nocall serve ended with {process.returncode}: {log.read_text()[-2000:]}")
        return cls(process, json.loads(line)["url"], data, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A test that failed in between leaves nothing running."""
        if self.process.poll() is None:
            self.stop()

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(40)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        # It speaks plain HTTP; reading the certificates costs 25 ms a client.
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=False)


@dataclass
class Cast:
    """The fixed cast: who asks, and may or may not."""

    org_id: str
    owner: httpx.Client
    reader: httpx.Client
    no_delete: httpx.Client
    stranger: httpx.Client
    stranger_org_id: str
    expired: httpx.Client
    revoked: httpx.Client
    nobody: httpx.Client

    def make_call(
        self,
        number: str,
        recording: str | None = "https://recordings.example/1.mp3",
        transcript: str | None = "Please stop calling me.",
    ) -> tuple[str, str]:
        """A batch with one call that was made to `number`: its batchId and requestUUID."""
        batch = self.owner.post(
            "/api/call/createBatch", json={"batchName": "b", "callingNumbers": ["n"]}
        ).json()["data"]
        self.owner.post(
            "/api/call/addCallsToBatch",
            json={"batchId": batch, "call_data": [{"phoneNumber": number}]},
        ).raise_for_status()
        report = {"batchId": batch, "phoneNumber": number, "callStatus": "completed"}
        if recording:
            report["recordingUrl"] = recording
        if transcript:
            report["transcript"] = transcript
        answer = self.owner.post("/api/call/report", json=report)
        return batch, answer.json()["data"]["requestUUID"]

    def add(self, number: str, **more: object) -> httpx.Response:
        return self.owner.post(
            "/api/dnc/add", json={"phoneNumber": number, "source": "manual", **more}
        )


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that every account of the machine can pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="nocall-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def pristine(place: Path) -> Path:
    """A migrated data folder that nobody uses: a copy of it is quicker than making another."""
    data = place / "pristine"
    embedded = open_embedded(data)
    migrate(embedded.owner_url, embedded.app_url)
    embedded.close()
    return data


def copy_of(pristine: Path, target: Path) -> Path:
    subprocess.run(["cp", "-a", str(pristine), str(target)], check=True)
    return target


@pytest.fixture(scope="session")
def service(place: Path) -> Iterator[Service]:
    running = Service.start(place / "data")
    yield running
    assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.fixture(scope="session")
def operator(service: Service) -> Iterator[httpx.Client]:
    made = nocall_json("token", "create", "--operator", "--name", "tests", data=service.data)
    with service.client(made["token"]) as client:
        yield client


@pytest.fixture(scope="session")
def owner_url(service: Service) -> str:
    """The owner's login, for looking at and tampering with what the application cannot touch."""
    embedded = open_embedded(service.data)
    url = embedded.owner_url
    embedded.close()
    return url


@pytest.fixture(scope="session")
def app_url(service: Service) -> str:
    embedded = open_embedded(service.data)
    url = embedded.app_url
    embedded.close()
    return url


@pytest.fixture
def new_org(operator: httpx.Client) -> Callable[..., str]:
    def make(region: str = "US", name: str = "Test Org") -> str:
        answer = operator.post(
            "/api/operator/orgs",
            json={"name": name, "adminEmail": "admin@test.example", "region": region},
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]["_id"]

    return make


@pytest.fixture
def new_client(service: Service, operator: httpx.Client) -> Iterator[Callable[..., httpx.Client]]:
    clients = []

    def make(org_id: str, *scopes: str, **more: object) -> httpx.Client:
        answer = operator.post(
            f"/api/operator/orgs/{org_id}/tokens",
            json={"scopes": list(scopes or ALL_SCOPES), "name": "test", **more},
        )
        assert answer.status_code == 201, answer.text
        client = service.client(answer.json()["data"]["token"])
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def ended_tokens(operator: httpx.Client) -> dict[str, str]:
    """A token that has expired and one that was revoked, of an organization of their own."""
    org_id = operator.post(
        "/api/operator/orgs", json={"name": "Ended", "adminEmail": "a@test.example"}
    ).json()["data"]["_id"]
    path = f"/api/operator/orgs/{org_id}/tokens"
    soon = (datetime.now(UTC) + timedelta(milliseconds=300)).isoformat()
    scopes = list(ALL_SCOPES)
    expired = operator.post(path, json={"scopes": scopes, "expiresAt": soon}).json()["data"]
    revoked = operator.post(path, json={"scopes": scopes}).json()["data"]
    with httpx.Client(
        base_url=operator.base_url, headers={"Authorization": f"Bearer {revoked['token']}"}
    ) as own:
        own.delete(f"/api/org/tokens/{revoked['_id']}").raise_for_status()
    time.sleep(1.0)
    return {"expired": expired["token"], "revoked": revoked["token"]}


@pytest.fixture
def cast(
    service: Service,
    new_org: Callable[..., str],
    new_client: Callable[..., httpx.Client],
    ended_tokens: dict[str, str],
) -> Iterator[Cast]:
    org_id, stranger_org_id = new_org(), new_org()
    with (
        service.client() as nobody,
        service.client(ended_tokens["expired"]) as expired,
        service.client(ended_tokens["revoked"]) as revoked,
    ):
        yield Cast(
            org_id=org_id,
            owner=new_client(org_id),
            reader=new_client(org_id, "dnc:read"),
            no_delete=new_client(org_id, "dnc:read", "dnc:write"),
            stranger=new_client(stranger_org_id),
            stranger_org_id=stranger_org_id,
            expired=expired,
            revoked=revoked,
            nobody=nobody,
        )


@pytest.fixture
def entries(app_url: str) -> Callable[..., list[dict[str, object]]]:
    """The ledger entries of an organization, oldest first, with the numbers of their items."""

    def read(org_id: str, *kinds: str) -> list[dict[str, object]]:
        with psycopg.connect(app_url, options="-c search_path=nocall") as connection:
            rows = connection.execute(
                "select e.seq, e.at, e.kind, e.actor_name, e.source, e.reason, e.detail, "
                "array(select number from ledger_item i where i.org_id = e.org_id "
                "and i.seq = e.seq order by position) from ledger_entry e "
                "where e.org_id = %s order by e.seq",
                [org_id],
            ).fetchall()
        names = ("seq", "at", "kind", "actor", "source", "reason", "detail", "numbers")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [one for one in found if not kinds or one["kind"] in kinds]

    return read


def at_once(*requests: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """The answers, in order, to requests that threads of their own send at the same moment."""
    barrier = Barrier(len(requests))

    def send(request: Callable[[], httpx.Response]) -> httpx.Response:
        barrier.wait(30)
        return request()

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


def eventually(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """The first answer of `condition` that counts as true; fails where none does in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
    return found


def assert_problem(answer: httpx.Response, status: int, code: str, *words: str) -> dict:
    """A failure in the envelope: status, stable code, and an errorMessage that says what."""
    body = answer.json()
    assert answer.status_code == status, body
    assert list(body)[:5] == ["message", "status", "code", "errorMessage", "errorCode"]
    assert (body["status"], body["code"], body["errorCode"]) == (False, status, code), body
    assert body["message"]
    for word in words:
        assert re.search(re.escape(word), body["errorMessage"]), (word, body)
    return body
