"""Reading the list: one record, a page by number, or on and on by cursor; newest first."""

import re
from dataclasses import dataclass
from typing import LiteralString

from nocall.dnc.add import choose_number, read_number
from nocall.dnc.delete import require_own
from nocall.dnc.state import BLOCK_SIZE, RECORD_COLUMNS, record_of
from nocall.errors import FieldInvalid, RecordNotFound
from nocall.model import DncRecord, clean_text, is_id
from nocall.number import from_query
from nocall.store import Transaction

_SEARCH_BYTES = 200
_PUNCTUATION = re.compile(r"[\s()\-./+]")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader of a long list stands: after the record with this ordinal."""

    ordinal: int

    def __str__(self) -> str:
        return f"o{self.ordinal:x}"


@dataclass(frozen=True, slots=True)
class ListPage:
    records: tuple[DncRecord, ...]
    total: int
    """Matches of the search on all pages."""
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class ReadOn:
    records: tuple[DncRecord, ...]
    next_cursor: Cursor | None


async def get(tx: Transaction, record_id: str) -> DncRecord:
    """Raises `FieldInvalid` for a malformed id, `RecordForeign`, `RecordNotFound`."""
    if not is_id(record_id):
        raise FieldInvalid("id", "must be 24 lower-case hex digits", record_id)
    row = await tx.one(
        f"select {RECORD_COLUMNS} from dnc_record "
        "where org_id = %(org_id)s and record_id = %(record_id)s",
        record_id=record_id,
    )
    if row is None:
        await require_own(tx, record_id)
    return record_of(row)


async def get_by_number(tx: Transaction, text: str) -> DncRecord:
    """The record of a number written with its country code. Raises `RecordNotFound`."""
    value = choose_number(read_number(text, tx.actor.region), text, None)
    row = await tx.one(
        f"select {RECORD_COLUMNS} from dnc_record "
        "where org_id = %(org_id)s and number = %(number)s",
        number=value,
    )
    if row is None:
        raise RecordNotFound(f"+{value} is not listed")
    return record_of(row)


async def page(tx: Transaction, page_number: int, limit: int, search: str | None) -> ListPage:
    """Page `page_number` of the list, counted from 1; past the end it is empty."""
    skip = (page_number - 1) * limit
    if search:
        return await _searched_page(tx, _Search.of(search), skip, limit)
    return await _plain_page(tx, skip, limit)


async def read_on(tx: Transaction, cursor: Cursor, limit: int, search: str | None = None) -> ReadOn:
    """The records that follow `cursor`: each of a changing list at most once, none skipped."""
    terms = _Search.of(search) if search else _Search("%", None)
    rows = await tx.all(
        f"select {RECORD_COLUMNS} from dnc_record where org_id = %(org_id)s "
        f"and ordinal < %(ordinal)s and {_MATCHES} order by ordinal desc limit %(more)s",
        ordinal=cursor.ordinal,
        text=terms.text,
        number=terms.number,
        more=limit + 1,
    )
    records = tuple(record_of(row) for row in rows[:limit])
    return ReadOn(records, Cursor(rows[limit - 1].ordinal) if len(rows) > limit else None)


def parse_cursor(text: str) -> Cursor:
    match = re.fullmatch(r"o([0-9a-f]{1,15})", text)
    if match is None:
        raise FieldInvalid("cursor", "must be a nextCursor of an earlier answer", text)
    return Cursor(int(match[1], 16))


newest = Cursor(1 << 59)
"""Where a reader starts: before the newest record."""


@dataclass(frozen=True, slots=True)
class _Search:
    """LIKE patterns: one over all the text; one over the number alone, where the term is a number
    written with a plus or punctuation that the text does not hold.
    """

    text: str
    number: str | None

    @classmethod
    def of(cls, term: str) -> "_Search":
        folded = clean_text("search", term, _SEARCH_BYTES).casefold()
        digits = _PUNCTUATION.sub("", folded)
        is_number = digits.isascii() and digits.isdigit()
        folded = (from_query(folded) if is_number else folded).strip()
        escaped = re.sub(r"([\\%_])", r"\\\1", folded)
        written = is_number and digits != folded
        return cls(text=f"%{escaped}%", number=f"%{digits}%" if written else None)


_MATCHES: LiteralString = (
    "(search_text like %(text)s or (%(number)s::text is not null "
    "and split_part(search_text, chr(10), 1) like %(number)s))"
)


async def _plain_page(tx: Transaction, skip: int, limit: int) -> ListPage:
    blocks = await tx.all(
        "select block, record_count from dnc_block "
        "where org_id = %(org_id)s and record_count > 0 order by block desc"
    )
    total = sum(row.record_count for row in blocks)
    for row in blocks:
        if skip < row.record_count:
            first = (row.block + 1) * BLOCK_SIZE
            break
        skip -= row.record_count
    else:
        return ListPage((), total, None)
    # Whether there is more is read with the rows: the list may have grown since it was counted.
    rows = await tx.all(
        f"select {RECORD_COLUMNS} from dnc_record where org_id = %(org_id)s "
        "and ordinal < %(first)s order by ordinal desc limit %(more)s offset %(skip)s",
        first=first,
        more=limit + 1,
        skip=skip,
    )
    cursor = Cursor(rows[limit - 1].ordinal) if len(rows) > limit else None
    return ListPage(tuple(record_of(row) for row in rows[:limit]), total, cursor)


async def _searched_page(tx: Transaction, terms: _Search, skip: int, limit: int) -> ListPage:
    """Both statements read the covering index alone, and a rare term is looked for once."""
    found = await tx.all(
        f"select ordinal from dnc_record where org_id = %(org_id)s and {_MATCHES} "
        "order by ordinal desc limit %(more)s offset %(skip)s",
        text=terms.text,
        number=terms.number,
        more=limit + 1,
        skip=skip,
    )
    if len(found) <= limit and (found or not skip):
        total = skip + len(found)
    else:
        counted = await tx.only(
            f"select count(*) as total from dnc_record where org_id = %(org_id)s and {_MATCHES}",
            text=terms.text,
            number=terms.number,
        )
        total = counted.total
    if not found:
        return ListPage((), total, None)
    rows = await tx.all(
        f"select {RECORD_COLUMNS} from dnc_record "
        "where org_id = %(org_id)s and ordinal = any(%(ordinals)s) order by ordinal desc",
        ordinals=[row.ordinal for row in found[:limit]],
    )
    cursor = Cursor(found[limit - 1].ordinal) if len(found) > limit else None
    return ListPage(tuple(record_of(row) for row in rows), total, cursor)
