"""The rules, in order. Each is pure: facts in, a finding out, or None to let the number pass.

A rule never fetches anything and never reads a clock. What is not known is a finding, not a pass.
"""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from nocall.model import Answer, Reason, Verdict
from nocall.number import Readings, e164

RULE_SET = "2026-11-24"
"""The version of this tuple of rules; it changes when any of them does."""


class Listing(Struct, frozen=True, gc=False):
    """A number on the organization's own list."""

    record_id: str
    type: str | None
    since: datetime


class ListFacts(Struct, frozen=True):
    """The organization's own list at one seq, as far as the numbers asked about need it."""

    seq: int
    at: datetime
    enforcement: bool
    listed: Mapping[int, Listing]


class Finding(Struct, frozen=True, gc=False):
    answer: Answer
    reason: Reason
    number: int | None = None


def service_code(read: Readings, facts: ListFacts) -> Finding | None:
    """911, 112, 988 and their like are nobody's to dial by machine (47 CFR 64.1200(a)(1)(i))."""
    del facts
    if not read.service_code:
        return None
    return Finding(
        Answer.BLOCKED, Reason("service_code", "An emergency or service number is never callable.")
    )


def readable(read: Readings, facts: ListFacts) -> Finding | None:
    """A text that is no possible number cannot be looked up, so it cannot be clear."""
    del facts
    if read.readings or read.service_code:
        return None
    problem = read.problem or "not_a_number"
    return Finding(Answer.INVALID, Reason(problem, f"Not a possible telephone number ({problem})."))


def own_list(read: Readings, facts: ListFacts) -> Finding | None:
    """The organization's own list, in every reading of the number, while its switch is on."""
    if not facts.enforcement:
        return None
    for reading in read.readings:
        listing = facts.listed.get(reading.number)
        if listing is not None:
            return Finding(
                Answer.BLOCKED,
                Reason(
                    "listed",
                    f"{e164(reading.number)} is on the organization's Do-Not-Call list.",
                    listing.record_id,
                    listing.type,
                    listing.since,
                ),
                reading.number,
            )
    return None


_CALLABLE = Answer.CALLABLE
RULES = (service_code, readable, own_list)


def decide(text: str, read: Readings, facts: ListFacts) -> Verdict:
    """All findings in the order of the rules; the first decides, callable is what none found."""
    findings = []
    for rule in RULES:
        found = rule(read, facts)
        if found is not None:
            findings.append(found)
    if not findings:
        # A text without a reading never gets here; if one did, this fails, and is not callable.
        first = read.readings[0]
        return Verdict(
            first.number, text, _CALLABLE, (), first.valid, facts.enforcement, facts.seq, facts.at
        )
    decided = findings[0]
    number = decided.number
    if number is None and read.readings:
        number = read.readings[0].number
    return Verdict(
        number=number,
        text=text,
        answer=decided.answer,
        reasons=tuple(found.reason for found in findings),
        valid=any(reading.valid and reading.number == number for reading in read.readings),
        enforcement=facts.enforcement,
        seq=facts.seq,
        at=facts.at,
    )
