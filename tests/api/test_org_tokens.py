"""POST and GET /api/org/tokens, DELETE /api/org/tokens/{id}."""

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from psycopg import sql

from conftest import ALL_SCOPES, Service, assert_problem

PATH = "/api/org/tokens"
UNKNOWN = "0123456789abcdef01234567"
CHECK = "/api/dnc/check?phoneNumber=12125550123"


def _create(client: httpx.Client, *scopes: str, **more: object) -> httpx.Response:
    return client.post(PATH, json={"scopes": list(scopes or ["dnc:read"]), **more})


def _created(client: httpx.Client, *scopes: str, **more: object) -> dict:
    answer = _create(client, *scopes, **more)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def _names(client: httpx.Client) -> list[str]:
    return [one["name"] for one in client.get(PATH).json()["data"]["tokens"]]


def _in(**duration: float) -> str:
    return (datetime.now(UTC) + timedelta(**duration)).isoformat()


def test_it_works(service, cast, entries):
    """The token says whose it is, works at once and for what it was made for alone."""
    answer = _create(cast.owner, "dnc:write", "dnc:read", name="dialer")
    body = answer.json()
    assert answer.status_code == 201
    assert list(body) == ["message", "status", "code", "errorMessage", "data"]
    assert body["message"] == "Token created successfully"
    assert (body["status"], body["code"], body["errorMessage"]) == (True, 201, "")
    view = body["data"]
    assert list(view) == [
        "_id",
        "name",
        "scopes",
        "createdAt",
        "createdBy",
        "expiresAt",
        "revokedAt",
        "token",
    ]
    assert (view["name"], view["scopes"]) == ("dialer", ["dnc:read", "dnc:write"])
    assert (view["createdBy"], view["expiresAt"], view["revokedAt"]) == ("test", None, None)
    assert view["token"].startswith(f"nocall_{cast.org_id}_")
    with service.client(view["token"]) as made:
        assert made.get(CHECK).status_code == 200
        assert_problem(made.get(PATH), 403, "scope_missing", "admin")
    entry = entries(cast.org_id, "token_created")[-1]
    assert (entry["actor"], json.loads(entry["detail"])) == (
        "test",
        {
            "tokenId": view["_id"],
            "name": "dialer",
            "scopes": ["dnc:read", "dnc:write"],
            "expiresAt": None,
        },
    )


def test_a_token_is_shown_once(cast):
    made = _created(cast.owner)
    listed = cast.owner.get(PATH)
    assert "token" not in listed.json()["data"]["tokens"][-1]
    revoked = cast.owner.delete(f"{PATH}/{made['_id']}")
    secret = made["token"].split("_", 2)[2]
    assert secret not in listed.text
    assert secret not in revoked.text


def test_only_its_hash_is_stored(cast, owner_url):
    """No row of any table holds the token, as text or as bytes."""
    made = _created(cast.owner)
    secret = made["token"].split("_", 2)[2]
    with psycopg.connect(owner_url) as connection:
        (stored,) = connection.execute(
            "select hash from nocall.token where token_id = %s", [made["_id"]]
        ).fetchone()
        tables = connection.execute(
            "select schemaname, tablename from pg_tables "
            "where schemaname in ('nocall', 'procrastinate')"
        ).fetchall()
        assert ("nocall", "token") in tables
        for table in tables:
            statement = sql.SQL("select count(*) from {} as t where t::text ~ %s").format(
                sql.Identifier(*table)
            )
            pattern = f"{secret}|{secret.encode().hex()}"
            assert connection.execute(statement, [pattern]).fetchone() == (0,), table
    assert stored == hashlib.sha256(made["token"].encode()).digest()


def test_a_token_gives_out_no_scope_that_it_lacks(cast, new_client, entries):
    admin = new_client(cast.org_id, "admin", "dnc:read")
    before = len(entries(cast.org_id))
    answer = _create(admin, "admin", "dnc:read", "dnc:delete", "call:write", name="more")
    assert_problem(answer, 403, "scope_missing", "call:write, dnc:delete")
    assert "more" not in _names(admin)
    assert len(entries(cast.org_id)) == before
    made = _created(admin, "admin", "dnc:read")
    assert made["scopes"] == ["admin", "dnc:read"]


def test_what_a_token_made_makes_no_more_than_it(service, cast):
    """Not over two steps either."""
    made = _created(cast.owner, "admin")
    with service.client(made["token"]) as weaker:
        assert_problem(_create(weaker, "dnc:write"), 403, "scope_missing", "dnc:write")


@pytest.mark.parametrize("scope", ALL_SCOPES)
def test_every_scope_may_be_given(cast, scope):
    assert _created(cast.owner, scope)["scopes"] == [scope]


def test_a_scope_named_twice_is_one(cast):
    assert _created(cast.owner, "dnc:read", "dnc:read")["scopes"] == ["dnc:read"]


def test_an_expiry_is_shown_and_kept(service, cast):
    made = _created(cast.owner, expiresAt="2999-01-01T00:00:00+02:00")
    assert made["expiresAt"] == "2998-12-31T22:00:00.000Z"
    with service.client(made["token"]) as client:
        assert client.get(CHECK).status_code == 200


def test_a_token_ends_at_its_expiry(service, cast):
    made = _created(cast.owner, expiresAt=_in(seconds=2))
    with service.client(made["token"]) as client:
        deadline = time.monotonic() + 20
        while client.get(CHECK).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert datetime.now(UTC) >= datetime.fromisoformat(made["expiresAt"])
        assert_problem(client.get(CHECK), 401, "not_authenticated", "expired")
        assert_problem(client.get("/api/dnc/list"), 401, "not_authenticated", "expired")


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"scopes": ["dnc:everything"]}, "field_invalid", ["scopes", "dnc:everything"]),
        ({"scopes": ["DNC:READ"]}, "field_invalid", ["scopes", "DNC:READ"]),
        ({"scopes": ["operator"]}, "field_invalid", ["scopes", "operator"]),
        ({"scopes": []}, "field_invalid", ["scopes", "at least one"]),
        ({"scopes": "dnc:read"}, "field_invalid", ["scopes", "dnc:read"]),
        ({"scopes": [7]}, "field_invalid", ["scopes[0]", "7"]),
        ({"name": "n" * 101}, "field_invalid", ["name", "101 bytes", "100"]),
        ({"name": "a\nb"}, "field_invalid", ["name", "control character"]),
        ({"name": 7}, "field_invalid", ["name", "7"]),
        ({"expiresAt": "2001-01-01T00:00:00Z"}, "field_invalid", ["expiresAt", "future"]),
        ({"expiresAt": "2999-01-01T00:00:00"}, "field_invalid", ["expiresAt", "zone"]),
        ({"expiresAt": "tomorrow"}, "field_invalid", ["expiresAt", "tomorrow"]),
        ({"expiresAt": "9999-12-31T23:59:59-23:59"}, "field_invalid", ["expiresAt"]),
        ({"expiresAt": 4_000_000_000}, "field_invalid", ["expiresAt"]),
    ],
)
def test_a_bad_value_is_400_and_nothing_is_stored(cast, entries, changes, code, words):
    tokens, ledger = _names(cast.owner), len(entries(cast.org_id))
    answer = cast.owner.post(PATH, json={"scopes": ["dnc:read"], "name": "bad", **changes})
    assert_problem(answer, 400, code, *words)
    assert _names(cast.owner) == tokens
    assert len(entries(cast.org_id)) == ledger


def test_missing_scopes_are_400(cast):
    assert_problem(cast.owner.post(PATH, json={"name": "n"}), 400, "field_missing", "scopes")


@pytest.mark.parametrize("name", ["n" * 100, "é" * 50, " spaced ", ""])
def test_names(cast, name):
    """Blanks around it go; a token without one is called token."""
    assert _created(cast.owner, name=name)["name"] == (name.strip() or "token")


def test_the_list_is_the_organizations_own(cast, new_client):
    """Oldest first, ended ones too."""
    org_tokens = cast.owner.get(PATH).json()
    assert org_tokens["message"] == "Tokens fetched successfully"
    made = [_created(cast.owner, name=name)["_id"] for name in ("one", "two")]
    cast.owner.delete(f"{PATH}/{made[0]}").raise_for_status()
    _created(cast.stranger, name="theirs")
    listed = cast.owner.get(PATH).json()["data"]["tokens"]
    assert [one["_id"] for one in listed[-2:]] == made
    assert [one["revokedAt"] is None for one in listed[-2:]] == [False, True]
    assert "theirs" not in [one["name"] for one in listed]


def test_revoking(service, cast, entries):
    made = _created(cast.owner, name="leaver")
    answer = cast.owner.delete(f"{PATH}/{made['_id']}")
    assert answer.status_code == 200
    assert answer.json()["message"] == "Token revoked successfully"
    view = answer.json()["data"]
    assert (view["_id"], view["name"]) == (made["_id"], "leaver")
    assert view["revokedAt"] >= view["createdAt"]
    with service.client(made["token"]) as client:
        assert_problem(client.get(CHECK), 401, "not_authenticated", "revoked")
    (entry,) = entries(cast.org_id, "token_revoked")
    assert entry["actor"] == "test"
    assert json.loads(entry["detail"]) == {"tokenId": made["_id"], "name": "leaver"}


def test_revoking_again_changes_and_records_nothing(cast, entries):
    made = _created(cast.owner)
    first, second = (cast.owner.delete(f"{PATH}/{made['_id']}") for _ in range(2))
    assert second.status_code == 200
    assert first.json() == second.json()
    assert len(entries(cast.org_id, "token_revoked")) == 1


def test_a_token_may_end_itself(service, cast):
    made = _created(cast.owner, "admin")
    with service.client(made["token"]) as client:
        assert client.delete(f"{PATH}/{made['_id']}").status_code == 200
    assert cast.owner.get(PATH).json()["data"]["tokens"][-1]["revokedAt"]


def test_a_revoked_token_stops_on_every_process_within_a_second(service, cast):
    """Asked without pause, so that a process which trusts a token for as long as it is used would
    be found out. The clock runs from the acknowledgement, so a slow machine only gives more time.
    """
    made = _created(cast.owner, *ALL_SCOPES)
    with (
        Service.start(service.data) as second,
        service.client(made["token"]) as here,
        second.client(made["token"]) as there,
    ):
        for client in (here, there):
            assert client.get(CHECK).status_code == 200
            assert client.get("/api/dnc/list").status_code == 200
        cast.owner.delete(f"{PATH}/{made['_id']}").raise_for_status()
        ended = time.monotonic() + 1
        while time.monotonic() < ended:
            for client in (here, there):
                client.get(CHECK)
                client.get("/api/dnc/list")
        for client in (here, there):
            assert_problem(client.get(CHECK), 401, "not_authenticated", "revoked")
            assert_problem(client.get("/api/dnc/list"), 401, "not_authenticated", "revoked")
            body = {"phoneNumbers": ["12125550123"]}
            answer = client.post("/api/dnc/check", json=body)
            assert_problem(answer, 401, "not_authenticated", "revoked")


def test_a_strangers_token_is_404(service, cast):
    """A token's id tells nothing of another organization, not even that it is there."""
    made = _created(cast.stranger)
    answer = cast.owner.delete(f"{PATH}/{made['_id']}")
    assert_problem(answer, 404, "token_not_found", made["_id"])
    with service.client(made["token"]) as client:
        assert client.get(CHECK).status_code == 200


def test_an_unknown_token_is_404(cast, entries):
    assert_problem(cast.owner.delete(f"{PATH}/{UNKNOWN}"), 404, "token_not_found", UNKNOWN)
    assert entries(cast.org_id, "token_revoked") == []


@pytest.mark.parametrize("bad", ["x", "0" * 23, "0" * 25, "A" * 24, "%00" * 24])
def test_a_malformed_id_is_400(cast, bad):
    assert_problem(cast.owner.delete(f"{PATH}/{bad}"), 400, "field_invalid", "token_id")


REQUESTS = [("POST", PATH), ("GET", PATH), ("DELETE", f"{PATH}/not-an-id")]


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_no_credential_is_401_before_anything_else(cast, who, method, path):
    answer = getattr(cast, who).request(method, path, content=b"{")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_an_operators_token_is_401(operator, method, path):
    """It is no organization's."""
    assert_problem(operator.request(method, path, content=b"{"), 401, "not_authenticated")


@pytest.mark.parametrize("scope", [scope for scope in ALL_SCOPES if scope != "admin"])
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_wrong_scope_is_403_before_400(cast, new_client, scope, method, path):
    answer = new_client(cast.org_id, scope).request(method, path, content=b"{")
    assert_problem(answer, 403, "scope_missing", "admin")
