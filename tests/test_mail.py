"""The organization's admin is mailed: a real SMTP listener, a service that knows its address.

Each organization here has an admin of its own, so that a mail tells which test it belongs to.
"""

import asyncio
import contextlib
import email
import email.policy
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from itertools import count
from pathlib import Path

import httpx
import psycopg
import pytest
from aiosmtpd.controller import Controller

from conftest import ALL_SCOPES, Service, copy_of, eventually, fresh_number, nocall_json
from nocall import follow
from nocall.model import Actor
from nocall.store import Database
from nocall.store.embedded import Embedded, open_embedded

FROM = "nocall@callcentre.example"
_admins = count(1)


@dataclass
class Mail:
    """What the listener was handed: to whom the envelope says, and the message itself."""

    recipients: list[str]
    message: EmailMessage

    @property
    def id(self) -> str:
        return self.message["Message-ID"]

    @property
    def text(self) -> str:
        return self.message.get_content().replace("\r\n", "\n")


@dataclass
class Postbox:
    """An SMTP server on one port for the whole file, which can be down, and can refuse."""

    port: int
    got: list[Mail] = field(default_factory=list)
    answers: dict[str, Callable[[], str]] = field(default_factory=dict)
    """By recipient, how the next mail is answered, once; others get a 250."""
    _controller: Controller | None = None

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802 - aiosmtpd's name
        answer = self.answers.pop(envelope.rcpt_tos[0], lambda: "250 OK")()
        if answer.startswith("250"):
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            self.got.append(Mail(list(envelope.rcpt_tos), message))
        return answer

    def up(self) -> None:
        if self._controller is None:
            self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
            self._controller.start()

    def down(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def of(self, address: str) -> list[Mail]:
        return [mail for mail in self.got if address in mail.recipients]


@dataclass
class Office:
    """An organization, its admin's address, and how to list a number there."""

    org_id: str
    address: str
    owner: httpx.Client
    name: str

    def add(self, **more: object) -> tuple[str, str]:
        """The number listed and the id of its record."""
        number = fresh_number()
        body = {"phoneNumber": number, "source": "manual", **more}
        answer = self.owner.post("/api/dnc/add", json=body)
        assert answer.status_code == 200, answer.text
        return number, answer.json()["data"]["_id"]

    def through(self, service: Service) -> "Office":
        """The same organization, asked through another process or after a restart."""
        client = service.client()
        client.headers["Authorization"] = self.owner.headers["Authorization"]
        return Office(self.org_id, self.address, client, self.name)


def smtp_environment(port: int) -> dict[str, str]:
    return {
        "NOCALL_SMTP_HOST": "127.0.0.1",
        "NOCALL_SMTP_PORT": str(port),
        "NOCALL_SMTP_TLS": "none",
        "NOCALL_MAIL_FROM": FROM,
    }


@pytest.fixture(scope="module")
def listener() -> Iterator[Postbox]:
    with socket.socket() as reserved:
        # Bound and never listening, it keeps the port for us while the listener is down.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        box = Postbox(reserved.getsockname()[1])
        yield box
        box.down()


@pytest.fixture
def postbox(listener: Postbox) -> Iterator[Postbox]:
    listener.up()
    yield listener
    listener.answers.clear()


@pytest.fixture(scope="module")
def embedded(place: Path, pristine: Path) -> Iterator[Embedded]:
    """The database of this file, held up while services on it are killed and started."""
    server = open_embedded(copy_of(pristine, place / "mail"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def mailing(place: Path, embedded: Embedded, listener: Postbox) -> Iterator[Service]:
    running = Service.start(place / "mail", **smtp_environment(listener.port))
    yield running
    assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.fixture(scope="module")
def operator_token(place: Path, embedded: Embedded) -> str:
    return nocall_json("token", "create", "--operator", data=place / "mail")["token"]


@pytest.fixture
def new_office(operator_token: str) -> Iterator[Callable[..., Office]]:
    with contextlib.ExitStack() as open_clients:

        def make(service: Service, name: str = "Call Centre", token: str | None = None) -> Office:
            address = f"admin{next(_admins)}@callcentre.example"
            with service.client(token or operator_token) as operator:
                made = operator.post(
                    "/api/operator/orgs", json={"name": name, "adminEmail": address}
                )
                assert made.status_code == 201, made.text
                org_id = made.json()["data"]["_id"]
                path = f"/api/operator/orgs/{org_id}/tokens"
                answer = operator.post(path, json={"scopes": list(ALL_SCOPES), "name": "desk"})
            client = service.client(answer.json()["data"]["token"])
            open_clients.enter_context(client)
            return Office(org_id, address, client, name)

        yield make


@pytest.fixture
def office(mailing: Service, new_office: Callable[..., Office], postbox: Postbox) -> Office:
    return new_office(mailing)


def heads(embedded: Embedded, org_id: str) -> dict[int, str]:
    """SEQ:HASH of every entry of the organization, by seq."""
    with psycopg.connect(embedded.app_url) as connection:
        rows = connection.execute(
            "select seq, encode(hash, 'hex') from nocall.ledger_entry where org_id = %s", [org_id]
        ).fetchall()
    return {seq: f"{seq}:{text}" for seq, text in rows}


def subjects(mails: list[Mail]) -> list[str]:
    return [mail.message["Subject"] for mail in mails]


def attempts_logged(service: Service, office: Office) -> int:
    log = service.log.read_text()
    return len(re.findall(f'"mail not sent[^\n]*"org": "{office.org_id}"', log))


def let_the_dead_be_found(embedded: Embedded) -> None:
    """Two minutes pass: the heartbeat of a killed process grows old, and the sweep is due."""
    with psycopg.connect(
        embedded.owner_url, options="-c search_path=procrastinate", autocommit=True
    ) as connection:
        connection.execute(
            "update procrastinate_workers set last_heartbeat = last_heartbeat - interval '2 min'"
        )
        connection.execute("delete from procrastinate_periodic_defers")


def test_an_addition_is_mailed(office, postbox, embedded):
    """To the admin alone; with number, type, record, who and why, and the head it made."""
    number, record_id = office.add(type="opt-out", reason="asked on the phone")
    (mail,) = eventually(lambda: postbox.of(office.address))
    assert mail.recipients == [office.address]
    assert (mail.message["From"], mail.message["To"]) == (FROM, office.address)
    assert (
        mail.message["Subject"]
        == f"[nocall] +{number} added to the Do-Not-Call list of Call Centre"
    )
    seq, head = max(heads(embedded, office.org_id).items())
    assert mail.id == f"<{office.org_id}.{seq}@callcentre.example>"
    facts = dict(re.findall(r"^(\w[\w ]*): +(.*)$", mail.text, re.MULTILINE))
    assert f"+{number} was added" in mail.text
    assert facts["Type"] == "opt-out"
    assert facts["Source"] == "manual"
    assert facts["Record"] == record_id
    assert facts["By"] == "desk (token)"
    assert facts["Reason"] == "asked on the phone"
    assert facts["Ledger head"] == head


def test_the_mailed_head_is_one_that_verify_takes(office, postbox, place):
    office.add()
    (mail,) = eventually(lambda: postbox.of(office.address))
    head = re.search(r"Ledger head: (\S+)", mail.text)[1]
    arguments = ("ledger", "verify", "--org", office.org_id, "--expect-head", head)
    assert nocall_json(*arguments, data=place / "mail")["ok"] is True


def test_the_switch_is_mailed_and_mails_come_in_order(office, postbox, embedded):
    """A repeat and a deletion send none: the mails after them would come after theirs."""
    number, record_id = office.add()
    again = office.owner.post("/api/dnc/add", json={"phoneNumber": number, "source": "web"})
    assert again.json()["errorCode"] == "number_listed"
    office.owner.delete(f"/api/dnc/delete/{record_id}").raise_for_status()
    for enable in (False, True):
        office.owner.post("/api/dnc/enable-disable", json={"enable": enable}).raise_for_status()
    last, _ = office.add()
    mails = eventually(lambda: len(found := postbox.of(office.address)) >= 4 and found)
    assert subjects(mails) == [
        f"[nocall] +{number} added to the Do-Not-Call list of Call Centre",
        "[nocall] Do-Not-Call list switched OFF of Call Centre",
        "[nocall] Do-Not-Call list switched ON of Call Centre",
        f"[nocall] +{last} added to the Do-Not-Call list of Call Centre",
    ]
    by_seq = heads(embedded, office.org_id)
    mailed = [int(mail.id.split(".")[1].split("@")[0]) for mail in mails]
    assert mailed == sorted(by_seq)[-6:][:1] + sorted(by_seq)[-3:]
    for seq, mail in zip(mailed, mails, strict=True):
        assert by_seq[seq] in mail.text


@pytest.mark.parametrize(
    "name",
    [
        "=?utf-8?q?Centre=0D=0ABcc:_thief@evil.example=0D=0A=0D=0AHello?=",
        "Centre\u2028Bcc: thief@evil.example",
        "Centre\u2029Bcc: thief@evil.example",
        'Centre"<thief@evil.example>, ',
        "Zentrum \u00fc\u00df \U0001f4de",
    ],
)
def test_a_name_cannot_write_headers(mailing, new_office, postbox, name):
    """Nor keep the mail from being sent, whatever the name is."""
    office = new_office(mailing, name)
    office.add()
    (mail,) = eventually(lambda: postbox.of(office.address))
    assert mail.recipients == [office.address]
    assert mail.message["Bcc"] is None
    assert mail.message["To"] == office.address
    # Without blanks: the email package loses some of them between words it encodes.
    shown = "".join(mail.message["Subject"].split())
    assert shown.endswith(f"listof{''.join(name.split())}")
    assert "was added to the Do-Not-Call list" in mail.text.splitlines()[0]


@pytest.mark.parametrize("name", ["Centre\r\nBcc: thief@evil.example", "Centre\nX: y", "A\x85B"])
def test_a_name_of_two_lines_is_refused(mailing, operator_token, name):
    with mailing.client(operator_token) as operator:
        answer = operator.post(
            "/api/operator/orgs", json={"name": name, "adminEmail": "a@callcentre.example"}
        )
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "field_invalid")


@pytest.mark.parametrize(
    "address",
    [
        "a@callcentre.example\r\nBcc: thief@evil.example",
        "a@callcentre.example, thief@evil.example",
        "=?utf-8?q?a=0ABcc:thief?=@callcentre.example",
        "friends:a@callcentre.example",
        "a(comment)@callcentre.example",
        "<a@callcentre.example>",
    ],
)
def test_an_address_that_is_not_one_plain_address_is_refused(mailing, operator_token, address):
    with mailing.client(operator_token) as operator:
        answer = operator.post("/api/operator/orgs", json={"name": "Centre", "adminEmail": address})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "field_invalid")
    assert "adminEmail" in answer.json()["errorMessage"]


def test_a_server_that_is_down_holds_up_nothing(mailing, office, postbox):
    """Adds are answered as ever; the mails come by themselves once it is back."""
    postbox.down()
    numbers = [office.add()[0]]
    eventually(lambda: attempts_logged(mailing, office))
    numbers.append(office.add()[0])
    assert not postbox.of(office.address)
    postbox.up()
    mails = eventually(lambda: len(found := postbox.of(office.address)) >= 2 and found)
    assert [re.search(r"\+(\d+)", text)[1] for text in subjects(mails)] == numbers


def test_a_server_that_refuses_for_now_is_asked_again(mailing, office, postbox, embedded):
    """Also where more was added while it made up its mind: another job is queued by then."""

    def refuse_late() -> str:
        with psycopg.connect(embedded.owner_url, autocommit=True) as connection:
            office.add()
            eventually(
                lambda: (
                    connection.execute(
                        "select from procrastinate.procrastinate_jobs "
                        "where status = 'todo' and lock = %s",
                        [f"mail:{office.org_id}"],
                    ).fetchone()
                    is not None
                )
            )
        return "451 try again later"

    postbox.answers[office.address] = refuse_late
    office.add()
    mails = eventually(lambda: len(found := postbox.of(office.address)) >= 2 and found)
    assert len({mail.id for mail in mails}) == 2
    assert attempts_logged(mailing, office) == 1


class Slow:
    """An outbox, the network's edge, that takes a mail and does not say so before it may."""

    mails_per_commit = 1

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.has_one = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def send(self, message: EmailMessage, name: str) -> None:
        self.sent.append(message["Message-ID"])
        self.has_one.set()
        await self.may_answer.wait()

    async def settle(self) -> None:
        """Its word was given with each mail."""


async def test_while_one_process_sends_no_other_does(office, postbox, embedded):
    """The cursor's row is locked, and who finds it locked leaves it alone."""
    first, second = Slow(), Slow()
    second.may_answer.set()
    database = Database(embedded.app_url, 4)
    await database.open()

    async def deliver(outbox: Slow) -> bool:
        more = True
        while more and not outbox.sent:
            async with database.transaction(Actor("system", "t", "t", office.org_id)) as tx:
                more = await follow.deliver_next(tx, outbox, FROM)
        return more

    try:
        await asyncio.to_thread(postbox.down)
        await asyncio.to_thread(office.add)
        sending = asyncio.create_task(deliver(first))
        await asyncio.wait_for(first.has_one.wait(), 30)
        assert await asyncio.wait_for(deliver(second), 30) is False
        first.may_answer.set()
        assert await sending is True
        assert await deliver(second) is False
    finally:
        await database.close()
    assert (len(first.sent), second.sent) == (1, [])


def test_two_processes_send_each_mail_once(place, mailing, office, postbox, embedded):
    other = Service.start(place / "mail", **smtp_environment(postbox.port))
    try:
        doors = (office, office.through(other))
        numbers = [doors[turn % 2].add()[0] for turn in range(12)]
        doors[1].owner.close()
        seq = max(heads(embedded, office.org_id))
        with psycopg.connect(embedded.app_url, autocommit=True) as connection:
            eventually(
                lambda: (
                    connection.execute(
                        "select from nocall.follower_cursor where org_id = %s and seq >= %s",
                        [office.org_id, seq],
                    ).fetchone()
                    is not None
                )
            )
    finally:
        assert other.stop() == 0
    # Both are past the last entry, and one of them has ended: nothing is on its way any more.
    found = [re.search(r"\+(\d+)", text)[1] for text in subjects(postbox.of(office.address))]
    assert found == numbers


def test_undelivered_mail_survives_a_restart(place, pristine, new_office, postbox):
    data = copy_of(pristine, place / "mail-restarted")
    before = Service.start(data, **smtp_environment(postbox.port))
    token = nocall_json("token", "create", "--operator", data=data)["token"]
    office = new_office(before, token=token)
    postbox.down()
    number, _ = office.add()
    eventually(lambda: attempts_logged(before, office))
    assert before.stop() == 0
    postbox.up()
    after = Service.start(data, **smtp_environment(postbox.port))
    (mail,) = eventually(lambda: postbox.of(office.address))
    assert after.stop() == 0
    assert f"+{number} " in mail.message["Subject"]


def test_killed_between_the_servers_250_and_our_commit(
    place, pristine, new_office, listener, postbox
):
    """That mail comes again, with the same Message-ID; what was sent before does not."""
    data = copy_of(pristine, place / "mail-killed")
    database = open_embedded(data)
    service = Service.start(data, **smtp_environment(postbox.port))
    token = nocall_json("token", "create", "--operator", data=data)["token"]
    office = new_office(service, token=token)
    first, _ = office.add()
    eventually(lambda: postbox.of(office.address))

    def accept_and_kill() -> str:
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait(30)
        return "250 OK"

    postbox.answers[office.address] = accept_and_kill
    second, _ = office.add()
    assert eventually(service.process.poll) == -signal.SIGKILL
    service.stop()
    eventually(lambda: len(postbox.of(office.address)) == 2)
    let_the_dead_be_found(database)
    again = Service.start(data, **smtp_environment(postbox.port))
    after = office.through(again)
    third, _ = after.add()
    mails = eventually(lambda: len(found := postbox.of(office.address)) >= 4 and found)
    after.owner.close()
    assert again.stop() == 0
    database.close()
    numbers = [re.search(r"\+(\d+)", text)[1] for text in subjects(mails)]
    assert numbers == [first, second, second, third]
    assert mails[1].id == mails[2].id
    assert len({mail.id for mail in mails}) == 3


def test_without_a_server_mails_are_files(place, pristine, new_office):
    """In a folder nobody else reads, named by organization and seq, in order."""
    data = copy_of(pristine, place / "mail-folder")
    service = Service.start(data)
    token = nocall_json("token", "create", "--operator", data=data)["token"]
    office = new_office(service, token=token)
    numbers = [office.add()[0] for _ in range(3)]
    folder = data / "mail"
    files = eventually(lambda: len(found := sorted(folder.glob("*.eml"))) >= 3 and found)
    assert service.stop() == 0
    seqs = [int(re.fullmatch(rf"{office.org_id}-(\d{{12}})\.eml", one.name)[1]) for one in files]
    assert seqs == list(range(seqs[0], seqs[0] + 3))
    assert folder.stat().st_mode & 0o077 == 0
    messages = [
        email.message_from_bytes(one.read_bytes(), policy=email.policy.default) for one in files
    ]
    assert [message["To"] for message in messages] == [office.address] * 3
    assert [re.search(r"\+(\d+)", message["Subject"])[1] for message in messages] == numbers
    assert not list(folder.glob("*.tmp"))
