"""Patterns as ranges: the same strings that the regular expression matches."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocall.number import spans
from nocall.number.spans import PatternError

PATTERNS = [
    "12",
    r"\d{3}",
    r"[2-9]\d\d",
    "1[0-24-69]3",
    "1(?:2|3[4-6])|98?7",
    r"(1(?:[12]\d|79)\d\d)|0",
    r"([457]\d{2})$|1",
    r"80?\d{1,2}",
    r"(?:1|2(?:3|4)){2}",
    r"0{0,3}",
    "(?:1$|2)3?",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_same_strings_as_the_regular_expression(pattern, length):
    texts = ["".join(signs) for signs in itertools.product("0123456789", repeat=length)]
    compiled = re.compile(pattern)
    assert listed(spans.whole(pattern, length)) == {
        int(text) for text in texts if compiled.fullmatch(text)
    }
    assert listed(spans.front(pattern, length)) == {
        int(text) for text in texts if compiled.match(text)
    }


@pytest.mark.parametrize(
    "pattern",
    ["1(2", "1)", "?1", "a", r"1\w", ".", "1+", "(?=1)1", "[^1]2", "[1", "[-1]2", "1{2,}"],
)
def test_a_pattern_of_another_kind_is_refused(pattern):
    with pytest.raises(PatternError):
        spans.whole(pattern, 2)


@pytest.mark.parametrize("pattern", [r"\d{9}[02]", "(?:1|2|3|4|5|6|7){10}"])
def test_a_pattern_too_wide_to_list_is_refused(pattern):
    with pytest.raises(PatternError):
        spans.whole(pattern, 10)


some_spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair)))
).map(lambda found: spans.union(span for span in found if span[0] < span[1]))


@given(some_spans, some_spans)
def test_algebra_is_that_of_sets(one, other):
    assert listed(spans.union(one + other)) == listed(one) | listed(other)
    assert listed(spans.both(one, other)) == listed(one) & listed(other)
    assert listed(spans.without(one, other)) == listed(one) - listed(other)
    for found in (one, spans.both(one, other), spans.without(one, other)):
        assert all(low < high for low, high in found)
        assert all(before[1] < after[0] for before, after in itertools.pairwise(found))


def listed(found):
    return {number for low, high in found for number in range(low, high)}
