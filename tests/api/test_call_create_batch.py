"""POST /api/call/createBatch."""

import json
import re

import httpx
import psycopg
import pytest

from conftest import assert_problem

PATH = "/api/call/createBatch"
PLAIN = {"batchName": "Autumn", "callingNumbers": ["phone-1"]}
ID = re.compile(r"[0-9a-f]{24}")


@pytest.fixture
def batch_rows(app_url):
    """The batches of an organization as they are stored, oldest first."""

    def read(org_id):
        with psycopg.connect(app_url, options="-c search_path=nocall") as connection:
            return connection.execute(
                "select name, calling_numbers, retry_count, delay_seconds, timezone, "
                "calling_hour, allowed_days, status from batch where org_id = %s "
                "order by created_at, batch_id",
                [org_id],
            ).fetchall()

    return read


def _create(client: httpx.Client, **changes: object) -> httpx.Response:
    return client.post(PATH, json={**PLAIN, **changes})


def test_it_works(cast, batch_rows):
    """The answer's data is the new batch's id as a bare string; the batch is empty."""
    answer = _create(cast.owner)
    assert answer.status_code == 201
    batch_id = answer.json()["data"]
    assert ID.fullmatch(batch_id)
    assert answer.content == (
        b'{"message":"Batch created successfully","status":true,"code":201,"errorMessage":"",'
        b'"data":"' + batch_id.encode() + b'"}'
    )
    details = cast.owner.get(f"/api/call/batch-details/{batch_id}").json()["data"]
    assert (details["batchName"], details["total"]) == ("Autumn", 0)
    assert batch_rows(cast.org_id) == [("Autumn", ["phone-1"], 0, 0, None, None, None, "created")]


def test_every_field_is_kept(cast, batch_rows):
    answer = _create(
        cast.owner,
        callingNumbers=["phone-1", "phone-2"],
        retry=3,
        delay=60,
        timezone="America/New_York",
        callingHour={"start": "09:00", "end": "17:00"},
        allowedDays=[5, 1, 1],
    )
    assert answer.status_code == 201
    assert batch_rows(cast.org_id) == [
        (
            "Autumn",
            ["phone-1", "phone-2"],
            3,
            60,
            "America/New_York",
            {"start": "09:00", "end": "17:00"},
            [1, 5],
            "created",
        )
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batchName", "n" * 200),
        ("batchName", "é" * 100),
        ("callingNumbers", ["n" * 64]),
        ("retry", 100),
        ("delay", 2_592_000),
        ("callingHour", {"start": "22:00", "end": "06:00"}),
        ("allowedDays", [0, 6]),
        ("retry", None),
        ("timezone", None),
    ],
)
def test_the_limits_themselves_are_allowed(cast, field, value):
    assert _create(cast.owner, **{field: value}).status_code == 201


def test_two_batches_of_one_name_are_two(cast):
    first, second = (_create(cast.owner).json()["data"] for _ in range(2))
    assert first != second


def test_a_strangers_batch_is_its_own(cast, batch_rows):
    """The organization is the token's: nobody else can read what it made."""
    batch_id = _create(cast.stranger).json()["data"]
    assert batch_rows(cast.org_id) == []
    assert len(batch_rows(cast.stranger_org_id)) == 1
    assert_problem(
        cast.owner.get(f"/api/call/batch-details/{batch_id}"), 404, "batch_not_found", batch_id
    )


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = getattr(cast, who).post(PATH, content=b"{")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("who", ["reader", "no_delete"])
def test_wrong_scope_is_403_before_400(cast, who):
    answer = getattr(cast, who).post(PATH, content=b"{")
    assert_problem(answer, 403, "scope_missing", "call:write")


@pytest.mark.parametrize("field", ["batchName", "callingNumbers"])
def test_a_missing_field_is_400(cast, batch_rows, field):
    body = {name: value for name, value in PLAIN.items() if name != field}
    assert_problem(cast.owner.post(PATH, json=body), 400, "field_missing", field)
    assert batch_rows(cast.org_id) == []


def test_a_blank_name_is_missing(cast):
    assert_problem(_create(cast.owner, batchName=" \t "), 400, "field_missing", "batchName")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("batchName", 7, ["batchName", "7"]),
        ("batchName", "n" * 201, ["201 bytes", "200"]),
        ("batchName", "é" * 101, ["202 bytes", "200"]),
        ("batchName", "a\x00b", ["control character", "position 1"]),
        ("callingNumbers", [], ["at least one"]),
        ("callingNumbers", "phone-1", ["callingNumbers", "phone-1"]),
        ("callingNumbers", ["phone-1", 7], ["callingNumbers[1]", "got 7"]),
        ("callingNumbers", ["n" * 65], ["65 bytes", "64"]),
        ("callingNumbers", ["\x1b[2J"], ["control character"]),
        ("retry", -1, ["from 0 to 100", "-1"]),
        ("retry", 101, ["from 0 to 100", "101"]),
        ("retry", 1.5, ["retry", "1.5"]),
        ("retry", True, ["retry"]),
        ("retry", "3", ["retry", "3"]),
        ("retry", 10**30, ["retry"]),
        ("delay", -1, ["from 0 to 2592000", "-1"]),
        ("delay", 2_592_001, ["from 0 to 2592000"]),
        ("timezone", "Mars/Olympus_Mons", ["IANA", "Mars"]),
        ("timezone", "America", ["IANA", "America"]),
        ("timezone", "../../etc/passwd", ["IANA"]),
        ("timezone", "/etc/localtime", ["IANA"]),
        ("timezone", "UTC\x00", ["control character"]),
        ("timezone", "z" * 101, ["101 bytes"]),
        ("callingHour", {"start": "9:00", "end": "17:00"}, ["callingHour.start", "9:00"]),
        ("callingHour", {"start": "09:00", "end": "24:00"}, ["callingHour.end", "24:00"]),
        ("callingHour", {"start": "09:00"}, ["callingHour.end"]),
        ("callingHour", {"start": "09:00", "end": "09:00"}, ["same time"]),
        ("callingHour", {"start": 9, "end": 17}, ["callingHour"]),
        ("callingHour", "09:00-17:00", ["callingHour"]),
        ("allowedDays", [], ["at least one day"]),
        ("allowedDays", [7], ["from 0 to 6", "7"]),
        ("allowedDays", [-1], ["from 0 to 6"]),
        ("allowedDays", ["1"], ["allowedDays"]),
    ],
)
def test_a_bad_value_is_400_and_nothing_is_stored(cast, batch_rows, field, value, words):
    answer = cast.owner.post(PATH, content=json.dumps({**PLAIN, field: value}))
    body = assert_problem(answer, 400, "field_invalid", field, *words)
    assert body["data"]["field"].startswith(field)
    assert batch_rows(cast.org_id) == []
