"""DELETE /api/dnc/delete/{id}."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import assert_problem, fresh_number

UNKNOWN = "0123456789abcdef01234567"


def _listed(cast) -> tuple[str, str]:
    number = fresh_number()
    return number, cast.add(number).json()["data"]["_id"]


def test_it_works(cast, entries):
    """The bytes are the contract's; the number is free, and the ledger says who, when and why."""
    number, record_id = _listed(cast)
    answer = cast.owner.delete(
        f"/api/dnc/delete/{record_id}", headers={"X-Reason": "asked by phone"}
    )
    assert answer.status_code == 200
    assert answer.content == (
        b'{"message":"DNC record deleted successfully","status":true,"code":200,"errorMessage":""}'
    )
    check = cast.owner.get("/api/dnc/check", params={"phoneNumber": number}).json()["data"]
    assert check["verdict"] == "callable"
    (entry,) = entries(cast.org_id, "delete")
    assert (entry["numbers"], entry["reason"]) == ([int(number)], "asked by phone")
    assert entry["actor"] == "test"


def test_reason_in_the_query(cast, entries):
    _, record_id = _listed(cast)
    cast.owner.delete(f"/api/dnc/delete/{record_id}", params={"reason": "typo: é"})
    assert entries(cast.org_id, "delete")[0]["reason"] == "typo: é"


def test_a_second_delete_is_404(cast, entries):
    _, record_id = _listed(cast)
    cast.owner.delete(f"/api/dnc/delete/{record_id}")
    assert_problem(cast.owner.delete(f"/api/dnc/delete/{record_id}"), 404, "record_not_found")
    assert len(entries(cast.org_id, "delete")) == 1


def test_two_deletes_at_once(cast, entries):
    """One 200, one 404, one entry."""
    for _ in range(10):
        _, record_id = _listed(cast)
        with ThreadPoolExecutor(2) as pool:
            codes = sorted(
                pool.map(
                    lambda _, path=f"/api/dnc/delete/{record_id}": (
                        cast.owner.delete(path).status_code
                    ),
                    range(2),
                )
            )
        assert codes == [200, 404]
    assert len(entries(cast.org_id, "delete")) == 10


def test_it_leaves_other_organizations_alone(cast):
    number = fresh_number()
    record_id = cast.add(number).json()["data"]["_id"]
    other = cast.stranger.post(
        "/api/dnc/add", json={"phoneNumber": number, "source": "manual"}
    ).json()["data"]["_id"]
    cast.owner.delete(f"/api/dnc/delete/{record_id}")
    check = cast.stranger.get("/api/dnc/check", params={"phoneNumber": number}).json()["data"]
    assert (check["verdict"], check["reasons"][0]["recordId"]) == ("blocked", other)


def test_stranger_is_403(cast):
    number, record_id = _listed(cast)
    assert_problem(
        cast.stranger.delete(f"/api/dnc/delete/{record_id}"), 403, "record_foreign", record_id
    )
    check = cast.owner.get("/api/dnc/check", params={"phoneNumber": number}).json()["data"]
    assert check["verdict"] == "blocked"


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = getattr(cast, who).delete("/api/dnc/delete/not-an-id")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("who", ["reader", "no_delete"])
def test_wrong_scope_is_403_before_400(cast, who):
    assert_problem(
        getattr(cast, who).delete("/api/dnc/delete/not-an-id"), 403, "scope_missing", "dnc:delete"
    )


@pytest.mark.parametrize("path", ["/api/dnc/delete", "/api/dnc/delete/"])
def test_missing_id_is_400(cast, path):
    assert_problem(cast.owner.delete(path), 400, "field_missing", "id")


@pytest.mark.parametrize("bad", ["x", "0" * 23, "0" * 25, "g" * 24, "A" * 24, "%00" * 24])
def test_malformed_id_is_400(cast, bad):
    assert_problem(cast.owner.delete(f"/api/dnc/delete/{bad}"), 400, "field_invalid", "id")


def test_unknown_id_is_404(cast):
    assert_problem(cast.owner.delete(f"/api/dnc/delete/{UNKNOWN}"), 404, "record_not_found")


def test_the_number_may_be_added_again_with_a_new_id(cast):
    number, record_id = _listed(cast)
    cast.owner.delete(f"/api/dnc/delete/{record_id}")
    assert cast.add(number).json()["data"]["_id"] != record_id
