"""Whole histories of two organizations over HTTP, against a plain model of what a list is.

Hypothesis makes the histories. Requests go to two processes on one database in turn, so that what
one has acknowledged the other must know. Each history ends with questions about its past, which the
model answers from its own memory, and with the ledger recomputed.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from conftest import ALL_SCOPES, Service, assert_problem, nocall_json
from nocall import ledger
from nocall.ledger import Verification
from nocall.model import Actor, Entry
from nocall.store import Database

UNKNOWN = "0123456789abcdef01234567"
MILLISECOND = timedelta(milliseconds=1)

TEXTS: dict[str, dict[str, tuple[int, ...]]] = {
    "US": {
        "12125550123": (12125550123,),
        "+1 (212) 555-0123": (12125550123,),
        "212-555-0123": (12125550123,),
        "442079460123": (442079460123,),
        "+44 20 7946 0123": (442079460123,),
        "011442079460123": (442079460123,),
        "4915123456789": (4915123456789,),
        "+49 1512 3456789": (4915123456789,),
        "6591234567": (6591234567, 16591234567),
        "+65 9123 4567": (6591234567,),
        "+16591234567": (16591234567,),
    },
    "GB": {
        "12125550123": (12125550123,),
        "00 1 212 555 0123": (12125550123,),
        "442079460123": (442079460123,),
        "020 7946 0123": (442079460123,),
        "+44 20 7946 0123": (442079460123,),
        "4915123456789": (4915123456789,),
        "0049 1512 3456789": (4915123456789,),
        "6591234567": (6591234567, 446591234567),
        "+65 9123 4567": (6591234567,),
        "+44 6591 234567": (446591234567,),
    },
}
"""What each text means in a home region: the international reading first. Where there are two,
the first is the valid one.
"""
NUMBERS = {
    region: sorted({number for readings in texts.values() for number in readings})
    for region, texts in TEXTS.items()
}
NO_NUMBERS = ("", "no number", "+1", "12")
TYPES = (None, "complaint", "Customer_Request", "100%")
TERMS: dict[str, Callable[["Listed"], bool]] = {
    "2": lambda one: "2" in f"{one.number}{one.type}{one.request_uuid}",
    "20794": lambda one: "20794" in str(one.number),
    "+44 (20) 7946": lambda one: "44207946" in str(one.number),
    "COMPLAINT": lambda one: one.type == "complaint",
    "r_r": lambda one: one.type == "Customer_Request",
    "_": lambda one: one.type == "Customer_Request",
    "%": lambda one: one.type == "100%",
    "Attempt": lambda one: one.request_uuid is not None,
    "nothing": lambda _: False,
}

WHO = st.integers(0, 1)
DOOR = st.integers(0, 1)


@dataclass(frozen=True)
class Listed:
    """A record as the model knows it."""

    id: str
    number: int
    seq: int
    type: str | None
    source: str
    batch_id: str | None = None
    request_uuid: str | None = None
    call_recording: str | None = None
    transcription: str | None = None


@dataclass
class Model:
    """An organization: what is listed, and all that it ever was."""

    org_id: str
    region: str
    listed: dict[int, Listed] = field(default_factory=dict)
    on: bool = True
    gone: list[str] = field(default_factory=list)
    states: list[tuple[dict[int, Listed], bool]] = field(default_factory=lambda: [({}, True)] * 3)
    """The list and the switch at each seq; before the first entry, and after the two that made the
    organization and its token, there is nothing.
    """
    changes: list[tuple[str, list[int]]] = field(
        default_factory=lambda: [("org_created", []), ("token_created", [])]
    )
    checked: list[tuple[datetime, int]] = field(default_factory=list)
    """Instants that checks said they were taken at, with the seq they said."""

    @property
    def seq(self) -> int:
        return len(self.changes)

    def change(self, kind: str, *numbers: int) -> None:
        self.changes.append((kind, list(numbers)))
        self.states.append((dict(self.listed), self.on))

    def newest_first(self) -> list[Listed]:
        return sorted(self.listed.values(), key=lambda one: -one.seq)

    def blocking(self, text: str, seq: int | None = None) -> Listed | None:
        """The record that blocks a text, at a past seq or now; None where it is callable."""
        listed, on = self.states[self.seq if seq is None else seq]
        readings = TEXTS[self.region][text]
        return next((listed[one] for one in readings if on and one in listed), None)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


class History(RuleBasedStateMachine):
    """One history: two organizations, each with a client for either process."""

    def __init__(self, operator: httpx.Client, doors: list[Service], app_url: str) -> None:
        super().__init__()
        self.app_url = app_url
        self.random = random.Random(0)
        self.models: list[Model] = []
        self.clients: list[list[httpx.Client]] = []
        self.batches: list[str] = []
        self.attempt_count = 0
        for region in TEXTS:
            org = {"name": "History", "adminEmail": "a@b.example", "region": region}
            org_id = operator.post("/api/operator/orgs", json=org).json()["data"]["_id"]
            token = operator.post(
                f"/api/operator/orgs/{org_id}/tokens", json={"scopes": list(ALL_SCOPES)}
            ).json()["data"]["token"]
            self.models.append(Model(org_id, region))
            self.clients.append([door.client(token) for door in doors])
            self.batches.append(self._new_batch(self.clients[-1][0], region))

    def _new_batch(self, client: httpx.Client, region: str) -> str:
        batch = {"batchName": "b", "callingNumbers": ["n"]}
        batch_id = client.post("/api/call/createBatch", json=batch).json()["data"]
        rows = [{"phoneNumber": f"+{number}"} for number in NUMBERS[region]]
        client.post(
            "/api/call/addCallsToBatch", json={"batchId": batch_id, "call_data": rows}
        ).raise_for_status()
        return batch_id

    @initialize(seed=st.integers(0, 2**32 - 1))
    def choose_what_is_asked_at_the_end(self, seed):
        self.random.seed(seed)

    # What changes the list.

    @rule(who=WHO, door=DOOR, data=st.data(), type_=st.sampled_from(TYPES))
    def add_by_hand(self, who, door, data, type_):
        model = self.models[who]
        text = data.draw(st.sampled_from(sorted(TEXTS[model.region])), label="text")
        body = {"phoneNumber": text, "source": "manual", "type": type_}
        answer = self.clients[who][door].post("/api/dnc/add", json=body)
        number = TEXTS[model.region][text][0]
        self._added(model, answer, Listed("", number, model.seq + 1, type_, "manual"))

    @rule(who=WHO, door=DOOR, data=st.data(), type_=st.sampled_from(TYPES), heard=st.booleans())
    def add_from_a_call(self, who, door, data, type_, heard):
        model, client = self.models[who], self.clients[who][door]
        number = data.draw(st.sampled_from(NUMBERS[model.region]), label="number")
        spellings = [text for text, read in TEXTS[model.region].items() if number in read]
        text = data.draw(st.sampled_from(sorted(spellings)), label="text")
        self.attempt_count += 1
        report = {
            "batchId": self.batches[who],
            "phoneNumber": f"+{number}",
            "callStatus": "completed",
            "requestUUID": f"attempt:{self.attempt_count}",
            "recordingUrl": "https://recordings.example/1.mp3" if heard else None,
            "transcript": "Stop calling." if heard else None,
        }
        client.post("/api/call/report", json=report).raise_for_status()
        body = {
            "phoneNumber": text,
            "batchId": self.batches[who],
            "requestUUID": report["requestUUID"],
            "type": type_,
        }
        wanted = Listed(
            "",
            number,
            model.seq + 1,
            type_,
            "call",
            self.batches[who],
            report["requestUUID"],
            report["recordingUrl"],
            report["transcript"],
        )
        self._added(model, client.post("/api/dnc/add", json=body), wanted)

    def _added(self, model: Model, answer: httpx.Response, wanted: Listed) -> None:
        """A number that is listed already is refused, with the record that is there."""
        known = model.listed.get(wanted.number)
        if known is not None:
            body = assert_problem(answer, 400, "number_listed", str(wanted.number))
            assert body["data"] == {"_id": known.id}
            model.change("add_repeated", wanted.number)
            return
        assert answer.status_code == 200, answer.text
        record_id = answer.json()["data"]["_id"]
        assert record_id not in model.gone
        model.listed[wanted.number] = Listed(**{**vars(wanted), "id": record_id})
        model.change("add", wanted.number)

    @precondition(lambda self: any(model.listed for model in self.models))
    @rule(door=DOOR, data=st.data())
    def delete(self, door, data):
        who = data.draw(st.sampled_from([i for i in (0, 1) if self.models[i].listed]), label="who")
        model = self.models[who]
        number = data.draw(st.sampled_from(sorted(model.listed)), label="number")
        record = model.listed[number]
        answer = self.clients[who][door].delete(f"/api/dnc/delete/{record.id}")
        assert answer.status_code == 200, answer.text
        del model.listed[number]
        model.gone.append(record.id)
        model.change("delete", number)

    @rule(who=WHO, door=DOOR, data=st.data())
    def delete_what_is_not_there(self, who, door, data):
        """Gone, or never there, for both organizations alike."""
        gone = [UNKNOWN, *(one for model in self.models for one in model.gone)]
        record_id = data.draw(st.sampled_from(gone), label="gone")
        answer = self.clients[who][door].delete(f"/api/dnc/delete/{record_id}")
        assert_problem(answer, 404, "record_not_found", record_id)

    @precondition(lambda self: any(model.listed for model in self.models))
    @rule(door=DOOR, data=st.data())
    def delete_what_is_another_organizations(self, door, data):
        who = data.draw(st.sampled_from([i for i in (0, 1) if self.models[i].listed]), label="who")
        record = data.draw(st.sampled_from(self.models[who].newest_first()), label="record")
        answer = self.clients[1 - who][door].delete(f"/api/dnc/delete/{record.id}")
        assert_problem(answer, 403, "record_foreign", record.id)

    @rule(who=WHO, door=DOOR, enable=st.booleans())
    def switch(self, who, door, enable):
        model = self.models[who]
        answer = self.clients[who][door].post("/api/dnc/enable-disable", json={"enable": enable})
        assert answer.status_code == 200, answer.text
        if model.on != enable:
            model.on = enable
            model.change("switched_on" if enable else "switched_off")

    # What reads it.

    @rule(who=WHO, door=DOOR, data=st.data())
    def check_one(self, who, door, data):
        model = self.models[who]
        text = data.draw(st.sampled_from(sorted(TEXTS[model.region])), label="text")
        found = self._checked(who, door, phoneNumber=text)
        assert found["seq"] == model.seq
        model.checked.append((_instant(found["checkedAt"]), found["seq"]))
        self._verify_verdict(model, found, text, model.seq)

    def _checked(self, who: int, door: int, **query: str) -> dict:
        answer = self.clients[who][door].get("/api/dnc/check", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def _verify_verdict(self, model: Model, found: dict, text: str, seq: int) -> None:
        on = model.states[seq][1]
        assert found["enforcement"] == ("on" if on else "off")
        blocking = model.blocking(text, seq)
        if blocking is None:
            assert (found["verdict"], found["reasons"]) == ("callable", [])
            return
        assert (found["verdict"], found["phoneNumber"]) == ("blocked", str(blocking.number))
        (reason,) = found["reasons"]
        assert (reason["code"], reason["recordId"]) == ("listed", blocking.id)
        assert reason["type"] == blocking.type

    @rule(who=WHO, door=DOOR, data=st.data())
    def check_many(self, who, door, data):
        model = self.models[who]
        known = sorted(TEXTS[model.region])
        texts = data.draw(
            st.lists(st.sampled_from([*known, *NO_NUMBERS, "911"]), min_size=1, max_size=12),
            label="texts",
        )
        answer = self.clients[who][door].post("/api/dnc/check", json={"phoneNumbers": texts})
        assert answer.status_code == 200, answer.text
        found = answer.json()["data"]
        assert (found["seq"], len(found["results"])) == (model.seq, len(texts))
        assert found["enforcement"] == ("on" if model.on else "off")
        for text, one in zip(texts, found["results"], strict=True):
            if text in NO_NUMBERS:
                assert (one["verdict"], one["phoneNumber"]) == ("invalid", text)
            elif text == "911":
                assert (one["verdict"], one["reasons"][0]["code"]) == ("blocked", "service_code")
            else:
                self._verify_verdict(model, one, text, model.seq)

    @rule(who=WHO, door=DOOR, page=st.integers(1, 4), limit=st.sampled_from([1, 2, 3, 1000]))
    def list_a_page(self, who, door, page, limit):
        model = self.models[who]
        self._verify_page(who, door, model.newest_first(), page=page, limit=limit)

    @rule(who=WHO, door=DOOR, term=st.sampled_from(sorted(TERMS)), limit=st.sampled_from([1, 1000]))
    def search(self, who, door, term, limit):
        matching = [one for one in self.models[who].newest_first() if TERMS[term](one)]
        self._verify_page(who, door, matching, page=1, limit=limit, search=term)

    def _verify_page(
        self, who: int, door: int, expected: list[Listed], page: int, limit: int, **query: str
    ) -> None:
        answer = self.clients[who][door].get(
            "/api/dnc/list", params={"page": page, "limit": limit, **query}
        )
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert data["pagination"]["total"] == len(expected)
        assert data["pagination"]["totalPages"] == -(-len(expected) // limit)
        shown = expected[(page - 1) * limit :][:limit]
        assert len(data["dncList"]) == len(shown)
        for record, one in zip(data["dncList"], shown, strict=True):
            self._verify_record(self.models[who], record, one)

    def _verify_record(self, model: Model, record: dict, one: Listed) -> None:
        shown = {name: record[name] for name in record if name not in ("createdAt", "addedBy")}
        assert shown == {
            "_id": one.id,
            "phoneNumber": str(one.number),
            "type": one.type,
            "orgId": model.org_id,
            "batchId": one.batch_id,
            "requestUUID": one.request_uuid,
            "callRecording": one.call_recording,
            "transcription": one.transcription,
            "source": one.source,
            "reason": None,
            "requestedAt": None,
        }

    @rule(who=WHO, door=DOOR, limit=st.sampled_from([1, 2, 3]))
    def read_on_to_the_end(self, who, door, limit):
        model, cursor, seen = self.models[who], None, []
        while True:
            query = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
            data = self.clients[who][door].get("/api/dnc/list", params=query).json()["data"]
            seen += [record["_id"] for record in data["dncList"]]
            cursor = data["pagination"]["nextCursor"]
            if cursor is None:
                break
        assert seen == [one.id for one in model.newest_first()]

    @rule(who=WHO, door=DOOR, data=st.data())
    def read_a_record(self, who, door, data):
        """One's own, another organization's, or one that is gone."""
        mine, theirs = self.models[who], self.models[1 - who]
        ids = [
            *(one.id for model in (mine, theirs) for one in model.newest_first()),
            *(one for model in (mine, theirs) for one in model.gone),
            UNKNOWN,
        ]
        record_id = data.draw(st.sampled_from(ids), label="id")
        answer = self.clients[who][door].get(f"/api/dnc/record/{record_id}")
        own = {one.id: one for one in mine.listed.values()}
        if record_id in own:
            self._verify_record(mine, answer.json()["data"], own[record_id])
        elif record_id in [one.id for one in theirs.listed.values()]:
            assert_problem(answer, 403, "record_foreign", record_id)
        else:
            assert_problem(answer, 404, "record_not_found", record_id)

    @rule(who=WHO, door=DOOR)
    def read_the_switch(self, who, door):
        data = self.clients[who][door].get("/api/dnc/settings").json()["data"]
        assert data["enable"] == self.models[who].on

    # How it ends.

    def teardown(self):
        try:
            for who, model in enumerate(self.models):
                verified, entries = asyncio.run(_read_ledger(self.app_url, model.org_id))
                self._verify_ledger(model, verified, entries)
                self._ask_about_the_past(who, model, [entry.at for entry in entries])
        finally:
            for client in (client for clients in self.clients for client in clients):
                client.close()

    def _verify_ledger(self, model: Model, verified: Verification, entries: list[Entry]) -> None:
        """It recomputes, and tells what the model remembers."""
        assert (verified.head.seq, verified.entry_count) == (model.seq, model.seq)
        assert verified.item_count == sum(len(numbers) for _, numbers in model.changes)
        told = [(entry.kind, [item.number for item in entry.items]) for entry in entries]
        assert told == model.changes
        for number, one in model.listed.items():
            (item,) = entries[one.seq - 1].items
            assert (item.number, item.record_id, item.type) == (number, one.id, one.type)
        for instant, seq in model.checked:
            # What a check saw was there before it, to the millisecond.
            assert entries[seq - 1].at <= instant

    def _ask_about_the_past(self, who: int, model: Model, ats: list[datetime]) -> None:
        known = [*ats, *(instant for instant, _ in model.checked)]
        for _ in range(12):
            at = self.random.choice(known) + self.random.choice((-1, 0, 0, 1)) * MILLISECOND
            text = self.random.choice(sorted(TEXTS[model.region]))
            door = self.random.randrange(len(self.clients[who]))
            query = {"phoneNumber": text, "at": _text(at)}
            seq = sum(entry_at <= at for entry_at in ats)
            if seq == 0:
                answer = self.clients[who][door].get("/api/dnc/check", params=query)
                assert_problem(answer, 400, "field_invalid", "before", "ledger")
                continue
            found = self._checked(who, door, **query)
            assert (found["seq"], _instant(found["checkedAt"])) == (seq, at)
            self._verify_verdict(model, found, text, seq)


async def _read_ledger(app_url: str, org_id: str) -> tuple[Verification, list[Entry]]:
    database = Database(app_url, 2)
    await database.open()
    try:
        async with database.snapshot(Actor("system", "test", "test", org_id)) as tx:
            return await ledger.verify(tx), await ledger.entries(tx, limit=100_000)
    finally:
        await database.close()


@pytest.fixture(scope="module")
def doors(service: Service) -> Iterator[list[Service]]:
    with Service.start(service.data, NOCALL_WORKER="false") as second:
        yield [service, second]
        assert second.stop() == 0, second.log.read_text()[-2000:]


def _live_through(
    operator: httpx.Client, doors: list[Service], app_url: str, **chosen: object
) -> History:
    """Make histories, as many and as long as `chosen` says; returns the last."""
    made: list[History] = []

    def begin() -> History:
        made.append(History(operator, doors, app_url))
        return made[-1]

    run_state_machine_as_test(
        begin,
        settings=settings(
            deadline=None, database=None, suppress_health_check=list(HealthCheck), **chosen
        ),
    )
    return made[-1]


def test_histories(operator, doors, app_url, service):
    """The same ones at every run; and the command line agrees about the last one."""
    history = _live_through(
        operator, doors, app_url, max_examples=30, stateful_step_count=40, derandomize=True
    )
    for model in history.models:
        verified = nocall_json("ledger", "verify", "--org", model.org_id, data=service.data)
        assert (verified["ok"], verified["entryCount"]) == (True, model.seq)


@pytest.mark.prove
def test_many_and_long_histories(operator, doors, app_url):
    """Others at every run."""
    _live_through(operator, doors, app_url, max_examples=200, stateful_step_count=120)
