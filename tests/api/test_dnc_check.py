"""GET and POST /api/dnc/check."""

import json
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

import httpx
import phonenumbers
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Service, assert_problem, fresh_number

PATH = "/api/dnc/check"


@pytest.fixture(scope="module")
def twin(service):
    """A second process that serves the same data."""
    running = Service.start(service.data)
    yield running
    assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.fixture
def both(cast, twin):
    """The owner at either process."""
    with httpx.Client(
        base_url=twin.url, headers=cast.owner.headers, timeout=30, verify=False
    ) as client:
        yield (cast.owner, client)


@pytest.fixture
def warm(app_url):
    """Wait until the process behind each client answers bulk checks from a mirror of the list.

    Seen from the database: what such a process asks is how far the ledger has come.
    """

    def brought_forward(connection: psycopg.Connection) -> set[tuple[int, object]]:
        return set(
            connection.execute(
                "select pid, state_change from pg_stat_activity "
                "where query like 'prepare forward %'"
            )
        )

    def is_warm(client: httpx.Client, connection: psycopg.Connection) -> bool:
        before = brought_forward(connection)
        _many(client, [fresh_number()])
        return bool(brought_forward(connection) - before)

    def wait(*clients: httpx.Client) -> None:
        with psycopg.connect(app_url, autocommit=True) as connection:
            for client in clients:
                assert any(is_warm(client, connection) for _ in range(500))

    return wait


def _one(client, number: str) -> dict:
    answer = client.get(PATH, params={"phoneNumber": number})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def _many(client, numbers: list[str]) -> dict:
    answer = client.post(PATH, json={"phoneNumbers": numbers})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def _blocked(*results: dict) -> set[str]:
    return {one["phoneNumber"] for one in results if one["verdict"] == "blocked"}


def _add(client, number: str, **more) -> str:
    body = {"phoneNumber": number, "source": "manual", **more}
    answer = client.post("/api/dnc/add", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["_id"]


def _delete(client, record_id: str) -> None:
    client.delete(f"/api/dnc/delete/{record_id}").raise_for_status()


def _switch(client, *, enable: bool) -> None:
    client.post("/api/dnc/enable-disable", json={"enable": enable}).raise_for_status()


# One number


def test_a_callable_number(cast, entries):
    number = fresh_number()
    answer = cast.reader.get(PATH, params={"phoneNumber": number})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    data = body.pop("data")
    assert list(body.items()) == [
        ("message", "Check completed"),
        ("status", True),
        ("code", 200),
        ("errorMessage", ""),
    ]
    assert list(data)[:5] == ["phoneNumber", "verdict", "reasons", "valid", "enforcement"]
    assert list(data)[5:] == ["seq", "checkedAt", "ruleSet"]
    assert (data["phoneNumber"], data["verdict"], data["reasons"]) == (number, "callable", [])
    assert (data["valid"], data["enforcement"]) == (True, "on")
    assert data["seq"] == entries(cast.org_id)[-1]["seq"]


@pytest.mark.parametrize("type_", ["complaint", None])
def test_a_listed_number(cast, type_):
    """The reason names the record, its type, and since when."""
    number = fresh_number()
    record_id = _add(cast.owner, number, type=type_)
    record = cast.owner.get(f"/api/dnc/record/{record_id}").json()["data"]
    expected = {
        "phoneNumber": number,
        "verdict": "blocked",
        "reasons": [
            {
                "code": "listed",
                "message": f"+{number} is on the organization's Do-Not-Call list.",
                "recordId": record_id,
                "type": type_,
                "since": record["createdAt"],
            }
        ],
        "valid": True,
        "enforcement": "on",
    }
    one = _one(cast.owner, number)
    assert {name: one[name] for name in expected} == expected
    assert _many(cast.owner, [number])["results"] == [expected]


def test_a_deleted_number_is_callable_again(cast):
    number = fresh_number()
    _delete(cast.owner, _add(cast.owner, number))
    assert _one(cast.owner, number)["verdict"] == "callable"
    assert _many(cast.owner, [number])["results"][0]["verdict"] == "callable"


def test_other_organizations_lists_are_not_asked(cast):
    number = fresh_number()
    _add(cast.stranger, number)
    assert _one(cast.owner, number)["verdict"] == "callable"
    assert _many(cast.owner, [number])["results"][0]["verdict"] == "callable"


QUERIES = (
    "12125550123",
    "+12125550123",
    "%2B12125550123",
    "%2b12125550123",
    "%E2%81%A0+12125550123",
    "%EF%BC%8B12125550123",
    "+1+(212)+555-0123",
    "%2B1%20%28212%29%20555%2D0123",
    "(212)555-0123",
    "2125550123",
    "1.212.555.0123",
    "01112125550123",
    "tel:+12125550123",
    "tel:%2B1-212-555-0123",
    "tel:12125550123",
    "tel:555-0123;phone-context=%2B1212",
    "%EF%BC%91%EF%BC%92%EF%BC%91%EF%BC%92%EF%BC%95%EF%BC%95%EF%BC%95%EF%BC%90123",
)


def test_a_number_as_it_may_stand_in_an_address(cast):
    """A plus that was not escaped arrives as a blank; it is a plus all the same. What was asked
    is repeated where it differs from the number's digits.
    """
    _add(cast.owner, "12125550123")
    for query in QUERIES:
        data = cast.owner.get(f"{PATH}?phoneNumber={query}").json()["data"]
        assert (query, data["verdict"]) == (query, "blocked")
        assert data["phoneNumber"] == "12125550123"
        assert ("input" in data) == (query != "12125550123")
    data = cast.owner.get(f"{PATH}?phoneNumber=+1+(212)+555-0123").json()["data"]
    assert data["input"] == "+1 (212) 555-0123"


SERVICE_CODES = ("911", "988", "112", "999", "000", "+1911", "1911", "9-1-1", "tel:911", "911 ")


@pytest.mark.parametrize("enable", [True, False])
def test_emergency_and_service_numbers_are_blocked(cast, enable):
    """Never invalid, never callable, and not by the list: the switch does not matter."""
    _switch(cast.owner, enable=enable)
    results = _many(cast.owner, list(SERVICE_CODES))["results"]
    for code, result in zip(SERVICE_CODES, results, strict=True):
        one = _one(cast.owner, code)
        for found in (one, result):
            assert (code, found["verdict"]) == (code, "blocked")
            assert [reason["code"] for reason in found["reasons"]] == ["service_code"]
            assert not found["valid"]


UNREADABLE = {
    "x": "not_a_number",
    "+": "not_a_number",
    "\u0000": "not_a_number",
    "12125550123\n": "not_a_number",
    "1212555\u00000123": "not_a_number",
    "5550123": "local_only",
    "+999 12345678": "unknown_country_code",
    "1" * 101: "too_long",
    "1" * 16: "too_long",
    "+1 212 555 0123 / +1 212 555 0124": "several_numbers",
    "' or true --": "not_a_number",
    "\U0001f4de": "not_a_number",
}


@pytest.mark.parametrize("enable", [True, False])
def test_an_unreadable_number_is_invalid(cast, enable):
    """What cannot be looked up cannot be clear, with the switch off either."""
    _switch(cast.owner, enable=enable)
    results = _many(cast.owner, list(UNREADABLE))["results"]
    for (text, problem), result in zip(UNREADABLE.items(), results, strict=True):
        one = _one(cast.owner, text)
        for found in (one, result):
            assert (text, found["verdict"]) == (text, "invalid")
            assert [reason["code"] for reason in found["reasons"]] == [problem]
            assert (found["phoneNumber"], found["valid"]) == (text, False)


def test_a_possible_number_that_no_plan_knows_is_callable_and_not_valid(cast):
    data = _one(cast.owner, "12121550123")
    assert (data["verdict"], data["valid"]) == ("callable", False)


@pytest.mark.parametrize("query", ["", "phoneNumber", "phoneNumber=", "phonenumber=12125550123"])
def test_the_number_is_required(cast, query):
    answer = cast.owner.get(f"{PATH}?{query}")
    assert_problem(answer, 400, "field_missing", "phoneNumber")


def test_a_number_that_stands_twice_is_400(cast):
    answer = cast.owner.get(f"{PATH}?phoneNumber=12125550123&phoneNumber=12125550124")
    assert_problem(answer, 400, "field_invalid", "phoneNumber", "2 times")


def test_unknown_parameters_are_ignored(cast):
    number = fresh_number()
    _add(cast.owner, number)
    for query in (
        f"phoneNumber={number}&x=1",
        f"x&phoneNumber={number}",
        f"=&phoneNumber={number}",
    ):
        assert cast.owner.get(f"{PATH}?{query}").json()["data"]["verdict"] == "blocked"


# Readings


def test_every_reading_of_bare_digits_is_looked_up(cast):
    """In the US `659…` is Alabama or Singapore. Whichever is listed, the digits are blocked, and
    the answer names the listed one; written with a plus they are one number only.
    """
    digits = "6592345678"
    for listed, other in ((digits, f"1{digits}"), (f"1{digits}", digits)):
        assert phonenumbers.is_valid_number(phonenumbers.parse(f"+{listed}"))
        record_id = _add(cast.owner, f"+{listed}")
        for found in (_one(cast.owner, digits), _many(cast.owner, [digits])["results"][0]):
            assert (found["verdict"], found["phoneNumber"]) == ("blocked", listed)
            assert found["reasons"][0]["recordId"] == record_id
        assert _one(cast.owner, f"+{listed}")["verdict"] == "blocked"
        assert _one(cast.owner, f"+{other}")["verdict"] == "callable"
        _delete(cast.owner, record_id)
    assert _one(cast.owner, digits)["verdict"] == "callable"


@pytest.mark.parametrize("region", ["US", "SG", "DE", "IN", "BR", "IT"])
def test_a_number_as_we_print_it_is_blocked_under_any_home_region(new_org, new_client, region):
    client = new_client(new_org(region=region))
    printed = []
    for other in ("US", "SG", "DE", "IN", "BR", "IT", "AU", "GB", "CI", "MX", "JP", "EG"):
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            example = phonenumbers.example_number_for_type(other, kind)
            text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            answer = client.post("/api/dnc/add", json={"phoneNumber": text, "source": "manual"})
            if answer.status_code == 200:
                printed.append(_one(client, text)["phoneNumber"])
    assert len(printed) > 20
    results = _many(client, printed)["results"]
    assert {result["verdict"] for result in results} == {"blocked"}
    assert {_one(client, number)["verdict"] for number in printed} == {"blocked"}


LISTED = ("12125550123", "6591234567", "442071838750", "4930123456", "5511961234567")
PREFIXES = ("+", "+", "", "tel:+", "tel:", "\uff0b", " +", "011 ", "(+", "'+")
GAPS = ("", "", "", "", "", " ", "-", ".", "(", ")", " (", ") ", "/", "\u00a0", "\u2011", "\u2060")
SUFFIXES = ("", "", "", " ", ";ext=7", " ext. 12", " x3", "#9", ".", ")", ";phone-context=+1")


@st.composite
def _spellings(draw) -> str:
    digits = draw(st.sampled_from(LISTED))
    text = draw(st.sampled_from(PREFIXES))
    wide = draw(st.booleans()) and draw(st.booleans())
    for digit in digits:
        text += draw(st.sampled_from(GAPS))
        text += chr(ord(digit) - ord("0") + ord("\uff10")) if wide else digit
    suffix = draw(st.sampled_from(SUFFIXES))
    if suffix.startswith(";phone-context") and not digits.startswith("1"):
        # A context says that the digits before it are national, of country code 1: `659…` is
        # then the number in Alabama, which is not the listed one in Singapore.
        suffix = ""
    return text + suffix


@pytest.fixture
def asker(cast) -> httpx.Client:
    """Of an organization that lists the numbers that are spelled."""
    for number in LISTED:
        _add(cast.owner, f"+{number}")
    return cast.owner


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=_spellings())
def test_no_spelling_of_a_listed_number_is_callable(asker, text):
    """It may be unreadable, but never another number that is clear."""
    assert _one(asker, text)["verdict"] != "callable"
    assert _many(asker, [text])["results"][0]["verdict"] != "callable"


# Many numbers


def test_many_numbers(cast):
    """In the order asked, as often as asked, each as if it were asked alone; one bad number does
    not spoil the rest.
    """
    listed, free = fresh_number(), fresh_number()
    record_id = _add(cast.owner, listed, type="complaint")
    texts = [free, listed, "x", "911", "", f"+{listed}", free, listed, "\u0000", f"+{free} ext 5"]
    answer = cast.reader.post(PATH, json={"phoneNumbers": texts})
    assert answer.status_code == 200
    body = answer.json()
    data = body.pop("data")
    assert list(body.items()) == [
        ("message", "Check completed"),
        ("status", True),
        ("code", 200),
        ("errorMessage", ""),
    ]
    assert list(data) == ["results", "enforcement", "seq", "checkedAt", "ruleSet"]
    verdicts = [result["verdict"] for result in data["results"]]
    assert [verdict[0] for verdict in verdicts] == list("cbibibcbic")
    for text, result in zip(texts, data["results"], strict=True):
        if text:
            one = _one(cast.owner, text)
            assert one["seq"] == data["seq"]
            assert result == {
                name: value
                for name, value in one.items()
                if name not in ("seq", "checkedAt", "ruleSet")
            }
    assert data["results"][1]["reasons"][0]["recordId"] == record_id


def test_ten_thousand_numbers(cast):
    """Are answered, in the order asked; one more is too many."""
    numbers = [str(12_012_000_000 + position) for position in range(10_000)]
    listed = {"12012000000": 0, "12012004096": 4096, "12012009999": 9999}
    for number in listed:
        _add(cast.owner, number)
    for _ in range(2):
        results = _many(cast.owner, numbers)["results"]
        assert [result["phoneNumber"] for result in results] == numbers
        blocked = [place for place, one in enumerate(results) if one["verdict"] == "blocked"]
        assert blocked == list(listed.values())
        assert sum(one["verdict"] == "callable" for one in results) == 9_997
    answer = cast.owner.post(PATH, json={"phoneNumbers": [*numbers, "x"]})
    assert_problem(answer, 400, "field_invalid", "phoneNumbers", "10001", "10000")


def test_no_numbers_are_400(cast):
    answer = cast.owner.post(PATH, json={"phoneNumbers": []})
    assert_problem(answer, 400, "field_invalid", "phoneNumbers")


@pytest.mark.parametrize("body", [b"{}", b'{"phoneNumber":"12125550123"}', b'{"phonenumbers":[]}'])
def test_the_numbers_are_required(cast, body):
    assert_problem(cast.owner.post(PATH, content=body), 400, "field_missing", "phoneNumbers")


def test_numbers_of_a_wrong_type_are_400_naming_the_place(cast):
    for value in ("null", "1", '"12125550123"', "{}", "true", "1e999"):
        answer = cast.owner.post(PATH, content=f'{{"phoneNumbers":{value}}}'.encode())
        assert_problem(answer, 400, "field_invalid", "phoneNumbers")
    for value in ("null", "12125550123", "[]", "{}", "true", "1e999", "9" * 5000):
        body = f'{{"phoneNumbers":["12125550123",{value}]}}'
        answer = cast.owner.post(PATH, content=body.encode())
        assert_problem(answer, 400, "field_invalid", "phoneNumbers[1]")


NO_OBJECT = (
    b"",
    b"{",
    b"null",
    b'["12125550123"]',
    b'{"phoneNumbers":["12125550123"]',
    b'{"phoneNumbers":["12125550123",]}',
    b'{"phoneNumbers":["\xff"]}',
    b'{"phoneNumbers":["1\x002"]}',
    b'{"phoneNumbers":["\\ud800"]}',
    b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
)


def test_a_body_that_is_no_json_object_is_400(cast):
    for body in NO_OBJECT:
        assert_problem(cast.owner.post(PATH, content=body), 400, "body_malformed")


def test_a_key_that_stands_twice_is_400(cast):
    body = b'{"phoneNumbers":["12125550123"],"phoneNumbers":["12125550124"]}'
    answer = cast.owner.post(PATH, content=body)
    assert_problem(answer, 400, "field_invalid", "phoneNumbers", "twice")


def test_unknown_fields_are_ignored(cast):
    body = {"phoneNumbers": ["12125550123"], "at": "x", "enforcement": "off"}
    answer = cast.owner.post(PATH, content=json.dumps(body, indent=2).encode())
    assert answer.json()["data"]["results"][0]["verdict"] == "callable"


def test_a_body_without_its_length_is_read_all_the_same(cast):
    """Sent in chunks, as a stream."""
    number = fresh_number()
    _add(cast.owner, number)
    body = json.dumps({"phoneNumbers": [number]}).encode()
    answer = cast.owner.post(PATH, content=iter([body[:9], body[9:]]))
    assert answer.json()["data"]["results"][0]["verdict"] == "blocked"


# The switch


def test_switched_off_the_list_is_not_consulted_and_every_answer_says_so(cast, warm):
    """From the database and from a mirror."""
    listed, free = fresh_number(), fresh_number()
    _add(cast.owner, listed)
    _switch(cast.owner, enable=False)
    for round_number in range(2):
        for number in (listed, free):
            one = _one(cast.owner, number)
            assert (one["verdict"], one["reasons"]) == ("callable", [])
            assert one["enforcement"] == "off"
        data = _many(cast.owner, [listed, free, "x"])
        assert data["enforcement"] == "off"
        assert {result["enforcement"] for result in data["results"]} == {"off"}
        verdicts = [result["verdict"] for result in data["results"]]
        assert verdicts == ["callable", "callable", "invalid"]
        if round_number == 0:
            warm(cast.owner)
    _switch(cast.owner, enable=True)
    assert _one(cast.owner, listed)["verdict"] == "blocked"
    assert _many(cast.owner, [listed])["results"][0]["verdict"] == "blocked"


# Strictness


def test_a_check_sees_every_change_that_was_acknowledged_before_it(both):
    """On either process, whichever changed the list, with others asking and changing meanwhile."""

    def hammer(seed: int) -> None:
        random = Random(seed)
        number = fresh_number()
        for _ in range(12):
            record_id = _add(random.choice(both), number)
            for client in both:
                found = _one(client, number)
                assert (found["verdict"], found["reasons"][0]["recordId"]) == (
                    "blocked",
                    record_id,
                )
            _delete(random.choice(both), record_id)
            for client in both:
                assert _one(client, number)["verdict"] == "callable"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hammer, range(4)))


def _is_exact(data: dict, numbers: list[str], listed: dict[str, str]) -> bool:
    """Whether the results say what a plain model says: the listed ones, by their records."""
    found = {
        result["phoneNumber"]: result["reasons"][0]["recordId"]
        for result in data["results"]
        if result["verdict"] == "blocked"
    }
    clear = [one["phoneNumber"] for one in data["results"] if one["verdict"] == "callable"]
    return found == listed and clear == [number for number in numbers if number not in listed]


def test_a_bulk_check_sees_every_change_that_was_acknowledged_before_it(both, warm):
    """Answered from each process's own mirror, which others bring forward at the same time."""
    already = {number: _add(both[0], number) for number in (fresh_number() for _ in range(5))}
    warm(*both)

    def hammer(seed: int) -> None:
        random = Random(seed)
        numbers = [fresh_number() for _ in range(20)]
        listed: dict[str, str] = {}
        for _ in range(20):
            number = random.choice(numbers)
            if number in listed:
                _delete(random.choice(both), listed.pop(number))
            else:
                listed[number] = _add(random.choice(both), number)
            for client in both:
                asked = [*numbers, *already]
                assert _is_exact(_many(client, asked), asked, listed | already)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hammer, range(4)))


def test_a_mirror_is_exact_after_any_change(both, warm):
    """Deleting what it was made with, adding that again, and the switch in between."""
    numbers = [fresh_number() for _ in range(30)]
    listed = {number: _add(both[0], number) for number in numbers[:15]}
    warm(*both)
    random, is_on = Random(3), True
    for _ in range(60):
        if random.random() < 0.2:
            is_on = not is_on
            _switch(random.choice(both), enable=is_on)
        else:
            number = random.choice(numbers)
            if number in listed:
                _delete(random.choice(both), listed.pop(number))
            else:
                listed[number] = _add(random.choice(both), number)
        for client in both:
            data = _many(client, numbers)
            assert data["enforcement"] == ("on" if is_on else "off")
            assert _is_exact(data, numbers, listed if is_on else {})


def _states(entries: list[dict]) -> dict[int, set[str]]:
    """What was listed at each seq of a ledger."""
    states, listed = {}, set()
    for entry in entries:
        changed = {str(number) for number in entry["numbers"]}
        if entry["kind"] == "add":
            listed |= changed
        elif entry["kind"] == "delete":
            listed -= changed
        states[entry["seq"]] = set(listed)
    return states


def test_an_answer_is_the_state_at_its_seq(both, warm, entries, cast):
    """All of it: no answer mixes what was before a change with what came after it, though changes
    fall between the statements that it is put together from.
    """
    numbers = [fresh_number() for _ in range(6)]
    warm(*both)
    ended = Event()

    def change(mine: list[str]) -> None:
        while not ended.is_set():
            ids = [_add(both[0], number) for number in mine]
            for record_id in ids:
                _delete(both[0], record_id)

    def ask(client: httpx.Client) -> list[tuple[int, set[str], set[str]]]:
        answers = []
        for _ in range(60):
            data = _many(client, numbers)
            one = _one(client, numbers[0])
            answers.append((data["seq"], set(numbers), _blocked(*data["results"])))
            answers.append((one["seq"], {numbers[0]}, _blocked(one)))
        return answers

    with ThreadPoolExecutor(4) as pool:
        changes = [pool.submit(change, mine) for mine in (numbers[:3], numbers[3:])]
        try:
            answers = [answer for told in pool.map(ask, both) for answer in told]
        finally:
            ended.set()
    for done in changes:
        done.result()
    states = _states(entries(cast.org_id))
    for seq, asked, blocked in answers:
        assert blocked == states[seq] & asked


# Who may


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    client = getattr(cast, who)
    plain = client.get(PATH, params={"phoneNumber": "12125550123"})
    many = client.post(PATH, json={"phoneNumbers": ["12125550123"]})
    for answer in (plain, many, client.get(PATH), client.post(PATH, content=b"{")):
        assert_problem(answer, 401, "not_authenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_wrong_scope_is_403_before_400(cast, new_client):
    client = new_client(cast.org_id, "dnc:write", "dnc:delete", "call:write", "admin")
    plain = client.get(PATH, params={"phoneNumber": "12125550123"})
    many = client.post(PATH, json={"phoneNumbers": ["12125550123"]})
    for answer in (plain, many, client.get(PATH), client.post(PATH, content=b"{")):
        assert_problem(answer, 403, "scope_missing", "dnc:read")


def test_checking_changes_nothing(cast, entries):
    number = fresh_number()
    _add(cast.owner, number)
    before = entries(cast.org_id)
    _one(cast.owner, number)
    _many(cast.owner, [number, "x"])
    assert entries(cast.org_id) == before
