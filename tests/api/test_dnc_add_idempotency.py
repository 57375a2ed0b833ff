"""POST /api/dnc/add with an Idempotency-Key."""

import json
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from conftest import assert_problem, at_once, fresh_number

PATH = "/api/dnc/add"


@pytest.fixture
def age_keys(owner_url):
    """Move an organization's keys back in time, as the clock would have done."""

    def move(org_id: str, by: timedelta) -> None:
        with psycopg.connect(owner_url) as connection:
            moved = connection.execute(
                "update nocall.idempotency set created_at = created_at - %s where org_id = %s",
                [by, org_id],
            )
            assert moved.rowcount > 0

    return move


def _key() -> str:
    return str(uuid4())


def _add(client, key: str, number: str, **more):
    body = {"phoneNumber": number, "source": "manual", **more}
    return client.post(PATH, json=body, headers={"Idempotency-Key": key})


def _seq(client) -> int:
    answer = client.get("/api/dnc/check", params={"phoneNumber": "12125550123"})
    return answer.json()["data"]["seq"]


def test_the_same_request_gets_the_first_answer_again(cast, entries):
    """The bytes of the first 200; the number is added once and not recorded as asked for twice."""
    key, number = _key(), fresh_number()
    first = _add(cast.owner, key, number)
    assert first.status_code == 200
    for _ in range(3):
        again = _add(cast.owner, key, number)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["content-type"] == first.headers["content-type"]
    assert len(entries(cast.org_id, "add")) == 1
    assert entries(cast.org_id, "add_repeated") == []


def test_the_first_answer_outlives_the_record(cast):
    """A retry is answered as the request was, though the record is gone; it adds nothing."""
    key, number = _key(), fresh_number()
    first = _add(cast.owner, key, number)
    cast.owner.delete(f"/api/dnc/delete/{first.json()['data']['_id']}").raise_for_status()
    before = _seq(cast.owner)
    assert _add(cast.owner, key, number).content == first.content
    assert _seq(cast.owner) == before


def test_another_body_is_422(cast):
    """Also one that differs in a blank only: it is the bytes that are compared."""
    key, number, other = _key(), fresh_number(), fresh_number()
    body = json.dumps({"phoneNumber": number, "source": "manual"})
    headers = {"Idempotency-Key": key}
    cast.owner.post(PATH, content=body.encode(), headers=headers).raise_for_status()
    before = _seq(cast.owner)
    assert_problem(_add(cast.owner, key, other), 422, "idempotency_mismatch", key)
    answer = cast.owner.post(PATH, content=f"{body} ".encode(), headers=headers)
    assert_problem(answer, 422, "idempotency_mismatch", key)
    assert _seq(cast.owner) == before


def test_the_same_key_at_once(cast, entries):
    """All get the one 200; the number is added once, and no request counts as a second one."""
    for _ in range(10):
        key, number = _key(), fresh_number()
        answers = at_once(*[lambda key=key, number=number: _add(cast.owner, key, number)] * 6)
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
    assert len(entries(cast.org_id, "add")) == 10
    assert entries(cast.org_id, "add_repeated") == []


def test_the_same_key_at_once_with_different_bodies(cast, entries):
    """One wins, the rest are 422."""
    for _ in range(5):
        key = _key()
        numbers = [fresh_number() for _ in range(4)]
        answers = at_once(
            *(lambda key=key, number=number: _add(cast.owner, key, number) for number in numbers)
        )
        assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422]
    assert len(entries(cast.org_id, "add")) == 5


def test_a_key_belongs_to_one_token(cast):
    """Another token may use it for another body, of the same organization or of another one."""
    key, number, other = _key(), fresh_number(), fresh_number()
    first = _add(cast.owner, key, number)
    second = _add(cast.no_delete, key, other)
    third = _add(cast.stranger, key, number)
    assert [answer.status_code for answer in (first, second, third)] == [200] * 3
    ids = {answer.json()["data"]["_id"] for answer in (first, second, third)}
    assert len(ids) == 3
    repeated = _add(cast.no_delete, key, other)
    assert repeated.content == second.content


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"phoneNumber": "x", "source": "manual"}, 400),
        ({"phoneNumber": "12125550123"}, 400),
        (
            {"phoneNumber": "12125550123", "batchId": "0123456789abcdef01234567"}
            | {"requestUUID": "a-1"},
            404,
        ),
    ],
)
def test_a_failure_frees_the_key(cast, body, status):
    """The corrected request may carry the same key."""
    key = _key()
    headers = {"Idempotency-Key": key}
    for _ in range(2):
        assert cast.owner.post(PATH, json=body, headers=headers).status_code == status
    assert _add(cast.owner, key, fresh_number()).status_code == 200


def test_a_duplicate_frees_the_key(cast, entries):
    """Its 400 is not kept: each request for a listed number counts, and once the record is gone
    the same request succeeds.
    """
    key, number = _key(), fresh_number()
    record_id = cast.add(number).json()["data"]["_id"]
    for count in (1, 2):
        assert_problem(_add(cast.owner, key, number), 400, "number_listed")
        assert len(entries(cast.org_id, "add_repeated")) == count
    cast.owner.delete(f"/api/dnc/delete/{record_id}").raise_for_status()
    assert _add(cast.owner, key, number).status_code == 200


def test_the_same_key_at_once_for_a_listed_number(cast, entries):
    """A waiting request finds the key free after the first one's 400, and is one of its own."""
    number = fresh_number()
    cast.add(number)
    key = _key()
    answers = at_once(*[lambda: _add(cast.owner, key, number)] * 4)
    assert [answer.status_code for answer in answers] == [400] * 4
    assert len(entries(cast.org_id, "add_repeated")) == 4


@pytest.mark.parametrize(
    "bad", ["", "a b", "a\tb", "x" * 256, "é".encode(), "é".encode("latin-1"), "🔑".encode()]
)
def test_a_bad_key_is_400(cast, bad):
    number = fresh_number()
    before = _seq(cast.owner)
    answer = cast.owner.post(
        PATH,
        json={"phoneNumber": number, "source": "manual"},
        headers={"Idempotency-Key": bad},
    )
    assert_problem(answer, 400, "field_invalid", "Idempotency-Key")
    assert _seq(cast.owner) == before


@pytest.mark.parametrize("good", ["0", "~", "x" * 255, 'a"b', "%00", "';--"])
def test_any_visible_ascii_is_a_key(cast, good):
    number = fresh_number()
    first = _add(cast.owner, good, number)
    assert first.status_code == 200
    assert _add(cast.owner, good, number).content == first.content
    assert_problem(_add(cast.owner, good, fresh_number()), 422, "idempotency_mismatch")


def test_a_key_is_kept_for_24_hours(cast, age_keys, entries):
    """A minute before their end it still answers; after it the key is free for any body."""
    key, number, other = _key(), fresh_number(), fresh_number()
    first = _add(cast.owner, key, number)
    age_keys(cast.org_id, timedelta(hours=23, minutes=59))
    assert _add(cast.owner, key, number).content == first.content
    assert_problem(_add(cast.owner, key, other), 422, "idempotency_mismatch")
    age_keys(cast.org_id, timedelta(minutes=1))
    second = _add(cast.owner, key, other)
    assert second.status_code == 200
    assert second.content != first.content
    assert _add(cast.owner, key, other).content == second.content
    assert_problem(_add(cast.owner, key, number), 422, "idempotency_mismatch")
    assert len(entries(cast.org_id, "add")) == 2


def test_after_24_hours_the_same_request_is_a_second_one(cast, age_keys):
    key, number = _key(), fresh_number()
    _add(cast.owner, key, number)
    age_keys(cast.org_id, timedelta(hours=24))
    assert_problem(_add(cast.owner, key, number), 400, "number_listed")


def test_an_expired_key_at_once(cast, age_keys, entries):
    """The key is free for one of them; the others get its answer."""
    key, number, other = _key(), fresh_number(), fresh_number()
    _add(cast.owner, key, number)
    age_keys(cast.org_id, timedelta(hours=25))
    answers = at_once(*[lambda: _add(cast.owner, key, other)] * 6)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(entries(cast.org_id, "add")) == 2
