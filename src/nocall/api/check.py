"""The check routes. The fast lane in front of them answers the plain cases with the same words."""

from typing import Any

from litestar import Request, Response, get, post

from nocall import gate
from nocall.api import document, wire
from nocall.api.body import query_text, read
from nocall.api.envelope import reply
from nocall.api.guard import actor_of, runtime_of
from nocall.errors import FieldInvalid, FieldMissing
from nocall.model import Scope, Verdict, instant_text, parse_instant
from nocall.number import from_query

NUMBERS_LIMIT = 10_000
_MESSAGE = "Check completed"


@get(
    "/api/dnc/check",
    **document.route(
        Scope.DNC_READ,
        "Check one number",
        wire.CheckReply,
        400,
        404,
        query={
            "phoneNumber": {"type": "string", "required": True, "example": "12125550123"},
            "at": {
                "type": "string",
                "format": "date-time",
                "description": "A past instant: what the list and the switch said then.",
            },
        },
    ),
)
async def check(request: Request[Any, Any, Any]) -> Response[bytes]:
    """May this number be called, now? Or with `at`: what would have been answered then."""
    runtime, actor = runtime_of(request), actor_of(request)
    text = query_text(request, "phoneNumber")
    if not text:
        raise FieldMissing("phoneNumber")
    asked_at = query_text(request, "at")
    if asked_at is None:
        verdict = await runtime.checker.check(actor, from_query(text))
    else:
        at = parse_instant("at", from_query_instant(asked_at))
        async with runtime.database.transaction(actor) as tx:
            verdict = await gate.check_as_of(tx, from_query(text), at)
    runtime.metrics.verdicts.labels(verdict.answer.value).inc()
    return reply(one_reply(verdict))


@post(
    "/api/dnc/check",
    **document.route(
        Scope.DNC_READ,
        "Check many numbers",
        wire.CheckManyReply,
        400,
        404,
        413,
        body=wire.CheckManyBody,
    ),
)
async def check_many(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A verdict for each number, in the order asked; one bad number does not spoil the rest."""
    runtime, actor = runtime_of(request), actor_of(request)
    body = await read(request, wire.CheckManyBody)
    count = len(body.phoneNumbers)
    if not 1 <= count <= NUMBERS_LIMIT:
        raise FieldInvalid("phoneNumbers", f"must hold 1 to {NUMBERS_LIMIT} numbers, got {count}")
    verdicts = await runtime.checker.check_many(actor, body.phoneNumbers)
    for verdict in verdicts:
        runtime.metrics.verdicts.labels(verdict.answer.value).inc()
    return reply(many_reply(verdicts))


def one_reply(verdict: Verdict) -> wire.CheckReply:
    return wire.CheckReply.ok(_MESSAGE, wire.CheckOne.of(verdict))


def many_reply(verdicts: list[Verdict]) -> wire.CheckManyReply:
    first = verdicts[0]
    return wire.CheckManyReply.ok(
        _MESSAGE,
        wire.CheckManyData(
            results=[wire.CheckResult.of(verdict) for verdict in verdicts],
            enforcement="on" if first.enforcement else "off",
            seq=first.seq,
            checkedAt=instant_text(first.at),
            ruleSet=gate.RULE_SET,
        ),
    )


def from_query_instant(text: str) -> str:
    """A `+` of an offset that was not escaped arrives as a blank."""
    return text.replace(" ", "+") if "T" in text else text


ROUTES = (check, check_many)
