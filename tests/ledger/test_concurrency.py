"""Writers of one organization wait for each other; writers of two do not mix."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import httpx
import psycopg
import pytest

from conftest import Service, fresh_number
from ledger.conftest import create_org, create_token, transaction
from nocall import ledger

THREAD_COUNT = 8
ROUND_COUNT = 12
Row = tuple[int, datetime, str]


@pytest.fixture(scope="module")
def second(service: Service) -> Iterator[Service]:
    """Another process on the same database."""
    running = Service.start(service.data)
    yield running
    assert running.stop() == 0


def _write(client: httpx.Client) -> list[int]:
    """Adds, repeats and deletes; what is refused leaves no entry and so no gap."""
    codes = []
    for _ in range(ROUND_COUNT):
        number = fresh_number()
        body = {"phoneNumber": number, "source": "api"}
        added = client.post("/api/dnc/add", json=body)
        record = added.json()["data"]["_id"]
        codes += [
            added.status_code,
            client.post("/api/dnc/add", json=body).status_code,
            client.post("/api/dnc/add", json={**body, "phoneNumber": "7"}).status_code,
            client.delete(f"/api/dnc/delete/{record}").status_code,
            client.delete(f"/api/dnc/delete/{record}").status_code,
        ]
    return codes


def _rows(app_url: str, org_id: str) -> list[Row]:
    with psycopg.connect(app_url) as connection:
        return connection.execute(
            "select seq, at, kind from nocall.ledger_entry where org_id = %s order by seq",
            [org_id],
        ).fetchall()


def _assert_in_order(rows: list[Row]) -> None:
    assert [seq for seq, _, _ in rows] == list(range(1, len(rows) + 1))
    assert all(one[1] <= other[1] for one, other in pairwise(rows))


def _write_at_once(services: list[Service], operator: httpx.Client, orgs: list[str]) -> None:
    clients = [
        services[n % len(services)].client(token)
        for org_id in orgs
        for token in [create_token(operator, org_id)]
        for n in range(THREAD_COUNT)
    ]
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(_write, clients))
    for client in clients:
        client.close()
    assert answers == [[200, 400, 400, 200, 404] * ROUND_COUNT] * len(clients)


async def test_no_gap_and_no_step_back(service, second, operator, app_url, owner):
    """Of many threads on two processes, on two organizations."""
    orgs = [create_org(operator), create_org(operator)]
    _write_at_once([service, second], operator, orgs)
    for org_id in orgs:
        rows = _rows(app_url, org_id)
        _assert_in_order(rows)
        kinds = [kind for _, _, kind in rows]
        written = THREAD_COUNT * ROUND_COUNT
        assert {kind: kinds.count(kind) for kind in ("add", "add_repeated", "delete")} == {
            "add": written,
            "add_repeated": written,
            "delete": written,
        }
        assert len(rows) == 3 * written + 2
        await ledger.verify(transaction(owner, org_id))


async def test_a_clock_that_was_ahead_takes_no_instant_back(
    service, second, operator, app_url, owner_url, owner
):
    """After a step back of the clock, entries share the newest instant until it is reached."""
    org_id = create_org(operator)
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    with psycopg.connect(owner_url) as connection:
        connection.execute(
            "update nocall.ledger_head set at = %s where org_id = %s", [ahead, org_id]
        )
    _write_at_once([service, second], operator, [org_id])
    rows = _rows(app_url, org_id)
    _assert_in_order(rows)
    assert {at for _, at, _ in rows[1:]} == {ahead}
    await ledger.verify(transaction(owner, org_id))
