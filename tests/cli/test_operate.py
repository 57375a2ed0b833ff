"""nocall migrate, backup, restore, worker; and commands beside a service, and without one."""

import contextlib
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import psycopg
import pytest

from cli.conftest import document, done, refused
from conftest import (
    NOCALL,
    Service,
    clean_environment,
    copy_of,
    eventually,
    fresh_number,
    nocall_json,
    run_nocall,
)
from nocall.store.embedded import open_embedded

ADMIN = ("--admin-email", "admin@test.example")


@pytest.fixture(scope="module")
def own(place: Path, pristine: Path) -> Iterator[Service]:
    """A service on a database of its own, so that a backup is of what happens here alone."""
    running = Service.start(copy_of(pristine, place / "operate"))
    yield running
    assert running.stop() == 0


def tenant(service: Service, name: str) -> tuple[str, httpx.Client]:
    org_id = document("org", "create", name, *ADMIN, data=service.data)["id"]
    scopes = [
        part
        for scope in ("dnc:read", "dnc:write", "dnc:delete", "call:write")
        for part in ("--scope", scope)
    ]
    made = document("token", "create", *scopes, "--org", org_id, data=service.data)
    return org_id, service.client(made["token"])


def live(client: httpx.Client) -> None:
    """Calls, evidence, adds from calls and by hand, a delete, a repeat."""
    batch = client.post(
        "/api/call/createBatch", json={"batchName": "b", "callingNumbers": ["n"]}
    ).json()["data"]
    number = fresh_number()
    calls = {"batchId": batch, "call_data": [{"phoneNumber": number, "name": "Zoë"}]}
    client.post("/api/call/addCallsToBatch", json=calls).raise_for_status()
    report = {"batchId": batch, "phoneNumber": number, "callStatus": "completed"}
    report |= {"recordingUrl": "https://r.example/1", "transcript": "Nein.\nNo \\ \t more."}
    request = client.post("/api/call/report", json=report).json()["data"]["requestUUID"]
    body = {"phoneNumber": number, "batchId": batch, "requestUUID": request, "type": "é"}
    assert [client.post("/api/dnc/add", json=body).status_code for _ in range(2)] == [200, 400]
    for _ in range(3):
        added = add(client, fresh_number())
    client.delete(f"/api/dnc/delete/{added}").raise_for_status()


def add(client: httpx.Client, number: str) -> str:
    body = {"phoneNumber": number, "source": "manual"}
    return client.post("/api/dnc/add", json=body).raise_for_status().json()["data"]["_id"]


class Writers:
    """Threads that add, and delete every other number, until told to stop."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(3)]
        self._written = threading.Semaphore(0)

    def _write(self) -> None:
        n = 0
        while not self._enough.is_set():
            record = add(self._client, fresh_number())
            if n % 2:
                self._client.delete(f"/api/dnc/delete/{record}").raise_for_status()
            n += 1
            self._written.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._written.acquire(timeout=60)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()


def replayed(data: Path, org_id: str, seq: int) -> list[str]:
    """The numbers on the list at `seq`, as the ledger tells it."""
    listed = set()
    after = 0
    while entries := document(
        "ledger", "show", "--after", str(after), "--limit", "1000", "--org", org_id, data=data
    ):
        for entry in entries:
            numbers = {item["number"] for item in entry["items"]}
            if entry["seq"] <= seq and entry["kind"] == "add":
                listed |= numbers
            elif entry["seq"] <= seq and entry["kind"] == "delete":
                listed -= numbers
        after = entries[-1]["seq"]
    return sorted(listed)


def listed(data: Path, org_id: str) -> list[str]:
    found = document("dnc", "find", "--limit", "1000", "--org", org_id, data=data)
    assert found["total"] == len(found["records"]) < 1000
    return sorted(record["phoneNumber"] for record in found["records"])


def rows(data: Path, org_id: str) -> dict[str, list[tuple]]:
    """Everything the database holds of an organization, but how far its mails have come: that
    moves by itself.
    """
    with (
        contextlib.closing(open_embedded(data)) as embedded,
        psycopg.connect(embedded.owner_url) as owner,
    ):
        tables = owner.execute(
            "select table_name from information_schema.columns "
            "where table_schema = 'nocall' and column_name = 'org_id' "
            "and table_name <> 'follower_cursor'"
        ).fetchall()
        return {
            table: sorted(
                owner.execute(f"select * from nocall.{table} where org_id = %s", [org_id]), key=str
            )
            for (table,) in tables
        }


def test_a_backup_under_writes_restores_to_one_instant(own, tmp_path, place):
    """The quiet organization is the same to the last byte, the busy one is as it was at some seq:
    its list is what its ledger says, and its head is one the source has had.
    """
    (quiet_id, quiet), (busy_id, busy) = tenant(own, "Quiet"), tenant(own, "Busy")
    file = tmp_path / "backup"
    with quiet, busy:
        live(quiet)
        with Writers(busy) as writers:
            writers.wait_for(20)
            made = nocall_json("backup", str(file), data=own.data)
            writers.wait_for(20)
    assert made == {"file": str(file), "bytes": file.stat().st_size}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    restored = place / "restored"
    torn = tmp_path / "torn"
    torn.write_bytes(file.read_bytes()[:-100])
    for broken in (torn, NOCALL):
        assert "pg_restore failed" in refused("restore", str(broken), data=restored, code=3)
    assert list(restored.iterdir()) == [], "the next try finds an empty folder"
    said = document("restore", str(file), data=restored)
    heads = {one["id"]: one["head"] for one in said["organizations"]}
    assert {quiet_id, busy_id} <= set(heads)

    with contextlib.closing(open_embedded(restored)):
        assert rows(restored, quiet_id) == rows(own.data, quiet_id)
        for org_id, head in heads.items():
            found = document("ledger", "verify", "--org", org_id, data=restored)
            assert found["head"] == head
            document("ledger", "verify", "--expect-head", head, "--org", org_id, data=own.data)
        seq = int(heads[busy_id].split(":")[0])
        now = document("ledger", "verify", "--org", busy_id, data=own.data)["entryCount"]
        assert 20 <= seq < now
        assert listed(restored, busy_id) == replayed(own.data, busy_id, seq)
        assert listed(own.data, busy_id) == replayed(own.data, busy_id, now)


def test_restore_wants_an_empty_folder(data, tmp_path):
    """What is there is left as it is."""
    file = tmp_path / "backup"
    done("backup", str(file), data=data)
    before = document("org", "list", data=data)
    assert "needs an empty data folder" in refused("restore", str(file), data=data, code=3)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    line = refused("restore", str(file), data=tmp_path / "used", code=3)
    assert "needs an empty data folder" in line
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["file"]
    assert document("org", "list", data=data) == before


def test_what_is_no_backup_is_refused(tmp_path):
    assert "does not exist" in refused("restore", str(tmp_path / "none"), data=tmp_path, code=2)
    assert "is a directory" in refused("restore", str(tmp_path), data=tmp_path, code=2)


def test_a_backup_that_cannot_be_written(data, tmp_path):
    target = tmp_path / "none" / "backup"
    assert f"cannot write {target}" in refused("backup", str(target), data=data, code=3)


def test_migrate(place):
    """Twice is once."""
    data = place / "migrate"
    assert document("migrate", data=data) == {"version": 1, "applied": [1]}
    assert document("migrate", data=data) == {"version": 1, "applied": []}
    text = done("migrate", data=data).stdout
    assert text == "The database is at version 1; applied: nothing.\n"


@pytest.mark.parametrize("command", [("migrate",), ("restore", str(NOCALL))])
def test_only_the_owner_migrates_and_restores(tmp_path, command):
    url = "postgresql://app:x@127.0.0.1:1/nocall"
    line = refused(*command, data=tmp_path, code=3, NOCALL_DATABASE_URL=url)
    assert "NOCALL_DATABASE_OWNER_URL is needed" in line


def test_commands_work_beside_a_service(own):
    made = nocall_json("org", "create", "Beside", *ADMIN, data=own.data)
    assert made in nocall_json("org", "list", data=own.data)
    with own.client() as client:
        assert client.get("/health/ready").status_code == 200


def test_commands_work_without_a_service(place, pristine):
    """They start the database themselves, and stop it when they are done."""
    data = copy_of(pristine, place / "alone")
    made = nocall_json("org", "create", "Alone", *ADMIN, data=data)
    assert not (data / "postgres" / "postmaster.pid").exists()
    assert run_nocall("org", "list", data=data).stdout.count(made["id"]) == 1
    assert not (data / "postgres" / "postmaster.pid").exists()


def test_worker(place, pristine):
    """What a service without a worker leaves, a worker beside it does."""
    data = copy_of(pristine, place / "worker")
    with Service.start(data, NOCALL_WORKER="false") as service:
        org_id, client = tenant(service, "Worked for")
        number = fresh_number()
        with client:
            add(client, number)
        with subprocess.Popen(
            [NOCALL, "worker", "--json"],
            env=clean_environment(NOCALL_DATA=str(data)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as worker:
            assert worker.stdout.readline() == '{"working": true}\n'
            try:
                (mail,) = eventually(lambda: list((data / "mail").glob("*.eml")))
            finally:
                worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        assert number in mail.read_text()
        assert mail.name.startswith(org_id)
        assert service.stop() == 0
