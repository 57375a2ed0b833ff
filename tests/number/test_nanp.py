"""The tables for North American numbers say what phonenumbers says, everywhere it could differ."""

import itertools
import random

import phonenumbers
import pytest
from phonenumbers import NumberParseException, ValidationResult

from nocall.number import Reading, Readings, nanp, plan, read, reading
from nocall.number.nanp import ABROAD, ASK, AT_HOME, BLOCK, INVALID, NOT_POSSIBLE, VALID
from nocall.number.spans import PatternError

FIRST, END = 2_000_000_000, 10_000_000_000
FORMS = (
    "{:03}{:03}{:04}",
    "1{:03}{:03}{:04}",
    "+1{:03}{:03}{:04}",
    "({:03}) {:03}-{:04}",
    "+1 {:03} {:03} {:04}",
    "1-{:03}-{:03}-{:04}",
    "{:03}.{:03}.{:04}",
    "0111{:03}{:03}{:04}",
)


@pytest.fixture(autouse=True, scope="module")
def _tables():
    reading.prepare()


def test_every_boundary_of_the_home_table():
    for at in boundaries(AT_HOME):
        for number in (at * BLOCK - 1, at * BLOCK, (at + 1) * BLOCK - 1):
            check_home(number)


def test_every_boundary_of_the_table_of_ten_digits():
    for at in boundaries(ABROAD):
        for number in (at * BLOCK - 1, at * BLOCK, (at + 1) * BLOCK - 1):
            check_abroad(number)


def test_every_area_code_and_exchange_sampled():
    source = random.Random(1)
    for area in range(200, 1000):
        for _ in range(5):
            number = area * 10_000_000 + source.randrange(10_000_000)
            check_home(number)
            check_abroad(number)


def test_the_tables_decide_nearly_everything():
    first = FIRST // BLOCK
    assert AT_HOME.count(ASK, first) < 10
    assert ABROAD.count(ASK, first) < 50_000
    assert AT_HOME.count(ASK, 0, first) == ABROAD.count(ASK, 0, first) == first


def test_all_regions_of_the_country_code_are_homes():
    assert set(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1]) == nanp.HOMES


def test_ordinary_numbers_are_read_without_phonenumbers(monkeypatch):
    monkeypatch.delattr(phonenumbers, "parse")
    known = Readings((Reading(12125550123, valid=True),))
    for text in ("12125550123", "+12125550123", "+1 (212) 555-0123", "2125550123"):
        assert read(text, "US") == known
    assert read("+12125550123", "DE") == known
    assert len(read("3125550123", "US").readings) == 2


def test_same_as_phonenumbers_on_fifty_thousand():
    source = random.Random(2)
    homes = sorted(nanp.HOMES)
    for _ in range(50_000):
        check_read(written(source), source.choice(homes))


def test_same_as_phonenumbers_away_from_home():
    source = random.Random(3)
    for _ in range(2_000):
        check_read(written(source), source.choice(["GB", "DE", "CN", "TD", "FI", "CU"]))


@pytest.mark.prove
def test_same_as_phonenumbers_on_two_million():
    """Two numbers of every six digits' block, and four hundred thousand texts."""
    source = random.Random(4)
    for at in range(FIRST // BLOCK, END // BLOCK):
        check_home(at * BLOCK + source.randrange(BLOCK))
        check_abroad(at * BLOCK + source.randrange(BLOCK))
    homes = sorted(nanp.HOMES)
    for _ in range(400_000):
        check_read(written(source), source.choice(homes))


def test_a_plan_with_unknown_patterns_is_left_to_phonenumbers(monkeypatch):
    def refuse(*_):
        raise PatternError("a lookahead")

    monkeypatch.setattr(plan, "valid_spans", refuse)
    assert set(nanp._home_table()) == {ASK}
    assert VALID not in nanp._abroad_table()
    assert INVALID not in nanp._abroad_table()
    monkeypatch.setattr(plan, "prefixed_spans", refuse)
    assert not nanp._is_plain_home("US")


def test_before_the_tables_are_there_phonenumbers_is_asked(monkeypatch):
    monkeypatch.setattr(reading, "AT_HOME", bytearray(len(AT_HOME)))
    monkeypatch.setattr(reading, "ABROAD", bytearray(len(ABROAD)))
    for text in ("12125550123", "+12125550123", "2125550123"):
        assert read(text, "US") == Readings((Reading(12125550123, valid=True),))


@pytest.mark.parametrize(
    "text",
    [
        "02125550123",
        "+02125550123",
        "0212555012",
        "1212555012a",
        "+1212555012\u0663",
        "1_2125550123",
        "1212555012\u00b2",
        "+1212555012\u00b2",
        "212555012\u00b2",
        "1 212 555012\u00b2",
    ],
)
def test_what_only_looks_like_eleven_digits_is_not_taken_for_them(text):
    assert read(text, "US") == reading._ask.__wrapped__(text, "US")


def boundaries(table):
    return [
        at for at, (before, after) in enumerate(itertools.pairwise(table), 1) if before != after
    ]


def check_home(number):
    """Of ten digits behind +1."""
    state = AT_HOME[number // BLOCK] if FIRST <= number < END else ASK
    if state != ASK:
        parsed = phonenumbers.parse(f"+1{number}", "ZZ")
        assert parsed.country_code == 1
        assert parsed.national_number == number
        assert phonenumbers.is_possible_number_with_reason(parsed) == ValidationResult.IS_POSSIBLE
        assert phonenumbers.is_valid_number(parsed) == (state == VALID), number


def check_abroad(number):
    """Of ten digits behind + alone."""
    state = ABROAD[number // BLOCK] if FIRST <= number < END else ASK
    if state != ASK:
        expected = {} if state == NOT_POSSIBLE else {number: state == VALID}
        assert asked(f"+{number}", "ZZ") == expected, number


def check_read(text, region):
    expected = asked(text, region)
    if "+" not in text and not text.startswith("011"):
        expected = asked(f"+{text}", "ZZ") | expected
    assert {found.number: found.valid for found in read(text, region).readings} == expected, text


def asked(text, region):
    """What phonenumbers makes of the text, and of what it made of it."""
    try:
        parsed = phonenumbers.parse(text, region)
    except NumberParseException:
        return {}
    if phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        return {}
    number = f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"
    if text == f"+{number}":
        return {int(number): phonenumbers.is_valid_number(parsed)}
    return asked(f"+{number}", "ZZ")


def written(source):
    """Ten digits, mostly of the plan's shape, as people and programs write them."""
    area = source.choice(
        [source.randrange(200, 1000), source.randrange(200, 1000), source.randrange(1000)]
    )
    exchange = source.choice([source.randrange(200, 1000), source.randrange(1000)])
    line = source.randrange(10_000)
    form = source.choice(FORMS)
    return form.format(area, exchange, line)
