"""POST /api/dnc/enable-disable and GET /api/dnc/settings."""

import pytest

from conftest import assert_problem, at_once, fresh_number

PATH = "/api/dnc/enable-disable"
SETTINGS = "/api/dnc/settings"


def _switch(client, *, enable: bool, **headers: str):
    return client.post(PATH, json={"enable": enable}, headers=headers)


def _is_on(client) -> bool:
    return client.get(SETTINGS).json()["data"]["enable"]


def _check(client, number: str) -> dict:
    return client.get("/api/dnc/check", params={"phoneNumber": number}).json()["data"]


def test_it_works(cast, entries):
    """The bytes are the contract's; off, the list is not consulted and every answer says so; on
    again, it is. The ledger says who, when and why.
    """
    number = fresh_number()
    record_id = cast.add(number).json()["data"]["_id"]
    answer = _switch(cast.owner, enable=False, **{"X-Reason": "migration, é".encode()})
    assert answer.status_code == 200
    assert answer.content == (
        b'{"message":"DNC setting updated successfully","status":true,"code":200,"errorMessage":""}'
    )
    check = _check(cast.owner, number)
    assert (check["verdict"], check["enforcement"], check["reasons"]) == ("callable", "off", [])
    assert not _is_on(cast.owner)
    answer = _switch(cast.owner, enable=True)
    assert answer.content == (
        b'{"message":"DNC setting updated successfully","status":true,"code":200,"errorMessage":""}'
    )
    check = _check(cast.owner, number)
    assert (check["verdict"], check["enforcement"]) == ("blocked", "on")
    assert check["reasons"][0]["recordId"] == record_id
    assert _is_on(cast.owner)
    off, on = entries(cast.org_id, "switched_off", "switched_on")
    assert (off["kind"], off["reason"], off["actor"]) == ("switched_off", "migration, é", "test")
    assert (on["kind"], on["reason"], on["seq"]) == ("switched_on", None, off["seq"] + 1)


def test_settings(cast, new_org, new_client):
    """On by default; the reader of a list may read them, of its own organization only."""
    answer = cast.reader.get(SETTINGS)
    assert answer.status_code == 200
    expected = (
        '{"message":"DNC settings fetched successfully","status":true,"code":200,'
        f'"errorMessage":"","data":{{"enable":true,"orgId":"{cast.org_id}","region":"US"}}}}'
    )
    assert answer.content == expected.encode()
    _switch(cast.owner, enable=False)
    answer = cast.reader.get(SETTINGS)
    assert answer.content == expected.replace('true,"orgId', 'false,"orgId').encode()
    other = new_client(new_org(region="SG"), "dnc:read")
    data = other.get(SETTINGS).json()["data"]
    assert (data["enable"], data["region"]) == (True, "SG")


def test_other_organizations_keep_theirs(cast):
    number = fresh_number()
    cast.stranger.post("/api/dnc/add", json={"phoneNumber": number, "source": "manual"})
    _switch(cast.owner, enable=False)
    assert _is_on(cast.stranger)
    assert _check(cast.stranger, number)["verdict"] == "blocked"


def test_the_list_can_be_changed_while_off(cast):
    """What is added meanwhile is blocked as soon as the switch is on again."""
    _switch(cast.owner, enable=False)
    number = fresh_number()
    assert cast.add(number).status_code == 200
    assert _check(cast.owner, number)["verdict"] == "callable"
    assert_problem(cast.add(number), 400, "number_listed")
    _switch(cast.owner, enable=True)
    assert _check(cast.owner, number)["verdict"] == "blocked"


def test_setting_it_to_what_it_is_changes_and_records_nothing(cast, entries):
    for enable in (True, True, False, False, False, True):
        assert _switch(cast.owner, enable=enable).status_code == 200
    kinds = [entry["kind"] for entry in entries(cast.org_id, "switched_on", "switched_off")]
    assert kinds == ["switched_off", "switched_on"]


def test_switched_off_by_several_at_once(cast, entries):
    """It is one change."""
    for round_number in range(1, 6):
        answers = at_once(*[lambda: _switch(cast.owner, enable=False)] * 4)
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len(entries(cast.org_id, "switched_off")) == round_number
        _switch(cast.owner, enable=True)


NOT_BOOLEAN = (
    "null",
    "1",
    "0",
    '""',
    '"true"',
    '"false"',
    '"\\u0000"',
    "[]",
    "[true]",
    "{}",
    "1e999",
    "9" * 5000,
)


def test_what_is_no_boolean_is_400(cast, entries):
    before = entries(cast.org_id)
    for value in NOT_BOOLEAN:
        answer = cast.owner.post(PATH, content=f'{{"enable":{value}}}'.encode())
        assert_problem(answer, 400, "field_invalid", "enable")
    assert _is_on(cast.owner)
    assert entries(cast.org_id) == before


@pytest.mark.parametrize("body", [b"{}", b'{"Enable":false}', b'{"enabled":false}'])
def test_it_is_required(cast, body):
    assert_problem(cast.owner.post(PATH, content=body), 400, "field_missing", "enable")
    assert _is_on(cast.owner)


NO_OBJECT = (
    b"",
    b"{",
    b"null",
    b"false",
    b"[false]",
    b"\xff",
    b'{"enable":fals',
    b'{"enable":False}',
    b'{"enable":false}}',
    b'{"enable":"\\ud800"}',
)


def test_a_body_that_is_no_json_object_is_400(cast):
    for body in NO_OBJECT:
        assert_problem(cast.owner.post(PATH, content=body), 400, "body_malformed")
    assert _is_on(cast.owner)


def test_a_key_that_stands_twice_is_400(cast):
    answer = cast.owner.post(PATH, content=b'{"enable":true,"enable":false}')
    assert_problem(answer, 400, "field_invalid", "enable", "twice")
    assert _is_on(cast.owner)


def test_unknown_fields_are_ignored(cast):
    assert cast.owner.post(PATH, json={"enable": False, "orgId": "x", "a": [1]}).status_code == 200
    assert not _is_on(cast.owner)


@pytest.mark.parametrize(
    "reason", ["x" * 501, "a\tb", ("é" * 251).encode(), "\u0085".encode(), b"\xff"]
)
def test_a_bad_reason_is_400(cast, entries, reason):
    """Too long, with control characters, or not UTF-8; nothing is switched."""
    before = entries(cast.org_id)
    answer = _switch(cast.owner, enable=False, **{"X-Reason": reason})
    body = assert_problem(answer, 400, "field_invalid")
    assert "reason" in body["data"]["field"].lower()
    assert _is_on(cast.owner)
    assert entries(cast.org_id) == before


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
@pytest.mark.parametrize("path", [PATH, SETTINGS])
def test_no_credential_is_401_before_anything_else(cast, who, path):
    client = getattr(cast, who)
    answer = client.post(path, content=b"{") if path == PATH else client.get(path)
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_wrong_scope_is_403_before_400(cast, new_client):
    no_admin = new_client(cast.org_id, "dnc:read", "dnc:write", "dnc:delete", "call:write")
    for client in (cast.reader, no_admin):
        answer = client.post(PATH, content=b"{")
        assert_problem(answer, 403, "scope_missing", "admin")
    no_read = new_client(cast.org_id, "dnc:write", "dnc:delete", "call:write", "admin")
    assert_problem(no_read.get(SETTINGS), 403, "scope_missing", "dnc:read")
    assert _is_on(cast.owner)
