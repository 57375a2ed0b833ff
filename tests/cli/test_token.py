"""nocall token create, list, revoke."""

import contextlib
import json
import time

import psycopg
import pytest

from cli.conftest import call, document, done, refused
from conftest import run_nocall
from nocall.model import Scope, is_id
from nocall.store.embedded import open_embedded

UNKNOWN = "0123456789abcdef01234567"


def test_create(data, org_id):
    """The text is shown this once; the ledger has who made it and for what."""
    made = document(
        *("token", "create", "--scope", "dnc:read", "--scope", "dnc:write", "--name", "dialer"),
        *("--org", org_id, "--expires", "2100-01-31T00:00:00Z"),
        data=data,
    )
    assert made["token"].startswith(f"nocall_{org_id}_")
    assert is_id(made["id"])
    assert (made["orgId"], made["name"], made["scopes"]) == (org_id, "dialer", "dnc:read dnc:write")
    assert made["expiresAt"] == "2100-01-31T00:00:00.000Z"
    (entry,) = document("ledger", "show", "--after", "1", "--org", org_id, data=data)
    assert (entry["kind"], entry["actorKind"]) == ("token_created", "operator")
    assert json.loads(entry["detail"])["tokenId"] == made["id"]
    listed = call("token", "list", "--json", "--org", org_id, data=data).stdout
    assert made["id"] in listed
    assert made["token"] not in listed


def test_nothing_keeps_the_text(data, org_id):
    """Not the database and not the ledger, only its hash."""
    text = document("token", "create", "--scope", "admin", "--org", org_id, data=data)["token"]
    secret = text.rpartition("_")[2]
    with (
        contextlib.closing(open_embedded(data)) as embedded,
        psycopg.connect(embedded.owner_url) as owner,
    ):
        for table in ("token", "ledger_entry", "ledger_item", "org"):
            rows = owner.execute(f"select t::text from nocall.{table} t").fetchall()
            assert not any(secret in row[0] for row in rows), table


def test_every_scope_can_be_given(data, org_id):
    scopes = [part for scope in Scope for part in ("--scope", scope.value)]
    made = document("token", "create", *scopes, "--org", org_id, data=data)
    assert set(made["scopes"].split()) == {scope.value for scope in Scope}
    assert made["name"] == "token"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ((), 4, "--scope: is required"),
        (("--scope", "dnc:all"), 2, "--scope"),
        (("--scope", "admin", "--expires", "2020-01-01T00:00:00Z"), 4, "must be in the future"),
        (("--scope", "admin", "--expires", "tomorrow"), 4, "--expires: must be an instant"),
        (("--scope", "admin", "--expires", "2100-01-01T00:00:00"), 4, "--expires: needs a zone"),
        (("--scope", "admin", "--name", "a\x07b"), 4, "name: has a control character"),
        (("--scope", "admin", "--name", "x" * 101), 4, "name: has 101 bytes"),
    ],
)
def test_create_refuses(data, org_id, arguments, code, word):
    assert word in refused("token", "create", *arguments, "--org", org_id, data=data, code=code)
    assert document("token", "list", "--org", org_id, data=data) == []


def test_list_says_so_when_there_are_none(data, org_id):
    assert done("token", "list", "--org", org_id, data=data).stdout == "No tokens yet.\n"


def test_revoke(data, org_id):
    """Again changes nothing; the ledger has one entry."""
    made = document("token", "create", "--scope", "admin", "--org", org_id, data=data)
    for _ in range(2):
        said = document("token", "revoke", made["id"], "--org", org_id, data=data)
        assert said == {"id": made["id"], "revoked": True}
    (token,) = document("token", "list", "--org", org_id, data=data)
    assert token["revokedAt"] is not None
    kinds = [entry["kind"] for entry in document("ledger", "show", "--org", org_id, data=data)]
    assert kinds == ["org_created", "token_created", "token_revoked"]


def test_only_its_own_organization_revokes_it(data, org_id):
    made = document("token", "create", "--scope", "admin", "--org", org_id, data=data)
    other = document("org", "create", "Other", "--admin-email", "a@b.example", data=data)["id"]
    for token in (made["id"], UNKNOWN, "x"):
        line = refused("token", "revoke", token, "--org", other, data=data, code=5)
        assert f"no token {token}" in line


def test_operators_have_tokens_of_their_own(data):
    made = document("token", "create", "--operator", "--name", "ops", data=data)
    assert made["token"].startswith("nocallop_")
    assert (made["orgId"], made["name"], made["scopes"]) == (None, "ops", "")
    listed = document("token", "list", "--operator", data=data)
    assert [one["revokedAt"] for one in listed if one["id"] == made["id"]] == [None]
    assert made["token"] not in done("token", "list", "--operator", data=data).stdout
    document("token", "revoke", made["id"], "--operator", data=data)
    listed = document("token", "list", "--operator", data=data)
    assert [one["revokedAt"] is None for one in listed if one["id"] == made["id"]] == [False]
    assert UNKNOWN in refused("token", "revoke", UNKNOWN, "--operator", data=data, code=5)


def test_the_running_service_knows_within_a_second(service):
    """A token made at a terminal works at once, and ends when it is revoked there."""
    org_id = document(
        "org", "create", "Terminal", "--admin-email", "a@b.example", data=service.data
    )["id"]
    of_org = ("--org", org_id)
    made = document("token", "create", "--scope", "dnc:read", *of_org, data=service.data)
    with service.client(made["token"]) as client:
        assert client.get("/api/dnc/list").status_code == 200
        run_nocall("token", "revoke", made["id"], *of_org, data=service.data)
        revoked_at = asked_at = time.monotonic()
        while client.get("/api/dnc/list").status_code != 401:
            # However slow the machine is, what is asked a second later is refused.
            assert asked_at < revoked_at + 1.0
            asked_at = time.monotonic()
