"""POST /api/dnc/add."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

import phonenumbers
import psycopg
import pytest
from psycopg.rows import namedtuple_row

from conftest import assert_problem, at_once, fresh_number

PATH = "/api/dnc/add"
UNKNOWN = "0123456789abcdef01234567"
SUCCESS = re.compile(
    rb'\{"message":"Phone number added to DNC successfully","status":true,"code":200,'
    rb'"errorMessage":"","data":\{"_id":"[0-9a-f]{24}"\}\}'
)
RECORDING = "https://recordings.example/late.mp3"
TRANSCRIPT = "Take me off your list.\nNow."


@pytest.fixture
def items(app_url):
    """The ledger items of an organization's entries of one kind, with the entry's own words."""

    def read(org_id: str, kind: str) -> list:
        with psycopg.connect(
            app_url, options="-c search_path=nocall", row_factory=namedtuple_row
        ) as connection:
            return connection.execute(
                "select i.*, e.source, e.reason as why from ledger_item i "
                "join ledger_entry e on e.org_id = i.org_id and e.seq = i.seq "
                "where i.org_id = %s and e.kind = %s order by i.seq, i.position",
                [org_id, kind],
            ).fetchall()

    return read


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _check(client, number: str) -> dict:
    return client.get("/api/dnc/check", params={"phoneNumber": number}).json()["data"]


def _seq(client) -> int:
    """Where the organization's ledger stands."""
    return _check(client, "12125550123")["seq"]


def _record(client, record_id: str) -> dict:
    return client.get(f"/api/dnc/record/{record_id}").json()["data"]


def _from_call(client, number: str, batch_id: str, request_uuid: str, **more):
    body = {"phoneNumber": number, "batchId": batch_id, "requestUUID": request_uuid, **more}
    return client.post(PATH, json=body)


def _report(client, number: str, batch_id: str, request_uuid: str, **more):
    body = {
        "phoneNumber": number,
        "batchId": batch_id,
        "requestUUID": request_uuid,
        "callStatus": "completed",
        **more,
    }
    answer = client.post("/api/call/report", json=body)
    assert answer.status_code == 200, answer.text
    return answer


# From a call


def test_it_works_from_a_call(cast, items):
    """The bytes are the contract's and our `data`; recording and transcript come over from the
    call, the ledger gains one entry, and the number is blocked.
    """
    number = fresh_number()
    batch_id, request_uuid = cast.make_call(number)
    before = _seq(cast.owner)
    answer = _from_call(
        cast.owner, number, batch_id, request_uuid, type="complaint", reason="was rude"
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert SUCCESS.fullmatch(answer.content)
    record_id = answer.json()["data"]["_id"]
    record = _record(cast.owner, record_id)
    created_at = record.pop("createdAt")
    assert record == {
        "_id": record_id,
        "phoneNumber": number,
        "type": "complaint",
        "orgId": cast.org_id,
        "batchId": batch_id,
        "requestUUID": request_uuid,
        "callRecording": "https://recordings.example/1.mp3",
        "transcription": "Please stop calling me.",
        "source": "call",
        "addedBy": "test",
        "reason": "was rude",
        "requestedAt": None,
    }
    check = _check(cast.owner, number)
    assert (check["verdict"], check["seq"]) == ("blocked", before + 1)
    assert check["reasons"][0]["since"] == created_at
    (item,) = items(cast.org_id, "add")
    assert (item.number, item.record_id, item.type) == (int(number), record_id, "complaint")
    assert (item.batch_id, item.request_uuid) == (batch_id, request_uuid)
    assert item.recording_sha256 == _digest("https://recordings.example/1.mp3")
    assert item.transcript_sha256 == _digest("Please stop calling me.")
    assert (item.source, item.why) == ("call", "was rude")


def test_a_call_without_recording(cast, items):
    number = fresh_number()
    call = cast.make_call(number, recording=None, transcript=None)
    record_id = _from_call(cast.owner, number, *call).json()["data"]["_id"]
    record = _record(cast.owner, record_id)
    assert (record["callRecording"], record["transcription"]) == (None, None)
    (item,) = items(cast.org_id, "add")
    assert (item.recording_sha256, item.transcript_sha256) == (None, None)


def test_a_number_other_than_the_one_called(cast):
    """Whoever was called may ask for another of their numbers; the call is its evidence."""
    called, other = fresh_number(), fresh_number()
    record_id = _from_call(cast.owner, other, *cast.make_call(called)).json()["data"]["_id"]
    record = _record(cast.owner, record_id)
    assert (record["phoneNumber"], record["transcription"]) == (other, "Please stop calling me.")
    assert _check(cast.owner, called)["verdict"] == "callable"


def test_other_organizations_do_not_see_it(cast):
    number = fresh_number()
    record_id = cast.add(number).json()["data"]["_id"]
    assert _check(cast.stranger, number)["verdict"] == "callable"
    assert cast.stranger.get("/api/dnc/list").json()["data"]["dncList"] == []
    assert_problem(cast.stranger.get(f"/api/dnc/record/{record_id}"), 403, "record_foreign")


def test_evidence_that_comes_later_is_carried_over(cast, items):
    """A recording first, a transcript after it: each is on the record and in the ledger."""
    number = fresh_number()
    batch_id, request_uuid = cast.make_call(number, recording=None, transcript=None)
    record_id = _from_call(cast.owner, number, batch_id, request_uuid).json()["data"]["_id"]
    seq = _seq(cast.owner)
    _report(cast.owner, number, batch_id, request_uuid, recordingUrl=RECORDING)
    record = _record(cast.owner, record_id)
    assert (record["callRecording"], record["transcription"]) == (RECORDING, None)
    _report(cast.owner, number, batch_id, request_uuid, transcript=TRANSCRIPT)
    record = _record(cast.owner, record_id)
    assert (record["callRecording"], record["transcription"]) == (RECORDING, TRANSCRIPT)
    first, second = items(cast.org_id, "evidence_attached")
    assert (first.seq, second.seq) == (seq + 1, seq + 2)
    assert {first.record_id, second.record_id} == {record_id}
    assert (first.recording_sha256, first.transcript_sha256) == (_digest(RECORDING), None)
    assert (second.recording_sha256, second.transcript_sha256) == (
        _digest(RECORDING),
        _digest(TRANSCRIPT),
    )


def test_evidence_reported_again_is_no_change(cast):
    number = fresh_number()
    call = cast.make_call(number)
    _from_call(cast.owner, number, *call)
    before = _seq(cast.owner)
    _report(cast.owner, number, *call, transcript="Please stop calling me.")
    _report(cast.owner, number, *call)
    assert _seq(cast.owner) == before


def test_report_and_add_at_once(cast, items):
    """Whichever comes first, the record ends up with the evidence, and the ledger with its hash."""
    record_ids = []
    for _ in range(40):
        number = fresh_number()
        call = cast.make_call(number, recording=None, transcript=None)
        answer, _ = at_once(
            lambda number=number, call=call: _from_call(cast.owner, number, *call),
            lambda number=number, call=call: _report(
                cast.owner, number, *call, recordingUrl=RECORDING, transcript=TRANSCRIPT
            ),
        )
        record_ids.append(answer.json()["data"]["_id"])
        record = _record(cast.owner, record_ids[-1])
        assert (record["callRecording"], record["transcription"]) == (RECORDING, TRANSCRIPT)
    known = [
        item.record_id
        for item in items(cast.org_id, "add") + items(cast.org_id, "evidence_attached")
        if item.transcript_sha256 == _digest(TRANSCRIPT)
    ]
    assert sorted(known) == sorted(record_ids)


def test_unknown_batch_is_404(cast):
    before = _seq(cast.owner)
    answer = _from_call(cast.owner, fresh_number(), UNKNOWN, "a-1")
    assert_problem(answer, 404, "batch_not_found", UNKNOWN)
    assert _seq(cast.owner) == before


@pytest.mark.parametrize("source", [None, "web"])
def test_batch_of_another_organization_is_404(cast, source):
    """It answers as for a batch that is not there, whatever the source."""
    number = fresh_number()
    batch_id, request_uuid = cast.make_call(number)
    before = _seq(cast.stranger)
    more = {"source": source} if source else {}
    answer = _from_call(cast.stranger, number, batch_id, request_uuid, **more)
    assert_problem(answer, 404, "batch_not_found", batch_id)
    assert _seq(cast.stranger) == before
    assert _check(cast.stranger, number)["verdict"] == "callable"


def test_call_of_another_batch_is_404(cast):
    number = fresh_number()
    batch_id, _ = cast.make_call(number)
    _, request_uuid = cast.make_call(number)
    before = _seq(cast.owner)
    answer = _from_call(cast.owner, number, batch_id, request_uuid)
    assert_problem(answer, 404, "call_not_found", request_uuid, batch_id)
    assert_problem(
        _from_call(cast.owner, number, batch_id, "never-reported"), 404, "call_not_found"
    )
    assert _seq(cast.owner) == before
    assert _check(cast.owner, number)["verdict"] == "callable"


# With a source


@pytest.mark.parametrize("source", ["manual", "web", "import", "api"])
def test_it_works_with_a_source(cast, items, source):
    """Nothing of a call is needed, or kept."""
    number = fresh_number()
    before = _seq(cast.owner)
    answer = cast.no_delete.post(PATH, json={"phoneNumber": number, "source": source})
    assert answer.status_code == 200
    assert SUCCESS.fullmatch(answer.content)
    record = _record(cast.owner, answer.json()["data"]["_id"])
    assert record["source"] == source
    assert [record[name] for name in ("batchId", "requestUUID", "callRecording", "type")] == [
        None
    ] * 4
    assert _check(cast.owner, number)["verdict"] == "blocked"
    assert _seq(cast.owner) == before + 1
    assert [item.source for item in items(cast.org_id, "add")] == [source]


def test_a_source_may_name_a_call_too(cast):
    number = fresh_number()
    batch_id, request_uuid = cast.make_call(number)
    answer = _from_call(cast.owner, number, batch_id, request_uuid, source="web")
    record = _record(cast.owner, answer.json()["data"]["_id"])
    assert (record["source"], record["batchId"], record["requestUUID"]) == (
        "web",
        batch_id,
        request_uuid,
    )
    assert record["transcription"] == "Please stop calling me."


def test_half_a_call_is_400(cast):
    """With a source or without, a call is named by both of its ids or by none."""
    number = fresh_number()
    batch_id, request_uuid = cast.make_call(number)
    before = _seq(cast.owner)
    for source in ({}, {"source": "api"}):
        without_uuid = {"phoneNumber": number, "batchId": batch_id, **source}
        assert_problem(
            cast.owner.post(PATH, json=without_uuid), 400, "field_missing", "requestUUID"
        )
        without_batch = {"phoneNumber": number, "requestUUID": request_uuid, **source}
        assert_problem(cast.owner.post(PATH, json=without_batch), 400, "field_missing", "batchId")
    assert _seq(cast.owner) == before


# Duplicates


def test_a_duplicate_is_400_and_recorded_with_its_own_evidence(cast, items):
    """The existing id is in `data`, the record stays as it was, and the second request is an
    entry with the evidence and the reason of its own.
    """
    number = fresh_number()
    record_id = cast.add(number, reason="first").json()["data"]["_id"]
    record = _record(cast.owner, record_id)
    batch_id, request_uuid = cast.make_call(number, RECORDING, TRANSCRIPT)
    before = _seq(cast.owner)
    answer = _from_call(
        cast.owner, number, batch_id, request_uuid, type="complaint", reason="second"
    )
    problem = assert_problem(answer, 400, "number_listed", number)
    assert problem["data"] == {"_id": record_id}
    assert _record(cast.owner, record_id) == record
    assert _seq(cast.owner) == before + 1
    (item,) = items(cast.org_id, "add_repeated")
    assert (item.number, item.record_id, item.type) == (int(number), record_id, "complaint")
    assert (item.batch_id, item.request_uuid) == (batch_id, request_uuid)
    assert item.recording_sha256 == _digest(RECORDING)
    assert item.transcript_sha256 == _digest(TRANSCRIPT)
    assert (item.source, item.why) == ("call", "second")


@pytest.mark.parametrize(
    "written",
    [
        "+{0}",
        "\uff0b{0}",
        "{0}",
        "+{1} ({2}) {3}-{4}",
        "{1} ({2}) {3}-{4}",
        "{1}.{2}.{3}.{4}",
        "+{1}\u00a0{2}\u00a0{3}\u00a0{4}",
        "({2}) {3}-{4}",
        "{2}{3}{4}",
        "011 {1} {2} {3} {4}",
        "tel:+{1}-{2}-{3}-{4}",
        "+{1} {2} {3} {4} ext. 77",
    ],
)
def test_every_way_to_write_a_number_is_the_same_number(cast, written):
    """In the home region, the US."""
    number = fresh_number()
    record_id = cast.add(number).json()["data"]["_id"]
    text = written.format(number, number[0], number[1:4], number[4:7], number[7:])
    problem = assert_problem(cast.add(text), 400, "number_listed", number)
    assert problem["data"] == {"_id": record_id}


def test_full_width_digits_are_the_same_number(cast):
    number = fresh_number()
    record_id = cast.add(number).json()["data"]["_id"]
    wide = "".join(chr(ord(digit) - ord("0") + ord("\uff10")) for digit in number)
    assert assert_problem(cast.add(wide), 400, "number_listed")["data"] == {"_id": record_id}


def test_two_adds_at_once(cast, entries):
    """One 200, one 400 with the id that the 200 gave; one `add`, one `add_repeated`."""
    for _ in range(25):
        number = fresh_number()
        answers = at_once(*[lambda number=number: cast.add(number)] * 2)
        won, lost = sorted(answers, key=lambda answer: answer.status_code)
        assert won.status_code == 200, won.text
        assert_problem(lost, 400, "number_listed")
        assert lost.json()["data"] == won.json()["data"]
    assert len(entries(cast.org_id, "add")) == 25
    assert len(entries(cast.org_id, "add_repeated")) == 25


# Numbers


def _digits(*, abroad: bool, at_home: bool) -> str:
    """Digits with two possible readings, as they stand and in the US, where they are read; each
    valid or not, as asked.
    """
    for area in range(201, 990):
        digits = f"{area}2345678"
        try:
            readings = [phonenumbers.parse(f"{code}{digits}") for code in ("+", "+1")]
        except phonenumbers.NumberParseException:
            continue
        lengths = {phonenumbers.is_possible_number_with_reason(one) for one in readings}
        valid = [phonenumbers.is_valid_number(one) for one in readings]
        if lengths == {phonenumbers.ValidationResult.IS_POSSIBLE} and valid == [abroad, at_home]:
            return digits
    pytest.fail("the numbering plans have no such digits any more")


def test_two_valid_readings_are_400_naming_both(cast):
    digits = _digits(abroad=True, at_home=True)
    before = _seq(cast.owner)
    answer = cast.add(digits)
    assert_problem(answer, 400, "number_ambiguous", f"+{digits}", f"+1{digits}", "phoneNumber")
    assert _seq(cast.owner) == before
    for written in (f"+{digits}", f"+1{digits}"):
        assert cast.add(written).status_code == 200
    listed = cast.owner.get("/api/dnc/list").json()["data"]["dncList"]
    assert [record["phoneNumber"] for record in listed] == [f"1{digits}", digits]


@pytest.mark.parametrize("country", ["", "1"])
def test_of_two_readings_the_number_that_was_called_wins(cast, country):
    digits = _digits(abroad=True, at_home=True)
    called = f"{country}{digits}"
    call = cast.make_call(f"+{called}")
    record_id = _from_call(cast.owner, digits, *call).json()["data"]["_id"]
    assert _record(cast.owner, record_id)["phoneNumber"] == called


@pytest.mark.parametrize(("abroad", "country"), [(True, ""), (False, "1")])
def test_of_two_readings_the_valid_one_wins(cast, abroad, country):
    digits = _digits(abroad=abroad, at_home=not abroad)
    record_id = cast.add(digits).json()["data"]["_id"]
    assert _record(cast.owner, record_id)["phoneNumber"] == f"{country}{digits}"


def test_of_two_readings_that_no_plan_knows_the_international_one_wins(cast):
    """It is the form in which numbers travel."""
    digits = _digits(abroad=False, at_home=False)
    record_id = cast.add(digits).json()["data"]["_id"]
    assert _record(cast.owner, record_id)["phoneNumber"] == digits


def test_the_home_region_reads_bare_digits(new_org, new_client):
    singapore = new_client(new_org(region="SG"))
    record_id = singapore.post(PATH, json={"phoneNumber": "9123 4567", "source": "manual"}).json()[
        "data"
    ]["_id"]
    assert _record(singapore, record_id)["phoneNumber"] == "6591234567"


@pytest.mark.parametrize("possible", ["12121550123", "+1 555 555 5555", "+44 1000 000000"])
def test_a_possible_number_is_taken_though_no_plan_knows_it(cast, possible):
    """An opt-out is never refused because a number looks unassigned."""
    assert not phonenumbers.is_valid_number(phonenumbers.parse(possible, "US"))
    assert cast.add(possible).status_code == 200
    check = _check(cast.owner, possible)
    assert (check["verdict"], check["valid"]) == ("blocked", False)


@pytest.mark.parametrize("local", ["5550123", "+1 555-0123", "555-0123"])
def test_a_number_without_its_area_is_refused(cast, local):
    before = _seq(cast.owner)
    assert_problem(cast.add(local), 400, "number_invalid", "local_only")
    assert _seq(cast.owner) == before


@pytest.mark.parametrize(
    "code",
    [
        "911",
        "112",
        "999",
        "000",
        "988",
        "411",
        "9-1-1",
        "+1911",
        "1911",
        "tel:911",
        "\uff19\uff11\uff11",
    ],
)
def test_emergency_and_service_numbers_are_refused(cast, code):
    before = _seq(cast.owner)
    assert_problem(cast.add(code), 400, "number_invalid", "emergency or service number")
    assert _seq(cast.owner) == before


# Other fields


def test_when_the_person_asked_is_kept_beside_when_we_recorded_it(cast):
    answer = cast.add(fresh_number(), requestedAt="2019-11-24T09:30:00.1239+05:30")
    record = _record(cast.owner, answer.json()["data"]["_id"])
    assert record["requestedAt"] == "2019-11-24T04:00:00.123Z"
    created_at = datetime.fromisoformat(record["createdAt"])
    assert (datetime.now(created_at.tzinfo) - created_at).total_seconds() < 3600


@pytest.mark.parametrize("year", ["0001", "0999", "9999"])
def test_a_far_year_has_four_digits(cast, year):
    instant = f"{year}-06-01T00:00:00.000Z"
    record_id = cast.add(fresh_number(), requestedAt=instant).json()["data"]["_id"]
    assert _record(cast.owner, record_id)["requestedAt"] == instant


def test_text_fields_are_kept_up_to_their_limit(cast):
    kept = {"type": "é" * 32, "reason": "x" * 497 + "☎"}
    record = _record(cast.owner, cast.add(fresh_number(), **kept).json()["data"]["_id"])
    assert {name: record[name] for name in kept} == kept


@pytest.mark.parametrize("blank", [None, "", "   "])
def test_blank_optional_fields_are_as_good_as_missing(cast, blank):
    optional = {"type": blank, "reason": blank, "batchId": blank and "", "requestUUID": None}
    record_id = cast.add(fresh_number(), **optional, requestedAt=None).json()["data"]["_id"]
    record = _record(cast.owner, record_id)
    assert {record[name] for name in (*optional, "requestedAt")} == {None}


def test_unknown_fields_are_ignored(cast):
    """However absurd they are."""
    number = fresh_number()
    body = f'{{"phoneNumber":"{number}","source":"api","_id":"x","orgId":"y","extra":{{"a":1e999}},'
    body += '"long":' + "9" * 5000 + "}"
    answer = cast.owner.post(PATH, content=body.encode())
    assert answer.status_code == 200, answer.text
    record = _record(cast.owner, answer.json()["data"]["_id"])
    assert (record["phoneNumber"], record["orgId"]) == (number, cast.org_id)


# Refusals

NUL = "\\u0000"
WRONG_TYPES = ["1", "true", "[]", "{}", "1e999", "9" * 5000, "-0.0"]
BAD_TEXTS = {
    "phoneNumber": [
        '" "',
        '"x"',
        '"+"',
        '"1"',
        f'"1212555{NUL}0123"',
        '"12125550123\\n"',
        '"\\t12125550123"',
        '"\\u200b"',
        '"\\u0663"',
        f'"{"1" * 16}"',
        f'"{"1" * 100_000}"',
        '"+999 12345678"',
        '"12125550123 / 12125550124"',
    ],
    "batchId": [
        '" "',
        '"x"',
        f'"{"0" * 23}"',
        f'"{"0" * 25}"',
        f'"{"A" * 24}"',
        f'"{"g" * 24}"',
        f'"{NUL * 24}"',
        f'"{"0" * 24}\\n"',
        f'"{"0" * 100_000}"',
        '"' + "\\u0660" * 24 + '"',
    ],
    "requestUUID": [
        '" "',
        '"a b"',
        '"-a"',
        '"é"',
        '"a%"',
        '"a;b"',
        f'"a{NUL}"',
        '"a\\n"',
        f'"{"a" * 129}"',
    ],
    "type": [f'"{"x" * 65}"', f'"{"é" * 33}"', f'"a{NUL}"', '"\\u009f"', '"\\n"'],
    "source": [
        '" "',
        '"x"',
        '"call"',
        '"Manual"',
        '" manual"',
        '"manual "',
        f'"manual{NUL}"',
        f'"{"manual" * 10_000}"',
    ],
    "reason": [f'"{"x" * 501}"', f'"{"☎" * 167}"', f'"{NUL}"', '"a\\r\\nb"'],
    "requestedAt": [
        '" "',
        '"x"',
        '"1764000000"',
        '"2026-11-24"',
        '"2026-11-24T09:30:00"',
        '"2026-13-01T00:00:00Z"',
        f'"2026-11-24{NUL}09:30:00Z"',
        '"2026-11-24T09:30:00Z\\n"',
        '"9999-12-31T23:59:59-01:00"',
        '"0001-01-01T00:00:00+01:00"',
        '"-2026-01-01T00:00Z"',
        '"\\uff12026-11-24T09:30:00Z"',
        f'"{"2" * 100_000}"',
    ],
}


def _body_with(field: str, value: str, call: tuple[str, str]) -> bytes:
    """JSON in which only `field` is wrong; `value` is JSON text."""
    fields = {
        "phoneNumber": json.dumps(fresh_number()),
        "batchId": json.dumps(call[0]),
        "requestUUID": json.dumps(call[1]),
        "source": '"manual"',
        field: value,
    }
    return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}").encode()


@pytest.mark.parametrize("field", BAD_TEXTS)
def test_bad_values_are_400_naming_the_field(cast, field):
    """Text that cannot be meant, and every wrong type; nothing is stored."""
    call = cast.make_call(fresh_number())
    before = _seq(cast.owner)
    code = "number_invalid" if field == "phoneNumber" else "field_invalid"
    for value in BAD_TEXTS[field]:
        answer = cast.owner.post(PATH, content=_body_with(field, value, call))
        assert_problem(answer, 400, code, field)
    for value in WRONG_TYPES:
        answer = cast.owner.post(PATH, content=_body_with(field, value, call))
        assert_problem(answer, 400, "field_invalid", field)
    for half in ('"\\ud800"', '"a\\udc00b"', '"\\ud800\\u0041"'):
        answer = cast.owner.post(PATH, content=_body_with(field, half, call))
        assert_problem(answer, 400, "body_malformed")
    assert _seq(cast.owner) == before
    assert cast.owner.get("/api/dnc/list").json()["data"]["pagination"]["total"] == 0


def test_the_number_is_required(cast):
    before = _seq(cast.owner)
    for body in ({}, {"phoneNumber": ""}, {"source": "manual"}):
        assert_problem(cast.owner.post(PATH, json=body), 400, "field_missing", "phoneNumber")
    body = {"phoneNumber": None, "source": "manual"}
    assert_problem(cast.owner.post(PATH, json=body), 400, "field_invalid", "phoneNumber", "null")
    assert _seq(cast.owner) == before


def test_without_a_source_the_call_is_required(cast):
    number = fresh_number()
    before = _seq(cast.owner)
    for batch in ({}, {"batchId": None}, {"batchId": ""}):
        body = {"phoneNumber": number, "requestUUID": "a-1", **batch}
        assert_problem(cast.owner.post(PATH, json=body), 400, "field_missing", "batchId")
    for call in ({}, {"requestUUID": None}, {"requestUUID": ""}):
        body = {"phoneNumber": number, "batchId": UNKNOWN, **call}
        assert_problem(cast.owner.post(PATH, json=body), 400, "field_missing", "requestUUID")
    assert _seq(cast.owner) == before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{", "position 1"),
        (b'{"phoneNumber":"1",}', "position"),
        (b'{"phoneNumber":1e}', "position"),
        (b'{"phoneNumber":"1"} x', "position 20"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"12125550123"', "object"),
        (b"\xff\xfe{}", "UTF-8 at byte 0"),
        (b'{"phoneNumber":"\xff"}', "UTF-8 at byte 16"),
        (b'{"phoneNumber":"1\x002"}', "position"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_400(cast, body, words):
    before = _seq(cast.owner)
    assert_problem(cast.owner.post(PATH, content=body), 400, "body_malformed", words)
    assert _seq(cast.owner) == before


def test_a_key_that_stands_twice_is_400(cast):
    number = fresh_number()
    body = f'{{"phoneNumber":"{number}","source":"manual","phoneNumber":"{fresh_number()}"}}'
    answer = cast.owner.post(PATH, content=body.encode())
    assert_problem(answer, 400, "field_invalid", "phoneNumber", "twice")
    assert _check(cast.owner, number)["verdict"] == "callable"


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = getattr(cast, who).post(PATH, content=b"{", headers={"Idempotency-Key": "a b"})
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_wrong_scope_is_403_before_400(cast, new_client):
    every_other = new_client(cast.org_id, "dnc:read", "dnc:delete", "call:write", "admin")
    for client in (cast.reader, every_other):
        assert_problem(client.post(PATH, content=b"{"), 403, "scope_missing", "dnc:write")


def test_a_failure_is_no_entry_and_a_success_is_one(cast):
    """Counted over a row of both, so that nothing is appended behind an answer's back."""
    number = fresh_number()
    wrong: list[Callable] = [
        lambda: cast.add("x"),
        lambda: cast.add("911"),
        lambda: cast.add(number, type="x" * 65),
        lambda: cast.owner.post(PATH, json={"phoneNumber": number}),
        lambda: _from_call(cast.owner, number, UNKNOWN, "a-1"),
        lambda: cast.reader.post(PATH, json={"phoneNumber": number, "source": "manual"}),
        lambda: cast.nobody.post(PATH, json={"phoneNumber": number, "source": "manual"}),
    ]
    for request in wrong:
        before = _seq(cast.owner)
        assert request().status_code >= 400
        assert cast.add(fresh_number()).status_code == 200
        assert _seq(cast.owner) == before + 1
