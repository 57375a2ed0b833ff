"""GET /api/dnc/record/{id}."""

import json

import pytest

from conftest import assert_problem, fresh_number

UNKNOWN = "0123456789abcdef01234567"


def _listed(cast) -> tuple[str, str]:
    number = fresh_number()
    return number, cast.add(number).json()["data"]["_id"]


def test_it_works(cast):
    """The record is as the list has it, to the byte."""
    number = fresh_number()
    batch_id, request_uuid = cast.make_call(number)
    record_id = cast.owner.post(
        "/api/dnc/add",
        json={"phoneNumber": number, "batchId": batch_id, "requestUUID": request_uuid},
    ).json()["data"]["_id"]
    cast.add(fresh_number())
    listed = cast.owner.get("/api/dnc/list", params={"search": number}).json()["data"]["dncList"]
    expected = {
        "message": "DNC record fetched successfully",
        "status": True,
        "code": 200,
        "errorMessage": "",
        "data": listed[0],
    }
    answer = cast.reader.get(f"/api/dnc/record/{record_id}")
    assert answer.status_code == 200
    text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
    assert answer.content == text.encode()
    assert answer.json()["data"]["_id"] == record_id


def test_a_deleted_record_is_404(cast):
    _, record_id = _listed(cast)
    cast.owner.delete(f"/api/dnc/delete/{record_id}").raise_for_status()
    answer = cast.owner.get(f"/api/dnc/record/{record_id}")
    assert_problem(answer, 404, "record_not_found", record_id)


def test_stranger_is_403(cast):
    _, record_id = _listed(cast)
    answer = cast.stranger.get(f"/api/dnc/record/{record_id}")
    assert_problem(answer, 403, "record_foreign", record_id)


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = getattr(cast, who).get("/api/dnc/record/not-an-id")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_wrong_scope_is_403_before_400(cast, new_client):
    writer = new_client(cast.org_id, "dnc:write", "dnc:delete", "call:write", "admin")
    answer = writer.get("/api/dnc/record/not-an-id")
    assert_problem(answer, 403, "scope_missing", "dnc:read")


@pytest.mark.parametrize(
    "bad", ["x", "0" * 23, "0" * 25, "g" * 24, "A" * 24, "%00" * 24, "%20" * 24, "0" * 23 + "%0A"]
)
def test_malformed_id_is_400(cast, bad):
    answer = cast.owner.get(f"/api/dnc/record/{bad}")
    assert_problem(answer, 400, "field_invalid", "id")


def test_unknown_id_is_404(cast):
    answer = cast.owner.get(f"/api/dnc/record/{UNKNOWN}")
    assert_problem(answer, 404, "record_not_found", UNKNOWN)


def test_without_an_id_there_is_no_such_route(cast):
    assert_problem(cast.owner.get("/api/dnc/record"), 404, "route_not_found")


def test_reading_changes_nothing(cast, entries):
    _, record_id = _listed(cast)
    before = entries(cast.org_id)
    cast.owner.get(f"/api/dnc/record/{record_id}")
    assert entries(cast.org_id) == before
