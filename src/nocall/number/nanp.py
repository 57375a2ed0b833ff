"""North American numbers from a table: the first six digits say what the last four cannot change.

Both tables answer for blocks of ten thousand numbers, and say ASK for every block of which they are
not sure: before `load` that is all of them, and it stays so where a newer phonenumbers brings
patterns that `spans` does not know. Whoever gets ASK asks phonenumbers, so the tables can make
reading slow but not wrong.
"""

import functools

from phonenumbers import PhoneMetadata

from nocall.number import plan, spans
from nocall.number.spans import PatternError, Spans

ASK = 0
INVALID = 1
VALID = 2
NOT_POSSIBLE = 3

BLOCK = 10_000
_BLOCKS = 1_000_000
_ALL = ((2_000_000_000, 10_000_000_000),)
"""Ten digits of which the first is neither 0 nor 1: nothing else is in the tables."""

AT_HOME = bytearray(_BLOCKS)
"""ASK, INVALID or VALID for ten digits behind the country code 1."""
ABROAD = bytearray(_BLOCKS)
"""ASK, INVALID, VALID or NOT_POSSIBLE for ten digits that are a whole international number."""
HOMES: set[str] = set()
"""The regions where ten digits, or 1 and ten digits, are those of the country code 1."""


@functools.cache
def load() -> None:
    """Derive the tables from the installed metadata, once in a process."""
    AT_HOME[:] = _home_table()
    ABROAD[:] = _abroad_table()
    HOMES.update(filter(_is_plain_home, plan.COUNTRY_REGIONS[1]))


def _home_table() -> bytearray:
    table = bytearray(_BLOCKS)
    metadata = plan.main_metadata(1)
    if not _is_possible_length(metadata, 10):
        return table
    _paint(table, _ALL, INVALID)
    try:
        _paint(table, spans.both(plan.valid_spans(1, 10), _ALL), VALID)
        _paint_ask(table, spans.both(plan.prefixed_spans(metadata, 10), _ALL))
    except PatternError:
        _paint_ask(table, _ALL)
    return table


def _abroad_table() -> bytearray:
    table = bytearray(_BLOCKS)
    _paint(table, _ALL, NOT_POSSIBLE)
    for country_code in plan.COUNTRY_REGIONS:
        length = 10 - len(str(country_code))
        first = country_code * 10**length
        if first < _ALL[0][0]:
            continue
        numbers = ((first, first + 10**length),)
        metadata = plan.main_metadata(country_code)
        is_possible = _is_possible_length(metadata, length)
        if not is_possible and _is_hopeless_length(metadata, length):
            continue
        try:
            if is_possible:
                _paint(table, numbers, INVALID)
                _paint(table, _shifted(plan.valid_spans(country_code, length), first), VALID)
            _paint_ask(table, _shifted(plan.prefixed_spans(metadata, length), first))
        except PatternError:
            _paint_ask(table, numbers)
    return table


def _is_possible_length(metadata: PhoneMetadata, length: int) -> bool:
    return length in plan.possible_lengths(metadata) and length not in plan.local_lengths(metadata)


def _is_hopeless_length(metadata: PhoneMetadata, length: int) -> bool:
    """Whether the length is too short, also after a national prefix is dropped from it."""
    return (
        length < min(plan.possible_lengths(metadata), default=0)
        and not metadata.national_prefix_transform_rule
    )


def _is_plain_home(region: str) -> bool:
    """Whether nothing but the country code is taken off a text of ten digits, or 1 and ten digits.

    It is so where such a text begins with neither the international nor the national prefix, and
    eleven digits are too long for the region, which is when phonenumbers looks for the code.
    """
    metadata = plan.metadata_of(1, region)
    try:
        prefixed = spans.both(plan.prefixed_spans(metadata, 10), _ALL)
    except PatternError:
        return False
    return (
        metadata.international_prefix == "011"
        and max(plan.possible_lengths(metadata) + plan.local_lengths(metadata), default=0) == 10
        and not prefixed
    )


def _shifted(found: Spans, by: int) -> Spans:
    return tuple((low + by, high + by) for low, high in found)


def _paint(table: bytearray, found: Spans, state: int) -> None:
    """Give whole blocks the state; a block that the spans cut is one to ask for."""
    for low, high in found:
        first, last = -(-low // BLOCK), high // BLOCK
        if first < last:
            table[first:last] = bytes((state,)) * (last - first)
        if low % BLOCK:
            table[low // BLOCK] = ASK
        if high % BLOCK:
            table[high // BLOCK] = ASK


def _paint_ask(table: bytearray, found: Spans) -> None:
    for low, high in found:
        first, last = low // BLOCK, -(-high // BLOCK)
        table[first:last] = bytes(last - first)
