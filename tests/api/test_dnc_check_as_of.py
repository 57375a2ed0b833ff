"""GET /api/dnc/check with `at`: what the list and the switch said at a past instant."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from threading import Event

import pytest

from conftest import assert_problem, fresh_number

PATH = "/api/dnc/check"
MILLISECOND = timedelta(milliseconds=1)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _ask(client, number: str, at: str):
    return client.get(PATH, params={"phoneNumber": number, "at": at})


def _as_of(client, number: str, at: str) -> dict:
    answer = _ask(client, number, at)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def _now(client, number: str) -> dict:
    return client.get(PATH, params={"phoneNumber": number}).json()["data"]


def _add(client, number: str, **more) -> str:
    body = {"phoneNumber": number, "source": "manual", **more}
    return client.post("/api/dnc/add", json=body).json()["data"]["_id"]


def _delete(client, record_id: str) -> None:
    client.delete(f"/api/dnc/delete/{record_id}").raise_for_status()


def _switch(client, *, enable: bool) -> None:
    client.post("/api/dnc/enable-disable", json={"enable": enable}).raise_for_status()


def _settled(client, number: str) -> dict:
    """The answer of a check made in a millisecond in which nothing was or will be recorded.

    Instants have milliseconds: what is recorded in the same one as a check counts as known to it.
    """
    recorded = _now(client, number)["checkedAt"]
    while (check := _now(client, number))["checkedAt"] == recorded:
        pass
    while _now(client, number)["checkedAt"] == check["checkedAt"]:
        pass
    return check


def test_it_works(cast):
    """Added, deleted, added again: each instant answers as a check then did, with its seq."""
    number = fresh_number()
    checks = [_settled(cast.owner, number)]
    first = _add(cast.owner, number, type="complaint")
    checks.append(_settled(cast.owner, number))
    _delete(cast.owner, first)
    checks.append(_settled(cast.owner, number))
    second = _add(cast.owner, number)
    checks.append(_settled(cast.owner, number))
    assert [check["verdict"] for check in checks] == ["callable", "blocked"] * 2
    assert [check["reasons"][0]["recordId"] for check in checks[1::2]] == [first, second]
    for check in checks:
        answer = _ask(cast.reader, number, check["checkedAt"])
        assert answer.status_code == 200
        assert answer.json()["message"] == "Check completed"
        assert answer.json()["data"] == check
        assert list(answer.json()["data"]) == list(check)


def test_the_switch_as_it_was(cast):
    number = fresh_number()
    _add(cast.owner, number)
    checks = [_settled(cast.owner, number)]
    for enable in (False, True, False):
        _switch(cast.owner, enable=enable)
        checks.append(_settled(cast.owner, number))
    assert [check["enforcement"] for check in checks] == ["on", "off"] * 2
    assert [check["verdict"] for check in checks] == ["blocked", "callable"] * 2
    for check in checks:
        assert _as_of(cast.owner, number, check["checkedAt"]) == check


def test_from_created_at_on(cast):
    """A record counts from the instant that it carries, and not a millisecond before."""
    number = fresh_number()
    _settled(cast.owner, number)
    record_id = _add(cast.owner, number)
    since = cast.owner.get(f"/api/dnc/record/{record_id}").json()["data"]["createdAt"]
    before = datetime.fromisoformat(since) - MILLISECOND
    assert _as_of(cast.owner, number, since)["reasons"][0]["since"] == since
    assert _as_of(cast.owner, number, since)["verdict"] == "blocked"
    assert _as_of(cast.owner, number, _text(before))["verdict"] == "callable"
    almost = _text(before + timedelta(microseconds=999))
    assert _as_of(cast.owner, number, almost)["verdict"] == "callable"


def test_any_history_is_answered_as_a_plain_model_does(cast, entries):
    """At every entry's own instant, a millisecond before it, and between it and the next."""
    random = Random(7)
    numbers = [fresh_number() for _ in range(3)]
    listed: dict[str, str] = {}
    is_on = True
    states = {entry["seq"]: (True, {}) for entry in entries(cast.org_id)}
    for _ in range(40):
        seq = _now(cast.owner, numbers[0])["seq"] + 1
        number = random.choice(numbers)
        if random.random() < 0.25:
            is_on = not is_on
            _switch(cast.owner, enable=is_on)
        elif number not in listed:
            listed[number] = _add(cast.owner, number)
        elif random.random() < 0.3:
            _add(cast.owner, number)
        else:
            _delete(cast.owner, listed.pop(number))
        states[seq] = (is_on, dict(listed))
    ledger = entries(cast.org_id)
    assert [entry["seq"] for entry in ledger] == list(states)
    instants = {entry["at"] for entry in ledger}
    instants |= {at - MILLISECOND for at in instants} | {at + MILLISECOND / 2 for at in instants}
    begin = ledger[0]["at"]
    for at in sorted(one for one in instants if one >= begin):
        seq = max(entry["seq"] for entry in ledger if entry["at"] <= at)
        was_on, were_listed = states[seq]
        number = random.choice(numbers)
        data = _as_of(cast.reader, number, _text(at))
        blocked = was_on and number in were_listed
        assert (data["seq"], data["enforcement"]) == (seq, "on" if was_on else "off")
        assert data["verdict"] == ("blocked" if blocked else "callable")
        assert [reason["recordId"] for reason in data["reasons"]] == (
            [were_listed[number]] if blocked else []
        )


def test_an_answer_is_final(cast):
    """What was said of an instant is said of it for ever, though it was asked while changes of
    that very instant were on their way.
    """
    ended = Event()
    said: list[tuple[str, int]] = []

    def change() -> None:
        while not ended.is_set():
            _add(cast.owner, fresh_number())

    with ThreadPoolExecutor(3) as pool:
        changes = [pool.submit(change) for _ in range(3)]
        try:
            for _ in range(30):
                at = _text(datetime.now(UTC))
                said.append((at, _as_of(cast.reader, "12125550123", at)["seq"]))
        finally:
            ended.set()
    for done in changes:
        done.result()
    again = [(at, _as_of(cast.reader, "12125550123", at)["seq"]) for at, _ in said]
    assert again == said


def test_emergency_and_unreadable_numbers(cast):
    at = _settled(cast.owner, "911")["checkedAt"]
    assert _as_of(cast.owner, "911", at)["verdict"] == "blocked"
    assert _as_of(cast.owner, "x", at)["verdict"] == "invalid"


def test_every_reading_is_looked_up(cast):
    """Digits that are Alabama's or Singapore's, of which Singapore's was listed."""
    digits = "6592345678"
    record_id = _add(cast.owner, f"+{digits}")
    at = _settled(cast.owner, digits)["checkedAt"]
    data = _as_of(cast.owner, digits, at)
    assert (data["verdict"], data["reasons"][0]["recordId"]) == ("blocked", record_id)
    assert _as_of(cast.owner, f"+1{digits}", at)["verdict"] == "callable"


@pytest.mark.parametrize("offset", ["+00:00", "-05:00", "+05:30", "+0530", "+14"])
def test_any_offset(cast, offset):
    """The plus of an offset may stand in the address as it is."""
    number = fresh_number()
    _add(cast.owner, number)
    check = _settled(cast.owner, number)
    hours, minutes = int(offset[1:3]), int(offset[3:].strip(":") or 0)
    shift = timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1)
    there = datetime.fromisoformat(check["checkedAt"]).astimezone(timezone(shift))
    at = there.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + offset
    for written in (at, at.replace("+", "%2B")):
        answer = cast.owner.get(f"{PATH}?at={written}&phoneNumber=+{number}")
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert data.pop("input") == f"+{number}"
        assert data == check


def test_before_the_ledger_began_is_400(cast, entries):
    """About what was before its first entry an organization's ledger knows nothing."""
    begin = entries(cast.org_id)[0]["at"]
    data = _as_of(cast.owner, "12125550123", _text(begin))
    assert data["verdict"] == "callable"
    for at in (begin - MILLISECOND, begin - timedelta(days=365)):
        answer = _ask(cast.owner, "12125550123", _text(at))
        assert_problem(answer, 400, "field_invalid", "at", "before")
    answer = _ask(cast.owner, "12125550123", "0001-01-01T00:00:00Z")
    assert_problem(answer, 400, "field_invalid", "at", "0001-01-01T00:00:00.000Z")


def test_what_is_still_to_come_is_400(cast):
    for at in (_text(datetime.now(UTC) + timedelta(minutes=1)), "9999-12-31T23:59:59.999999Z"):
        answer = _ask(cast.owner, "12125550123", at)
        assert_problem(answer, 400, "field_invalid", "at", "still to come")


BAD = (
    "",
    " ",
    "x",
    "now",
    "1764000000",
    "2026-13-01T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-11-24T24:00:01Z",
    "2026-11-24T09:30:00ZZ",
    "2026-11-24T09:30:00Z ",
    "2026-11-24\u000009:30:00Z",
    "2026-11-24T09:30:00+99:00",
    "9999-12-31T23:59:59-01:00",
    "0001-01-01T00:00:00+01:00",
    "-2026-11-24T09:30:00Z",
    "2" * 5000,
)


def test_a_malformed_instant_is_400(cast):
    for bad in BAD:
        assert_problem(_ask(cast.owner, "12125550123", bad), 400, "field_invalid", "at")


@pytest.mark.parametrize("bare", ["2026-11-24T09:30:00", "2026-11-24 09:30:00.000", "2026-11-24"])
def test_an_instant_without_its_zone_is_400(cast, bare):
    """An instant whose zone must be guessed proves nothing."""
    assert_problem(_ask(cast.owner, "12125550123", bare), 400, "field_invalid", "at", "zone")


def test_an_instant_that_stands_twice_is_400(cast):
    at = _settled(cast.owner, "12125550123")["checkedAt"]
    answer = cast.owner.get(f"{PATH}?phoneNumber=12125550123&at={at}&at={at}")
    assert_problem(answer, 400, "field_invalid", "at", "2 times")


def test_the_number_is_required(cast):
    for query in ("at=x", "at=x&phoneNumber="):
        assert_problem(cast.owner.get(f"{PATH}?{query}"), 400, "field_missing", "phoneNumber")


def test_other_organizations_history_is_invisible(cast):
    """Their listing does not block, and their seq is not ours."""
    number = fresh_number()
    for _ in range(3):
        _delete(cast.stranger, _add(cast.stranger, number))
    _add(cast.stranger, number)
    _switch(cast.stranger, enable=False)
    check = _settled(cast.owner, number)
    data = _as_of(cast.owner, number, check["checkedAt"])
    assert (data["verdict"], data["enforcement"]) == ("callable", "on")
    assert data["seq"] == check["seq"] < _now(cast.stranger, number)["seq"]


@pytest.mark.parametrize("who", ["nobody", "expired", "revoked"])
def test_no_credential_is_401_before_anything_else(cast, who):
    answer = _ask(getattr(cast, who), "12125550123", "x")
    assert_problem(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_wrong_scope_is_403_before_400(cast, new_client):
    client = new_client(cast.org_id, "dnc:write", "dnc:delete", "call:write", "admin")
    assert_problem(_ask(client, "12125550123", "x"), 403, "scope_missing", "dnc:read")


def test_asking_changes_nothing(cast, entries):
    number = fresh_number()
    _add(cast.owner, number)
    before = entries(cast.org_id)
    _as_of(cast.owner, number, _settled(cast.owner, number)["checkedAt"])
    assert entries(cast.org_id) == before
