"""nocall org create, list, set, export, purge."""

import contextlib
import json
from pathlib import Path

import psycopg
import pytest

from cli.conftest import call, document, done, refused
from conftest import copy_of, fresh_number
from nocall.model import is_id
from nocall.store.embedded import open_embedded

UNKNOWN = "0123456789abcdef01234567"


def kinds(data: Path, org_id: str) -> list[str]:
    return [entry["kind"] for entry in document("ledger", "show", "--org", org_id, data=data)]


def ids(data: Path) -> list[str]:
    return [one["id"] for one in document("org", "list", data=data)]


def test_create(data):
    made = document(
        "org",
        "create",
        " Ada & Söhne ",
        "--admin-email",
        "a@b.example",
        "--region",
        "de",
        data=data,
    )
    assert is_id(made["id"])
    assert (made["name"], made["adminEmail"], made["region"]) == (
        "Ada & Söhne",
        "a@b.example",
        "DE",
    )
    assert made in document("org", "list", data=data)
    assert kinds(data, made["id"]) == ["org_created"]


def test_create_says_the_id_to_people_too(data):
    text = done("org", "create", "Plain", "--admin-email", "a@b.example", data=data).stdout
    lines = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert is_id(lines["id"])
    assert (lines["name"], lines["region"]) == ("Plain", "US")
    assert lines["id"] in done("org", "list", data=data).stdout


@pytest.mark.parametrize(
    ("name", "email", "region", "word"),
    [
        ("", "a@b.example", "US", "name"),
        ("  ", "a@b.example", "US", "name"),
        ("a\nb", "a@b.example", "US", "name"),
        ("é" * 101, "a@b.example", "US", "name"),
        ("x", "", "US", "adminEmail"),
        ("x", "nobody", "US", "adminEmail"),
        ("x", "a@b.example, c@d.example", "US", "adminEmail"),
        ("x", "a@b.example\r\nBcc: c@d.example", "US", "adminEmail"),
        ("x", "a@b.example", "Utopia", "region"),
        ("x", "a@b.example", "", "region"),
    ],
)
def test_create_refuses(data, name, email, region, word):
    before = ids(data)
    arguments = ("org", "create", name, "--admin-email", email, "--region", region)
    assert f"{word}: " in refused(*arguments, data=data, code=4)
    assert ids(data) == before


def test_set(data, org_id):
    changed = document("org", "set", "--admin-email", "new@b.example", "--org", org_id, data=data)
    assert (changed["adminEmail"], changed["region"]) == ("new@b.example", "US")
    changed = document("org", "set", "--region", "gb", "--org", org_id, data=data)
    assert (changed["adminEmail"], changed["region"]) == ("new@b.example", "GB")
    assert changed in document("org", "list", data=data)
    (_, first, second) = document("ledger", "show", "--org", org_id, data=data)
    assert (first["kind"], second["kind"]) == ("org_changed", "org_changed")
    assert json.loads(second["detail"]) == {"region": ["US", "GB"]}


def test_setting_what_is_set_records_nothing(data, org_id):
    done("org", "set", "--region", "US", "--org", org_id, data=data)
    done("org", "set", "--org", org_id, data=data)
    assert kinds(data, org_id) == ["org_created"]


def test_export_has_everything(data, org_id, tmp_path):
    number = fresh_number()
    done("dnc", "add", number, "--reason", "asked", "--org", org_id, data=data)
    done("token", "create", "--scope", "dnc:read", "--org", org_id, data=data)
    target = tmp_path / "out.jsonl"
    said = document("org", "export", str(target), "--org", org_id, data=data)
    lines = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert said == {"id": org_id, "file": str(target), "seq": 3, "lineCount": len(lines)}
    assert [line["kind"] for line in lines] == ["organization", "token", "record", *["ledger"] * 4]
    assert (lines[2]["phoneNumber"], lines[2]["reason"]) == (number, "asked")
    assert "hash" not in lines[1]
    done("ledger", "export", str(tmp_path / "ledger"), "--org", org_id, data=data)
    kept = [json.loads(line) for line in (tmp_path / "ledger").read_text("utf-8").splitlines()]
    assert [line["line"] for line in lines[3:]] == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "out.jsonl"]


def test_export_to_where_it_cannot_write(data, org_id, tmp_path):
    target = tmp_path / "none" / "out"
    line = refused("org", "export", str(target), "--org", org_id, data=data, code=3)
    assert line.endswith(f"{target}.part: No such file or directory")


def test_purge_asks_for_an_export_of_all(data, org_id, tmp_path):
    purge = ("org", "purge", "--yes", "--org", org_id)
    assert "export the organization first" in refused(*purge, data=data, code=6)
    done("org", "export", str(tmp_path / "out"), "--org", org_id, data=data)
    done("dnc", "add", fresh_number(), "--org", org_id, data=data)
    assert "stands at seq 2, the newest export at 1" in refused(*purge, data=data, code=6)
    assert org_id in ids(data)


def test_purge_leaves_nothing_but_the_id(data, org_id, tmp_path):
    """Not even the ledger: its rows are erased with the owner's login."""
    done("dnc", "add", fresh_number(), "--org", org_id, data=data)
    done("token", "create", "--scope", "admin", "--org", org_id, data=data)
    done("org", "export", str(tmp_path / "out"), "--org", org_id, data=data)
    said = document("org", "purge", "--yes", "--org", org_id, data=data)
    assert said == {"id": org_id, "ledger": "erased"}
    assert org_id not in ids(data)
    assert document("org", "purge", "--yes", "--org", org_id, data=data) == said
    assert org_id in refused("ledger", "verify", "--org", org_id, data=data, code=5)
    with (
        contextlib.closing(open_embedded(data)) as embedded,
        psycopg.connect(embedded.owner_url) as owner,
    ):
        tables = owner.execute(
            "select table_name from information_schema.columns "
            "where table_schema = 'nocall' and column_name = 'org_id'"
        ).fetchall()
        left = [
            table
            for (table,) in tables
            if owner.execute(f"select from nocall.{table} where org_id = %s", [org_id]).fetchall()
        ]
        row = owner.execute("select name, admin_email from nocall.org where org_id = %s", [org_id])
        assert (left, row.fetchone()) == (["org"], ("", ""))


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_purge_asks_before_it_erases(data, org_id, tmp_path, answer):
    done("org", "export", str(tmp_path / "out"), "--org", org_id, data=data)
    result = call("org", "purge", "--org", org_id, data=data, text=answer)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("nocall: stopped\n")
    assert org_id in ids(data)
    result = call("org", "purge", "--org", org_id, data=data, text="y\n")
    assert result.exit_code == 0
    assert org_id not in ids(data)


@pytest.mark.parametrize(
    "command",
    [
        ("org", "set"),
        ("org", "export", "/dev/null/x"),
        ("org", "purge", "--yes"),
        ("token", "list"),
        ("dnc", "find"),
        ("ledger", "verify"),
    ],
)
def test_the_organization_has_to_be_one_that_is(data, org_id, command):
    other = ("--org", UNKNOWN)
    assert UNKNOWN in refused(*command, *other, data=data, code=5)
    assert "--org: must be 24" in refused(*command, "--org", "x", data=data, code=4)
    done("org", "create", "Second", "--admin-email", "a@b.example", data=data)
    assert "--org: is needed, there are " in refused(*command, data=data, code=4)


def test_one_organization_need_not_be_named(place, pristine):
    """With none a command says how to make one, with one it takes that, with two it asks which."""
    data = copy_of(pristine, place / "one-org")
    with contextlib.closing(open_embedded(data)):
        assert done("org", "list", data=data).stdout == "No organizations yet.\n"
        assert document("org", "list", data=data) == []
        assert "nocall org create" in refused("dnc", "find", data=data, code=5)
        for name in ("First", "Second"):
            if name == "Second":
                done("dnc", "add", fresh_number(), data=data)
                assert document("dnc", "find", data=data)["total"] == 1
                assert document("ledger", "verify", data=data)["entryCount"] == 2
            done("org", "create", name, "--admin-email", "a@b.example", data=data)
        refused("dnc", "find", data=data, code=4)
