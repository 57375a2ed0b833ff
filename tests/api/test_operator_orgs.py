"""/api/operator/orgs: create, list, change, export, purge, and an organization's first token."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from psycopg import sql

from conftest import ALL_SCOPES, assert_problem, fresh_number, run_nocall

PATH = "/api/operator/orgs"
UNKNOWN = "0123456789abcdef01234567"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BAD_IDS = ["x", "0" * 23, "0" * 25, "A" * 24, "%00" * 24]
PLAIN = {"name": "Example Ltd", "adminEmail": "admin@example.com"}
REQUESTS = [
    ("POST", PATH),
    ("GET", PATH),
    ("PATCH", f"{PATH}/not-an-id"),
    ("GET", f"{PATH}/not-an-id/export"),
    ("DELETE", f"{PATH}/not-an-id"),
    ("POST", f"{PATH}/not-an-id/tokens"),
]


def _create(operator: httpx.Client, **changes: object) -> httpx.Response:
    return operator.post(PATH, json={**PLAIN, **changes})


def _export(operator: httpx.Client, org_id: str) -> list[dict]:
    answer = operator.get(f"{PATH}/{org_id}/export")
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def _known(operator: httpx.Client) -> dict[str, dict]:
    return {one["_id"]: one for one in operator.get(PATH).json()["data"]["organizations"]}


@pytest.fixture
def row_counts(owner_url):
    """How many rows of an organization each table holds, of those that hold any.

    Without the followers' cursors, which move when they will.
    """

    def count(org_id):
        found = {}
        with psycopg.connect(owner_url, options="-c search_path=nocall") as connection:
            tables = connection.execute(
                "select table_name from information_schema.columns "
                "where table_schema = 'nocall' and column_name = 'org_id' "
                "and table_name <> 'follower_cursor'"
            ).fetchall()
            for (table,) in tables:
                statement = sql.SQL("select count(*) from {} where org_id = %s")
                (rows,) = connection.execute(
                    statement.format(sql.Identifier(table)), [org_id]
                ).fetchone()
                if rows:
                    found[table] = rows
        return found

    return count


@dataclass
class Leaver:
    """An organization with something of everything, and one that stays beside it."""

    org_id: str
    client: httpx.Client
    token: str
    number: str


@pytest.fixture
def leaver(service, cast) -> Leaver:
    token = cast.owner.post(
        "/api/org/tokens", json={"scopes": list(ALL_SCOPES), "name": "leaver"}
    ).json()["data"]["token"]
    number = fresh_number()
    batch_id, request_uuid = cast.make_call(number)
    cast.owner.post(
        "/api/dnc/add",
        json={"phoneNumber": number, "batchId": batch_id, "requestUUID": request_uuid},
        headers={"Idempotency-Key": "one"},
    ).raise_for_status()
    return Leaver(cast.org_id, cast.owner, token, number)


class TestCreate:
    def test_it_works(self, operator, entries):
        answer = _create(operator, region="gb")
        body = answer.json()
        assert answer.status_code == 201
        assert list(body) == ["message", "status", "code", "errorMessage", "data"]
        assert body["message"] == "Organization created successfully"
        assert (body["status"], body["code"], body["errorMessage"]) == (True, 201, "")
        org = body["data"]
        assert list(org) == ["_id", "name", "adminEmail", "region", "createdAt"]
        assert (org["name"], org["adminEmail"]) == ("Example Ltd", "admin@example.com")
        assert org["region"] == "GB"
        assert INSTANT.fullmatch(org["createdAt"])
        (entry,) = entries(org["_id"])
        assert (entry["seq"], entry["kind"], entry["actor"]) == (1, "org_created", "tests")
        assert json.loads(entry["detail"]) == {
            "name": "Example Ltd",
            "adminEmail": "admin@example.com",
            "region": "GB",
        }

    def test_a_new_organization_has_an_empty_list_that_is_on(self, operator, new_client):
        org = _create(operator).json()["data"]
        client = new_client(org["_id"])
        assert client.get("/api/dnc/list").json()["data"]["pagination"]["total"] == 0
        settings = client.get("/api/dnc/settings").json()["data"]
        assert settings == {"enable": True, "orgId": org["_id"], "region": "US"}

    def test_two_of_one_name_are_two(self, operator):
        first, second = (_create(operator).json()["data"]["_id"] for _ in range(2))
        assert first != second

    @pytest.mark.parametrize("field", ["name", "adminEmail"])
    def test_a_missing_field_is_400(self, operator, field):
        body = {name: value for name, value in PLAIN.items() if name != field}
        assert_problem(operator.post(PATH, json=body), 400, "field_missing", field)

    @pytest.mark.parametrize(
        ("field", "value", "code", "words"),
        [
            ("name", " ", "field_missing", []),
            ("name", "n" * 201, "field_invalid", ["201 bytes", "200"]),
            ("name", "a\x00b", "field_invalid", ["control character"]),
            ("name", 7, "field_invalid", ["7"]),
            ("adminEmail", "", "field_missing", []),
            ("adminEmail", "nobody", "field_invalid", ["nobody"]),
            ("adminEmail", "a@b.c, d@e.f", "field_invalid", ["one e-mail address"]),
            ("adminEmail", "a@b@c.d", "field_invalid", ["one e-mail address"]),
            ("adminEmail", "a@b.c\r\nBcc: d@e.f", "field_invalid", ["control character"]),
            ("adminEmail", "a" * 251 + "@b.c", "field_invalid", ["255 bytes", "254"]),
            ("region", "", "field_invalid", ["two-letter"]),
            ("region", "USA", "field_invalid", ["USA"]),
            ("region", "ZZ", "field_invalid", ["ZZ"]),
            ("region", "001", "field_invalid", ["001"]),
        ],
    )
    def test_a_bad_value_is_400_and_nothing_is_stored(self, operator, field, value, code, words):
        before = len(_known(operator))
        assert_problem(_create(operator, **{field: value}), 400, code, field, *words)
        assert len(_known(operator)) == before


class TestList:
    def test_it_works(self, operator):
        """Oldest first, each as it was made."""
        made = [_create(operator, name=name).json()["data"] for name in ("One", "Two")]
        answer = operator.get(PATH)
        assert answer.status_code == 200
        assert answer.json()["message"] == "Organizations fetched successfully"
        assert answer.json()["data"]["organizations"][-2:] == made


class TestChange:
    def test_it_works(self, operator, cast, entries):
        before = _known(operator)[cast.org_id]
        answer = operator.patch(
            f"{PATH}/{cast.org_id}", json={"adminEmail": "new@example.com", "region": "de"}
        )
        assert answer.status_code == 200
        assert answer.json()["message"] == "Organization updated successfully"
        changed = {**before, "adminEmail": "new@example.com", "region": "DE"}
        assert answer.json()["data"] == changed
        assert _known(operator)[cast.org_id] == changed
        (entry,) = entries(cast.org_id, "org_changed")
        assert json.loads(entry["detail"]) == {
            "adminEmail": ["admin@test.example", "new@example.com"],
            "region": ["US", "DE"],
        }

    @pytest.mark.parametrize(
        ("change", "left"), [({"region": "GB"}, "adminEmail"), ({"adminEmail": "n@e.f"}, "region")]
    )
    def test_what_is_not_given_stays(self, operator, cast, change, left):
        before = _known(operator)[cast.org_id]
        after = operator.patch(f"{PATH}/{cast.org_id}", json=change).json()["data"]
        assert after == {**before, **change}
        assert after[left] == before[left]

    @pytest.mark.parametrize(
        "change", [{}, {"region": "US"}, {"adminEmail": "admin@test.example", "region": None}]
    )
    def test_no_change_is_no_entry(self, operator, cast, entries, change):
        answer = operator.patch(f"{PATH}/{cast.org_id}", json=change)
        assert answer.status_code == 200
        assert entries(cast.org_id, "org_changed") == []

    def test_the_region_decides_how_bare_digits_are_read(self, operator, cast):
        """At home in Germany 030 is Berlin."""
        query = {"phoneNumber": "030 12345678"}
        before = cast.owner.get("/api/dnc/check", params=query).json()["data"]
        assert before["phoneNumber"] != "493012345678"
        operator.patch(f"{PATH}/{cast.org_id}", json={"region": "DE"}).raise_for_status()
        token = operator.post(f"{PATH}/{cast.org_id}/tokens", json={"scopes": ["dnc:read"]}).json()[
            "data"
        ]["token"]
        answer = operator.get(
            "/api/dnc/check", params=query, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.json()["data"]["phoneNumber"] == "493012345678"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"region": "ZZ"}, ["region", "ZZ"]),
            ({"region": 7}, ["region", "7"]),
            ({"adminEmail": "nobody"}, ["adminEmail", "nobody"]),
        ],
    )
    def test_a_bad_value_is_400(self, operator, cast, entries, change, words):
        answer = operator.patch(f"{PATH}/{cast.org_id}", json=change)
        assert_problem(answer, 400, "field_invalid", *words)
        assert entries(cast.org_id, "org_changed") == []

    def test_an_unknown_organization_is_404(self, operator):
        answer = operator.patch(f"{PATH}/{UNKNOWN}", json={"region": "GB"})
        assert_problem(answer, 404, "organization_not_found", UNKNOWN)

    @pytest.mark.parametrize("bad", BAD_IDS)
    def test_a_malformed_id_is_400(self, operator, bad):
        answer = operator.patch(f"{PATH}/{bad}", json={"region": "GB"})
        assert_problem(answer, 400, "field_invalid", "org_id")


class TestExport:
    def test_it_works(self, operator, leaver, entries):
        """An object a line, with something of everything, and the whole ledger at the end."""
        answer = operator.get(f"{PATH}/{leaver.org_id}/export")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("application/x-ndjson")
        assert answer.headers["Content-Disposition"] == (
            f'attachment; filename="nocall-{leaver.org_id}.jsonl"'
        )
        lines = [json.loads(line) for line in answer.text.splitlines()]
        by_kind: dict[str, list[dict]] = {}
        for line in lines:
            by_kind.setdefault(line["kind"], []).append(line)
        assert set(by_kind) == {
            "organization",
            "token",
            "record",
            "batch",
            "call",
            "attempt",
            "ledger",
        }
        assert lines[0]["kind"] == "organization"
        assert lines[0]["orgId"] == leaver.org_id
        (record,) = by_kind["record"]
        (attempt,) = by_kind["attempt"]
        assert record["phoneNumber"] == leaver.number == by_kind["call"][0]["phoneNumber"]
        assert record["transcription"] == attempt["transcript"] == "Please stop calling me."
        assert record["callRecording"] == attempt["recordingUrl"]
        ledger = [line["line"] for line in by_kind["ledger"]]
        stored = entries(leaver.org_id)
        assert ledger[0]["head"]["seq"] == lines[0]["seq"] == len(stored)
        assert ledger[0]["head"]["hash"] == ledger[-1]["hash"]
        assert [line["kind"] for line in ledger[1:]] == [entry["kind"] for entry in stored]

    def test_no_token_can_be_had_from_it(self, operator, leaver, owner_url):
        """Neither the text, nor its secret, nor the hash."""
        text = operator.get(f"{PATH}/{leaver.org_id}/export").text
        assert '"leaver"' in text
        assert leaver.token.split("_", 2)[2] not in text
        with psycopg.connect(owner_url) as connection:
            hashes = connection.execute(
                "select encode(hash, 'hex'), encode(hash, 'base64') from nocall.token "
                "where org_id = %s",
                [leaver.org_id],
            ).fetchall()
        assert len(hashes) > 1
        assert not [part for row in hashes for part in row if part in text]

    def test_nothing_of_another_organization_is_in_it(self, operator, leaver, cast):
        number = fresh_number()
        cast.stranger.post("/api/dnc/add", json={"phoneNumber": number, "source": "manual"})
        text = operator.get(f"{PATH}/{leaver.org_id}/export").text
        assert leaver.number in text
        assert number not in text
        assert cast.stranger_org_id not in text

    def test_an_export_is_no_entry(self, operator, leaver, entries):
        before = entries(leaver.org_id)
        _export(operator, leaver.org_id)
        assert entries(leaver.org_id) == before

    def test_an_unknown_organization_is_404(self, operator):
        answer = operator.get(f"{PATH}/{UNKNOWN}/export")
        assert_problem(answer, 404, "organization_not_found", UNKNOWN)

    @pytest.mark.parametrize("bad", BAD_IDS)
    def test_a_malformed_id_is_400(self, operator, bad):
        answer = operator.get(f"{PATH}/{bad}/export")
        assert_problem(answer, 400, "field_invalid", "org_id")


class TestPurge:
    def test_without_an_export_is_409(self, operator, leaver, row_counts):
        before = row_counts(leaver.org_id)
        answer = operator.delete(f"{PATH}/{leaver.org_id}")
        assert_problem(answer, 409, "conflict", "export", "none")
        assert row_counts(leaver.org_id) == before

    def test_after_a_newer_entry_is_409_until_exported_again(self, operator, leaver):
        seq = _export(operator, leaver.org_id)[0]["seq"]
        leaver.client.post(
            "/api/dnc/add", json={"phoneNumber": fresh_number(), "source": "manual"}
        ).raise_for_status()
        answer = operator.delete(f"{PATH}/{leaver.org_id}")
        assert_problem(answer, 409, "conflict", f"stands at seq {seq + 1}", f"export at {seq}")
        _export(operator, leaver.org_id)
        assert operator.delete(f"{PATH}/{leaver.org_id}").status_code == 200

    def test_it_works(self, operator, leaver, cast, row_counts):
        """The list, batches, calls and tokens are gone at once; the ledger is left for the owner's
        login to erase, and the id with nothing about whose it was.
        """
        assert set(row_counts(leaver.org_id)) >= {
            "dnc_record",
            "dnc_state",
            "dnc_block",
            "batch",
            "call",
            "attempt",
            "token",
            "idempotency",
        }
        stranger = row_counts(cast.stranger_org_id)
        _export(operator, leaver.org_id)
        answer = operator.delete(f"{PATH}/{leaver.org_id}")
        assert answer.status_code == 200
        assert answer.json() == {
            "message": "Organization purged successfully",
            "status": True,
            "code": 200,
            "errorMessage": "",
            "data": {
                "_id": leaver.org_id,
                "ledger": f"kept until nocall org purge --org {leaver.org_id}",
            },
        }
        assert set(row_counts(leaver.org_id)) <= {
            "org",
            "ledger_head",
            "ledger_entry",
            "ledger_item",
        }
        assert row_counts(cast.stranger_org_id) == stranger

    def test_its_tokens_are_401_afterwards(self, service, operator, leaver):
        """One that no process has seen before; one that was just used is known for half a second,
        in which it finds nothing and changes nothing.
        """
        _export(operator, leaver.org_id)
        leaver.client.get("/api/dnc/list").raise_for_status()
        operator.delete(f"{PATH}/{leaver.org_id}").raise_for_status()
        with service.client(leaver.token) as unseen:
            assert_problem(unseen.get("/api/dnc/list"), 401, "not_authenticated")
            add = {"phoneNumber": leaver.number, "source": "manual"}
            assert_problem(unseen.post("/api/dnc/add", json=add), 401, "not_authenticated")

    def test_a_token_still_trusted_adds_nothing(self, operator, leaver, row_counts):
        _export(operator, leaver.org_id)
        leaver.client.get("/api/dnc/list").raise_for_status()
        operator.delete(f"{PATH}/{leaver.org_id}").raise_for_status()
        add = {"phoneNumber": fresh_number(), "source": "manual"}
        answer = leaver.client.post("/api/dnc/add", json=add)
        assert answer.status_code in (401, 404), answer.text
        check = leaver.client.get("/api/dnc/check", params={"phoneNumber": leaver.number})
        assert check.status_code in (401, 404), check.text
        assert "dnc_record" not in row_counts(leaver.org_id)

    def test_the_row_keeps_no_name_and_no_address(self, operator, leaver, owner_url):
        _export(operator, leaver.org_id)
        operator.delete(f"{PATH}/{leaver.org_id}").raise_for_status()
        with psycopg.connect(owner_url) as connection:
            row = connection.execute(
                "select name, admin_email, purged_at is not null from nocall.org where org_id = %s",
                [leaver.org_id],
            ).fetchone()
        assert row == ("", "", True)
        assert leaver.org_id not in _known(operator)

    def test_its_ledger_is_erased_by_name(self, service, operator, leaver, cast, row_counts):
        """By a person at the machine, with the owner's login; no migration or start does it."""
        stranger = row_counts(cast.stranger_org_id)
        _export(operator, leaver.org_id)
        operator.delete(f"{PATH}/{leaver.org_id}").raise_for_status()
        assert row_counts(leaver.org_id)["ledger_entry"] > 0
        run_nocall("migrate", data=service.data)
        assert row_counts(leaver.org_id)["ledger_entry"] > 0
        run_nocall("org", "purge", "--org", leaver.org_id, "--yes", data=service.data)
        assert row_counts(leaver.org_id) == {"org": 1}
        assert row_counts(cast.stranger_org_id) == stranger

    def test_a_purged_organization_is_404(self, operator, leaver, row_counts):
        """To everything that an operator may ask of it."""
        _export(operator, leaver.org_id)
        operator.delete(f"{PATH}/{leaver.org_id}").raise_for_status()
        path, before = f"{PATH}/{leaver.org_id}", row_counts(leaver.org_id)
        for answer in (
            operator.delete(path),
            operator.get(f"{path}/export"),
            operator.patch(path, json={"adminEmail": "new@example.com"}),
            operator.post(f"{path}/tokens", json={"scopes": ["dnc:read"]}),
        ):
            assert_problem(answer, 404, "organization_not_found", leaver.org_id)
        assert row_counts(leaver.org_id) == before

    def test_two_purges_at_once(self, operator, leaver):
        _export(operator, leaver.org_id)
        with ThreadPoolExecutor(2) as pool:
            codes = pool.map(
                lambda _: operator.delete(f"{PATH}/{leaver.org_id}").status_code, range(2)
            )
        assert sorted(codes) == [200, 404]

    def test_an_export_that_was_broken_off_does_not_count(self, service, operator, leaver, cast):
        """The reader leaves after the first bytes of an answer that no buffer can hold."""
        for _ in range(12):
            cast.make_call(fresh_number(), transcript="x" * 1024 * 1024)
        path, identity = f"{PATH}/{leaver.org_id}", f"broken-off-{leaver.org_id}"
        with operator.stream("GET", f"{path}/export", headers={"X-Request-Id": identity}) as answer:
            assert answer.status_code == 200
            assert next(answer.iter_bytes())
        deadline = time.monotonic() + 30
        while identity not in service.log.read_text():
            assert time.monotonic() < deadline, "the service has not done with the request"
            time.sleep(0.02)
        assert_problem(operator.delete(path), 409, "conflict", "none")

    def test_an_unknown_organization_is_404(self, operator):
        answer = operator.delete(f"{PATH}/{UNKNOWN}")
        assert_problem(answer, 404, "organization_not_found", UNKNOWN)

    @pytest.mark.parametrize("bad", BAD_IDS)
    def test_a_malformed_id_is_400(self, operator, bad):
        assert_problem(operator.delete(f"{PATH}/{bad}"), 400, "field_invalid", "org_id")


class TestToken:
    def test_it_works(self, service, operator, cast, entries):
        """The operator may give any scope; whoever it is, the ledger names."""
        answer = operator.post(
            f"{PATH}/{cast.org_id}/tokens", json={"scopes": list(ALL_SCOPES), "name": "first"}
        )
        assert answer.status_code == 201
        view = answer.json()["data"]
        assert (view["name"], view["createdBy"]) == ("first", "tests")
        assert view["scopes"] == sorted(ALL_SCOPES)
        with service.client(view["token"]) as client:
            assert client.get("/api/org/tokens").status_code == 200
        entry = entries(cast.org_id, "token_created")[-1]
        assert entry["actor"] == "tests"
        assert json.loads(entry["detail"])["tokenId"] == view["_id"]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"scopes": ["operator"]}, ["scopes", "operator"]),
            ({"scopes": []}, ["scopes", "at least one"]),
            ({"expiresAt": "2001-01-01T00:00:00Z"}, ["expiresAt", "future"]),
        ],
    )
    def test_a_bad_value_is_400(self, operator, cast, changes, words):
        body = {"scopes": ["dnc:read"], **changes}
        answer = operator.post(f"{PATH}/{cast.org_id}/tokens", json=body)
        assert_problem(answer, 400, "field_invalid", *words)

    def test_an_unknown_organization_is_404(self, operator):
        answer = operator.post(f"{PATH}/{UNKNOWN}/tokens", json={"scopes": ["dnc:read"]})
        assert_problem(answer, 404, "organization_not_found", UNKNOWN)

    @pytest.mark.parametrize("bad", BAD_IDS)
    def test_a_malformed_id_is_400(self, operator, bad):
        answer = operator.post(f"{PATH}/{bad}/tokens", json={"scopes": ["dnc:read"]})
        assert_problem(answer, 400, "field_invalid", "org_id")


class TestWhoMay:
    @pytest.mark.parametrize("who", ["nobody", "expired", "revoked", "owner", "stranger"])
    @pytest.mark.parametrize(("method", "path"), REQUESTS)
    def test_anybody_else_is_401_before_anything_else(self, cast, who, method, path):
        """An organization's token too, whatever its scopes."""
        answer = getattr(cast, who).request(method, path, content=b"{")
        assert_problem(answer, 401, "not_authenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/api/dnc/add"),
            ("GET", "/api/dnc/list"),
            ("GET", "/api/dnc/record/not-an-id"),
            ("DELETE", "/api/dnc/delete/not-an-id"),
            ("DELETE", "/api/dnc/delete"),
            ("POST", "/api/dnc/enable-disable"),
            ("GET", "/api/dnc/settings"),
            ("GET", "/api/dnc/check?phoneNumber=12125550123"),
            ("POST", "/api/dnc/check"),
            ("POST", "/api/call/createBatch"),
            ("POST", "/api/call/addCallsToBatch"),
            ("GET", "/api/call/batch-details/not-an-id"),
            ("POST", "/api/call/report"),
        ],
    )
    def test_an_operators_token_is_401_on_an_organizations_routes(self, operator, method, path):
        answer = operator.request(method, path, content=b"{")
        assert_problem(answer, 401, "not_authenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_a_revoked_operators_token_is_401(self, service, operator):
        made = json.loads(
            run_nocall("token", "create", "--operator", "--json", data=service.data).stdout
        )
        with service.client(made["token"]) as client:
            assert client.get(PATH).status_code == 200
            run_nocall("token", "revoke", made["id"], "--operator", data=service.data)
            assert_problem(client.get(PATH), 401, "not_authenticated", "revoked")
