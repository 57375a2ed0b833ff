"""Sets of digit strings of one length, as sorted disjoint half-open ranges of their values.

The numbering plans come as regular expressions. For a fixed length each describes a finite set of
digit strings, and written as ranges such sets can be united, intersected and painted into a table,
which a regular expression cannot.
"""

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""From, and up to but not including."""
Spans = tuple[Span, ...]
"""Sorted and disjoint, and two that touch are one."""

_Box = tuple[frozenset[int], ...]
"""For each position the digits that may stand there."""
_Part = tuple[_Box, bool]
"""A box, and whether the pattern demands that the text ends there."""

_ANY = frozenset(range(10))
_NOTHING: _Part = ((), False)
_END: _Part = ((), True)
_TOKEN = re.compile(
    r"(?P<any>\\d)|(?P<digit>[0-9])|\[(?P<set>[0-9-]+)\]|(?P<open>\(\?:|\()|(?P<close>\))"
    r"|(?P<or>\|)|(?P<end>\$)|(?P<optional>\?)|\{(?P<from>[0-9]+)(?:,(?P<to>[0-9]+))?\}"
)
_PIECES_AT_MOST = 50_000


class PatternError(ValueError):
    """The pattern uses something not known here, or is too wide to be listed."""


@functools.lru_cache(maxsize=64)
def whole(pattern: str, length: int) -> Spans:
    """The strings of `length` digits that `pattern` matches from end to end.

    Regions of one country code share many patterns, so the last ones are kept.
    """
    boxes = (box for box, _ in _Pattern(pattern, length).parts() if len(box) == length)
    return union(itertools.chain.from_iterable(map(_spans_of, boxes)))


def front(pattern: str, length: int) -> Spans:
    """The strings of `length` digits at whose front `pattern` matches."""
    boxes = (
        box + (_ANY,) * (length - len(box))
        for box, ends in _Pattern(pattern, length).parts()
        if len(box) == length or not ends
    )
    return union(itertools.chain.from_iterable(map(_spans_of, boxes)))


def union(spans: Iterable[Span]) -> Spans:
    joined: list[Span] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def both(one: Spans, other: Spans) -> Spans:
    found: list[Span] = []
    i = j = 0
    while i < len(one) and j < len(other):
        low, high = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if low < high:
            found.append((low, high))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def without(spans: Spans, taken: Spans) -> Spans:
    """What is in `spans` and not in `taken`."""
    if not spans or not taken:
        return spans
    starts = [spans[0][0], *(high for _, high in taken)]
    stops = [*(low for low, _ in taken), spans[-1][1]]
    gaps = tuple(span for span in zip(starts, stops, strict=True) if span[0] < span[1])
    return both(spans, gaps)


class _Pattern:
    """One walk over a pattern, listing the boxes of at most `length` digits that it can match."""

    def __init__(self, pattern: str, length: int) -> None:
        self._tokens = list(_tokens(pattern))
        self._length = length
        self._at = 0

    def parts(self) -> set[_Part]:
        parts = self._choice()
        if self._at != len(self._tokens):
            raise PatternError("a bracket closes that was not opened")
        return parts

    def _choice(self) -> set[_Part]:
        parts = self._sequence()
        while self._next_is("or"):
            self._at += 1
            parts |= self._sequence()
        return parts

    def _sequence(self) -> set[_Part]:
        parts = {_NOTHING}
        while self._at < len(self._tokens) and not self._next_is("or", "close"):
            parts = self._chain(parts, self._repeated(self._single()))
        return parts

    def _single(self) -> set[_Part]:
        token = self._tokens[self._at]
        self._at += 1
        if token["any"]:
            return {((_ANY,), False)}
        if token["digit"]:
            return {((frozenset((int(token["digit"]),)),), False)}
        if token["set"]:
            return {((_digits_of(token["set"]),), False)}
        if token["end"]:
            return {_END}
        if token["open"]:
            parts = self._choice()
            if not self._next_is("close"):
                raise PatternError("a bracket is not closed")
            self._at += 1
            return parts
        raise PatternError(f"nothing to repeat before {token.group()}")

    def _repeated(self, parts: set[_Part]) -> set[_Part]:
        if self._next_is("optional"):
            least, most = 0, 1
        elif self._next_is("from"):
            token = self._tokens[self._at]
            least = int(token["from"])
            most = int(token["to"] or least)
        else:
            return parts
        self._at += 1
        run = {_NOTHING}
        for _ in range(least):
            run = self._chain(run, parts)
        found = set(run)
        for _ in range(most - least):
            run = self._chain(run, parts)
            found |= run
        return found

    def _chain(self, heads: set[_Part], tails: set[_Part]) -> set[_Part]:
        if len(heads) * len(tails) > _PIECES_AT_MOST:
            raise PatternError("too many alternatives")
        return {
            (head + tail, head_ends or tail_ends)
            for head, head_ends in heads
            for tail, tail_ends in tails
            if len(head) + len(tail) <= self._length and not (head_ends and tail)
        }

    def _next_is(self, *kinds: str) -> bool:
        if self._at == len(self._tokens):
            return False
        return any(self._tokens[self._at][kind] for kind in kinds)


def _tokens(pattern: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            raise PatternError(f"{pattern[at]!r} at {at}")
        yield token
        at = token.end()


def _digits_of(inside: str) -> frozenset[int]:
    digits: set[int] = set()
    for first, last in re.findall(r"([0-9])(?:-([0-9]))?", inside):
        digits.update(range(int(first), int(last or first) + 1))
    if re.sub(r"[0-9](?:-[0-9])?", "", inside):
        raise PatternError(f"[{inside}]")
    return frozenset(digits)


def _spans_of(box: _Box) -> Iterator[Span]:
    fixed = len(box)
    while fixed and box[fixed - 1] == _ANY:
        fixed -= 1
    width = 10 ** (len(box) - fixed)
    if not fixed:
        yield 0, width
        return
    if math.prod(map(len, box[:fixed])) > _PIECES_AT_MOST:
        raise PatternError("too many pieces")
    for digits in itertools.product(*map(sorted, box[: fixed - 1])):
        lead = 0
        for digit in digits:
            lead = lead * 10 + digit
        for low, high in union((digit, digit + 1) for digit in box[fixed - 1]):
            yield (lead * 10 + low) * width, (lead * 10 + high) * width
