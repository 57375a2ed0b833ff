"""GET /api/call/batch-details/{id}."""

import re

import httpx
import pytest

from conftest import assert_problem, fresh_number

UNKNOWN = "0123456789abcdef01234567"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def batch_id(cast) -> str:
    answer = cast.owner.post(
        "/api/call/createBatch", json={"batchName": "Autumn", "callingNumbers": ["phone-1"]}
    )
    return answer.json()["data"]


def _add(client: httpx.Client, batch_id: str, *rows: dict) -> list[str]:
    answer = client.post(
        "/api/call/addCallsToBatch", json={"batchId": batch_id, "call_data": list(rows)}
    )
    return answer.json()["data"]["callIds"]


def _details(client: httpx.Client, batch_id: str, **query: object) -> httpx.Response:
    return client.get(f"/api/call/batch-details/{batch_id}", params=query)


def test_it_works(cast, batch_id):
    """Paging is flat; a call has its custom fields beside ours and a log for each attempt."""
    number = fresh_number()
    (call_id,) = _add(cast.owner, batch_id, {"phoneNumber": number, "firstName": "Ada"})
    report = {
        "batchId": batch_id,
        "phoneNumber": number,
        "callStatus": "completed",
        "callDuration": 42,
        "recordingUrl": "https://recordings.example/1.mp3",
        "transcript": "Hello.",
    }
    attempt = cast.owner.post("/api/call/report", json=report).json()["data"]["requestUUID"]
    answer = _details(cast.owner, batch_id)
    body = answer.json()
    assert answer.status_code == 200
    assert list(body) == ["message", "status", "code", "errorMessage", "data"]
    assert body["message"] == "Batch details fetched successfully"
    assert (body["status"], body["code"], body["errorMessage"]) == (True, 200, "")
    data = body["data"]
    assert list(data) == [
        "batchId",
        "batchName",
        "batchStatus",
        "page",
        "limit",
        "total",
        "totalPages",
        "data",
    ]
    assert (data["batchId"], data["batchName"]) == (batch_id, "Autumn")
    assert (data["page"], data["limit"], data["total"], data["totalPages"]) == (1, 10, 1, 1)
    (call,) = data["data"]
    assert {name: call[name] for name in call if name not in ("phoneLogs", "createdAt")} == {
        "_id": call_id,
        "phoneNumber": number,
        "callStatus": "completed",
        "firstName": "Ada",
    }
    assert INSTANT.fullmatch(call["createdAt"])
    (log,) = call["phoneLogs"]
    assert list(log) == [
        "requestUUID",
        "callStatus",
        "callDuration",
        "recordingUrl",
        "transcript",
        "createdAt",
    ]
    assert INSTANT.fullmatch(log.pop("createdAt"))
    assert log == {
        "requestUUID": attempt,
        "callStatus": "completed",
        "callDuration": 42,
        "recordingUrl": "https://recordings.example/1.mp3",
        "transcript": "Hello.",
    }


def test_an_attempt_that_says_little(cast, batch_id):
    """What the dialer did not say is null, not absent."""
    number = fresh_number()
    _add(cast.owner, batch_id, {"phoneNumber": number})
    report = {"batchId": batch_id, "phoneNumber": number, "callStatus": "no-answer"}
    cast.owner.post("/api/call/report", json=report)
    (log,) = _details(cast.owner, batch_id).json()["data"]["data"][0]["phoneLogs"]
    assert (log["callDuration"], log["recordingUrl"], log["transcript"]) == (None, None, None)


def test_each_attempt_stands_at_its_own_call(cast, batch_id):
    """Oldest first."""
    numbers = [fresh_number() for _ in range(3)]
    _add(cast.owner, batch_id, *({"phoneNumber": number} for number in numbers))
    reported: dict[str, list[str]] = {number: [] for number in numbers}
    for number in (numbers[0], numbers[1], numbers[0]):
        answer = cast.owner.post(
            "/api/call/report",
            json={"batchId": batch_id, "phoneNumber": number, "callStatus": "busy"},
        )
        reported[number].append(answer.json()["data"]["requestUUID"])
    shown = {
        call["phoneNumber"]: call["phoneLogs"]
        for call in _details(cast.owner, batch_id).json()["data"]["data"]
    }
    for number in numbers:
        logs = shown[number]
        assert {log["requestUUID"] for log in logs} == set(reported[number])
        assert [log["createdAt"] for log in logs] == sorted(log["createdAt"] for log in logs)


def test_our_fields_win_where_names_collide(cast, batch_id):
    number = fresh_number()
    theirs = {"_id": "x", "callStatus": "x", "phoneLogs": "x", "createdAt": "x", "batchId": "x"}
    (call_id,) = _add(cast.owner, batch_id, {"phoneNumber": number, **theirs})
    (call,) = _details(cast.owner, batch_id).json()["data"]["data"]
    assert (call["_id"], call["phoneNumber"]) == (call_id, number)
    assert (call["callStatus"], call["phoneLogs"]) == ("pending", [])
    assert INSTANT.fullmatch(call["createdAt"])
    assert call["batchId"] == "x"


def test_pages(cast, batch_id):
    """Oldest first; every call stands on exactly one page, past the end a page is empty."""
    added = [
        call_id
        for _ in range(3)
        for call_id in _add(
            cast.owner, batch_id, {"phoneNumber": fresh_number()}, {"phoneNumber": fresh_number()}
        )
    ]
    whole = _details(cast.owner, batch_id).json()["data"]["data"]
    assert {call["_id"] for call in whole} == set(added)
    assert [call["createdAt"] for call in whole] == sorted(call["createdAt"] for call in whole)
    paged: list[list[str]] = []
    for page in range(1, 4):
        data = _details(cast.owner, batch_id, page=page, limit=4).json()["data"]
        assert (data["page"], data["limit"], data["total"], data["totalPages"]) == (page, 4, 6, 2)
        paged.append([call["_id"] for call in data["data"]])
    assert [len(page) for page in paged] == [4, 2, 0]
    assert [call_id for page in paged for call_id in page] == [call["_id"] for call in whole]


def test_an_empty_batch(cast, batch_id):
    data = _details(cast.owner, batch_id).json()["data"]
    assert (data["total"], data["totalPages"], data["data"]) == (0, 0, [])


@pytest.mark.parametrize("query", [{"limit": 1}, {"limit": 1000}, {"page": 10**9}])
def test_the_limits_themselves_are_allowed(cast, batch_id, query):
    assert _details(cast.owner, batch_id, **query).status_code == 200


@pytest.mark.parametrize("field", ["page", "limit"])
@pytest.mark.parametrize("bad", ["0", "-1", "x", "", "1.5", "1e2", " 1", "\u0661", "9" * 30, "\0"])
def test_a_bad_page_or_limit_is_400(cast, batch_id, field, bad):
    answer = _details(cast.owner, batch_id, **{field: bad})
    assert_problem(answer, 400, "field_invalid", f"{field}: must be a whole number from 1")


def test_a_limit_over_1000_is_400(cast, batch_id):
    answer = _details(cast.owner, batch_id, limit=1001)
    assert_problem(answer, 400, "field_invalid", "limit", "1000", "1001")


@pytest.mark.parametrize("field", ["page", "limit"])
def test_a_parameter_that_stands_twice_is_400(cast, batch_id, field):
    answer = cast.owner.get(f"/api/call/batch-details/{batch_id}?{field}=1&{field}=2")
    assert_problem(answer, 400, "field_invalid", field, "2 times")


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = _details(getattr(cast, who), "not-an-id")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("who", ["reader", "no_delete"])
def test_wrong_scope_is_403_before_400(cast, who):
    answer = _details(getattr(cast, who), "not-an-id")
    assert_problem(answer, 403, "scope_missing", "call:write")


def test_a_strangers_batch_is_404(cast, batch_id):
    assert_problem(_details(cast.stranger, batch_id), 404, "batch_not_found", batch_id)


def test_an_unknown_batch_is_404(cast):
    assert_problem(_details(cast.owner, UNKNOWN), 404, "batch_not_found", UNKNOWN)


@pytest.mark.parametrize("bad", ["x", "0" * 23, "0" * 25, "A" * 24, "%00" * 24])
def test_a_malformed_id_is_400(cast, bad):
    assert_problem(_details(cast.owner, bad), 400, "field_invalid", "batchId")
