"""POST /api/call/report."""

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from conftest import Cast, assert_problem, fresh_number

PATH = "/api/call/report"
UNKNOWN = "0123456789abcdef01234567"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MEBIBYTE = 1024 * 1024


@dataclass
class Dialer:
    """A batch with one call to `number`, and whoever reports of it."""

    cast: Cast
    batch_id: str
    number: str

    def report(self, **changes: object) -> httpx.Response:
        return self.cast.owner.post(PATH, json=self.body(**changes))

    def body(self, **changes: object) -> dict[str, object]:
        plain = {
            "batchId": self.batch_id,
            "phoneNumber": self.number,
            "callStatus": "completed",
        }
        return {**plain, **changes}

    def call(self) -> dict:
        details = self.cast.owner.get(f"/api/call/batch-details/{self.batch_id}").json()["data"]
        (found,) = (one for one in details["data"] if one["phoneNumber"] == self.number)
        return found

    def logs(self) -> list[dict]:
        return self.call()["phoneLogs"]


@pytest.fixture
def dialer(cast) -> Dialer:
    return _new_dialer(cast)


def _new_dialer(cast: Cast) -> Dialer:
    batch_id = cast.owner.post(
        "/api/call/createBatch", json={"batchName": "b", "callingNumbers": ["phone-1"]}
    ).json()["data"]
    dialer = Dialer(cast, batch_id, fresh_number())
    _add_call(dialer, dialer.number)
    return dialer


def _add_call(dialer: Dialer, number: str) -> None:
    dialer.cast.owner.post(
        "/api/call/addCallsToBatch",
        json={"batchId": dialer.batch_id, "call_data": [{"phoneNumber": number}]},
    ).raise_for_status()


def test_it_works(dialer):
    """Without a requestUUID of the dialer's own one is made, another for each attempt."""
    answer = dialer.report(callDuration=42, recordingUrl="https://r.example/1", transcript="Hi.")
    body = answer.json()
    assert answer.status_code == 200
    request_uuid = body["data"]["requestUUID"]
    assert UUID.fullmatch(request_uuid)
    assert answer.content == (
        b'{"message":"Call report recorded successfully","status":true,"code":200,'
        b'"errorMessage":"","data":{"requestUUID":"' + request_uuid.encode() + b'"}}'
    )
    (log,) = dialer.logs()
    del log["createdAt"]
    assert log == {
        "requestUUID": request_uuid,
        "callStatus": "completed",
        "callDuration": 42,
        "recordingUrl": "https://r.example/1",
        "transcript": "Hi.",
    }
    assert dialer.report().json()["data"]["requestUUID"] != request_uuid
    assert len(dialer.logs()) == 2


@pytest.mark.parametrize("own", ["call-7", "7", "a.b_c:d-e", "x" * 128])
def test_the_dialers_own_request_uuid_is_kept(dialer, own):
    answer = dialer.report(requestUUID=own)
    assert answer.json()["data"]["requestUUID"] == own
    assert [log["requestUUID"] for log in dialer.logs()] == [own]


def test_the_call_has_the_newest_status(dialer):
    dialer.report(callStatus="busy")
    assert dialer.call()["callStatus"] == "busy"
    dialer.report(callStatus="completed")
    assert dialer.call()["callStatus"] == "completed"


def test_another_spelling_of_the_number(dialer):
    number = dialer.number
    shown = f"({number[1:4]}) {number[4:7]}-{number[7:]}"
    assert dialer.report(phoneNumber=shown).status_code == 200
    assert len(dialer.logs()) == 1


def test_a_second_report_completes_the_first(dialer):
    """What it says is added; what it does not say stays as it was."""
    dialer.report(requestUUID="one", callStatus="ringing", callDuration=5)
    started_at = dialer.logs()[0]["createdAt"]
    dialer.report(requestUUID="one", callStatus="completed", recordingUrl="https://r.example/1")
    dialer.report(requestUUID="one", callStatus="completed", transcript="Bye.")
    known = {
        "requestUUID": "one",
        "callStatus": "completed",
        "callDuration": 5,
        "recordingUrl": "https://r.example/1",
        "transcript": "Bye.",
        "createdAt": started_at,
    }
    assert dialer.logs() == [known]
    dialer.report(requestUUID="one", callStatus="voicemail")
    assert dialer.logs() == [{**known, "callStatus": "voicemail"}]


def test_a_second_report_corrects_the_first(dialer):
    dialer.report(requestUUID="one", callDuration=5, recordingUrl="https://r.example/1")
    said = {"callDuration": 0, "recordingUrl": "https://r.example/2", "transcript": "Bye."}
    dialer.report(requestUUID="one", **said)
    (log,) = dialer.logs()
    assert {name: log[name] for name in said} == said


def test_one_request_uuid_reported_by_many_at_once_is_one_attempt(dialer):
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: dialer.report(requestUUID="one").status_code, range(12)))
    assert codes == [200] * 12
    assert len(dialer.logs()) == 1


def test_evidence_that_comes_late_reaches_the_record(cast, dialer, entries):
    """The record came from the call; the ledger has the hashes of what was attached, once."""
    dialer.report(requestUUID="one")
    added = cast.owner.post(
        "/api/dnc/add",
        json={
            "phoneNumber": dialer.number,
            "batchId": dialer.batch_id,
            "requestUUID": "one",
        },
    ).json()["data"]["_id"]
    for _ in range(2):
        dialer.report(requestUUID="one", recordingUrl="https://r.example/1", transcript="Stop.")
    record = cast.owner.get(f"/api/dnc/record/{added}").json()["data"]
    assert (record["callRecording"], record["transcription"]) == ("https://r.example/1", "Stop.")
    (entry,) = entries(cast.org_id, "evidence_attached")
    assert entry["numbers"] == [int(dialer.number)]


def test_the_hashes_of_late_evidence_are_in_the_ledger(cast, dialer, app_url):
    dialer.report(requestUUID="one")
    cast.owner.post(
        "/api/dnc/add",
        json={"phoneNumber": dialer.number, "batchId": dialer.batch_id, "requestUUID": "one"},
    ).raise_for_status()
    dialer.report(requestUUID="one", transcript="Stop.")
    with psycopg.connect(app_url, options="-c search_path=nocall") as connection:
        rows = connection.execute(
            "select i.recording_sha256, i.transcript_sha256 from ledger_item i "
            "join ledger_entry e on e.org_id = i.org_id and e.seq = i.seq "
            "where i.org_id = %s and e.kind = 'evidence_attached'",
            [cast.org_id],
        ).fetchall()
    assert rows == [(None, hashlib.sha256(b"Stop.").digest())]


def test_a_request_uuid_of_another_call_is_409(dialer):
    """Neither of the two calls is touched."""
    other = fresh_number()
    _add_call(dialer, other)
    dialer.report(requestUUID="one", transcript="Mine.")
    before = dialer.logs()
    answer = dialer.report(requestUUID="one", phoneNumber=other, transcript="Theirs.")
    assert_problem(answer, 409, "conflict", "one", "another call")
    assert dialer.logs() == before
    untouched = Dialer(dialer.cast, dialer.batch_id, other).call()
    assert (untouched["callStatus"], untouched["phoneLogs"]) == ("pending", [])


def test_a_request_uuid_of_another_batch_is_409(cast, dialer):
    """Also for the same number: its call in another batch is another call."""
    dialer.report(requestUUID="one")
    elsewhere = _new_dialer(cast)
    _add_call(elsewhere, dialer.number)
    answer = elsewhere.report(requestUUID="one", phoneNumber=dialer.number)
    assert_problem(answer, 409, "conflict", "one")


def test_a_request_uuid_is_an_organizations_own(cast, dialer):
    """Two organizations may use the same one, each for a call of its own."""
    dialer.report(requestUUID="one", transcript="Mine.")
    batch = {"batchName": "b", "callingNumbers": ["phone-1"]}
    batch_id = cast.stranger.post("/api/call/createBatch", json=batch).json()["data"]
    cast.stranger.post(
        "/api/call/addCallsToBatch",
        json={"batchId": batch_id, "call_data": [{"phoneNumber": dialer.number}]},
    ).raise_for_status()
    theirs = dialer.body(batchId=batch_id, requestUUID="one", transcript="Theirs.")
    assert cast.stranger.post(PATH, json=theirs).status_code == 200
    assert [log["transcript"] for log in dialer.logs()] == ["Mine."]


def test_a_number_the_batch_does_not_call_is_404(dialer):
    answer = dialer.report(phoneNumber=fresh_number())
    assert_problem(answer, 404, "call_not_found", dialer.batch_id)


def test_two_readings_that_the_batch_both_calls_is_400(dialer):
    """Bare digits may be +65 9123 4567 or +1 659 123 4567: only a + says which call it was."""
    for number in ("+6591234567", "+16591234567"):
        _add_call(dialer, number)
    answer = dialer.report(phoneNumber="6591234567")
    assert_problem(answer, 400, "field_invalid", "phoneNumber", "two readings", "+")
    assert dialer.report(phoneNumber="+16591234567").status_code == 200


def test_a_strangers_batch_is_404(cast, dialer):
    answer = cast.stranger.post(PATH, json=dialer.body())
    assert_problem(answer, 404, "batch_not_found", dialer.batch_id)
    assert dialer.logs() == []


def test_an_unknown_batch_is_404(dialer):
    assert_problem(dialer.report(batchId=UNKNOWN), 404, "batch_not_found", UNKNOWN)


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = getattr(cast, who).post(PATH, content=b"{")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("who", ["reader", "no_delete"])
def test_wrong_scope_is_403_before_400(cast, who):
    answer = getattr(cast, who).post(PATH, content=b"{")
    assert_problem(answer, 403, "scope_missing", "call:write")


@pytest.mark.parametrize("field", ["batchId", "phoneNumber", "callStatus"])
def test_a_missing_field_is_400(cast, dialer, field):
    body = dialer.body()
    del body[field]
    assert_problem(cast.owner.post(PATH, json=body), 400, "field_missing", field)


@pytest.mark.parametrize(
    "changes",
    [
        {"transcript": "x" * MEBIBYTE},
        {"transcript": "é" * (MEBIBYTE // 2)},
        {"transcript": "one\n\ttwo\r\n"},
        {"recordingUrl": "u" * 2_000},
        {"callStatus": "s" * 40},
        {"callDuration": 0},
        {"callDuration": 86_400},
        {"callDuration": None, "recordingUrl": None, "transcript": None, "requestUUID": None},
    ],
    ids=" ".join,
)
def test_the_limits_themselves_are_allowed(dialer, changes):
    assert dialer.report(**changes).status_code == 200
    (log,) = dialer.logs()
    for name, value in changes.items():
        assert log[name] == value or name == "requestUUID"


@pytest.mark.parametrize(
    ("field", "value", "code", "words"),
    [
        ("batchId", "x", "field_invalid", ["24 lower-case hex digits"]),
        ("batchId", "A" * 24, "field_invalid", ["24 lower-case hex digits"]),
        ("phoneNumber", "", "field_missing", []),
        ("phoneNumber", "12", "number_invalid", ["12"]),
        ("phoneNumber", "911", "number_invalid", ["911"]),
        ("callStatus", "", "field_missing", []),
        ("callStatus", "  ", "field_missing", []),
        ("callStatus", "s" * 41, "field_invalid", ["41 bytes", "40"]),
        ("callStatus", "a\nb", "field_invalid", ["control character"]),
        ("callDuration", -1, "field_invalid", ["from 0 to 86400", "-1"]),
        ("callDuration", 86_401, "field_invalid", ["from 0 to 86400", "86401"]),
        ("callDuration", 10**30, "field_invalid", ["from 0 to 86400"]),
        ("callDuration", 1.5, "field_invalid", ["1.5"]),
        ("callDuration", "42", "field_invalid", ["42"]),
        ("callDuration", True, "field_invalid", []),
        ("recordingUrl", "u" * 2_001, "field_invalid", ["2001 bytes", "2000"]),
        ("recordingUrl", "https://r.example/\n", "field_invalid", ["control character"]),
        ("transcript", "x" * (MEBIBYTE + 1), "field_invalid", ["1048577 bytes", "1048576"]),
        ("transcript", "é" * (MEBIBYTE // 2) + "x", "field_invalid", ["1048577 bytes"]),
        ("transcript", "a\0b", "field_invalid", ["control character", "position 1"]),
        ("requestUUID", " ", "field_invalid", ["1 to 128"]),
        ("requestUUID", "-x", "field_invalid", ["1 to 128", "-x"]),
        ("requestUUID", "a b", "field_invalid", ["1 to 128"]),
        ("requestUUID", "é", "field_invalid", ["1 to 128"]),
        ("requestUUID", "x\n", "field_invalid", ["1 to 128"]),
        ("requestUUID", "x" * 129, "field_invalid", ["1 to 128"]),
        ("requestUUID", 7, "field_invalid", ["7"]),
    ],
    ids=lambda part: str(part)[:20],
)
def test_a_bad_value_is_400_and_nothing_is_stored(dialer, field, value, code, words):
    answer = dialer.cast.owner.post(PATH, content=json.dumps(dialer.body(**{field: value})))
    assert_problem(answer, 400, code, field, *words)
    call = dialer.call()
    assert (call["callStatus"], call["phoneLogs"]) == ("pending", [])
