"""The demo organization: calls that were made, a token, and lines to paste into a shell."""

from dataclasses import dataclass, replace
from itertools import count

from nocall import call, dial, dnc, gate, org
from nocall.app import Ready, open_database
from nocall.call import AttemptReport, BatchPlan
from nocall.cli.running import operator
from nocall.config import Settings
from nocall.model import Actor, Answer, Call, Scope, new_id
from nocall.store import Database, Transaction

_NAME = "Demo"
_EMAIL = "admin@demo.example"
_BATCH = "Demo calls"
_TOKEN = "demo"  # noqa: S105 - a name, not a secret
_FIRST_LINE = 12_125_550_141
_CALLS_MADE = 4
_TRANSCRIPTS = (
    "Agent: Good morning, this is the demo. Person: Please stop calling me.",
    "Agent: Good morning, this is the demo. Person: Take me off your list.",
    "Agent: Good morning, this is the demo. Person: No, thank you, do not call again.",
    "Agent: Good morning, this is the demo. Person: Who gave you this number?",
)


@dataclass(frozen=True, slots=True)
class Demo:
    """What the lines to paste are made of."""

    org_id: str
    token: str
    batch_id: str
    request_uuid: str
    number: int

    def text(self, url: str) -> str:
        """URL, token and lines that work as they stand in a plain shell."""
        header = f"-H 'Authorization: Bearer {self.token}'"
        curl = f"curl -sS {header}"
        add = (
            f'{{"phoneNumber":"{self.number}","batchId":"{self.batch_id}",'
            f'"requestUUID":"{self.request_uuid}","type":"customer_request"}}'
        )
        found = f"{curl} '{url}/api/dnc/list?search={self.number}'"
        record_id = f'$({found} | sed -n \'s/.*"_id":"\\([0-9a-f]*\\)".*/\\1/p\')'
        check = f"{curl} '{url}/api/dnc/check?phoneNumber={self.number}'; echo"
        return "\n".join(
            (
                f"nocall answers at {url} (API: {url}/docs)",
                f"organization {self.org_id}",
                f"token        {self.token}",
                "",
                "# a person asked not to be called: add the number of that call",
                f"{curl} -H 'Content-Type: application/json' -d '{add}' {url}/api/dnc/add; echo",
                "# the list, and the gate: blocked",
                f"{curl} '{url}/api/dnc/list'; echo",
                check,
                "# delete it, and ask again: callable",
                f"{curl} -X DELETE -H 'X-Reason: demo' \"{url}/api/dnc/delete/{record_id}\"; echo",
                check,
                "",
                "Ctrl-C stops it. The story afterwards: nocall ledger show",
            )
        )


async def prepare_demo(settings: Settings, ready: Ready) -> Demo:
    """The demo organization as it was left, a token of this start, and a call not yet listed."""
    async with open_database(settings, ready) as database:
        actor = await _organization(database)
        async with database.transaction(actor) as tx:
            batch = await call.find_batch(tx, _BATCH)
            if batch is None:
                batch = await call.create_batch(tx, BatchPlan(_BATCH, [new_id()]))
            made = await _call_not_listed(tx, batch.id)
        for token in await _live_tokens(database, actor):
            async with database.transaction(actor) as tx:
                await org.revoke_token(tx, token)
        async with database.transaction(actor) as tx:
            secret = await org.create_token(tx, _TOKEN, [scope.value for scope in Scope])
    return Demo(actor.org_id, secret.text, batch.id, made.attempts[-1].request_uuid, made.number)


async def _organization(database: Database) -> Actor:
    async with database.transaction(operator()) as tx:
        every = await org.every(tx)
    for organization in every:
        if (organization.name, organization.admin_email) == (_NAME, _EMAIL):
            return replace(operator(organization.id), region=organization.region)
    actor = operator(new_id())
    async with database.transaction(actor) as tx:
        await org.create(tx, _NAME, _EMAIL, "US")
        await dnc.open_list(tx)
    return actor


async def _live_tokens(database: Database, actor: Actor) -> list[str]:
    async with database.transaction(actor) as tx:
        tokens = await org.tokens(tx)
    return [token.id for token in tokens if token.name == _TOKEN and token.revoked_at is None]


async def _call_not_listed(tx: Transaction, batch_id: str) -> Call:
    """A call that was made to a number that is free; more calls are made where all are listed."""
    for first in count(0, _CALLS_MADE):
        page = await call.batch_page(tx, batch_id, first // _CALLS_MADE + 1, _CALLS_MADE)
        if not page.calls:
            await _make_calls(tx, batch_id, _FIRST_LINE + first)
            page = await call.batch_page(tx, batch_id, first // _CALLS_MADE + 1, _CALLS_MADE)
        verdicts = await gate.check_many(tx, [f"+{one.number}" for one in page.calls])
        for made, verdict in zip(page.calls, verdicts, strict=True):
            if verdict.answer is Answer.CALLABLE or not verdict.enforcement:
                return made
    raise AssertionError("count() does not end")


async def _make_calls(tx: Transaction, batch_id: str, first: int) -> None:
    numbers = [f"+{first + offset}" for offset in range(_CALLS_MADE)]
    await call.add_calls(tx, batch_id, [{"phoneNumber": text} for text in numbers])
    for offset, text in enumerate(numbers):
        await dial.report(
            tx,
            AttemptReport(
                batch_id=batch_id,
                phone_number=text,
                call_status="completed",
                duration_seconds=18 + offset,
                recording_url=f"https://recordings.example/demo/{text[1:]}.mp3",
                transcript=_TRANSCRIPTS[offset % len(_TRANSCRIPTS)],
            ),
        )
