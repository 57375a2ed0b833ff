"""read: text to every number it can mean."""

import string

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

from nocall.number import (
    Reading,
    Readings,
    e164,
    from_query,
    is_region,
    metadata_version,
    number_text,
    read,
)

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
COUNTRY_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)

ONE_READING = [
    ("12125550123", "US", 12125550123, "the wire's form"),
    ("+12125550123", "US", 12125550123, "E.164"),
    ("+12125550123", "GB", 12125550123, "plus, away from home"),
    ("12125550123", "GB", 12125550123, "eleven digits are too long for the United Kingdom"),
    ("+1 (212) 555-0123", "US", 12125550123, "punctuation"),
    ("(+1) 212.555.0123", "US", 12125550123, "plus within brackets"),
    ("+ 1 212 555 0123", "US", 12125550123, "blank after the plus"),
    ("++12125550123", "US", 12125550123, "two plus signs"),
    ("\uff0b12125550123", "GB", 12125550123, "full-width plus"),
    ("(212) 555-0123", "US", 12125550123, "home digits, no possible international reading"),
    ("1-212-555-0123", "US", 12125550123, "national prefix"),
    ("212\u00a0555\u00a00123", "US", 12125550123, "no-break space"),
    ("212\u200b555\u20600123", "US", 12125550123, "zero-width characters"),
    ("\u202a+12125550123\u202c", "US", 12125550123, "direction marks of a copied contact"),
    ("\ufeff2125550123", "US", 12125550123, "byte order mark"),
    ("\u0662\u0661\u0662\u0665\u0665\u0665\u0660\u0661\u0662\u0663", "US", 12125550123, "arabic"),
    ("1-800-FLOWERS", "US", 18003569377, "vanity letters"),
    ("1-800-FLOWERS", "GB", 18003569377, "vanity letters away from home"),
    ("2125550123 x5", "US", 12125550123, "extension"),
    ("2125550123 ext. 12345678", "US", 12125550123, "long extension that says so"),
    ("2125550123, ext 12345678", "US", 12125550123, "likewise behind a comma"),
    ("2125550123,,123456789#", "US", 12125550123, "pause and conference code"),
    ("2125550123;ext=5", "US", 12125550123, "extension as in a tel: address"),
    ("tel:+1-212-555-0123;ext=5", "US", 12125550123, "tel: address"),
    ("tel:555-0123;phone-context=+1-212", "GB", 12125550123, "digits in the context"),
    ("tel:2125550123;phone-context=example.com", "US", 12125550123, "domain in the context"),
    ("tel:020 7946 0123;phone-context=+44", "US", 442079460123, "national prefix behind +44"),
    ("tel:2125550123;isub=1234", "US", 12125550123, "subaddress"),
    ("011 44 20 7946 0123", "US", 442079460123, "international prefix"),
    ("00 44 20 7946 0123", "GB", 442079460123, "another region's"),
    ("+44 (0)20 7946 0123", "US", 442079460123, "trunk zero in brackets"),
    ("+44 0020794 6012", "US", 44207946012, "two trunk zeros, of which phonenumbers drops one"),
    ("020 7946 0123", "GB", 442079460123, "national form"),
    ("+39 06 698 12345", "US", 390669812345, "Italian zero"),
    ("390669812345", "US", 390669812345, "Italian zero without plus"),
    ("06 698 12345", "IT", 390669812345, "Italian zero at home"),
    ("011 15 2345-6789", "AR", 5491123456789, "Argentine mobile at home: digits move"),
    ("+54 11 15 2345 6789", "US", 5491123456789, "Argentine mobile from abroad"),
    ("+800 1234 5678", "US", 80012345678, "number of no country"),
    ("16502530000", "TD", 16502530000, "begins like Chad's international prefix 16"),
    ("994501234567", "FI", 994501234567, "begins like Finland's international prefix 994"),
    ("030/123456", "DE", 4930123456, "slash after the area code"),
    ("+1 911 555 0123", "US", 19115550123, "no such area code: possible, and no emergency call"),
    ("19115550123", "US", 19115550123, "likewise without plus"),
]


@pytest.mark.parametrize(("text", "region", "number", "trap"), ONE_READING)
def test_one_reading(text, region, number, trap):
    found = read(text, region)
    assert [reading.number for reading in found.readings] == [number], trap
    assert found.problem is None
    assert not found.service_code


SINGAPORE_OR_659 = ((6591234567, True), (16591234567, False))
TWO_READINGS = [
    ("6591234567", "US", *SINGAPORE_OR_659, "bare digits"),
    ("659-123-4567", "US", *SINGAPORE_OR_659, "punctuated"),
    ("tel:6591234567;phone-context=example.com", "US", *SINGAPORE_OR_659, "in an address"),
    ("\uff16\uff15\uff191234567", "US", *SINGAPORE_OR_659, "full-width digits"),
    ("3125550123", "US", (3125550123, False), (13125550123, True), "Chicago or the Netherlands"),
    ("9115550123", "US", (9115550123, False), (19115550123, False), "India or no area code"),
    ("84951234567", "RU", (84951234567, True), (74951234567, True), "Viet Nam or trunk 8"),
    ("13800138000", "CN", (13800138000, False), (8613800138000, True), "a Chinese mobile number"),
]


@pytest.mark.parametrize(("text", "region", "abroad", "home", "trap"), TWO_READINGS)
def test_two_readings_come_international_first(text, region, abroad, home, trap):
    assert read(text, region) == Readings((Reading(*abroad), Reading(*home))), trap


NO_READING = [
    ("", "US", "empty"),
    ("   ", "US", "empty"),
    ("\u3000", "US", "empty"),
    ("n/a", "US", "not_a_number"),
    ("+", "US", "not_a_number"),
    ("212\x005550123", "US", "not_a_number"),
    ("2125550123\n", "US", "not_a_number"),
    ("2125550123\t", "US", "not_a_number"),
    ("\ud800", "US", "not_a_number"),
    ("1+2125550123", "US", "not_a_number"),
    ("1.2125550123E+10", "US", "not_a_number"),
    ("2125550123 x" + ", " * 9 + "5", "US", "not_a_number"),
    ("tel:2125550123;phone-context=", "US", "not_a_number"),
    ("2125550124 tel:2125550123;phone-context=+1", "US", "not_a_number"),
    ("tel:2125550123;phone-context=+1;2125550124", "US", "not_a_number"),
    ("tel:2125550123;phone-context=+1;x=tel:2125550124", "US", "not_a_number"),
    ("1", "US", "not_a_number"),
    ("24280", "US", "too_short"),
    ("+1 212 55", "US", "too_short"),
    ("+44 1", "GB", "too_short"),
    ("5550123", "US", "local_only"),
    ("+1 555 0123", "US", "local_only"),
    ("+13101234", "CA", "local_only"),
    ("1212555012345", "US", "too_long"),
    ("+49 1234 5678901234", "US", "too_long"),
    ("1" * 18, "DE", "too_long"),
    (" " * 101, "US", "too_long"),
    ("+500 1234", "US", "too_short"),
    ("+674 12345678", "US", "too_long"),
    ("+46 12345678901", "US", "wrong_length"),
    ("+999 123456789", "US", "unknown_country_code"),
    ("011 999 1234567", "US", "unknown_country_code"),
    ("212-555-0123 / 212-555-0124", "US", "several_numbers"),
    ("2125550123, 2125550124", "US", "several_numbers"),
    ("2125550123;2125550124", "US", "several_numbers"),
    ("2125550123 or 2125550124", "US", "several_numbers"),
    ("+1 212 555 0123 & +44 20 7946 0123", "US", "several_numbers"),
    ("212-555-0123/x 212-555-0124", "US", "several_numbers"),
    ("212-555-0123 \\ x2125550124", "US", "several_numbers"),
    ("91234567, 91234568", "SG", "several_numbers"),
    ("712345, 712346", "AD", "several_numbers"),
    ("712345;712346", "AD", "several_numbers"),
    ("1234567/1234568", "DE", "several_numbers"),
]


@pytest.mark.parametrize(("text", "region", "problem"), NO_READING)
def test_no_reading_has_its_reason(text, region, problem):
    assert read(text, region) == Readings((), problem)


@pytest.mark.parametrize("text", ["2125550123", "442079460123", "11"])
def test_a_region_that_is_none_is_refused_where_it_matters(text):
    for region in ("ZZ", "us", "", "001"):
        assert not is_region(region)
        with pytest.raises(ValueError, match="not a region"):
            read(text, region)


def test_with_plus_the_region_does_not_matter():
    assert read("+442079460123", "ZZ") == read("+442079460123", "US")


def test_digits_are_read_until_they_settle():
    assert read("+49/000040067", "US") == Readings((Reading(4940067, valid=True),))


def test_a_second_extension_is_no_second_number():
    assert Reading(15305836985, valid=True) in read("(530) 583-6985 x302/x2303", "US").readings


def test_every_region_reads_its_examples_however_they_are_formatted():
    """Of the known numbers Canada's seven-digit ones alone are missing: they count as local."""
    forms = (
        PhoneNumberFormat.E164,
        PhoneNumberFormat.INTERNATIONAL,
        PhoneNumberFormat.NATIONAL,
        PhoneNumberFormat.RFC3966,
    )
    missing = set()
    for region in REGIONS:
        for kind in phonenumbers.PhoneNumberType.values():
            parsed = phonenumbers.example_number_for_type(region, kind)
            if parsed is None:
                continue
            number = int(f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}")
            texts = {phonenumbers.format_number(parsed, form) for form in forms}
            texts.add(phonenumbers.format_out_of_country_calling_number(parsed, region))
            if any(Reading(number, True) not in read(text, region).readings for text in texts):
                missing.add(number)
    assert missing == {13101234}


digits = st.text("0123456789", min_size=2, max_size=14)
foreign = st.tuples(
    st.sampled_from(COUNTRY_CODES), st.sampled_from(["", "0", "00", "1", "8", "15"]), digits
).map(lambda parts: f"+{parts[0]}{parts[1]}{parts[2]}")
local = st.tuples(
    st.sampled_from(["", "0", "00", "000", "011", "1", "8", "99", "810", "119", "16"]), digits
).map("".join)


@given(st.one_of(foreign, local), st.sampled_from(REGIONS), st.lists(st.sampled_from(REGIONS)))
@example("+440020794601", "GB", ["DE"])
@example("+49000400670", "DE", ["US"])
@example("+54 11 15 2345 6789", "AR", ["US"])
@example("119 555 01234", "US", ["CU"])
@settings(max_examples=600, deadline=None)
def test_a_number_as_printed_is_read_as_itself_everywhere(text, home, regions):
    """The law: with or without plus, under any home region, or the digits are a service's."""
    for reading in read(text, home).readings:
        assert reading in read(e164(reading.number), "ZZ").readings
        assert len(number_text(reading.number)) <= 15
        for region in (home, "US", *regions):
            assert read(e164(reading.number), region) == Readings((reading,))
            found = read(number_text(reading.number), region)
            assert reading in found.readings or found.service_code


@given(
    st.text(
        string.digits + " +-.,;/()x#~*" + "".join(chr(0x660 + at) for at in range(10)), max_size=30
    ),
    st.sampled_from(REGIONS),
)
@settings(max_examples=600, deadline=None)
def test_what_is_read_is_what_phonenumbers_reads(text, region):
    """A number is never made up: it is phonenumbers' own, of the text or of it with a plus."""
    found = read(text, region)
    assert (found.problem is None) == bool(found.readings)
    allowed = set()
    for at in range(len(text) + 1):
        for form in (text, f"{text[:at]}+{text[at:]}"):
            allowed |= settled(form, region)
    assert {(reading.number, reading.valid) for reading in found.readings} <= allowed
    assert len({reading.number for reading in found.readings}) == len(found.readings)


def settled(text, region):
    """What phonenumbers reads, read again until it stays the same."""
    seen = None
    while True:
        try:
            parsed = phonenumbers.parse(text, region)
        except NumberParseException:
            return set()
        if phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
            return set()
        number = f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"
        if number == seen:
            return {(int(number), phonenumbers.is_valid_number(parsed))}
        seen = number
        text = f"+{number}"


@given(st.text(max_size=120), st.sampled_from(REGIONS))
@settings(max_examples=600, deadline=None)
def test_no_text_breaks_it(text, region):
    found = read(text, region)
    assert bool(found.readings) != (found.problem is not None)


def test_punctuation_changes_nothing():
    for text in ("12125550123", "2125550123", "6591234567", "442079460123", "911", "5550123"):
        spaced = f" ({text[:2]}) {text[2:4]}-{text[4:]}.".replace("()", "")
        assert read(spaced, "US") == read(text, "US")


def test_a_query_parameter_has_a_blank_where_a_plus_was_sent():
    assert from_query(" 12125550123") == "+12125550123"
    assert from_query("12125550123 ") == "12125550123 "
    assert from_query("") == ""
    assert from_query("  1") == "+ 1"


def test_texts_of_a_number():
    assert number_text(390669812345) == "390669812345"
    assert e164(390669812345) == "+390669812345"


def test_the_version_of_the_plans_is_that_of_the_installed_release():
    assert metadata_version() == phonenumbers.__version__


def test_a_carrier_digit_does_not_hide_the_country():
    """In Hong Kong 00 may be followed by a carrier's digit, as many a country code begins."""
    meant = read("+218 21 234 5678", "HK").readings[0]
    assert meant in read("00 218 21-2345678", "HK").readings


def test_a_text_of_many_parts_is_not_asked_about_part_by_part():
    assert read("12/" * 30 + "12345678", "US").problem == "several_numbers"
