"""nocall ledger show, export, verify; what verify finds is in tests/ledger/test_verify.py."""

import json
import stat

import pytest

from cli.conftest import document, done, refused
from conftest import fresh_number


@pytest.fixture
def story(data, org_id):
    """An organization with five entries, and the options that name it."""
    number = fresh_number()
    of_org = ("--org", org_id)
    done("dnc", "add", number, "--reason", "asked, é", *of_org, data=data)
    done("dnc", "delete", f"+{number}", *of_org, data=data)
    done("token", "create", "--scope", "admin", *of_org, data=data)
    done("org", "set", "--region", "GB", *of_org, data=data)
    return of_org


def test_show(data, story):
    """Oldest first: who did what, when, to which number, why."""
    entries = document("ledger", "show", *story, data=data)
    kinds = ["org_created", "add", "delete", "token_created", "org_changed"]
    assert [entry["kind"] for entry in entries] == kinds
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5]
    lines = done("ledger", "show", *story, data=data).stdout.splitlines()
    assert len(lines) == 5
    add = entries[1]
    for part in (add["at"], "add", add["actorName"], f"+{add['items'][0]['number']}", "asked, é"):
        assert part in lines[1]


def test_show_in_parts(data, story):
    part = document("ledger", "show", "--after", "1", "--limit", "2", *story, data=data)
    assert [entry["seq"] for entry in part] == [2, 3]
    assert document("ledger", "show", "--after", "5", *story, data=data) == []
    assert done("ledger", "show", "--after", "5", *story, data=data).stdout == "No entries.\n"
    for option, value in (("--after", "-1"), ("--limit", "0"), ("--limit", "1001")):
        assert option in refused("ledger", "show", option, value, *story, data=data, code=2)


def test_export(data, story, tmp_path):
    """A header with the head, then an entry a line; readable by its owner only."""
    target = tmp_path / "ledger.jsonl"
    said = document("ledger", "export", str(target), *story, data=data)
    header, *entries = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert header["format"] == "nocall-ledger-1"
    assert header["orgId"] == story[1]
    assert said == {
        "file": str(target),
        "seq": 5,
        "head": f"{header['head']['seq']}:{header['head']['hash']}",
    }
    assert entries == document("ledger", "show", *story, data=data)
    assert entries[-1]["hash"] == header["head"]["hash"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]


def test_export_to_standard_output(data, story, tmp_path):
    """The same bytes; as one document, an array of the same objects."""
    target = tmp_path / "ledger.jsonl"
    done("ledger", "export", str(target), *story, data=data)
    text = done("ledger", "export", "-", *story, data=data).stdout
    assert text == target.read_text("utf-8")
    objects = [json.loads(line) for line in text.splitlines()]
    assert document("ledger", "export", "-", *story, data=data) == objects


def test_export_to_where_it_cannot_write(data, story, tmp_path):
    target = tmp_path / "none" / "out"
    line = refused("ledger", "export", str(target), *story, data=data, code=3)
    assert "No such file or directory" in line
    assert "'FILE'" in refused("ledger", "export", str(tmp_path), *story, data=data, code=2)


def test_verify(data, story):
    """It prints the head that a later verify may be asked to expect."""
    found = document("ledger", "verify", *story, data=data)
    assert (found["ok"], found["entryCount"], found["itemCount"]) == (True, 5, 2)
    last = document("ledger", "show", "--after", "4", *story, data=data)[0]
    assert found["head"] == f"5:{last['hash']}"
    assert found["at"] == last["at"][:23] + "Z"
    text = done("ledger", "verify", *story, data=data).stdout
    assert text == f"The ledger verifies: 5 entries, 2 items.\nhead {found['head']}\n"
    done("dnc", "add", fresh_number(), *story, data=data)
    done("ledger", "verify", "--expect-head", found["head"], *story, data=data)
    done("ledger", "verify", "--expect-head", f" {found['head'].upper()} ", *story, data=data)


def test_verify_refuses_another_head(data, story):
    for head, code, word in (
        ("5:" + "0" * 64, 8, "entry 5 is not the one of the expected head"),
        ("6:" + "0" * 64, 8, "entry 6 is missing"),
        ("5", 4, "--expect-head: must be SEQ:HASH"),
    ):
        line = refused("ledger", "verify", "--expect-head", head, *story, data=data, code=code)
        assert word in line
