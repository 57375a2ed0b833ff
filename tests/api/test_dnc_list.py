"""GET /api/dnc/list."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

import psycopg
import pytest

from conftest import assert_problem, fresh_number
from nocall.dnc.state import BLOCK_SIZE

PATH = "/api/dnc/list"


@pytest.fixture
def skip_ordinals(owner_url):
    """Go on as after a list long enough to have used up the ordinals below `ordinal`."""

    def skip(org_id: str, ordinal: int) -> None:
        with psycopg.connect(owner_url) as connection:
            moved = connection.execute(
                "update nocall.dnc_state set next_ordinal = %s "
                "where org_id = %s and next_ordinal < %s",
                [ordinal, org_id, ordinal],
            )
            assert moved.rowcount == 1

    return skip


def _list(client, query: str = "") -> dict:
    """`query` as it stands in the address, so that escaping is the test's own."""
    answer = client.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def _numbers(client, query: str = "") -> list[str]:
    return [record["phoneNumber"] for record in _list(client, query)["dncList"]]


def _add(client, number: str, **more) -> str:
    answer = client.post("/api/dnc/add", json={"phoneNumber": number, "source": "manual", **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["_id"]


def _delete(client, record_id: str) -> None:
    client.delete(f"/api/dnc/delete/{record_id}").raise_for_status()


# Shape and order


def test_an_empty_list_is_200(cast):
    answer = cast.owner.get(PATH)
    assert answer.status_code == 200
    assert answer.content == (
        b'{"message":"DNC list fetched successfully","status":true,"code":200,"errorMessage":"",'
        b'"data":{"dncList":[],"pagination":{"total":0,"page":1,"limit":10,"totalPages":0,'
        b'"nextCursor":null}}}'
    )


def test_the_bytes_of_a_record(cast):
    """The contract's fields in the contract's order, then ours."""
    number = fresh_number()
    batch_id, request_uuid = cast.make_call(number, "https://r.example/é.mp3", "Stop,\n“now”.")
    record_id = cast.owner.post(
        "/api/dnc/add",
        json={
            "phoneNumber": number,
            "batchId": batch_id,
            "requestUUID": request_uuid,
            "type": "complaint",
            "reason": "loud",
            "requestedAt": "2026-01-02T03:04:05.678+01:00",
        },
    ).json()["data"]["_id"]
    answer = cast.reader.get(PATH)
    created_at = answer.json()["data"]["dncList"][0]["createdAt"]
    expected = {
        "message": "DNC list fetched successfully",
        "status": True,
        "code": 200,
        "errorMessage": "",
        "data": {
            "dncList": [
                {
                    "_id": record_id,
                    "phoneNumber": number,
                    "type": "complaint",
                    "orgId": cast.org_id,
                    "batchId": batch_id,
                    "requestUUID": request_uuid,
                    "callRecording": "https://r.example/é.mp3",
                    "transcription": "Stop,\n“now”.",
                    "createdAt": created_at,
                    "source": "call",
                    "addedBy": "test",
                    "reason": "loud",
                    "requestedAt": "2026-01-02T02:04:05.678Z",
                }
            ],
            "pagination": {
                "total": 1,
                "page": 1,
                "limit": 10,
                "totalPages": 1,
                "nextCursor": None,
            },
        },
    }
    text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
    assert answer.content == text.encode()
    assert len(created_at) == len("2026-01-02T02:04:05.678Z")
    assert created_at.endswith("Z")


def test_what_a_record_lacks_is_null(cast):
    cast.add(fresh_number())
    (record,) = _list(cast.owner)["dncList"]
    absent = ("type", "batchId", "requestUUID", "callRecording", "transcription", "reason")
    assert {record[name] for name in (*absent, "requestedAt")} == {None}


def test_newest_first(cast):
    numbers = [fresh_number() for _ in range(5)]
    for number in sorted(numbers, key=lambda number: number[::-1]):
        cast.add(number)
    assert _numbers(cast.owner) == sorted(numbers, key=lambda number: number[::-1])[::-1]


def test_added_again_it_is_the_newest(cast):
    first, second = fresh_number(), fresh_number()
    record_id = _add(cast.owner, first)
    cast.add(second)
    _delete(cast.owner, record_id)
    cast.add(first)
    assert _numbers(cast.owner) == [first, second]


def test_a_second_request_does_not_move_a_record(cast):
    first, second = fresh_number(), fresh_number()
    for number in (first, second, first):
        cast.add(number)
    assert _numbers(cast.owner) == [second, first]


def test_only_the_own_organizations_records(cast):
    """Not in the list, not in its totals, not in a search."""
    number = fresh_number()
    cast.add(number)
    own = _add(cast.stranger, fresh_number())
    for query in ("", f"search={number}"):
        found = _list(cast.stranger, query)
        assert number not in {record["phoneNumber"] for record in found["dncList"]}
    assert [record["_id"] for record in _list(cast.stranger)["dncList"]] == [own]
    assert _list(cast.stranger)["pagination"]["total"] == 1


# Pages


def test_pages(cast):
    """Every page of every size, the last one short, and past the end an empty one."""
    numbers = [fresh_number() for _ in range(7)]
    for number in numbers:
        cast.add(number)
    newest_first = numbers[::-1]
    for limit in (1, 2, 3, 6, 7, 8, 1000):
        total_pages = math.ceil(7 / limit)
        for page in range(1, total_pages + 2):
            found = _list(cast.owner, f"limit={limit}&page={page}")
            skip = (page - 1) * limit
            assert [one["phoneNumber"] for one in found["dncList"]] == newest_first[
                skip : skip + limit
            ]
            pagination = found["pagination"]
            assert (pagination.pop("nextCursor") is None) == (page >= total_pages)
            assert pagination == {
                "total": 7,
                "page": page,
                "limit": limit,
                "totalPages": total_pages,
            }


def test_defaults(cast):
    numbers = [fresh_number() for _ in range(11)]
    for number in numbers:
        cast.add(number)
    assert _numbers(cast.owner) == numbers[:0:-1]
    assert _numbers(cast.owner, "page=2") == numbers[:1]


@pytest.mark.parametrize("page", ["2", "1000000000", "0002"])
def test_a_page_past_the_end_is_empty(cast, page):
    cast.add(fresh_number())
    found = _list(cast.owner, f"page={page}&limit=1000")
    assert found["dncList"] == []
    assert (found["pagination"]["total"], found["pagination"]["totalPages"]) == (1, 1)
    assert found["pagination"]["nextCursor"] is None


NOT_COUNTS = ("0", "-1", "1.0", "1e3", "ten", "", "+5", "%D9%A3", "0x10", "1_0", "%00", "1" * 5000)


@pytest.mark.parametrize("field", ["page", "limit"])
def test_bad_page_and_limit_are_400(cast, field):
    for bad in (*NOT_COUNTS, "1000000001"):
        assert_problem(cast.owner.get(f"{PATH}?{field}={bad}"), 400, "field_invalid", field)


def test_the_limit_has_a_limit(cast):
    assert _list(cast.owner, "limit=1000")["pagination"]["limit"] == 1000
    assert_problem(cast.owner.get(f"{PATH}?limit=1001"), 400, "field_invalid", "limit", "1000")


@pytest.mark.parametrize("field", ["page", "limit", "search", "cursor"])
def test_a_parameter_that_stands_twice_is_400(cast, field):
    answer = cast.owner.get(f"{PATH}?{field}=1&{field}=1")
    assert_problem(answer, 400, "field_invalid", field, "2 times")


def test_unknown_parameters_are_ignored(cast):
    cast.add(fresh_number())
    assert _list(cast.owner, "offset=7&sort=asc&Page=9&=1&x")["pagination"]["total"] == 1


# Search


@pytest.fixture
def searched(cast):
    """A list that holds something to be found, and not to be found, in every field."""
    number = "12125550123"
    batch_id, _ = cast.make_call(number)
    cast.owner.post(
        "/api/call/report",
        json={
            "batchId": batch_id,
            "phoneNumber": number,
            "callStatus": "completed",
            "requestUUID": "Ab-77-3141592653-cd",
            "transcript": "whisper",
            "recordingUrl": "https://rec.example/tape",
        },
    ).raise_for_status()
    body = {"phoneNumber": number, "batchId": batch_id, "requestUUID": "Ab-77-3141592653-cd"}
    cast.owner.post(
        "/api/dnc/add", json={**body, "type": "Complaint", "reason": "noise"}
    ).raise_for_status()
    cast.add("16465550199", type="50%_off\\now")
    cast.add("442071838750", type="STRASSE É")
    cast.batch_id = batch_id
    return cast


CALLED, PERCENT, LONDON = "12125550123", "16465550199", "442071838750"


def _found(client, terms) -> dict[str, list[str]]:
    return {term: _numbers(client, f"search={term}") for term in terms}


def test_search_looks_in_number_type_and_request_uuid(searched):
    """Anywhere in them, whatever the case; in nothing else."""
    expected = {
        "complaint": [CALLED],
        "COMPLAINT": [CALLED],
        "mplai": [CALLED],
        "aB-77": [CALLED],
        "-CD": [CALLED],
        "3141592653": [CALLED],
        "12125550123": [CALLED],
        "0123": [CALLED],
        "555": [PERCENT, CALLED],
        "20718": [LONDON],
        "stra%C3%9Fe": [LONDON],
        "%C3%A9": [LONDON],
        "%20complaint%20": [CALLED],
        "whisper": [],
        "tape": [],
        "noise": [],
        "manual": [],
        "test": [],
        "99999": [],
        "0123complaint": [],
        "": [LONDON, PERCENT, CALLED],
        "%20": [LONDON, PERCENT, CALLED],
    }
    assert _found(searched.owner, expected) == expected
    for term, found in expected.items():
        pagination = _list(searched.owner, f"search={term}&limit=1")["pagination"]
        assert (term, pagination["total"]) == (term, len(found))


def test_search_does_not_look_in_ids(searched):
    record_id = _list(searched.owner)["dncList"][0]["_id"]
    expected = {searched.batch_id: [], searched.org_id: [], record_id: []}
    assert _found(searched.owner, expected) == expected


def test_patterns_are_ordinary_characters(searched):
    expected = {
        "%25": [PERCENT],
        "0%25_o": [PERCENT],
        "_": [PERCENT],
        "%5C": [PERCENT],
        "%5Cn": [PERCENT],
        "f%5C%5Cn": [],
        "5%25f": [],
        "co_plaint": [],
        ".*": [],
        "'": [],
        "%27%20or%20true--": [],
    }
    assert _found(searched.owner, expected) == expected


def test_a_number_may_be_searched_as_it_is_written(searched):
    """A plus (a blank, where it was not escaped) or punctuation makes the term a number, which
    the digits of a requestUUID are not; a requestUUID is still found by its own dashes.
    """
    expected = {
        "+1212": [CALLED],
        "%2B1212": [CALLED],
        "%201212": [CALLED],
        "(212)+555": [CALLED],
        "(212)%20555-0123": [CALLED],
        "%2B1+(646)+555.0199": [PERCENT],
        "212-555-0123": [CALLED],
        "%2B44+20/7183+8750": [LONDON],
        "%2B7731": [],
        "+314159": [],
        "%2B314159": [],
        "(314)+159": [],
        "31-4159": [],
        "77-3141": [CALLED],
    }
    assert _found(searched.owner, expected) == expected


@pytest.mark.parametrize("bad", ["%00", "a%0Ab", "x" * 201, "%C3%A9" * 101, "%C2%85"])
def test_a_bad_search_is_400(cast, bad):
    assert_problem(cast.owner.get(f"{PATH}?search={bad}"), 400, "field_invalid", "search")


def test_a_search_may_have_200_bytes(cast):
    assert _list(cast.owner, "search=" + "%C3%A9" * 100)["dncList"] == []


def test_pages_of_a_search(cast):
    """They count the matches alone, and go on by cursor too."""
    matching = []
    for position in range(10):
        number = fresh_number()
        cast.add(number, type="wanted" if position % 2 else "other")
        if position % 2:
            matching.insert(0, number)
    first = _list(cast.owner, "search=Wanted&limit=2")
    assert [one["phoneNumber"] for one in first["dncList"]] == matching[:2]
    assert (first["pagination"]["total"], first["pagination"]["totalPages"]) == (5, 3)
    assert _numbers(cast.owner, "search=Wanted&limit=2&page=3") == matching[4:]
    assert _numbers(cast.owner, "search=Wanted&limit=2&page=4") == []
    cursor = first["pagination"]["nextCursor"]
    second = _list(cast.owner, f"search=Wanted&limit=2&cursor={cursor}")
    assert [one["phoneNumber"] for one in second["dncList"]] == matching[2:4]
    third = _list(cast.owner, f"search=Wanted&limit=2&cursor={second['pagination']['nextCursor']}")
    assert [one["phoneNumber"] for one in third["dncList"]] == matching[4:]
    assert third["pagination"]["nextCursor"] is None


# Cursor


def _read_on(client, limit: int) -> list[str]:
    """Every number that a reader gets who follows the cursor from the first page to the end."""
    found = _list(client, f"limit={limit}")
    seen = [one["phoneNumber"] for one in found["dncList"]]
    while cursor := found["pagination"]["nextCursor"]:
        found = _list(client, f"limit={limit}&cursor={cursor}")
        seen += [one["phoneNumber"] for one in found["dncList"]]
    return seen


def test_the_cursor_leads_through_the_whole_list(cast):
    numbers = [fresh_number() for _ in range(9)]
    for number in numbers:
        cast.add(number)
    for limit in (1, 2, 4, 8, 9, 10):
        assert _read_on(cast.owner, limit) == numbers[::-1]


def test_the_pagination_of_a_cursor_page(cast):
    """No page number, so no total either: it would not be that of the list as first read."""
    for _ in range(3):
        cast.add(fresh_number())
    cursor = _list(cast.owner, "limit=1")["pagination"]["nextCursor"]
    pagination = _list(cast.owner, f"limit=2&cursor={cursor}")["pagination"]
    assert pagination == {"limit": 2, "nextCursor": None}


def test_a_reader_sees_each_record_that_stayed_exactly_once(cast):
    """While others are added and deleted all the time."""
    stayed = [fresh_number() for _ in range(40)]
    leavers: list[list[str]] = [[], []]
    for position, number in enumerate(stayed):
        cast.add(number)
        leavers[position % 2].append(_add(cast.owner, fresh_number()))
    ended = Event()

    def change(leaving: list[str]) -> int:
        random, count = Random(5), 0
        while not ended.is_set():
            leaving.append(_add(cast.owner, fresh_number()))
            _delete(cast.owner, leaving.pop(random.randrange(len(leaving))))
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        changes = [pool.submit(change, leaving) for leaving in leavers]
        try:
            for limit in (3, 7, 10, 1, 19):
                seen = _read_on(cast.reader, limit)
                assert len(seen) == len(set(seen))
                assert [number for number in seen if number in set(stayed)] == stayed[::-1]
        finally:
            ended.set()
    assert all(done.result() > 0 for done in changes)


def test_the_first_page_leads_on_though_a_record_was_added_meanwhile(cast):
    """A page that the oldest record has just dropped off is not the last one."""
    numbers = [fresh_number() for _ in range(3)]
    for number in numbers:
        cast.add(number)
    ended = Event()

    def change() -> None:
        while not ended.is_set():
            _delete(cast.owner, _add(cast.owner, fresh_number()))

    with ThreadPoolExecutor(2) as pool:
        changes = [pool.submit(change) for _ in range(2)]
        try:
            for _ in range(200):
                data = _list(cast.reader, "limit=3")
                if data["pagination"]["nextCursor"] is None:
                    assert data["dncList"][-1]["phoneNumber"] == numbers[0]
        finally:
            ended.set()
    for done in changes:
        done.result()


def test_a_cursor_outlives_the_record_it_came_from(cast):
    numbers = [fresh_number() for _ in range(4)]
    ids = [_add(cast.owner, number) for number in numbers]
    cursor = _list(cast.owner, "limit=2")["pagination"]["nextCursor"]
    _delete(cast.owner, ids[2])
    assert _numbers(cast.owner, f"cursor={cursor}") == numbers[1::-1]


def test_a_cursor_reads_only_the_askers_list(cast):
    """A cursor says where, not whose."""
    for _ in range(3):
        cast.add(fresh_number())
    own = _add(cast.stranger, fresh_number())
    cursor = _list(cast.owner, "limit=1")["pagination"]["nextCursor"]
    found = _list(cast.stranger, f"cursor={cursor}")["dncList"]
    assert [record["_id"] for record in found] == [own]


def test_cursor_and_page_exclude_each_other(cast):
    for query in ("cursor=o5&page=1", "page=2&cursor=o5"):
        assert_problem(cast.owner.get(f"{PATH}?{query}"), 400, "field_invalid", "cursor", "page")


@pytest.mark.parametrize(
    "bad", ["", "x", "o", "oG", "5", "O5", "o5%20", "+o5", "o-1", "o5%00", f"o{'f' * 16}", "o٣"]
)
def test_a_bad_cursor_is_400(cast, bad):
    assert_problem(cast.owner.get(f"{PATH}?cursor={bad}"), 400, "field_invalid", "cursor")


@pytest.mark.parametrize("end", ["o0", f"o{'f' * 15}"])
def test_a_cursor_of_either_end(cast, end):
    number = fresh_number()
    cast.add(number)
    assert _numbers(cast.owner, f"cursor={end}") == ([] if end == "o0" else [number])


# Blocks


def test_pages_and_totals_across_blocks_equal_a_plain_model(cast, skip_ordinals):
    """Records are counted in blocks of ordinals. After deletes and additions on both sides of the
    bounds, with whole blocks emptied and never used, every page and total is a plain list's.
    """
    random = Random(11)
    model: list[tuple[str, str]] = []  # newest first

    def add() -> None:
        number = fresh_number()
        model.insert(0, (number, _add(cast.owner, number)))

    def delete(position: int) -> None:
        _delete(cast.owner, model.pop(position)[1])

    def compare() -> None:
        numbers = [number for number, _ in model]
        for limit in (1, 3, 4, len(model) or 1, 1000):
            for page in range(1, math.ceil(len(model) / limit) + 2):
                found = _list(cast.owner, f"page={page}&limit={limit}")
                skip = (page - 1) * limit
                assert [one["phoneNumber"] for one in found["dncList"]] == numbers[
                    skip : skip + limit
                ]
                assert found["pagination"]["total"] == len(model)
                assert found["pagination"]["totalPages"] == math.ceil(len(model) / limit)
        assert _read_on(cast.owner, 3) == numbers

    add()
    skip_ordinals(cast.org_id, BLOCK_SIZE - 2)
    for _ in range(4):
        add()
    compare()
    skip_ordinals(cast.org_id, 3 * BLOCK_SIZE - 1)
    for _ in range(3):
        add()
    compare()
    delete(len(model) - 1)
    delete(2)
    compare()
    for _ in range(8):
        delete(random.randrange(len(model))) if random.random() < 0.5 else add()
    compare()
    while model:
        delete(random.randrange(len(model)))
    compare()
    add()
    compare()


# Who may


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = getattr(cast, who).get(f"{PATH}?page=0&cursor=x")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_wrong_scope_is_403_before_400(cast, new_client):
    writer = new_client(cast.org_id, "dnc:write", "dnc:delete", "call:write", "admin")
    assert_problem(writer.get(f"{PATH}?page=0"), 403, "scope_missing", "dnc:read")


def test_reading_changes_nothing(cast, entries):
    cast.add(fresh_number())
    before = entries(cast.org_id)
    _list(cast.owner, "search=1&limit=1")
    assert_problem(cast.owner.get(f"{PATH}?page=0"), 400, "field_invalid")
    assert entries(cast.org_id) == before
