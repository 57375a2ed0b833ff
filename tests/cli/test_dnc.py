"""nocall dnc add, delete, find, check, forget-evidence."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from cli.conftest import call, document, done, refused
from conftest import fresh_number

UNKNOWN = "0123456789abcdef01234567"


@pytest.fixture
def own(data, org_id):
    """A command about the organization of the test: its document, or the line it fails with."""

    def run(*arguments: str, code: int = 0, **more: str) -> object:
        command = ("dnc", *arguments, "--org", org_id)
        if code:
            return refused(*command, data=data, code=code, **more)
        return document(*command, data=data, **more)

    return run


def entries(data, org_id, *kinds):
    found = document("ledger", "show", "--org", org_id, data=data)
    return [entry for entry in found if entry["kind"] in kinds]


def test_add(own, data, org_id):
    number = fresh_number()
    made = own("add", f"+{number}", "--type", "customer_request", "--reason", "asked by phone")
    assert (made["phoneNumber"], made["type"], made["source"]) == (
        number,
        "customer_request",
        "manual",
    )
    assert made["repeated"] is False
    (entry,) = entries(data, org_id, "add")
    assert (entry["seq"], entry["reason"], entry["source"]) == (
        made["seq"],
        "asked by phone",
        "manual",
    )
    assert (entry["actorKind"], entry["actorName"][:4]) == ("operator", "cli:")
    assert entry["items"][0]["recordId"] == made["id"]
    assert own("check", number)["verdict"] == "blocked"


@pytest.mark.parametrize("source", ["manual", "web", "import", "api"])
def test_add_with_a_source(own, source):
    assert own("add", fresh_number(), "--source", source)["source"] == source


def test_a_number_added_twice_is_recorded_and_exits_6(own, data, org_id):
    """The document is that of the record there is."""
    number = fresh_number()
    first = own("add", number)
    result = call("dnc", "add", number, "--reason", "x", "--json", "--org", org_id, data=data)
    assert result.exit_code == 6
    again = json.loads(result.stdout)
    assert (again["id"], again["repeated"]) == (first["id"], True)
    assert result.stderr == f"nocall: {number} is listed already, the request was recorded\n"
    (entry,) = entries(data, org_id, "add_repeated")
    assert entry["reason"] == "x"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("",), "phoneNumber: is required"),
        (("hello",), "phoneNumber"),
        (("911",), "emergency"),
        (("+1212555012345678",), "phoneNumber"),
        (("+12125550100", "--type", "x" * 65), "type"),
        (("+12125550100", "--reason", "a\x00b"), "reason"),
        (("+12125550100", "--batch", UNKNOWN), "requestUUID: is required"),
        (("+12125550100", "--request-uuid", "u"), "batchId: is required"),
        (("+12125550100", "--batch", "x", "--request-uuid", "u"), "batchId: must be 24"),
    ],
)
def test_add_refuses(own, data, org_id, arguments, word):
    assert word in own("add", *arguments, code=4)
    assert entries(data, org_id, "add", "add_repeated") == []


def test_add_from_a_call_that_is_not_there(own):
    assert "no batch" in own(
        "add", fresh_number(), "--batch", UNKNOWN, "--request-uuid", "u", code=5
    )


def test_a_source_that_is_none_is_a_usage_error(own):
    assert "'fax'" in own("add", fresh_number(), "--source", "fax", code=2)


@pytest.mark.parametrize("by", ["id", "number"])
def test_delete(own, data, org_id, by):
    made = own("add", fresh_number())
    name = made["id"] if by == "id" else f"+{made['phoneNumber']}"
    gone = own("delete", name, "--reason", "typo")
    assert (gone["id"], gone["deleted"]) == (made["id"], True)
    (entry,) = entries(data, org_id, "delete")
    assert (entry["reason"], entry["items"][0]["recordId"]) == ("typo", made["id"])
    assert own("check", made["phoneNumber"])["verdict"] == "callable"
    own("delete", name, code=5)


def test_delete_refuses(own):
    assert "must be 24 lower-case hex digits" in own("delete", "12125550100", code=4)
    assert "not listed" in own("delete", "+12125550100", code=5)
    assert UNKNOWN in own("delete", UNKNOWN, code=5)


def test_a_record_of_another_organization_exits_5(own, data):
    """And stays where it is."""
    other = document("org", "create", "Other", "--admin-email", "a@b.example", data=data)["id"]
    made = document("dnc", "add", fresh_number(), "--org", other, data=data)
    assert "belongs to another organization" in own("delete", made["id"], code=5)
    assert document("dnc", "find", "--org", other, data=data)["total"] == 1


def test_find(own, data, org_id):
    """Newest first, a page at a time; the search looks in number, type and requestUUID."""
    numbers = [fresh_number() for _ in range(3)]
    for number in numbers:
        own("add", number, "--type", f"Type {number}")
    found = own("find")
    assert (found["total"], found["page"]) == (3, 1)
    assert [one["phoneNumber"] for one in found["records"]] == numbers[::-1]
    second = own("find", "--page", "2", "--limit", "2")
    assert [one["phoneNumber"] for one in second["records"]] == numbers[:1]
    (hit,) = own("find", f"type {numbers[1]}")["records"]
    assert hit["phoneNumber"] == numbers[1]
    text = done("dnc", "find", numbers[2], "--org", org_id, data=data).stdout
    assert numbers[2] in text
    assert text.endswith("1 of 1\n")
    assert own("find", "nothing of the kind") == {"total": 0, "page": 1, "records": []}
    assert done("dnc", "find", "none", "--org", org_id, data=data).stdout.startswith("No records.")


@pytest.mark.parametrize(
    ("option", "value"), [("--page", "0"), ("--limit", "0"), ("--limit", "1001")]
)
def test_find_has_limits(own, option, value):
    assert option in own("find", option, value, code=2)


@pytest.mark.parametrize(
    ("number", "verdict", "code"),
    [(None, "blocked", 10), ("7", "invalid", 11), ("911", "blocked", 10)],
)
def test_check_may_say_it_with_its_exit_code(own, data, org_id, number, verdict, code):
    if number is None:
        number = fresh_number()
        own("add", number)
    assert own("check", number)["verdict"] == verdict
    result = call("dnc", "check", number, "--exit-code", "--org", org_id, data=data)
    assert (result.exit_code, result.stderr) == (code, "")
    assert f": {verdict}" in result.stdout


def test_check_of_a_free_number_exits_0(own, data, org_id):
    number = fresh_number()
    found = own("check", number)
    assert (found["verdict"], found["reasons"], found["enforcement"]) == ("callable", [], "on")
    result = call("dnc", "check", number, "--exit-code", "--org", org_id, data=data)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"+{number}: callable\n")


def test_check_reads_bare_numbers_in_the_home_region(data):
    org_id = document(
        "org", "create", "London", "--admin-email", "a@b.example", "--region", "GB", data=data
    )["id"]
    done("dnc", "add", "020 7946 0018", "--org", org_id, data=data)
    found = document("dnc", "check", "+442079460018", "--org", org_id, data=data)
    assert found["verdict"] == "blocked"


def test_check_as_of_a_past_instant(own, data, org_id):
    """From the ledger: what would have been answered then."""
    number = fresh_number()
    made = own("add", number)
    gone = own("delete", made["id"])
    (added,) = entries(data, org_id, "add")
    (deleted,) = entries(data, org_id, "delete")
    before = instant(added["at"]) - timedelta(milliseconds=1)
    answers = [
        own("check", number, "--at", at) for at in (before.isoformat(), added["at"], deleted["at"])
    ]
    assert gone["id"] == made["id"]
    assert [answer["verdict"] for answer in answers] == ["callable", "blocked", "callable"]
    assert [answer["seq"] for answer in answers] == [1, added["seq"], deleted["seq"]]
    assert answers[1]["reasons"][0]["recordId"] == made["id"]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("at", "word"),
    [
        ("yesterday", "must be an instant"),
        ("2026-01-01T00:00:00", "needs a zone"),
        ("2000-01-01T00:00:00Z", "before the organization's ledger begins"),
        ((datetime.now(UTC) + timedelta(days=1)).isoformat(), "still to come"),
    ],
)
def test_check_as_of_an_instant_the_ledger_does_not_know(own, at, word):
    assert word in own("check", fresh_number(), "--at", at, code=4)


def test_a_list_that_is_switched_off_is_said_to_be(service, new_org, new_client):
    """What the API switched, the terminal sees, while the service runs."""
    org_id = new_org()
    client = new_client(org_id)
    number = fresh_number()
    client.post("/api/dnc/add", json={"phoneNumber": number, "source": "manual"})
    of_org = ("--org", org_id)
    assert document("dnc", "check", number, *of_org, data=service.data)["verdict"] == "blocked"
    client.post("/api/dnc/enable-disable", json={"enable": False}).raise_for_status()
    text = done("dnc", "check", number, *of_org, data=service.data).stdout
    assert text.startswith(f"+{number}: callable\n")
    assert "switched OFF" in text


def test_what_the_terminal_does_the_service_sees(service, new_org, new_client):
    org_id = new_org()
    client = new_client(org_id)
    number = fresh_number()
    made = document("dnc", "add", number, "--org", org_id, data=service.data)
    (record,) = client.get("/api/dnc/list").json()["data"]["dncList"]
    assert (record["_id"], record["phoneNumber"]) == (made["id"], number)
    check = client.get("/api/dnc/check", params={"phoneNumber": number}).json()["data"]
    assert check["verdict"] == "blocked"


def test_forget_evidence(service, cast):
    """Recording and transcript go, their hashes stay, the record stays."""
    number = fresh_number()
    batch, request = cast.make_call(number)
    cast.owner.post(
        "/api/dnc/add", json={"phoneNumber": number, "batchId": batch, "requestUUID": request}
    ).raise_for_status()
    forget = ("dnc", "forget-evidence", "--org", cast.org_id, "--days")
    assert document(*forget, "1", data=service.data) == {"forgotten": 0}
    assert document(*forget, "0", data=service.data) == {"forgotten": 2}
    assert document(*forget, "0", data=service.data) == {"forgotten": 0}
    (record,) = cast.owner.get("/api/dnc/list").json()["data"]["dncList"]
    assert (record["callRecording"], record["transcription"]) == (None, None)
    found = document("ledger", "show", "--org", cast.org_id, data=service.data)
    (added,) = [entry for entry in found if entry["kind"] == "add"]
    assert added["items"][0]["transcriptSha256"] is not None
    (purged,) = [entry for entry in found if entry["kind"] == "evidence_purged"]
    assert json.loads(purged["detail"])["attemptCount"] == 1
