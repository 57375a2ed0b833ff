"""One organization whose ledger holds every kind of entry, and a connection to damage it on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from psycopg.rows import namedtuple_row

from conftest import Service, fresh_number, run_nocall
from nocall import ledger
from nocall.model import Actor, Item, Kind, new_id
from nocall.store import Transaction, utc_now
from nocall.store.transaction import SESSION_OPTIONS

Connection = psycopg.AsyncConnection


@dataclass(frozen=True)
class Story:
    """`seq` of an entry by the name of what happened; the last of a kind where it is alone."""

    org_id: str
    other_org_id: str
    """Its ledger is longer than that of the story and holds no numbers."""
    seq: dict[str, int]
    head: str

    @property
    def last(self) -> int:
        return max(self.seq.values())


def transaction(connection: Connection, org_id: str) -> Transaction:
    return Transaction(connection, Actor("system", "tests", "tests", org_id), utc_now())


async def connect(url: str) -> Connection:
    return await Connection.connect(url, row_factory=namedtuple_row, options=SESSION_OPTIONS)


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[Connection]:
    """What is done on it is undone; the rest of the suite never sees it."""
    connection = await connect(owner_url)
    try:
        yield connection
    finally:
        await connection.rollback()
        await connection.close()


@pytest.fixture(scope="session")
async def story(service: Service, operator: httpx.Client, app_url: str) -> Story:
    org_id = create_org(operator)
    text = create_token(operator, org_id)
    with service.client(text) as client:
        _live(client, operator, org_id)
    run_nocall("dnc", "forget-evidence", "--days", "0", "--org", org_id, data=service.data)
    connection = await connect(app_url)
    async with connection:
        tx = transaction(connection, org_id)
        head = await ledger.lock_head(tx)
        items = [
            Item(int(fresh_number()), new_id(), "t", "r", new_id(), "u", bytes(32), bytes(32))
            for _ in range(3)
        ]
        await ledger.append(tx, head, Kind.ADD, items=items, source="import", reason="bulk")
    with service.client(text) as client:
        for _ in range(3):
            _add(client)
    connection = await connect(app_url)
    async with connection:
        tx = transaction(connection, org_id)
        entries = await ledger.entries(tx)
        top = await ledger.head(tx)
    seq = {entry.kind: entry.seq for entry in entries}
    seq["from a call"], seq["by hand"] = [e.seq for e in entries if e.kind == Kind.ADD][:2]
    (seq["bulk"],) = [entry.seq for entry in entries if entry.item_count == 3]
    return Story(
        org_id, _long_ledger(service, operator, top.seq), seq, f"{top.seq}:{top.hash.hex()}"
    )


SCOPES = ["dnc:read", "dnc:write", "dnc:delete", "call:write", "admin"]


def create_token(operator: httpx.Client, org_id: str) -> str:
    answer = operator.post(f"/api/operator/orgs/{org_id}/tokens", json={"scopes": SCOPES})
    return answer.raise_for_status().json()["data"]["token"]


def create_org(operator: httpx.Client) -> str:
    answer = operator.post(
        "/api/operator/orgs", json={"name": "Story", "adminEmail": "a@test.example"}
    )
    return answer.raise_for_status().json()["data"]["_id"]


def _live(client: httpx.Client, operator: httpx.Client, org_id: str) -> None:
    """Something of every kind happens."""
    number = fresh_number()
    batch = client.post(
        "/api/call/createBatch", json={"batchName": "b", "callingNumbers": ["n"]}
    ).json()["data"]
    calls = {"batchId": batch, "call_data": [{"phoneNumber": number}]}
    client.post("/api/call/addCallsToBatch", json=calls).raise_for_status()
    report = {"batchId": batch, "phoneNumber": number, "callStatus": "completed"}
    attempt = client.post("/api/call/report", json=report).json()["data"]["requestUUID"]
    from_call = {"batchId": batch, "requestUUID": attempt}
    _add(client, number, type="customer_request", reason="asked, é", source="web", **from_call)
    report |= {"requestUUID": attempt, "recordingUrl": "https://r.example/1", "transcript": "No."}
    client.post("/api/call/report", json=report).raise_for_status()
    record_id = _add(client, reason="by hand").json()["data"]["_id"]
    assert _add(client, number, reason="again", **from_call, source="web").status_code == 400
    client.delete(f"/api/dnc/delete/{record_id}", headers={"X-Reason": "typo"}).raise_for_status()
    for enable in (False, True):
        client.post(
            "/api/dnc/enable-disable", json={"enable": enable}, headers={"X-Reason": "drill"}
        ).raise_for_status()
    made = client.post("/api/org/tokens", json={"scopes": ["dnc:read"]}).json()["data"]
    client.delete(f"/api/org/tokens/{made['_id']}").raise_for_status()
    operator.patch(
        f"/api/operator/orgs/{org_id}", json={"adminEmail": "b@test.example"}
    ).raise_for_status()


def _add(client: httpx.Client, number: str = "", **more: str) -> httpx.Response:
    body = {"phoneNumber": number or fresh_number(), "source": "manual", **more}
    return client.post("/api/dnc/add", json=body)


def _long_ledger(service: Service, operator: httpx.Client, entry_count: int) -> str:
    org_id = create_org(operator)
    with service.client(create_token(operator, org_id)) as client:
        for n in range(entry_count):
            client.post("/api/dnc/enable-disable", json={"enable": n % 2 == 1}).raise_for_status()
    return org_id
