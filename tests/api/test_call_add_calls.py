"""POST /api/call/addCallsToBatch."""

import json

import httpx
import psycopg
import pytest

from conftest import assert_problem, fresh_number

PATH = "/api/call/addCallsToBatch"
UNKNOWN = "0123456789abcdef01234567"
CHUNK = 1_000


@pytest.fixture
def batch_id(cast) -> str:
    return _new_batch(cast.owner)


@pytest.fixture
def added_seq(app_url):
    """The ledger seq that a call is stored with."""

    def read(call_id):
        with psycopg.connect(app_url, options="-c search_path=nocall") as connection:
            row = connection.execute(
                "select added_seq from call where call_id = %s", [call_id]
            ).fetchone()
        assert row is not None
        return row[0]

    return read


def _new_batch(client: httpx.Client) -> str:
    answer = client.post(
        "/api/call/createBatch", json={"batchName": "b", "callingNumbers": ["phone-1"]}
    )
    return answer.json()["data"]


def _add(client: httpx.Client, batch_id: str, *rows: object) -> httpx.Response:
    return client.post(PATH, json={"batchId": batch_id, "call_data": rows})


def _calls(client: httpx.Client, batch_id: str) -> list[dict]:
    """Every call of the batch as the wire shows it."""
    found = []
    for page in range(1, 100):
        part = client.get(
            f"/api/call/batch-details/{batch_id}", params={"limit": 1000, "page": page}
        ).json()["data"]
        found += part["data"]
        if page >= part["totalPages"]:
            break
    return found


def _rows(count: int) -> list[dict[str, str]]:
    return [{"phoneNumber": fresh_number()} for _ in range(count)]


def _ledger_seq(client: httpx.Client) -> int:
    return client.get("/api/dnc/check", params={"phoneNumber": "12125550123"}).json()["data"]["seq"]


def test_it_works(cast, batch_id):
    """The ids come in the order asked; a call is pending, with its fields beside ours."""
    rows = [{"phoneNumber": fresh_number(), "firstName": name} for name in ("Ada", "Grace")]
    rows.reverse()
    answer = _add(cast.owner, batch_id, *rows)
    body = answer.json()
    assert answer.status_code == 200
    assert list(body) == ["message", "status", "code", "errorMessage", "data"]
    assert body["message"] == "Calls enqueued successfully"
    assert (body["status"], body["code"], body["errorMessage"]) == (True, 200, "")
    assert list(body["data"]) == ["added", "callIds"]
    assert body["data"]["added"] == 2
    by_id = {call["_id"]: call for call in _calls(cast.owner, batch_id)}
    found = [by_id[call_id] for call_id in body["data"]["callIds"]]
    assert [(call["phoneNumber"], call["firstName"]) for call in found] == [
        (row["phoneNumber"], row["firstName"]) for row in rows
    ]
    assert [(call["callStatus"], call["phoneLogs"]) for call in found] == [("pending", [])] * 2


@pytest.mark.parametrize("spelling", ["call_data", "callData"])
def test_both_spellings(cast, batch_id, spelling):
    answer = cast.owner.post(PATH, json={"batchId": batch_id, spelling: _rows(1)})
    assert (answer.status_code, answer.json()["data"]["added"]) == (200, 1)
    assert len(_calls(cast.owner, batch_id)) == 1


def test_any_spelling_of_a_number_is_one_call(cast, batch_id):
    number = fresh_number()
    shown = f"+1 ({number[1:4]}) {number[4:7]}-{number[7:]}"
    first = _add(cast.owner, batch_id, {"phoneNumber": number}).json()["data"]["callIds"]
    second = _add(cast.owner, batch_id, {"phoneNumber": shown}).json()["data"]["callIds"]
    assert first == second
    assert [call["phoneNumber"] for call in _calls(cast.owner, batch_id)] == [number]


def test_a_number_twice_in_one_chunk_is_one_call(cast, batch_id):
    """The last of the two says what the call's fields are."""
    number = fresh_number()
    answer = _add(
        cast.owner,
        batch_id,
        {"phoneNumber": number, "name": "first"},
        {"phoneNumber": number, "name": "last"},
    )
    first, second = answer.json()["data"]["callIds"]
    assert first == second
    assert [call["name"] for call in _calls(cast.owner, batch_id)] == ["last"]


def test_a_pending_call_is_updated(cast, batch_id, added_seq):
    """Same call, new fields; it stays blocked by what was listed since it was first added."""
    number = fresh_number()
    first = _add(cast.owner, batch_id, {"phoneNumber": number, "a": 1}).json()["data"]["callIds"]
    seq = _ledger_seq(cast.owner)
    assert added_seq(first[0]) == seq
    cast.add(fresh_number())
    second = _add(cast.owner, batch_id, {"phoneNumber": number, "b": 2}).json()["data"]["callIds"]
    assert first == second
    (call,) = _calls(cast.owner, batch_id)
    assert (call["b"], "a" in call, call["callStatus"]) == (2, False, "pending")
    assert added_seq(first[0]) == seq


def test_a_finished_call_is_pending_again(cast, batch_id, added_seq):
    """Same call, its attempts kept; it counts as added now."""
    number = fresh_number()
    first = _add(cast.owner, batch_id, {"phoneNumber": number}).json()["data"]["callIds"]
    attempt = cast.owner.post(
        "/api/call/report",
        json={"batchId": batch_id, "phoneNumber": number, "callStatus": "completed"},
    ).json()["data"]["requestUUID"]
    assert _calls(cast.owner, batch_id)[0]["callStatus"] == "completed"
    cast.add(fresh_number())
    second = _add(cast.owner, batch_id, {"phoneNumber": number}).json()["data"]["callIds"]
    assert first == second
    (call,) = _calls(cast.owner, batch_id)
    assert call["callStatus"] == "pending"
    assert [log["requestUUID"] for log in call["phoneLogs"]] == [attempt]
    assert added_seq(first[0]) == _ledger_seq(cast.owner)


def test_a_whole_chunk_and_one_more(cast, batch_id):
    rows = _rows(CHUNK + 1)
    answer = _add(cast.owner, batch_id, *rows)
    assert (answer.status_code, answer.json()["data"]["added"]) == (200, CHUNK + 1)
    numbers = {call["phoneNumber"] for call in _calls(cast.owner, batch_id)}
    assert numbers == {row["phoneNumber"] for row in rows}


def test_a_bad_later_chunk_is_207(cast, batch_id):
    """The good chunk is in, of the bad one nothing, not even what stood before the bad row."""
    rows = _rows(CHUNK + 2)
    rows[-1] = {"phoneNumber": "no number"}
    answer = _add(cast.owner, batch_id, *rows)
    body = answer.json()
    assert answer.status_code == 207
    assert (body["status"], body["code"]) == (False, 207)
    assert body["message"] == "Calls enqueued successfully"
    assert body["errorMessage"]
    assert list(body["data"]) == ["added", "callIds", "failedChunks"]
    assert (body["data"]["added"], len(body["data"]["callIds"])) == (CHUNK, CHUNK)
    (failed,) = body["data"]["failedChunks"]
    assert list(failed) == ["chunkNum", "error"]
    assert failed["chunkNum"] == 2
    assert f"call_data[{CHUNK + 1}].phoneNumber" in failed["error"]
    numbers = {call["phoneNumber"] for call in _calls(cast.owner, batch_id)}
    assert numbers == {row["phoneNumber"] for row in rows[:CHUNK]}


def test_a_bad_first_chunk_does_not_stop_the_next(cast, batch_id):
    rows = _rows(CHUNK + 1)
    rows[0] = {"phoneNumber": ""}
    answer = _add(cast.owner, batch_id, *rows)
    data = answer.json()["data"]
    assert answer.status_code == 207
    assert (data["added"], [chunk["chunkNum"] for chunk in data["failedChunks"]]) == (1, [1])
    assert [call["phoneNumber"] for call in _calls(cast.owner, batch_id)] == [
        rows[-1]["phoneNumber"]
    ]


def test_all_chunks_bad_is_400(cast, batch_id):
    rows: list[dict] = _rows(CHUNK + 2)
    rows[CHUNK - 1] = {"phoneNumber": "no number"}
    rows[CHUNK + 1] = {"name": "nobody"}
    assert_problem(_add(cast.owner, batch_id, *rows), 400, "field_missing")
    assert _calls(cast.owner, batch_id) == []


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = getattr(cast, who).post(PATH, content=b"{")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("who", ["reader", "no_delete"])
def test_wrong_scope_is_403_before_400(cast, who):
    answer = getattr(cast, who).post(PATH, content=b"{")
    assert_problem(answer, 403, "scope_missing", "call:write")


def test_a_strangers_batch_is_404(cast, batch_id):
    answer = _add(cast.stranger, batch_id, *_rows(1))
    assert_problem(answer, 404, "batch_not_found", batch_id)
    assert _calls(cast.owner, batch_id) == []


def test_an_unknown_batch_is_404(cast):
    assert_problem(_add(cast.owner, UNKNOWN, *_rows(1)), 404, "batch_not_found", UNKNOWN)


@pytest.mark.parametrize("bad", ["", "x", "0" * 23, "A" * 24, "0" * 24 + "\n"])
def test_a_malformed_batch_id_is_400(cast, bad):
    assert_problem(_add(cast.owner, bad, *_rows(1)), 400, "field_invalid", "batchId")


def test_a_missing_batch_id_is_400(cast):
    answer = cast.owner.post(PATH, json={"call_data": _rows(1)})
    assert_problem(answer, 400, "field_missing", "batchId")


def test_missing_calls_are_400(cast, batch_id):
    answer = cast.owner.post(PATH, json={"batchId": batch_id})
    assert_problem(answer, 400, "field_missing", "call_data")


def test_no_calls_are_400(cast, batch_id):
    assert_problem(_add(cast.owner, batch_id), 400, "field_invalid", "call_data", "at least one")


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ({}, "field_missing", ["call_data[1].phoneNumber"]),
        ({"phoneNumber": ""}, "field_missing", ["call_data[1].phoneNumber"]),
        ({"phoneNumber": 12125550123}, "field_invalid", ["call_data[1].phoneNumber", "string"]),
        ({"phoneNumber": "12"}, "number_invalid", ["call_data[1].phoneNumber", "12"]),
        ({"phoneNumber": "911"}, "number_invalid", ["call_data[1].phoneNumber", "911"]),
        ("12125550123", "field_invalid", ["call_data[1]", "12125550123"]),
        (
            {"phoneNumber": "12125550123", "n": "a\x00b"},
            "field_invalid",
            ["call_data[1].n", "control"],
        ),
        (
            {"phoneNumber": "12125550123", "n": "x" * 4_001},
            "field_invalid",
            ["call_data[1].n", "4001 bytes"],
        ),
        (
            {"phoneNumber": "12125550123", "n": [{"in": "\x07"}]},
            "field_invalid",
            ["call_data[1].n", "control"],
        ),
        (
            {"phoneNumber": "12125550123", "n": {"\x00": 1}},
            "field_invalid",
            ["call_data[1].n", "control"],
        ),
        ({"phoneNumber": "12125550123", "n\x00": 1}, "field_invalid", ["control"]),
        ({"phoneNumber": "12125550123", "n" * 101: 1}, "field_invalid", ["101 bytes"]),
    ],
)
def test_a_bad_row_is_400_and_nothing_is_stored(cast, batch_id, row, code, words):
    answer = _add(cast.owner, batch_id, *_rows(1), row)
    assert_problem(answer, 400, code, *words)
    assert _calls(cast.owner, batch_id) == []


@pytest.mark.parametrize("depth", [33, 500, 964])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_deeply_nested_field_is_400(cast, batch_id, depth, opening, closing):
    """Also just below the depth at which the reader of the body itself gives up."""
    nested = opening * depth + "1" + closing * depth
    answer = cast.owner.post(
        PATH,
        content=f'{{"batchId":"{batch_id}","call_data":'
        f'[{{"phoneNumber":"{fresh_number()}","n":{nested}}}]}}',
    )
    assert_problem(answer, 400, "field_invalid", "call_data[0].n", "more than 32 deep")
    assert _calls(cast.owner, batch_id) == []


def test_fields_come_back_as_they_were_given(cast, batch_id):
    fields = {
        "name": "Zoë\n\tsecond line",
        "empty": "",
        "whole": 10**40,
        "half": 0.5,
        "yes": True,
        "none": None,
        "nested": {"list": [1, "two", {"three": [3.5]}]},
        "": "nameless",
        "longest": "x" * 4_000,
    }
    deep: list = []
    for _ in range(31):
        deep = [deep]
    fields["deep"] = deep
    row = {"phoneNumber": fresh_number(), **fields}
    assert _add(cast.owner, batch_id, row).status_code == 200
    (call,) = _calls(cast.owner, batch_id)
    assert {name: call[name] for name in fields} == json.loads(json.dumps(fields))
